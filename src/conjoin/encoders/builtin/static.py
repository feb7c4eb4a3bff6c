"""Texts by averaged static token vectors."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from conjoin.encoders.base import CellError
from conjoin.encoders.builtin.bundled import package_file, weights_hash
from conjoin.encoders.media.media import read_text
from conjoin.encoders.names import uri
from conjoin.encoders.options import Options
from conjoin.errors import MissingDependency, optional
from conjoin.spaces import Frame

_TABLE = "weights/l2_supercat_256.safetensors"
_TOKENIZER = "tokenizers/l2_supercat_tokenizer_config.json"


class StaticText:
    """The mean of WordLlama's token vectors, scaled to length 1.

    The package's files are read as they are; nothing of it is imported and nothing is fetched.

    Options: ``dim`` (256), first dimensions kept: 64, 128 or 256.

    Source: Miller 2024, WordLlama.
    """

    kind, batch_size, runtime = "text", 256, "numpy"

    def __init__(self, dim: int = 256, address: str = "builtin:text-static"):
        self.uri = address
        self._tokenizer = optional("tokenizers", "offline").Tokenizer.from_file(
            str(package_file("wordllama", _TOKENIZER))
        )
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        from safetensors import safe_open

        path = package_file("wordllama", _TABLE)
        with safe_open(path, framework="np") as file:
            self._table = file.get_tensor("embedding.weight")[:, :dim].astype(np.float32)
        recipe = {
            "weights": weights_hash(path), "tokenizer": weights_hash(
                package_file("wordllama", _TOKENIZER)), "pooling": "mean", "norm": "l2",
            "precision": "float32",
        }  # fmt: skip
        self.frame = Frame.mint("encoder", "wordllama", dim, recipe)

    @classmethod
    def open(cls, rest: str, options: Mapping[str, str], cache: Path) -> "StaticText":
        """Open by URI."""
        if find_spec("wordllama") is None:
            raise MissingDependency(
                "wordllama", "is not installed", 'run: pip install "conjoin[offline]"'
            )
        given = Options("builtin:text-static", options, ("dim",))
        dim = int(given.text("dim", "256", ("64", "128", "256")))
        return cls(dim, uri("builtin", "text-static", options))

    def decode(self, cell: Any) -> np.ndarray:
        """Token numbers of a text."""
        tokens = self._tokenizer.encode(read_text(cell), add_special_tokens=False).ids
        if not tokens:
            raise CellError("no token in the text")
        return np.minimum(tokens, len(self._table) - 1)

    def length(self, item: np.ndarray) -> int:
        """Tokens."""
        return len(item)

    def forward(self, items: Sequence[np.ndarray]) -> np.ndarray:
        """Token numbers → ``[n, dim]``."""
        starts = np.cumsum([0, *(len(item) for item in items[:-1])])
        sums = np.add.reduceat(self._table[np.concatenate(items)], starts, axis=0)
        length = np.linalg.norm(sums, axis=1, keepdims=True)
        return (sums / np.where(length > 0, length, 1)).astype(np.float32)
