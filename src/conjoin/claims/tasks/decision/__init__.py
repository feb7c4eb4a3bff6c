"""Tasks of decision: classes from few labels, names or several modalities."""
