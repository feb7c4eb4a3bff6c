"""How the experts of a merge differ from their base and from each other, layer by layer."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from conjoin.models.merging.base import Models, row_of

_LAYER = re.compile(r"(?:^|\.)(\d+)\.")


@dataclass(frozen=True)
class Layer:
    """What experts added to the tensors of one layer.

    Parameters
    ----------
    name : of the layer: the tensors' common part.
    norms : by expert, ``‖δ‖ / ‖base‖``.
    cosine : mean cosine of the experts' deltas over pairs; nan for one expert.
    conflicts : share of the numbers changed by two experts or more whose changes differ in sign.
    still : by expert, share of rows left exactly as they were.
    """

    name: str
    norms: tuple[float, ...]
    cosine: float
    conflicts: float
    still: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        cosine = None if np.isnan(self.cosine) else self.cosine
        return {"layer": self.name, "norms": self.norms, "cosine": cosine,
                "conflicts": self.conflicts, "still": self.still}  # fmt: skip


def layer_of(name: str) -> str:
    """The layer a tensor belongs to: up to its first number, else the first part of its name.

    >>> layer_of("encoder.layer.3.attention.self.query.weight"), layer_of("embeddings.word.weight")
    ('encoder.layer.3', 'embeddings')
    """
    found = _LAYER.search(name)
    if found:
        return name[: found.end(1)]
    return name.partition(".")[0]


def explain(models: Models) -> list[Layer]:
    """Read every tensor once, in blocks."""
    sums: dict[str, _Sums] = {}
    for name in models.names:
        held = sums.setdefault(layer_of(name), _Sums(len(models.experts)))
        row = row_of(models.shape(name))
        for part in models.parts(name):
            held.add(part.base, part.deltas, row)
    return [held.layer(name) for name, held in sums.items()]


class _Sums:
    def __init__(self, count: int) -> None:
        self.base, self.gram = 0.0, np.zeros((count, count))
        self.both = self.against = self.rows = 0
        self.still = np.zeros(count)

    def add(self, base: np.ndarray, deltas: list[np.ndarray], row: int) -> None:
        rows = np.stack(deltas)
        self.base += float(base @ base)
        self.gram += rows @ rows.T
        up, down = (rows > 0).sum(axis=0), (rows < 0).sum(axis=0)
        self.both += int((up + down > 1).sum())
        self.against += int(((up > 0) & (down > 0)).sum())
        self.rows += rows.shape[1] // row
        self.still += (rows.reshape(len(rows), -1, row) == 0).all(axis=2).sum(axis=1)

    def layer(self, name: str) -> Layer:
        size = np.sqrt(np.diag(self.gram))
        scale = np.outer(size, size)
        cosines = np.divide(self.gram, scale, out=np.zeros_like(self.gram), where=scale > 0)
        above = cosines[np.triu_indices(len(size), 1)]
        return Layer(
            name, tuple(float(one) for one in size / (np.sqrt(self.base) or 1.0)),
            float(above.mean()) if len(above) else float("nan"),
            self.against / self.both if self.both else 0.0,
            tuple(float(one) for one in self.still / max(1, self.rows)),
        )  # fmt: skip
