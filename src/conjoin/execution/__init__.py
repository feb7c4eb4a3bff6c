"""Tasks and engines that run them, budgets in units of work, what work costs, and checkpoints."""
