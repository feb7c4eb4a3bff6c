"""Heads for a few labels a class that start from the names of the classes."""
