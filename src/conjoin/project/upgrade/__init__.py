"""Encoder upgrades of a workspace."""
