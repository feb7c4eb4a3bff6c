"""The report of a workspace."""
