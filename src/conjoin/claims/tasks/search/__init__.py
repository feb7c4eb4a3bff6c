"""Tasks of search: corrections, hybrid queries, storage, truncation, suggestions."""
