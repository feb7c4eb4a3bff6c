"""conjoin: what is wrong with a workspace's pairs and cells."""
