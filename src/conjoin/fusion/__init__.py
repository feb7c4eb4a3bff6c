"""Several modalities, some absent, to one vector and a decision; how far each is to be trusted."""
