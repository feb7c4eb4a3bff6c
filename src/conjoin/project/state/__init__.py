"""What is stored in a workspace: checks, cleaning and deletion."""
