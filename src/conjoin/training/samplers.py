"""Which lines share a batch: negatives are the other lines of it, so this chooses them."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol, runtime_checkable

import numpy as np

from conjoin.catalogue import Choice, Search
from conjoin.errors import ConjoinError

#: Lines of which one near neighbourhood is looked up at a time.
_STEP = 1024


@runtime_checkable
class Sampler(Protocol):
    """A rule that parts the lines of an epoch into batches; every line comes once."""

    def prepare(self, guide: np.ndarray, groups: np.ndarray, size: int, seed: int) -> Any:
        """What is found once a training.

        Parameters
        ----------
        guide : ``[n, d]`` frozen vectors of the lines at unit length; of training lines alone.
        groups : ``[n]`` labels of the lines.
        size : lines of a batch.
        """
        ...

    def epoch(self, state: Any, number: int, rng: np.random.Generator) -> list[np.ndarray]:
        """The batches of one pass, as numbers of lines."""
        ...


@dataclass(frozen=True)
class Random:
    """Uniformly at random: ``np.array_split`` of a permutation. The baseline of every sampler.

    Examples
    --------
    >>> state = Random().prepare(np.eye(6), np.arange(6), 3, 0)
    >>> sorted(np.concatenate(Random().epoch(state, 1, np.random.default_rng(0))).tolist())
    [0, 1, 2, 3, 4, 5]
    """

    def prepare(self, guide: np.ndarray, groups: np.ndarray, size: int, seed: int) -> Any:
        """How many lines, in how many batches."""
        return len(guide), batches_of(len(guide), size)

    def epoch(self, state: Any, number: int, rng: np.random.Generator) -> list[np.ndarray]:
        """A permutation, cut."""
        count, parts = state
        return np.array_split(rng.permutation(count), parts)


@dataclass(frozen=True)
class Neighbour:
    """Hard negatives: random lines, each with those of its ``near`` nearest not yet placed.

    Lines are walked in random order; one not yet placed opens a block with its nearest unplaced
    neighbours by cosine in the guide's space, and blocks are joined in that order and cut into
    batches.

    Parameters
    ----------
    near : neighbours a block holds at most, the line itself aside.

    Source: Xiong et al. 2021 (xiong2021ance) choose negatives by nearest neighbours of the model in
    training; here a frozen guide's.
    """

    near: Annotated[int, Search(1, 64, log=True)] = 7

    def prepare(self, guide: np.ndarray, groups: np.ndarray, size: int, seed: int) -> Any:
        """``[n, near]`` nearest lines of each, and how many batches."""
        count = len(guide)
        k = min(self.near, count - 1)
        found = np.empty((count, k), np.int64)
        for start in range(0, count, _STEP):
            stop = min(count, start + _STEP)
            scores = guide[start:stop] @ guide.T
            scores[np.arange(stop - start), np.arange(start, stop)] = -np.inf
            best = np.argpartition(-scores, max(0, k - 1), axis=1)[:, :k]
            order = np.argsort(-np.take_along_axis(scores, best, 1), axis=1, kind="stable")
            found[start:stop] = np.take_along_axis(best, order, 1)
        return found, batches_of(count, size)

    def epoch(self, state: Any, number: int, rng: np.random.Generator) -> list[np.ndarray]:
        """Blocks of neighbours, joined and cut."""
        near, parts = state
        free = np.ones(len(near), bool)
        order = []
        for line in rng.permutation(len(near)):
            if free[line]:
                block = np.concatenate([[line], near[line][free[near[line]]]])
                free[block] = False
                order.append(block)
        return np.array_split(np.concatenate(order), parts)


@dataclass(frozen=True)
class Contextual:
    """Clusters as batches: k-means of the guide's vectors, packed along a chain of near centroids.

    About ``n / (size · share)`` clusters are found once. Every pass shuffles the lines of each
    cluster, walks the clusters from a random one to the nearest not yet walked, and cuts the walk
    into batches, which come in random order.

    Parameters
    ----------
    share : lines of a cluster, as a share of a batch.

    Source: Morris and Rush 2025 (morris2025contextual), who cluster queries and documents
    together and pack clusters into batches.
    """

    share: Annotated[float, Search(0.1, 1.0, log=True)] = 0.5

    def prepare(self, guide: np.ndarray, groups: np.ndarray, size: int, seed: int) -> Any:
        """The cluster of each line, the clusters' cosines, and how many batches."""
        from scipy.cluster.vq import kmeans2

        count = len(guide)
        clusters = int(np.clip(round(count / (size * self.share)), 1, max(1, count // 2)))
        rows = np.asarray(guide, np.float64)
        first = np.random.default_rng(seed).choice(count, clusters, replace=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of clusters that lose all their rows
            centres, owner = kmeans2(rows, rows[first], iter=10, minit="matrix")
        used, owner = np.unique(owner, return_inverse=True)
        norms = np.linalg.norm(centres[used], axis=1, keepdims=True)
        unit = centres[used] / np.maximum(norms, 1e-12)
        return owner, unit @ unit.T, batches_of(count, size)

    def epoch(self, state: Any, number: int, rng: np.random.Generator) -> list[np.ndarray]:
        """The walk over clusters, cut; batches in random order."""
        owner, near, parts = state
        shuffled = rng.permutation(len(owner))
        members = [shuffled[owner[shuffled] == cluster] for cluster in range(len(near))]
        at, left, walk = int(rng.integers(len(near))), np.ones(len(near), bool), []
        while True:
            left[at] = False
            walk.append(members[at])
            if not left.any():
                break
            at = int(np.where(left, near[at], -np.inf).argmax())
        return in_any_order(np.array_split(np.concatenate(walk), parts), rng)


@dataclass(frozen=True)
class WithinGroup:
    """Lines of one group share batches: negatives differ in what is not the group's.

    Groups come in random order, their lines shuffled, and the row of all ``n`` lines is cut into
    ``round(n / size)`` batches.
    """

    def prepare(self, guide: np.ndarray, groups: np.ndarray, size: int, seed: int) -> Any:
        """The group of each line as a number, and how many batches.

        Raises
        ------
        ConjoinError : every line is a group of its own.
        """
        names, owner = np.unique(groups, return_inverse=True)
        if len(names) == len(groups) and len(groups) > 1:
            raise ConjoinError(
                "sampler within-group", "every pair is a group of its own",
                "name a group column in [split], or take another sampler",
            )  # fmt: skip
        return owner, batches_of(len(groups), size)

    def epoch(self, state: Any, number: int, rng: np.random.Generator) -> list[np.ndarray]:
        """Groups one after the other, cut; batches in random order."""
        owner, parts = state
        lines, rank = rng.permutation(len(owner)), rng.permutation(int(owner.max()) + 1)
        walk = lines[np.argsort(rank[owner[lines]], kind="stable")]
        return in_any_order(np.array_split(walk, parts), rng)


@dataclass(frozen=True)
class Mixture:
    """Random batches at first, more and more of another sampler's: a curriculum.

    Of the batches of pass ``e`` the share ``min(1, e / over) · most`` is the other sampler's; the
    lines that are left come at random.

    Parameters
    ----------
    of : name of the other sampler.
    most : share of its batches at the end.
    over : passes over which the share rises.
    """

    of: Annotated[str, Choice(("contextual", "neighbour"))] = "contextual"
    most: Annotated[float, Search(0.0, 1.0)] = 0.5
    over: Annotated[int, Search(1, 100, log=True)] = 10

    def prepare(self, guide: np.ndarray, groups: np.ndarray, size: int, seed: int) -> Any:
        """That of the other sampler."""
        return self._other().prepare(guide, groups, size, seed)

    def epoch(self, state: Any, number: int, rng: np.random.Generator) -> list[np.ndarray]:
        """Some of the other's batches, and the rest at random; in random order."""
        other = in_any_order(self._other().epoch(state, number, rng), rng)
        kept = round(min(1.0, number / self.over) * self.most * len(other))
        rest = np.concatenate(other[kept:]) if kept < len(other) else np.empty(0, np.int64)
        plain = np.array_split(rng.permutation(rest), len(other) - kept) if len(rest) else []
        return in_any_order([*other[:kept], *plain], rng)

    def _other(self) -> Any:
        return {"contextual": Contextual, "neighbour": Neighbour}[self.of]()


def batches_of(count: int, size: int) -> int:
    """How many batches of about ``size`` lines ``count`` make."""
    return max(1, round(count / size))


def in_any_order(parts: Sequence[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
    """The same batches, shuffled."""
    return [parts[place] for place in rng.permutation(len(parts))]


@dataclass(frozen=True, eq=False)
class Mining:
    """How batches and negatives are chosen, by frozen vectors that training does not move.

    A guide bars lines i and j from being contrasted where their frozen vectors are nearly the same:
    ``cos(gᵢ, gⱼ) > 1 − margin``. Such lines are likely partners that nobody wrote down.

    Parameters
    ----------
    sampler : of batches; ``None`` takes them at random.
    rows : ``[n, d]`` the guiding view's frozen vectors at unit length.
    view : its name.
    margin : above which likeness lines are barred, as 1 less the cosine; ``None`` bars none.

    Source: Solatorio 2024 (solatorio2024gist) bars j where a guide finds ``s_ij > s_ii``; here the
    guide reads one side, so ``s_ii = 1`` and a margin is needed.
    """

    sampler: Sampler | None
    rows: np.ndarray
    view: str
    margin: float | None = None

    def barred(self, rows: np.ndarray) -> np.ndarray | None:
        """``[b, b]`` lines that may not be contrasted; rows below 0 are absent and bar nothing."""
        if self.margin is None:
            return None
        unit = np.where((rows >= 0)[:, None], self.rows[np.maximum(rows, 0)], 0.0)
        found = unit @ unit.T > 1 - self.margin
        np.fill_diagonal(found, False)
        return found
