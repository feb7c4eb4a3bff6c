"""Maps of several views into one space, trained on batches of pairs."""
