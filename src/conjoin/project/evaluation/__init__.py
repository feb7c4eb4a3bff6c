"""How good what is in use is, and which method would be better."""
