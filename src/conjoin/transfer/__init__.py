"""conjoin: transfer."""
