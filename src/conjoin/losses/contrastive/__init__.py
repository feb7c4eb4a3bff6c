"""Losses that contrast partners with other rows of a batch."""
