"""Tasks of data quality: wrong pairs found, training sets curated."""
