"""Sparse vectors over a vocabulary."""
