"""Commands that keep it current, change encoders, and serve."""
