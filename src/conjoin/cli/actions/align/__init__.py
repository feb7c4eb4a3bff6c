"""Commands that start and fit a workspace."""
