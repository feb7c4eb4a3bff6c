"""What vectors and rankings are worth when cells are not as clean as they were."""
