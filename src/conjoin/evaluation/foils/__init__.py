"""Foils: texts made false of what they describe, by rules that say what they keep."""
