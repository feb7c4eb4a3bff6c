"""Tasks of encoder upgrades: old vectors served beside new ones."""
