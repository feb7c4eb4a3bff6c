"""Scores as probabilities, and queries without a relevant item."""
