"""Encoders that come with the package or need no weights."""
