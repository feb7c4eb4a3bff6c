"""Heads on frozen vectors, and students of teachers."""
