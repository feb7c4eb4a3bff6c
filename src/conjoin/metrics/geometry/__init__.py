"""Geometry of aligned views: gap, rank, hubs."""
