"""Comparison of methods, learning curves and what to label next."""
