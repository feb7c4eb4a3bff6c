"""The index and its store, exact and approximate search, hubness, calibration, ranking."""
