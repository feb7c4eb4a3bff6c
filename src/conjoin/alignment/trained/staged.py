"""Heads trained on one part of the pairs after another, without looking back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import numpy as np

from conjoin.alignment.closed_form.covariance import Joint, require_reached
from conjoin.alignment.trained.contrastive_heads import ContrastiveHeads, fresh, training
from conjoin.catalogue import Search
from conjoin.errors import optional
from conjoin.losses import Param
from conjoin.maps.base import Map, as_array
from conjoin.spaces import Batch, Pairs, Rows
from conjoin.spaces.pairs import ABSENT
from conjoin.training.loop import Arrays
from conjoin.training.networks import Taught

#: Groups that each part has at least.
FEWEST = 16


@dataclass(frozen=True, eq=False)
class Continued:
    """Heads that start where an earlier training ended.

    Parameters
    ----------
    heads : what is trained.
    arrays : of the earlier training.
    """

    heads: Any
    arrays: Arrays

    @property
    def names(self) -> tuple[str, ...]:
        """The views it puts out."""
        return tuple(self.heads.names)

    @property
    def dim(self) -> int:
        """Width of the outputs."""
        return int(self.heads.dim)

    def init(self, seed: int) -> dict[str, Param]:
        """Bounds and decay of the heads, numbers of the earlier training."""
        drawn = self.heads.init(seed)
        return {key: replace(item, value=self.arrays[key]) for key, item in drawn.items()}

    def forward(self, batch: Batch, params: Mapping[str, Any]) -> dict[str, Any]:
        """The heads' outputs."""
        return dict(self.heads.forward(batch, params))

    def maps(self, arrays: Arrays) -> dict[str, Map]:
        """The heads as maps."""
        return dict(self.heads.maps(arrays))


@dataclass(frozen=True)
class StagedHeads(ContrastiveHeads):
    """Heads that learn one domain after another, from pairs that come once and are gone.

    The lines are put in order along the direction in which rows of the first view vary most, and
    cut into ``stages`` parts, whole groups. Heads from a random start are trained on the first,
    and from where they are on each of the others, while what they were before it is a teacher for
    losses that read where it puts the rows. Each part decides by its own held-out eighth when to
    stop. Mean and spread of the rows are those of the first part. Where a part would have fewer
    than sixteen groups, or lack a couple of views, all lines are one part.

    Parameters
    ----------
    stages : how many parts.
    loss, augment, hidden, width, dropout, noise, temperature, lr, weight_decay, steps, batch : as
        of :class:`~conjoin.alignment.trained.contrastive_heads.ContrastiveHeads`, of each part.
    sampler, guide, margin : likewise; a sampler sees the lines of one part alone.
    lam, power, start, partners : and what else that engine has, are not read here.

    References
    ----------
    Training on a sequence of domains: Ni et al. 2023 (ni2023modx), Zhu et al. 2023 (zhu2023ctp).
    The order of the lines is this project's.
    """

    batch: Annotated[int, Search(32, 8192, log=True)] = 256
    stages: Annotated[int, Search(2, 10)] = 2
    arithmetic: ClassVar[int] = 1

    def fit(
        self,
        views: Mapping[str, Rows],
        pairs: Pairs,
        *,
        frames: Mapping[str, str] = {},
        frozen: Mapping[str, Any] = {},
        seed: int = 0,
    ) -> dict[str, Map]:
        """One map a view.

        Raises
        ------
        ConjoinError : as other heads; or torch is missing.
        """
        optional("torch", "train")
        joint = Joint.of(views, pairs, frozen)
        require_reached(joint, list(frozen) or list(views)[:1])
        width = joint.dims[next(iter(frozen))] if frozen else self.width
        first, *later = in_stages(as_array(views[next(iter(views))]), pairs, self.stages)
        heads = fresh(self, views, first, frozen, width)
        run = training(self, heads, views, frozen)
        arrays = run.fit(first, seed)
        for part in later:
            taught = Taught(Continued(heads, arrays), heads.maps(arrays))
            arrays = replace(run, trainable=taught).fit(part, seed)
        maps = {**frozen, **heads.maps(arrays)}
        return {name: maps[name] for name in views}


def in_stages(x: np.ndarray, pairs: Pairs, stages: int) -> Sequence[Pairs]:
    """Parts of the lines along the direction in which rows of their first view vary most.

    Examples
    --------
    >>> x = np.arange(64.0)[:, None] * [[1.0, 0.0]]
    >>> [len(part) for part in in_stages(x, Pairs.of(a=np.arange(64), b=np.arange(64)), 2)]
    [32, 32]
    """
    groups, owner = np.unique(pairs.group, return_inverse=True)
    if len(groups) < stages * FEWEST:
        return [pairs]
    own = pairs.rows[:, 0]
    there = own != ABSENT
    rows = np.asarray(x, np.float64)[own[there]]
    rows = rows - rows.mean(axis=0)
    way = np.linalg.eigh(rows.T @ rows)[1][:, -1]
    # A direction has no sign of its own: the largest coordinate is made positive.
    way = way * np.sign(way[np.abs(way).argmax()])
    total = np.bincount(owner[there], rows @ way, minlength=len(groups))
    count = np.bincount(owner[there], minlength=len(groups))
    place = np.empty(len(groups), dtype=np.int64)
    place[np.argsort(total / np.maximum(count, 1), kind="stable")] = np.arange(len(groups))
    part = place * stages // len(groups)
    found = [pairs.take(part[owner] == number) for number in range(stages)]
    edges = len(pairs.edges())
    return found if all(len(one.edges()) == edges for one in found) else [pairs]
