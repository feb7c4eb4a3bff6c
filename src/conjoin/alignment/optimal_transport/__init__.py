"""Alignment without pairs: couplings by optimal transport."""
