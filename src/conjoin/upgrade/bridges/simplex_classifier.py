"""Heads on a fixed classifier: encoders that agree because their classes stay where they are."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import numpy as np

from conjoin.alignment.closed_form.covariance import Joint, require_reached
from conjoin.alignment.closed_form.linear import Lam
from conjoin.catalogue import Choice, Search
from conjoin.errors import ConjoinError, optional
from conjoin.losses import Param
from conjoin.maps.base import Affine, Map, as_array
from conjoin.spaces import Batch, Pairs, Rows
from conjoin.spaces.frame import unit
from conjoin.spaces.pairs import ABSENT
from conjoin.training.loop import Arrays
from conjoin.upgrade.bridges.linear_bridges import Reached
from conjoin.upgrade.bridges.trained_bridges import Pace, Rate, Steps, follow, ridge_of

#: Most classes: the frame has one dimension less.
MOST = 4096


def simplex(count: int) -> np.ndarray:
    """``[count, count − 1]`` vertices of a regular simplex at length 1; cosines are ``−1/(K−1)``.

    Examples
    --------
    >>> v = simplex(4)
    >>> np.allclose(v @ v.T, np.eye(4) * 4 / 3 - 1 / 3)
    True
    """
    n = count - 1
    vertices = np.concatenate([np.eye(n), np.full((1, n), (1 - np.sqrt(1 + n)) / n)])
    return np.asarray(unit(vertices - vertices.mean(axis=0)))


@dataclass(frozen=True, eq=False)
class FixedHead:
    """The trainable of a head on a fixed classifier: ``y = (x − mean) A``.

    Parameters
    ----------
    mean, start : of the rows, and where ``A`` starts.
    classifier : ``[K, D]`` P.
    share : of the cross-entropy; the rest is the contrast with the partners of before.
    sharp : μ.
    """

    mean: np.ndarray
    start: np.ndarray
    classifier: np.ndarray
    share: float
    sharp: float
    names: tuple[str, ...] = ("y",)

    @property
    def dim(self) -> int:
        """Width of the outputs."""
        return self.classifier.shape[1]

    def init(self, seed: int) -> dict[str, Param]:
        """Least squares onto the class's weights."""
        return {"head": Param(self.start, decay=True)}

    def forward(self, batch: Batch, params: Mapping[str, Any]) -> dict[str, Any]:
        """Where the head puts the rows."""
        import torch

        return {"y": (batch.rows["x"] - torch.from_numpy(self.mean)) @ params["head"]}

    def loss(self, y: Any, batch: Batch) -> Any:
        """``[b]`` the loss of each row; targets hold class weights, partners and the class."""
        import torch

        target = batch.rows["target"]
        label = target[:, -1].long()
        named = torch.nn.functional.cross_entropy(
            y @ torch.from_numpy(self.classifier).T, label, reduction="none"
        )
        if self.share == 1 or target.shape[1] == self.dim + 1:
            return named
        before = target[:, self.dim : 2 * self.dim]
        held = contrast(before, y, label, self.sharp)
        # A row without a partner has nothing of before to agree with.
        known = before.abs().sum(dim=1) > 0
        mixed = self.share * named + (1 - self.share) * held
        return torch.where(known, mixed, named)

    def map_of(self, arrays: Arrays) -> Map:
        """The head as a map."""
        head = arrays["head"].astype(np.float32)
        return Affine(head, self.mean, np.zeros(self.dim, np.float32))


def contrast(before: Any, y: Any, label: Any, sharp: float) -> Any:
    """``[b]`` ``−μ cos(o_i, y_i) + log Σ_j exp(μ [c_i ≠ c_j] cos(o_i, y_j))``, in torch.

    As the authors' code has it, a row of one's own class counts as one at right angles.
    """
    import torch

    o, u = (torch.nn.functional.normalize(part, dim=1) for part in (before, y))
    scores = sharp * o @ u.T
    other = label[:, None] != label[None, :]
    return torch.logsumexp(scores * other, dim=1) - torch.diagonal(scores)


def named(classifier: np.ndarray) -> Callable[[np.ndarray, Reached, np.ndarray], float]:
    """How well mapped rows name their classes, which their targets end with."""
    return lambda y, given, own: -surprise(y @ classifier.T, given.target[own][:, -1].astype(int))


def surprise(scores: np.ndarray, label: np.ndarray) -> float:
    """Mean cross-entropy of naming the class of each row."""
    scores = scores - scores.max(axis=1, keepdims=True)
    own = scores[np.arange(len(scores)), label]
    return float(np.mean(np.log(np.exp(scores).sum(axis=1)) - own))


@dataclass(frozen=True)
class SimplexHeads:
    """Linear heads trained by labels against a classifier that never changes.

    The first view is that of the classes: its distinct rows, such as one-hot labels, stand at the
    vertices ``P`` of a regular simplex, one dimension fewer than classes. Every other view gets
    ``y = (x − mean) A``, where ``A`` minimises ``share CE(y Pᵀ) + (1 − share) H`` over its
    labelled rows. ``H`` holds a row to ``o``, its partner in a view that was placed before, such
    as its vector by the old encoder:
    ``H_i = −μ cos(o_i, y_i) + log Σ_j exp(μ [c_i ≠ c_j] cos(o_i, y_j))``. With ``share = 1``
    (CoReS) no pair of old and new is looked at: both agree because the classes stay where they
    are. In a frame that is frozen, ``P`` are the means of what lies there of each class. A row
    that no line labels takes the class of its partner; what is unlike within a class is lost.

    Parameters
    ----------
    share : of the cross-entropy.
    sharp : μ, inverse temperature of ``H``.
    reserve : vertices kept for classes to come.
    lam : λ of the ridge onto ``P`` where ``A`` starts; it stays there if training does not help
        held-out groups.
    lr, weight_decay, steps, batch : of the training.

    References
    ----------
    Biondi et al. 2023 (CoReS) and 2024 (stationary representations), from the authors' code;
    both train the backbone as well, which stays frozen here.
    """

    directed: ClassVar[bool] = True
    labelled: ClassVar[bool] = True
    #: 2: the groups that decide when to stop are held out of the start too, and are asked early.
    arithmetic: ClassVar[int] = 2

    share: Annotated[float, Search(0.0, 1.0)] = 1.0
    sharp: Annotated[float, Search(1.0, 50.0, log=True)] = 10.0
    reserve: Annotated[int, Choice((0, 16, 128))] = 0
    lam: Lam = 0.1
    lr: Rate = 3e-3
    weight_decay: float = 1e-4
    steps: Steps = 300
    batch: int = 256

    def fit(
        self,
        views: Mapping[str, Rows],
        pairs: Pairs,
        *,
        frames: Mapping[str, str] = {},
        frozen: Mapping[str, Any] = {},
        seed: int = 0,
    ) -> dict[str, Map]:
        """The classes at their places, and one head a view.

        Raises
        ------
        ConjoinError : as every aligner; or there is one class only, or more than :data:`MOST`.
        """
        optional("torch", "train")

        def head(
            name: str, owner: np.ndarray, placed: Mapping[str, Any], points: np.ndarray
        ) -> Map:
            return self._head(name, views, pairs, owner, placed, points, seed)

        return by_classes(views, pairs, frozen, self.reserve, head)

    def _head(
        self, name: str, views: Mapping[str, Rows], pairs: Pairs, owner: np.ndarray,
        placed: Mapping[str, Any], classifier: np.ndarray, seed: int,
    ) -> Map:  # fmt: skip
        first = next(iter(views))
        rows = np.flatnonzero(owner >= 0)
        label = owner[rows]
        x = np.asarray(as_array(views[name])[rows], np.float32)
        # One rate for all encoders: rows of a size of 1 a coordinate.
        size = np.float32(x.std(axis=0).mean() or 1.0)
        near = [n for n in placed if n != first and n in pairs.names]
        parts = [classifier[label], label[:, None].astype(np.float32)]
        if self.share < 1 and near:
            parts.insert(1, _before(name, near, rows, views, pairs, placed))
        weight, group = row_weights(name, rows, pairs)
        given = Reached(name, x / size, np.concatenate(parts, axis=1), weight, group,
                        classifier.shape[1])  # fmt: skip

        def build(some: Reached) -> tuple[FixedHead, Reached]:
            onto = replace(some, target=some.target[:, : classifier.shape[1]])
            # Logits of least squares lie within 1; cross-entropy needs them apart.
            start = self.sharp * ridge_of(onto, self.lam)[0]
            mean = np.average(some.x, axis=0, weights=some.weight).astype(np.float32)
            return FixedHead(mean, start, classifier, self.share, self.sharp), some

        pace = Pace(self.steps, self.batch, self.lr, self.weight_decay)
        network, arrays = follow(build, given, pace, seed, named(classifier))
        head = arrays["head"].astype(np.float32)
        return Affine(head / size, network.mean * size, np.zeros(network.dim, np.float32))


def by_classes(
    views: Mapping[str, Rows], pairs: Pairs, frozen: Mapping[str, Any], reserve: int,
    head: Callable[[str, np.ndarray, Mapping[str, Any], np.ndarray], Map],
) -> dict[str, Map]:  # fmt: skip
    """The classes at the vertices of a simplex, or where a frozen frame has them, and a map a view.

    Parameters
    ----------
    reserve : vertices kept for classes to come.
    head : from a view's name, the class of each of its rows (-1 without one), the maps placed so
        far and the place of each class, the view's map.

    Raises
    ------
    ConjoinError : as every aligner; or there is one class only, or more than :data:`MOST`.
    """
    first = next(iter(views))
    order = require_reached(Joint.of(views, pairs, frozen), list(frozen) or [first])
    owner = _classes(views, pairs, first)
    placed: dict[str, Any] = dict(frozen)
    placed[first], points = _fixed(views, owner, placed, first, reserve)
    for name in order:
        if name not in placed:
            placed[name] = head(name, owner[name], placed, points)
    return {name: placed[name] for name in views}


def _fixed(
    views: Mapping[str, Rows], owner: Mapping[str, np.ndarray], placed: Mapping[str, Any],
    first: str, reserve: int,
) -> tuple[Any, np.ndarray]:  # fmt: skip
    """The map of the classes' view, and the places that stay."""
    count = int(owner[first].max()) + 1
    shown = np.zeros(count, np.int64)
    live = np.flatnonzero(owner[first] >= 0)
    shown[owner[first][live]] = live
    rows = np.asarray(as_array(views[first])[shown], np.float64)
    if first in placed:
        return placed[first], unit(np.asarray(placed[first].apply(rows), np.float32))
    held = [name for name in placed if (owner[name] >= 0).any()]
    points = _means(views, owner, placed, held, count) if held else simplex(count + reserve)
    target = points[:count]
    mean, bias = rows.mean(axis=0), target.mean(axis=0)
    weight = np.linalg.lstsq(rows - mean, target - bias, rcond=None)[0]
    kind = np.float32
    return Affine(weight.astype(kind), mean.astype(kind), bias.astype(kind)), points.astype(kind)


def _classes(views: Mapping[str, Rows], pairs: Pairs, first: str) -> dict[str, np.ndarray]:
    """The class of each row, by view; ``-1`` where no line leads from it to one.

    Raises
    ------
    ConjoinError : one class only, or too many.
    """
    found = {name: np.full(len(rows), -1, np.int64) for name, rows in views.items()}
    live = np.unique(pairs.column(first))
    live = live[live != ABSENT]
    rows = np.asarray(as_array(views[first])[live])
    found[first][live] = np.unique(rows, axis=0, return_inverse=True)[1].reshape(-1)
    count = int(found[first].max(initial=-1)) + 1
    if not 2 <= count <= MOST:
        raise ConjoinError(
            f"view {first}", f"{count} classes", f"give labels of 2 to {MOST} classes as its rows"
        )
    todo = [first]
    for near in todo:
        for name in views:
            if name in todo or not {name, near} <= set(pairs.names):
                continue
            i, j, _ = pairs.between(name, near)
            known = found[near][j] >= 0
            found[name][i[known][::-1]] = found[near][j[known][::-1]]
            if known.any():
                todo.append(name)
    return found


def _means(
    views: Mapping[str, Rows], owner: Mapping[str, np.ndarray], placed: Mapping[str, Any],
    held: list[str], count: int,
) -> np.ndarray:  # fmt: skip
    """``[count, D]`` at length 1: the mean of what lies placed of each class.

    A class of which nothing lies there stands at the mean of all, where it says nothing.
    """
    total: Any = 0.0
    for name in held:
        rows = np.flatnonzero(owner[name] >= 0)
        lies = unit(np.asarray(placed[name].apply(as_array(views[name])[rows]), np.float64))
        own = np.zeros((count, lies.shape[1]))
        np.add.at(own, owner[name][rows], lies)
        total = total + own
    empty = ~np.abs(total).any(axis=1)
    total[empty] = total.sum(axis=0)
    return np.asarray(unit(total))


def _before(
    name: str, near: list[str], rows: np.ndarray, views: Mapping[str, Rows], pairs: Pairs,
    placed: Mapping[str, Any],
) -> np.ndarray:  # fmt: skip
    """``[n, D]`` where each row's first partner lies that was placed before; zeros without one."""
    made: np.ndarray | None = None
    at = {row: place for place, row in enumerate(rows.tolist())}
    for other in reversed(near):
        i, j, _ = pairs.between(name, other)
        live = np.array([row in at for row in i.tolist()], dtype=bool)
        lies = np.asarray(placed[other].apply(as_array(views[other])[j[live]]), np.float32)
        if made is None:
            made = np.zeros((len(rows), lies.shape[1]), np.float32)
        made[[at[row] for row in i[live].tolist()]] = lies
    assert made is not None
    return made


def row_weights(name: str, rows: np.ndarray, pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    """The largest weight and the group of each row's lines."""
    weight, group = np.zeros(len(rows)), np.zeros(len(rows), np.int64)
    at = {row: place for place, row in enumerate(rows.tolist())}
    for row, w, g in zip(
        pairs.column(name).tolist(), pairs.weight.tolist(), pairs.group.tolist(), strict=True
    ):
        if row in at:
            weight[at[row]] = max(weight[at[row]], w)
            group[at[row]] = g
    return weight, group
