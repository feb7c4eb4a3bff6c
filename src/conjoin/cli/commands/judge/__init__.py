"""Verbs that judge data, fits and encoders, a file each."""
