"""Pages: the report, search results, pairs to review, claims."""
