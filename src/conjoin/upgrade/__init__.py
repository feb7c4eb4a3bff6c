"""Encoder upgrades: bridges, plans, guards and recalibration."""
