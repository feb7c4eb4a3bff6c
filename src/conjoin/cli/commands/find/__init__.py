"""Verbs that find items: read, ask, tune, explain; a file each."""
