"""Ranks of partners and what is computed from them."""
