"""An upgrade where labels exist: ask by a new encoder for items of the same class by the old."""

from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import numpy as np

from conjoin.alignment.binding import Binding
from conjoin.alignment.closed_form.linear import Identity
from conjoin.catalogue import Search
from conjoin.claims.tasks.decision.zero_shot import labels_of
from conjoin.errors import ConjoinError
from conjoin.evaluation.arms import Made, Scores, Units
from conjoin.evaluation.benchmark import Bench, Setting, whole_setting
from conjoin.evaluation.retrieval import drawn
from conjoin.spaces import Pairs, Space
from conjoin.spaces.frame import unit
from conjoin.storage.digest import stable_hash
from conjoin.upgrade.bridges.linear_bridges import ReEmbed

#: The view of labels that an aligner with ``labelled`` is given first.
LABEL = "label"


@dataclass(frozen=True, eq=False)
class Sides:
    """By which view each side is read, and the binding they lie in; none where raw."""

    query: str
    target: str
    binding: Any = None

    def vectors(self, name: str, space: Space) -> np.ndarray:
        """``[n, d]`` at length 1."""
        bound = space if self.binding is None else self.binding.bind(name, space)
        return unit(np.asarray(bound.vectors, np.float32))


@dataclass(frozen=True)
class ClassUpgrading:
    """Find items of the same class in a gallery of the old encoder, asking by the new.

    The first view is the gallery by the old encoder, the second the same cells by the new.
    Training lines of both are labelled; a bridge that learns from labels gets them as a view of
    its own. A held-out row asks all other held-out items. ``identity`` keeps the old encoder for
    both sides, ``re-embed`` takes the new for both.

    Parameters
    ----------
    pairs : training lines that are embedded by both encoders and labelled; ``None`` takes nine
        tenths.
    """

    pairs: Annotated[int | None, Search(4, 1e7, log=True)] = None
    metrics: ClassVar[tuple[str, ...]] = ("map", "precision@1")
    beside: ClassVar[tuple[str, ...]] = (
        "chance", "identity", "re-embed", "ridge", "procrustes", "class-ridge", "discriminant",
    )  # fmt: skip

    def setting(self, bench: Bench, seed: int) -> Setting:
        """Training lines of one seed; the frozen test set.

        Raises
        ------
        ConjoinError : there are no two views, or no labels.
        """
        if len(bench.spaces) != 2:
            raise ConjoinError(
                f"data {bench.name}", f"{len(bench.spaces)} views", "name the old and the new"
            )
        if not bench.labels:
            raise ConjoinError(f"data {bench.name}", "no labels", "take data that has classes")
        whole = whole_setting(bench)
        count = None if self.pairs is None else min(self.pairs, len(whole.train))
        return whole.with_train(drawn(whole.train, count, seed))

    def fit(self, setting: Setting, made: Made, seed: int) -> Sides:
        """The arm's bridge, or what stands in its place."""
        old, new = setting.spaces
        if isinstance(made.aligner, ReEmbed):
            return Sides(new, new)
        if type(made.aligner) is Identity:
            return Sides(old, old)
        spaces, pairs, hub = dict(setting.spaces), setting.train, made.hub
        if getattr(made.aligner, "labelled", False):
            spaces, pairs, hub = _with_labels(setting)
        binding = Binding.fit(spaces, pairs, method=made.aligner, hub=hub, seed=seed)
        return Sides(new, old, binding)

    def judge(self, setting: Setting, fitted: Sides) -> Scores:
        """Every held-out row of the new view."""
        ids, label, groups = _asked(setting)
        sides = []
        for name in (fitted.query, fitted.target):
            at = {str(item): row for row, item in enumerate(setting.spaces[name].ids)}
            own = setting.spaces[name].take(np.array([at[str(item)] for item in ids]))
            sides.append(fitted.vectors(name, own))
        scores = sides[0] @ sides[1].T
        values = _scored(scores, ids, label)
        return {name: Units(own, groups) for name, own in values.items()}

    def chance(self, setting: Setting) -> Scores:
        """A gallery in random order."""
        ids, label, groups = _asked(setting)
        values: dict[str, list[float]] = {name: [] for name in self.metrics}
        for item, own in zip(ids, label, strict=True):
            others = label[ids != item]
            n, right = len(others), int((others == own).sum())
            at = np.arange(1, n + 1)
            precision = (1 + (at - 1) * (right - 1) / max(n - 1, 1)) / at
            values["map"].append(float(precision.mean()))
            values["precision@1"].append(right / n)
        return {name: Units(np.array(own), groups) for name, own in values.items()}


def _asked(setting: Setting) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Held-out items of both views with two or more of their class: ids, labels and clusters."""
    held = [setting.spaces[name].ids[setting.bed.rows[name]] for name in setting.spaces]
    ids = np.intersect1d(*held)
    known = np.array([setting.bench.labels.get(str(item), "") for item in ids])
    kinds, owner, count = np.unique(known, return_inverse=True, return_counts=True)
    kept = (count[owner] > 1) & (kinds[owner] != "")
    groups = [stable_hash(setting.bench.groups[str(item)]) for item in ids[kept]]
    return ids[kept], known[kept], np.array(groups)


def _scored(scores: np.ndarray, ids: np.ndarray, label: np.ndarray) -> dict[str, np.ndarray]:
    """Precision and average precision of each query, its own item left out."""
    values: dict[str, list[float]] = {"precision@1": [], "map": []}
    for place, item in enumerate(ids):
        others = np.flatnonzero(ids != item)
        order = others[np.argsort(-scores[place, others], kind="stable")]
        right = (label[order] == label[place]).astype(np.float64)
        at = np.arange(1, len(right) + 1)
        values["precision@1"].append(float(right[0]))
        values["map"].append(float((right * np.cumsum(right) / at).sum() / right.sum()))
    return {name: np.array(own) for name, own in values.items()}


def _with_labels(setting: Setting) -> tuple[dict[str, Space], Pairs, str]:
    """The views after one of one-hot labels, and the training lines that have one."""
    old = next(iter(setting.spaces))
    label = np.asarray(labels_of(setting.spaces[old], setting.bench))
    column = setting.train.column(old)
    own = np.where(column >= 0, label[np.maximum(column, 0)], "")
    kinds = np.unique(own[own != ""])
    space = Space.of(np.eye(len(kinds), dtype=np.float32), kinds, name=LABEL)
    kept = setting.train.take(np.flatnonzero(own != ""))
    place = np.searchsorted(kinds, own[own != ""])
    rows = np.concatenate([place[:, None], kept.rows], axis=1)
    lines = replace(kept, names=(LABEL, *kept.names), rows=rows)
    return {LABEL: space, **setting.spaces}, lines, LABEL
