"""Mixing, reranking, truncating and explaining ranked lists."""
