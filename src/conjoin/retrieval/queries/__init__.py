"""Composed queries and suggestions."""
