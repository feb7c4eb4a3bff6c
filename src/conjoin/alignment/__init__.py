"""Maps of several modalities into one shared space: aligners, and the binding that holds them."""
