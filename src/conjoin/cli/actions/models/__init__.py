"""Actions that make or change weights."""
