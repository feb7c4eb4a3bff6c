"""Whatever makes or changes the weights of encoders."""
