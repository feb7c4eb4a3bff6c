"""Data quality of a workspace."""
