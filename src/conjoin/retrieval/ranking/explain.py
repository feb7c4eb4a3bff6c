"""Why a hit is a hit: the parts of its score, and the training pairs behind it.

Nothing here runs an encoder: a score is made of stored vectors, stored offsets and stored maps.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from conjoin.alignment.binding import Binding
from conjoin.alignment.closed_form.covariance import Joint, Root
from conjoin.alignment.closed_form.linear import Side
from conjoin.display import Tabular
from conjoin.errors import ConjoinError, nearest
from conjoin.maps.base import apply_rows
from conjoin.retrieval.hits import MIXED, Hits
from conjoin.retrieval.index.index import Index
from conjoin.retrieval.ranking.modality_fair import FUSE, Mixing
from conjoin.spaces import Pairs, Space, unit

#: Draws of random pairs deleted for comparison.
DRAWS = 5
#: How the pairs behind a hit were found.
BY_INFLUENCE = "influence on the closed form's moments"
BY_NEARNESS = "nearness in the joint space: this method has no closed form to delete pairs from"


@dataclass(frozen=True)
class Share:
    """One part of a score."""

    name: str
    value: float


@dataclass(frozen=True)
class Because:
    """A training pair behind a hit: ids by modality, and its weight, the largest being 1."""

    ids: Mapping[str, str]
    weight: float
    line: int


@dataclass(frozen=True)
class Deleted:
    """What deleting pairs and fitting again did to the cosine of query and hit.

    Parameters
    ----------
    named : drop where the pairs named are deleted; ``random`` the mean drop for as many others,
        ``spread`` the standard deviation over draws.
    """

    pairs: int
    named: float
    random: float
    spread: float


@dataclass(frozen=True, repr=False)
class Explained(Tabular):
    """Why a hit has its score.

    Parameters
    ----------
    shares : parts that sum to ``score``.
    pairs : training pairs behind it, strongest first; ``how`` says how they were found.
    """

    id: str
    modality: str
    score: float
    shares: tuple[Share, ...]
    pairs: tuple[Because, ...]
    how: str
    deleted: Deleted | None = None

    def table(self) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        """A row per training pair behind the score."""
        names = list(self.pairs[0].ids) if self.pairs else []
        return (*names, "weight"), [
            (*(one.ids[name] for name in names), one.weight) for one in self.pairs
        ]

    def to_json(self) -> dict[str, Any]:
        """JSON-able fields; the keys are stable."""
        return {
            "id": self.id, "modality": self.modality, "score": self.score,
            "shares": [dict(s.__dict__) for s in self.shares], "how": self.how,
            "pairs": [{"ids": dict(p.ids), "weight": p.weight} for p in self.pairs],
            "deleted": None if self.deleted is None else dict(self.deleted.__dict__),
        }  # fmt: skip


def shares(
    index: Index, query: Space, source: str, target: str, item: str
) -> tuple[float, int, tuple[Share, ...]]:
    """The score of an item in a list, its row, and the parts that sum to the score.

    ``score = scale · cos(q, x) − Σ_t g_t offset_t``: the likeness, and what each bank marks the
    row down by. A gallery that was moved has its likeness split into that of the row as it was
    and what moving it changed.

    Raises
    ------
    ConjoinError : the item is not in the list's modality, or the frame scores token sets.
    """
    if index.frame.score == "maxsim":
        raise ConjoinError("explain", "token sets are scored token by token", "use another method")
    space = index.spaces[target]
    rows = np.flatnonzero(space.ids == item)
    if not len(rows):
        near = nearest(item, [str(i) for i in space.ids])
        raise ConjoinError("--hit", f"{item!r} is not in {target}", near)
    q = index.frame.query(np.asarray(query.vectors, dtype=np.float32))
    held: Any = space.vectors
    x = np.asarray(held[rows], dtype=np.float32)
    like = (x @ q[0]).astype(np.float64)
    name = "cosine" if index.frame.score == "cosine" else "inner product"
    correction = index.corrections.get((source, target))
    if correction is None:
        best = int(np.argmax(like))
        return float(like[best]), int(rows[best]), (Share(name, float(like[best])),)
    moved = np.asarray(correction.items(x) @ correction.queries(q)[0], dtype=np.float64)
    gallery = held if correction.active is not None else x
    gate = correction.gate(correction.queries(q), np.asarray(gallery, dtype=np.float32))
    offset = np.asarray(correction.offset[rows], dtype=np.float64)
    taken = offset if gate is None else offset * gate[0]
    total = correction.scale * moved - taken.sum(axis=1)
    best = int(np.argmax(total))
    parts = [Share(f"{correction.scale:g} × {name}", correction.scale * float(like[best]))]
    if correction.gallery_map is not None:
        parts.append(Share("gallery moved", correction.scale * float(moved[best] - like[best])))
    labels = ("hub offset (queries)", "hub offset (items)")
    parts += [
        Share(labels[t], -float(value))
        for t, value in enumerate(taken[best])
        if correction.gallery_map is None
    ]
    return float(total[best]), int(rows[best]), tuple(parts)


def mixed_shares(hits: Hits, mixing: Mixing, item: str, source: str | None) -> tuple[Share, ...]:
    """What each list adds to an item's worth in the mixed list; they sum to it.

    By reciprocal rank ``1 / (60 + rank)`` of each list; by probability each list's part of
    ``log(1 − P)``, scaled to the whole; by other ways all comes from the list it is shown from.

    Raises
    ------
    ConjoinError : the item is in no list.
    """
    lists = {name: found for name, found in hits.lists.items() if name != MIXED}
    own = {name: hit for name, found in lists.items() for hit in found if hit.id == item}
    whole = [hit for hit in hits.lists.get(MIXED, ()) if hit.id == item]
    if not own or not whole:
        raise ConjoinError("--hit", f"{item!r} is not in the mixed list", "ask for more hits: -k")
    method = mixing.method if mixing.covers(source, lists) else "rrf"
    total = whole[0].score
    if method == "rrf":
        return tuple(Share(f"{n}: rank {h.rank}", 1 / (FUSE + h.rank)) for n, h in own.items())
    if method == "probability":
        logs = {name: np.log1p(-float(hit.probability or 0.0)) for name, hit in own.items()}
        scale = total / sum(logs.values())
        return tuple(Share(name, float(log * scale)) for name, log in logs.items())
    shown = whole[0].modality
    return tuple(Share(name, total if name == shown else 0.0) for name in own)


class Behind:
    """The training pairs behind hits of one binding.

    Parameters
    ----------
    spaces : encoder outputs of the bound modalities; ``train`` the pairs it was fitted to.
    """

    def __init__(self, binding: Binding, spaces: Mapping[str, Space], train: Pairs):
        self.binding = binding
        self.hub = binding.choice.hub
        order = [self.hub, *(name for name in train.names if name != self.hub)]
        self.views: dict[str, Any] = {name: spaces[name].pooled().vectors for name in order}
        self.spaces, self.train = spaces, train.select(order)
        self.aligner = binding.choice.make()
        # Maps added to a frozen frame later are not of the first solution.
        self.closed = hasattr(self.aligner, "solve") and binding.frame.score == "cosine"
        self._joint: Joint | None = None
        self._bound: dict[str, np.ndarray] = {}

    @property
    def how(self) -> str:
        """How pairs are found."""
        return BY_INFLUENCE if self.closed else BY_NEARNESS

    @property
    def joint(self) -> Joint:
        """The moments of all training pairs."""
        if self._joint is None:
            self._joint = Joint.of(self.views, self.train)
        return self._joint

    def bound(self, name: str) -> np.ndarray:
        """Every row of a view where the binding places it, at length 1."""
        if name not in self._bound:
            rows: Any = apply_rows(self.binding.maps[name], self.views[name])
            self._bound[name] = unit(np.asarray(rows, dtype=np.float64))
        return self._bound[name]

    def influence(
        self, source: str, query: np.ndarray, target: str, item: np.ndarray
    ) -> np.ndarray:
        """``[m]`` how much each training line holds up the cosine of a query and an item.

        A closed form places a row by its kernel to the training rows of its modality,
        ``k(q, a_i) = (q − μ)ᵀ (C + λ s I)⁻¹ (a_i − μ)``, and their partners' places ``z_i``. A
        line's part in the cosine ``c`` is ``k(q, a_i) z_i · (x − c q)`` from the query's side, and
        likewise from the item's. Without a closed form it is the product of the cosines of the
        line's rows with query and item.

        Parameters
        ----------
        query, item : encoder outputs ``[d]``.
        """
        q, x = (
            unit(np.asarray(self.binding.maps[name].apply(v[None]), dtype=np.float64))[0]
            for name, v in ((source, query), (target, item))
        )
        like = float(q @ x)
        total = np.zeros(len(self.train))
        sides = ((source, query, x - like * q, q), (target, item, q - like * x, x))
        for name, raw, toward, place in sides:
            if self.closed and self._fixed(name):
                continue
            near = self._kernel(name, raw, place)
            for other in self.train.names:
                if other == name:
                    continue
                own, partner = self.train.column(name), self.train.column(other)
                both = (own >= 0) & (partner >= 0)
                aim = toward if self.closed else (x if name == source else q)
                total[both] += near[own[both]] * (self.bound(other)[partner[both]] @ aim)
        return total

    def _fixed(self, name: str) -> bool:
        """Whether no pair moves a view: the hub of a method that leaves it in place."""
        return bool(getattr(self.aligner, "directed", False)) and name == self.hub

    def _kernel(self, name: str, raw: np.ndarray, place: np.ndarray) -> np.ndarray:
        """``[n]`` of one row with every row of its view."""
        if not self.closed:
            return np.asarray(np.maximum(self.bound(name) @ place, 0.0))
        side = Side.of(self.joint, name)
        root = Root.of(side.cov, getattr(self.aligner, "lam", 1.0), side.eps)
        weight = root.back(root.whiten((np.asarray(raw, np.float64) - side.mean)[:, None]))[:, 0]
        found = np.empty(len(self.views[name]))
        for start in range(0, len(found), 8192):
            part = np.asarray(self.views[name][start : start + 8192], dtype=np.float64)
            found[start : start + len(part)] = (part - side.mean) @ weight
        return found

    def pairs(
        self, source: str, query: np.ndarray, target: str, item: np.ndarray, count: int = 5
    ) -> tuple[Because, ...]:
        """The training pairs that hold up a cosine most."""
        worth = self.influence(source, query, target, item)
        order = np.argsort(-worth, kind="stable")[:count]
        most = max(float(worth[order[0]]), 1e-12) if len(order) else 1.0
        found = []
        for line in order:
            rows = dict(zip(self.train.names, self.train.rows[line], strict=True))
            ids = {name: str(self.spaces[name].ids[row]) for name, row in rows.items() if row >= 0}
            found.append(Because(ids, float(worth[line]) / most, int(line)))
        return tuple(found)

    def delete(
        self, source: str, query: np.ndarray, target: str, item: np.ndarray,
        lines: np.ndarray, seed: int = 0,
    ) -> Deleted:  # fmt: skip
        """Delete lines, fit again, and compare with deleting as many random ones.

        Raises
        ------
        ConjoinError : the method has no closed form.
        """
        if not self.closed:
            raise ConjoinError(
                "--refit", f"{self.binding.choice.method} has no closed form", "leave --refit out"
            )

        def cosine(gone: np.ndarray) -> float:
            joint = self.joint
            if len(gone):
                joint = joint - Joint.of(self.views, self.train.take(np.sort(gone)))
            maps = self.aligner.solve(joint)
            q, x = (
                unit(np.asarray(maps[name].apply(v[None]), dtype=np.float64))[0]
                for name, v in ((source, query), (target, item))
            )
            return float(q @ x)

        before = cosine(np.empty(0, dtype=np.int64))
        rng = np.random.default_rng([seed, 13])
        others = np.setdiff1d(np.arange(len(self.train)), lines)
        drops = [before - cosine(rng.permutation(others)[: len(lines)]) for _ in range(DRAWS)]
        named = before - cosine(np.asarray(lines))
        return Deleted(len(lines), named, float(np.mean(drops)), float(np.std(drops, ddof=1)))


def explain(
    index: Index,
    behind: Behind,
    query: Space,
    source: str,
    target: str,
    item: str,
    *,
    count: int = 5,
    refit: bool = False,
) -> Explained:
    """Why an item has its score in a list.

    Parameters
    ----------
    query : one row of encoder output.
    source, target : modalities of the query and of the list.
    count : training pairs named.
    refit : also delete them and fit again.
    """
    bound = behind.binding.bind(source, query)
    score, row, parts = shares(index, bound, source, target, item)
    raw = np.asarray(query.pooled().vectors[0], dtype=np.float64)
    own = behind.spaces[target].pooled()
    held = np.flatnonzero((own.ids == item) & (own.parts == index.spaces[target].parts[row]))
    if not len(held):
        raise ConjoinError("--hit", f"{item!r} has no stored vector", "run: conjoin embed")
    cell = np.asarray(own.vectors[held[0]], dtype=np.float64)
    pairs = behind.pairs(source, raw, target, cell, count)
    deleted = None
    if refit and pairs:
        deleted = behind.delete(source, raw, target, cell, np.array([p.line for p in pairs]))
    return Explained(item, target, score, parts, pairs, behind.how, deleted)
