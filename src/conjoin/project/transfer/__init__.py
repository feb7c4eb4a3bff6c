"""Heads, students and fusions of a workspace."""
