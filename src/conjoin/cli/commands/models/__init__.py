"""Verbs of ``conjoin model``, a file each."""
