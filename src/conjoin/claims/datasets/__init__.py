"""Data sets on which claims are checked."""
