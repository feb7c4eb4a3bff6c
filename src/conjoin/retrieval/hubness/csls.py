"""Corrections of a ranking by what is known of the gallery: fewer hubs, the same inner product."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from conjoin.catalogue import Search, find
from conjoin.errors import ConjoinError
from conjoin.maps.base import Map, as_array, load_map, save_map
from conjoin.metrics.retrieval.ranks import Ranking, rank_queries
from conjoin.metrics.retrieval.relevance import Relevance
from conjoin.retrieval.engines.exact import top_k
from conjoin.retrieval.engines.kernels import Tiles
from conjoin.spaces import Rows, Tokens, unit
from conjoin.storage.files import map_arrays, write_arrays

#: Gallery and bank rows compared at a time.
TILE = 1024, 4096
#: Members of a group whose largest is taken before any of them is looked at.
GROUP = 32


@runtime_checkable
class Corrector(Protocol):
    """A frozen dataclass of hyper-parameters that fits a :class:`Correction`.

    Vectors are given as an index holds them: ``Frame.query`` and ``Frame.item``.
    """

    name: str

    def fit(
        self, gallery: Rows, query_bank: Rows, gallery_bank: Rows | None = None
    ) -> "Correction":
        """Fit to the gallery ``[n, d]`` and queries ``[b, d]`` like those to come."""
        ...

    def extend(self, fitted: "Correction", new: Rows) -> "Correction":
        """The correction of the old rows followed by ``new``, from what ``fitted`` kept."""
        ...


@dataclass(frozen=True, eq=False)
class Correction:
    """A gallery's correction, as data: ``score = scale · q·x_j − Σ_t g_t(q) offset[j, t]``.

    The gate ``g_t(q)`` is ``active`` at the row most alike to ``q``, or 1. It is ``t`` more
    coordinates of any inner-product index.

    Parameters
    ----------
    method : name of the catalogue row that fitted it.
    scale : above 0.
    offset : ``[n, t]``, one line a gallery row.
    active : ``[n, t]`` booleans, or ``None``.
    query_map, gallery_map : applied to each side first, into one frame; ``None`` is the identity.
    fields : hyper-parameters of the method.
    state : arrays from which new gallery rows get their offsets.
    """

    method: str
    scale: float
    offset: np.ndarray
    active: np.ndarray | None = None
    query_map: Map | None = None
    gallery_map: Map | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    state: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        bad = self.offset.ndim != 2 or (
            self.active is not None and self.active.shape != self.offset.shape
        )
        if bad or not self.scale > 0 or not np.isfinite(self.offset).all():
            raise ConjoinError(
                f"correction {self.method}",
                f"scale {self.scale}, offset {self.offset.shape}",
                "give a scale above 0 and finite offsets [n, t]",
            )

    def __len__(self) -> int:
        return len(self.offset)

    def queries(self, q: np.ndarray) -> np.ndarray:
        """Queries where they are scored."""
        return q if self.query_map is None else self.query_map.apply(q)

    def items(self, x: Rows) -> Rows:
        """Gallery rows where they are scored."""
        return x if self.gallery_map is None else self.gallery_map.apply(x)

    def gate(self, q: np.ndarray, items: Any) -> np.ndarray | None:
        """``[q, t]`` from mapped queries and rows, or ``None`` where all offsets count."""
        if self.active is None:
            return None
        return self.active[top_k(q, items, 1)[1][:, 0]].astype(np.float32)

    def top_k(
        self, q: np.ndarray, items: np.ndarray | Tiles | Any, k: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Corrected scores and rows of raw queries over *mapped* gallery rows."""
        mapped = self.queries(q)
        gate = self.gate(mapped, items)
        return top_k(mapped, items, k, scale=self.scale, offset=self.offset, gate=gate)

    def penalty(self, q: np.ndarray, items: Any, rows: np.ndarray) -> np.ndarray:
        """What was taken off the scores of the rows ``[q, k]``."""
        gate = self.gate(self.queries(q), items)
        at = self.offset[rows]
        return at.sum(axis=2) if gate is None else np.einsum("qkt,qt->qk", at, gate)

    def rank(self, q: np.ndarray, items: Any, wanted: Relevance) -> Ranking:
        """Ranks of the right answers of raw queries over *mapped* gallery rows."""
        mapped = self.queries(q)
        gate = self.gate(mapped, items)
        if gate is None:
            summed = np.asarray(self.offset).sum(axis=1)
            return rank_queries(mapped, items, wanted, scale=self.scale, offset=summed)
        kinds, own = np.unique(gate[wanted.queries], axis=0, return_inverse=True)
        ranks = np.empty(len(wanted.items), dtype=np.int64)
        for number, kind in enumerate(kinds):
            asked = np.flatnonzero(own.ravel() == number)
            lines = np.concatenate([np.arange(*wanted.offsets[i : i + 2]) for i in asked])
            part = Relevance(
                wanted.queries[asked], np.append(0, np.cumsum(wanted.counts[asked])),
                wanted.items[lines], wanted.item_of, len(q) - len(asked),
            )  # fmt: skip
            summed = np.asarray(self.offset) @ kind
            ranks[lines] = rank_queries(
                mapped, items, part, scale=self.scale, offset=summed
            ).ranks  # fmt: skip
        return Ranking(ranks, wanted.offsets, wanted.n_items)

    def without(self, rows: np.ndarray) -> "Correction":
        """Some gallery rows taken away; those that stay are numbered anew and keep their scores.

        A row that only now is the nearest of a bank row opens no gate before the next fit.
        """
        stay = np.ones(len(self), dtype=bool)
        stay[rows] = False
        number = np.append(np.where(stay, np.cumsum(stay) - 1, -1), -1)
        state = dict(self.state)
        for key in [key for key in state if key.endswith("_rows")]:  # nearest to each bank row
            now, scores = number[state[key]], np.array(state[key.replace("_rows", "_scores")])
            scores[now < 0] = -np.inf
            order = np.argsort(-scores, axis=1, kind="stable")
            state[key] = np.take_along_axis(now, order, axis=1)
            state[key.replace("_rows", "_scores")] = np.take_along_axis(scores, order, axis=1)
        active = None if self.active is None else self.active[stay]
        return replace(self, offset=self.offset[stay], active=active, state=state)

    def extend(self, new: Rows) -> "Correction":
        """The correction of this gallery followed by ``new``; equal to fitting both at once."""
        return find("correction", self.method).make(self.fields).extend(self, new)

    def save(self, path: Path) -> None:
        """Write it as a safetensors file, with its maps beside it."""
        arrays = {"offset": self.offset, **{f"state.{k}": v for k, v in self.state.items()}}
        if self.active is not None:
            arrays["active"] = self.active
        for side, held in (("query", self.query_map), ("gallery", self.gallery_map)):
            if held is not None:
                save_map(held, _beside(path, side))
        write_arrays(path, arrays, {
            "correction": self.method, "scale": self.scale, "fields": dict(self.fields),
            "maps": [self.query_map is not None, self.gallery_map is not None],
        })  # fmt: skip

    @classmethod
    def load(cls, path: Path) -> "Correction":
        """Read back what :meth:`save` wrote; arrays stay memory-mapped."""
        arrays, meta = map_arrays(path)
        state = {k.removeprefix("state."): v for k, v in arrays.items() if k.startswith("state.")}
        maps = [
            load_map(_beside(path, side)) if there else None
            for side, there in zip(("query", "gallery"), meta["maps"], strict=True)
        ]
        return cls(
            meta["correction"], float(meta["scale"]), arrays["offset"], arrays.get("active"),
            maps[0], maps[1], meta["fields"], state,
        )  # fmt: skip


def _beside(path: Path, side: str) -> Path:
    return path.with_name(f"{path.stem}.{side}_map.safetensors")


@dataclass(frozen=True)
class CSLS:
    """Cross-domain similarity local scaling: rows near to many queries are marked down.

    ``score(q, x) = 2 cos(q, x) − r(x)``, where ``r(x)`` is the mean cosine of ``x`` to its ``k``
    nearest queries of the bank. The paper also takes off ``r(q)``; it is the same for every row
    of the gallery, changes no ranking and is left out, so scores of two queries are not
    comparable by it.

    Parameters
    ----------
    k : neighbours in the query bank; a smaller bank is used whole.

    References
    ----------
    Conneau et al., Word Translation Without Parallel Data, ICLR 2018.
    """

    k: Annotated[int, Search(1, 200, log=True)] = 10
    name = "csls"
    tries: ClassVar[tuple[Mapping[str, Any], ...]] = ({}, {"k": 30})

    def fit(self, gallery: Rows, query_bank: Rows, gallery_bank: Rows | None = None) -> Correction:
        """Fit; only the bank's directions and the gallery's matter."""
        bank = unit(as_array(query_bank).astype(np.float32))
        if not len(bank):
            raise ConjoinError("csls", "the query bank is empty", "give queries of that modality")
        empty = np.empty((0, 1), dtype=np.float32)
        fitted = Correction("csls", 2.0, empty, fields=asdict(self), state={"query_bank": bank})
        return self.extend(fitted, gallery)

    def extend(self, fitted: Correction, new: Rows) -> Correction:
        """Append the offsets of new gallery rows, a block at a time."""
        added = mean_nearest(new, np.asarray(fitted.state["query_bank"]), [self.k])
        return replace(fitted, offset=np.concatenate([np.asarray(fitted.offset), added]))


def mean_nearest(
    gallery: Rows,
    bank: np.ndarray,
    ks: Sequence[int],
    own: tuple[np.ndarray, np.ndarray] | None = None,
) -> np.ndarray:
    """``[n, len(ks)]`` mean cosine of each row to its ``k`` nearest of a bank, a block at a time.

    Parameters
    ----------
    ks : rising; a smaller bank is used whole.
    own : numbers of gallery and bank rows; where they are the same, the bank row is left out.

    Raises
    ------
    ConjoinError : the gallery holds token sets, or nothing of the bank is left for a row.
    """
    if isinstance(gallery, Tokens):
        raise ConjoinError("csls", "the gallery holds token sets", "pool them first")
    counts = np.arange(1, max(ks) + 1)
    parts = [np.empty((0, len(ks)), dtype=np.float32)]
    for start in range(0, len(gallery), TILE[0]):
        rows = unit(np.asarray(gallery[start : start + TILE[0]], dtype=np.float32))
        mine = None if own is None else own[0][start : start + len(rows), None]
        best = np.full((len(rows), max(ks)), -np.inf, dtype=np.float32)
        for at in range(0, len(bank), TILE[1]):
            tile = rows @ bank[at : at + TILE[1]].T
            if own is not None:
                theirs = own[1][at : at + TILE[1]]
                tile[(mine == theirs) & (theirs >= 0)] = -np.inf
            best = _largest(np.hstack([best, largest(tile, max(ks))]), max(ks))
        there = np.isfinite(best)
        if not there[:, 0].all():
            raise ConjoinError(
                "bank", "holds nothing but a row's own partners", "give more queries"
            )
        means = np.cumsum(np.where(there, best, 0.0), axis=1, dtype=np.float64)
        means /= np.minimum(counts, there.sum(axis=1, keepdims=True))
        parts.append(means[:, [k - 1 for k in ks]].astype(np.float32))
    return np.concatenate(parts)


def largest(values: np.ndarray, k: int) -> np.ndarray:
    """``[n, k]`` the largest of each line, falling; −inf where a line has fewer.

    Lines are cut into groups whose members lie a stride apart. The k-th of the groups' largest is
    no larger than the k-th of all, so nothing below it is looked at.
    """
    n, width = values.shape
    stride = width // GROUP
    if stride < 2 * k:
        return _largest(values, k)
    tops = values[:, : stride * GROUP].reshape(n, GROUP, stride).max(axis=1)
    floor = np.partition(tops, stride - k, axis=1)[:, stride - k]
    line, at = np.divmod(np.flatnonzero(values >= floor[:, None]), width)
    counts = np.bincount(line, minlength=n)
    held = np.full((n, max(k, int(counts.max()))), -np.inf, dtype=values.dtype)
    held[line, np.arange(len(line)) - np.repeat(np.cumsum(counts) - counts, counts)] = values[
        line, at
    ]
    return _largest(held, k)


def _largest(values: np.ndarray, k: int) -> np.ndarray:
    found = np.sort(values, axis=1)[:, : -k - 1 : -1]
    missing = np.full((len(found), k - found.shape[1]), -np.inf, dtype=values.dtype)
    return np.hstack([found, missing])
