"""Wrong pairs, duplicates, leaks and what is missing; decisions about them."""
