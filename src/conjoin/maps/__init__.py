"""Fitted maps from one frame to another: apply, compose, save, load."""
