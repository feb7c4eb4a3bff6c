"""Commands that search it, and that look after its index."""
