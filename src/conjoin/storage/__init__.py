"""Atomic files and digests."""
