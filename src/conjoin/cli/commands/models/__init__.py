"""Verbs of ``conjoin model``, and of what its models do; a file each."""
