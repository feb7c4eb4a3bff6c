"""Questions put to the documents of a workspace."""
