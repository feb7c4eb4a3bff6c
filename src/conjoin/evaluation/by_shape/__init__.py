"""How arms are scored on a task, by its shape."""
