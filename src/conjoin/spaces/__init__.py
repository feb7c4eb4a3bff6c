"""Frames, spaces, tokens, pairs and batches: the nouns everything else is said in."""

from conjoin.spaces.batch import Batch
from conjoin.spaces.frame import Frame, require_same, unit
from conjoin.spaces.pairs import Pairs
from conjoin.spaces.space import Rows, Space, check_vectors
from conjoin.spaces.tokens import Tokens
from conjoin.storage.digest import digest, stable_hash

__all__ = [
    "Batch",
    "Frame",
    "Pairs",
    "Rows",
    "Space",
    "Tokens",
    "check_vectors",
    "digest",
    "require_same",
    "stable_hash",
    "unit",
]
