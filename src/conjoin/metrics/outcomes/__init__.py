"""Measures of results: how the same items fared under several conditions."""
