"""Corrections of hubness."""
