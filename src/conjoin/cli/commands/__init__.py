"""Declarations of commands: names, options and help."""
