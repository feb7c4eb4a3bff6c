"""Commands that say how good it is, and which method would be better."""
