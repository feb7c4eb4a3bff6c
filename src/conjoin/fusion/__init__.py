"""conjoin: fusion."""
