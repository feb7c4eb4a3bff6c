"""Queries, the index and its upkeep."""
