"""Exact and approximate nearest neighbours, and compressed vectors."""
