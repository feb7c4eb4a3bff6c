"""What papers claim, checked on real data: data sets, tasks, the engine, results."""
