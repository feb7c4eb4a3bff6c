"""How alike two representations of the same items are."""
