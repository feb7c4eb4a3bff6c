"""The index: its store, versions, filters and exports."""
