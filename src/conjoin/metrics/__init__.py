"""Rankings and retrieval scores; similarity and geometry of representations."""
