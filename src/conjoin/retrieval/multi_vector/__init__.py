"""Items of several vectors."""
