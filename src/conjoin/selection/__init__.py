"""Which method, settings and reference modality suit the data, by held-out folds."""
