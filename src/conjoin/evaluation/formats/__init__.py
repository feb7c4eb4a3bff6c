"""Published benchmark formats: each layout is read to a task and written again."""
