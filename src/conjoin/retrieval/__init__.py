"""conjoin: search."""
