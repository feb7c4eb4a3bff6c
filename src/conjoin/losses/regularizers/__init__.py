"""Losses of one view's outputs: spread, rank and nested prefixes."""
