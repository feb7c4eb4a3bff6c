"""Commands that classify, fuse and distil."""
