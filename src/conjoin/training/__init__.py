"""One training loop, early stopping, networks and augmentations."""
