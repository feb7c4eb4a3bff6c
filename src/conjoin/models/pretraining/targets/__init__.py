"""What a model is trained for: each target says what it needs, its loss and its floor."""
