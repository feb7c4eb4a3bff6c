"""Maps of several views into one space, solved without training."""
