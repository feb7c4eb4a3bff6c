"""Texts of any language by hashed character n-grams."""

import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from conjoin.encoders.media.media import read_text
from conjoin.encoders.names import uri
from conjoin.encoders.options import Options
from conjoin.spaces import Frame

CHARACTERS = 8192


class CharGram:
    """Signed hashes of character 1- to 5-grams inside words, their counts damped, length 1.

    The text is folded (NFKC, case), cut at 8,192 characters. Each n-gram of a word (its edges
    count as a space) falls into one of ``dim`` buckets with a sign by its hash, so that
    collisions cancel on average: E⟨x, y⟩ is the product of the n-gram counts. A bucket's value v
    becomes sign(v)·√|v|.

    Options: ``dim`` (1024), buckets; ``longest`` (5), characters of the longest n-gram.

    Source: Weinberger et al. 2009 (feature hashing).
    """

    kind, batch_size, runtime = "text", 256, "scikit-learn"

    def __init__(self, dim: int = 1024, longest: int = 5, address: str = "builtin:chargram"):
        from sklearn.feature_extraction.text import HashingVectorizer

        self.uri = address
        self._hasher = HashingVectorizer(
            analyzer="char_wb", ngram_range=(1, longest), n_features=dim, norm=None,
            lowercase=False, alternate_sign=True, dtype=np.float32,
        )  # fmt: skip
        recipe = {
            "method": "chargram 1", "fold": "NFKC casefold", "longest": longest,
            "damp": "signed root", "norm": "l2",
        }  # fmt: skip
        self.frame = Frame.mint("encoder", "chargram", dim, recipe)

    @classmethod
    def open(cls, rest: str, options: Mapping[str, str], cache: Path) -> "CharGram":
        """Open by URI."""
        given = Options("builtin:chargram", options, ("dim", "longest"))
        dim, longest = given.whole("dim", 1024, 16, 1 << 20), given.whole("longest", 5, 1, 8)
        return cls(dim, longest, uri("builtin", "chargram", options))

    def decode(self, cell: Any) -> str:
        """Folded text."""
        return unicodedata.normalize("NFKC", read_text(cell)[:CHARACTERS]).casefold()

    def length(self, item: str) -> int:
        """All texts cost about the same."""
        return 1

    def forward(self, items: Sequence[str]) -> np.ndarray:
        """Folded texts → ``[n, dim]``."""
        counts = self._hasher.transform(items).toarray()
        out = np.sign(counts) * np.sqrt(np.abs(counts))
        length = np.linalg.norm(out, axis=1, keepdims=True)
        return (out / np.where(length > 0, length, 1)).astype(np.float32)
