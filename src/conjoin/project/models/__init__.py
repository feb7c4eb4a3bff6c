"""Use cases that make or change weights."""
