"""Which pieces become evidence: what is searched, what is added, what is kept."""
