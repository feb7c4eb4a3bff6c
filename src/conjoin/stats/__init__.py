"""Intervals, paired effects and corrections for many comparisons."""
