"""A fitted head taken to another domain by its unlabelled rows."""
