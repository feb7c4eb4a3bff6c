"""Budgets in units of work, what work costs, and checkpoints."""
