"""Tasks of alignment: retrieval across views, seeds and shifts of domain."""
