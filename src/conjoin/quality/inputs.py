"""What the doctor looks at: stored vectors, who belongs together, and a few columns.

Vectors are reduced once, to at most :data:`WIDTH` dimensions, and their neighbours found once;
every look at them shares both. Nothing holds a table of all rows against all.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from conjoin.quality.neighbours import neighbours
from conjoin.spaces import Pairs, Space, unit

#: Dimensions in which neighbours are looked for and pairs are bound.
WIDTH = 256
#: Neighbours found of each row.
NEAR = 30
#: Fewest rows of which neighbours mean anything.
FEWEST = 8

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class Case:
    """Everything that is examined.

    Parameters
    ----------
    spaces : stored vectors by modality; token sets are read as their means.
    pairs : all lines, those of held-out items too; ``None`` where nothing is paired.
    items : ``[n]`` ids of the table, in its order.
    groups : group of each item; items of one group are known to belong together.
    held : ids that are held out.
    columns : values of label-like columns, in the order of ``items``.
    texts : how to read the cells of modalities that are text, as ``(id, words)``.
    failed : reasons of the cells that could not be embedded, by modality and id.
    aligner : the method in use, where there is one that is quick to fit; else CCA.
    labels : columns that are labels; those that look like some where none is named.
    """

    spaces: Mapping[str, Space]
    pairs: Pairs | None
    items: np.ndarray
    groups: Mapping[str, str] = field(default_factory=dict)
    held: frozenset[str] = frozenset()
    columns: Mapping[str, list[Any]] = field(default_factory=dict)
    texts: Mapping[str, Callable[[], Iterable[tuple[str, str]]]] = field(default_factory=dict)
    failed: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    aligner: Any = None
    seed: int = 0
    labels: tuple[str, ...] = ()

    @cached_property
    def views(self) -> dict[str, "View"]:
        """The modalities as the detectors read them."""
        return {name: View(name, space.pooled(), self) for name, space in self.spaces.items()}

    @cached_property
    def numbers(self) -> dict[str, int]:
        """A number for each group that has vectors."""
        found: dict[str, int] = {}
        for space in self.spaces.values():
            for item in space.ids.tolist():
                found.setdefault(self.group(str(item)), len(found))
        return found

    def group(self, item: str) -> str:
        """The group of an item; itself where it has none."""
        return self.groups.get(item, item)

    def paired(self, pairs: Pairs) -> "Case":
        """The same with other pairs; what was found out about the modalities is shared."""
        made = replace(self, pairs=pairs)
        made.__dict__["views"] = self.views
        return made


class View:
    """One modality: reduced vectors, equal rows as one, neighbours of each."""

    def __init__(self, name: str, space: Space, case: Case):
        self.name, self.space, self.case = name, space, case

    def __len__(self) -> int:
        return len(self.space)

    @cached_property
    def sound(self) -> np.ndarray:
        """``[n]`` booleans: rows that are finite and not zero."""
        good = np.empty(len(self.space), dtype=bool)
        for start, block in self.space.blocks():
            with np.errstate(invalid="ignore", over="ignore"):
                good[start : start + len(block)] = np.isfinite(block).all(axis=1) & block.any(
                    axis=1
                )
        return good

    @cached_property
    def groups(self) -> np.ndarray:
        """``[n]`` number of each row's group, the same in every view."""
        number = self.case.numbers
        return np.array([number[self.case.group(str(i))] for i in self.space.ids], dtype=np.int64)

    @cached_property
    def mean(self) -> np.ndarray:
        """Mean of the sound rows."""
        total, count = np.zeros(self.space.dim), 0
        for start, block in self.space.blocks():
            good = block[self.sound[start : start + len(block)]]
            total += good.sum(axis=0, dtype=np.float64)
            count += len(good)
        return (total / max(count, 1)).astype(np.float32)

    def raw(self, rows: np.ndarray | slice) -> np.ndarray:
        """Vectors of some rows as the encoder gave them, float32."""
        vectors: Any = self.space.vectors  # pooled: never token sets
        return np.asarray(vectors[rows], dtype=np.float32)

    def centred(self, rows: np.ndarray | slice) -> np.ndarray:
        """Full vectors of some rows, less the mean, of length 1; rows that are not sound are 0."""
        taken = self.raw(rows)
        return unit(np.where(self.sound[rows, None], taken - self.mean, 0))

    @cached_property
    def reduced(self) -> np.ndarray:
        """``[n, ≤ WIDTH]`` leading directions of the centred rows, of length 1."""
        n, dim = len(self.space), self.space.dim
        turn = None
        if dim > WIDTH:
            scatter = np.zeros((dim, dim))
            for start in range(0, n, 4096):
                block = self.centred(slice(start, start + 4096))
                scatter += block.T @ block
            turn = _leading(scatter, WIDTH)
        out = np.empty((n, min(dim, WIDTH)), dtype=np.float32)
        for start in range(0, n, 4096):
            block = self.centred(slice(start, start + 4096))
            out[start : start + len(block)] = block if turn is None else unit(block @ turn)
        return out

    @cached_property
    def same(self) -> np.ndarray:
        """``[n]`` number of what each row shows: rows of equal content, or of equal bytes."""
        keys: dict[Any, int] = {}
        out = np.empty(len(self.space), dtype=np.int64)
        for start, block in self.space.blocks():
            for place, row in enumerate(block, start):
                known = int(self.space.content[place])
                out[place] = keys.setdefault(known or row.tobytes(), len(keys))
        return out

    @cached_property
    def first(self) -> np.ndarray:
        """``[u]`` the first sound row of each thing shown."""
        rows = np.flatnonzero(self.sound)
        return np.sort(rows[np.unique(self.same[rows], return_index=True)[1]])

    @cached_property
    def near(self) -> np.ndarray:
        """``[u, k]`` neighbours of each of :attr:`first`, as row numbers, nearest first; of many
        rows nearly all of them (:mod:`~conjoin.quality.neighbours`).
        """
        if len(self.first) < FEWEST:
            return np.empty((len(self.first), 0), dtype=np.int64)
        count = min(NEAR, len(self.first) - 1)
        return self.first[neighbours(self.reduced[self.first], count, seed=self.case.seed)]

    @cached_property
    def gaps(self) -> np.ndarray:
        """``[u, k]`` one less the cosine of each neighbour, in the reduced space."""
        x = self.reduced
        out = np.empty(self.near.shape, dtype=np.float32)
        for start in range(0, len(out), 4096):
            part = slice(start, start + 4096)
            out[part] = 1 - np.einsum("nd,nkd->nk", x[self.first[part]], x[self.near[part]])
        return np.maximum(out, 0)

    @cached_property
    def spread(self) -> np.ndarray:
        """``[n]`` how far the further neighbours of each row lie: its local scale, above 0."""
        if self.gaps.shape[1] == 0:
            return np.ones(len(self.space))
        far = self.gaps[:, min(4, self.gaps.shape[1] - 1) :].mean(axis=1)
        out = np.full(len(self.space), float(np.median(far)))
        out[self.first] = far
        return np.maximum(out, 1e-6)


def _leading(scatter: np.ndarray, count: int) -> np.ndarray:
    """Leading eigenvectors ``[d, count]`` of a symmetric matrix, by a random subspace turned
    towards them twice (Halko et al. 2011); exact where that would not save anything.
    """
    dim = len(scatter)
    if dim <= 3 * count:
        return np.linalg.eigh(scatter)[1][:, ::-1][:, :count].astype(np.float32)
    basis = np.random.default_rng([0, dim]).standard_normal((dim, count + 32))
    for _ in range(3):
        basis = np.linalg.qr(scatter @ basis)[0]
    turn = np.linalg.eigh(basis.T @ scatter @ basis)[1][:, ::-1][:, :count]
    found: np.ndarray = (basis @ turn).astype(np.float32)
    return found
