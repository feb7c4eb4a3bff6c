"""Losses on the hyperboloid."""
