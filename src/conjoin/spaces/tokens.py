"""Several vectors a row, stored flat with offsets."""

from dataclasses import dataclass

import numpy as np

from conjoin.errors import ConjoinError


@dataclass(frozen=True, eq=False)
class Tokens:
    """Token sets: row ``i`` owns ``vectors[offsets[i]:offsets[i + 1]]``.

    Parameters
    ----------
    vectors : ``[Σt, d]`` floats.
    offsets : ``[n + 1]`` rising integers from 0 to ``Σt``.
    """

    vectors: np.ndarray
    offsets: np.ndarray

    def __post_init__(self) -> None:
        for name, kinds in (("vectors", "fiu"), ("offsets", "iu")):
            given = getattr(self, name)
            if getattr(getattr(given, "dtype", None), "kind", "O") not in kinds:
                raise ConjoinError(
                    name, f"is a {type(given).__name__} that holds no numbers",
                    "give arrays: vectors [t, d] and offsets [n + 1]",
                )  # fmt: skip
        ends = self.offsets
        if ends.ndim != 1 or len(ends) == 0 or ends[0] != 0 or ends[-1] != len(self.vectors):
            raise ConjoinError(
                "offsets", "do not span the vectors", "give n + 1 offsets from 0 to len(vectors)"
            )
        if np.any(np.diff(ends) < 0):
            raise ConjoinError("offsets", "fall somewhere", "give them in rising order")

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> np.ndarray:
        return self.vectors[self.offsets[row] : self.offsets[row + 1]]

    @property
    def dim(self) -> int:
        """Dimensions of a token."""
        return int(self.vectors.shape[1])

    def take(self, rows: np.ndarray) -> "Tokens":
        """The token sets of ``rows``, in that order."""
        counts = np.diff(self.offsets)[rows]
        ends = np.concatenate([[0], np.cumsum(counts)])
        starts = np.repeat(self.offsets[:-1][rows] - ends[:-1], counts)
        return Tokens(self.vectors[starts + np.arange(ends[-1])], ends)

    def mean(self) -> np.ndarray:
        """Mean of each row's tokens ``[n, d]``; an empty row gives zeros."""
        out = np.zeros((len(self), self.dim), dtype=np.float32)
        counts = np.diff(self.offsets)
        full = counts > 0
        if full.any():
            sums = np.add.reduceat(self.vectors, self.offsets[:-1][full], axis=0)
            out[full] = sums / counts[full, None]
        return out
