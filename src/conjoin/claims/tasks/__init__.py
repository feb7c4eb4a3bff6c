"""What a claim measures: a protocol on one data set."""
