"""Tables and folders of files read as items."""
