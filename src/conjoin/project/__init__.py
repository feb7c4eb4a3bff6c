"""A workspace and its use cases: values in, values out."""
