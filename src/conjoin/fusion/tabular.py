"""The plain baselines of tables: imputed logistic regression, and boosted trees."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from conjoin.catalogue import Search
from conjoin.errors import ConjoinError
from conjoin.fusion.inputs import Inputs, Table
from conjoin.fusion.linear import Concat, prepared
from conjoin.fusion.model import Fused, Out, standardised
from conjoin.maps.standardise import Standardise
from conjoin.spaces.given import labels_of, trust_of

#: The parts of a tree's nodes that a decision needs, as scikit-learn names them, and their types.
NODES = {
    "feature_idx": np.int32, "num_threshold": np.float64, "missing_go_to_left": np.bool_,
    "left": np.int32, "right": np.int32, "is_leaf": np.bool_, "value": np.float64,
}  # fmt: skip


@dataclass(frozen=True)
class ImputedLogistic:
    """The regression most people would try first: fill in, scale, flag, and fit.

    ``s = [x₁ … x_M, a] W + b`` minimises ``C Σ w · loss + |W|² / 2``, where ``x_m`` has mean 0 and
    spread 1 a column, an absent row is the mean of those that are present, and ``a_m`` is 1 where
    view m is absent. It is scikit-learn's ``LogisticRegression(C)``, or ``Ridge(1 / C)`` where
    numbers are decided, on these columns; they are read block by block where they are many.

    Parameters
    ----------
    C : inverse pull of the weights towards zero. The more items there are, the less it pulls, where
        that of :class:`~conjoin.fusion.linear.Concat` stays the same.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> label = np.arange(60) % 2
    >>> views = {"ear": 1000 * label[:, None] + rng.normal(size=(60, 2)), "eye": np.ones((60, 1))}
    >>> ImputedLogistic().fit(views, {}, labels=label).predict(views, {})[:3].tolist()
    ['0', '1', '0']

    References
    ----------
    Pedregosa et al. 2011 (pedregosa2011scikit). A constant for what is absent and a flag of it
    lose nothing if the learner is flexible enough: Josse et al. 2019 (josse2019consistency).
    """

    C: Annotated[float, Search(1e-4, 1e2, log=True)] = 1.0

    def fit(
        self,
        views: Mapping[str, Table],
        present: Mapping[str, np.ndarray],
        *,
        labels: Any = None,
        weight: np.ndarray | None = None,
        seed: int = 0,
    ) -> Fused:
        """Fit one head; see :class:`~conjoin.fusion.model.Fusion`."""
        if labels is None:
            return Concat().fit(views, present)  # which refuses that
        kinds = labels_of(labels, "labels")
        total = float(trust_of(weight, "weight", len(kinds)).sum())
        # A softmax of two classes holds the weights of scikit-learn's one logit in two halves.
        two = kinds.dtype.kind != "f" and len(np.unique(kinds.astype(str))) == 2
        plain = Concat(lam=(2 if two else 1) / (self.C * max(total, 1e-12)))
        return plain.fit(views, present, labels=kinds, weight=weight, seed=seed)


@dataclass(frozen=True)
class BoostedTrees:
    """Gradient-boosted trees over all columns side by side; they see what is absent.

    ``s = s₀ + Σ_t rate · tree_t(x)``: each tree is grown to the slope of the loss at what the
    earlier ones say, on columns cut into at most 255 bins, and sends rows whose column is absent
    to the side that lowers the loss more. It is scikit-learn's ``HistGradientBoosting``; the trees
    are kept as arrays. All columns are held at once.

    Parameters
    ----------
    steps : trees, or for three classes or more trees a class.
    rate : what each is multiplied by.
    leaves : of a tree, at most.
    fewest : items in a leaf, at least.
    pull : of leaf values towards zero.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> views = {name: rng.normal(size=(300, 1)) for name in ("ear", "eye")}
    >>> label = (views["ear"][:, 0] > 0) != (views["eye"][:, 0] > 0)
    >>> trees = BoostedTrees().fit(views, {}, labels=label)
    >>> bool((trees.predict(views, {}) == label.astype(str)).mean() > 0.95)
    True

    References
    ----------
    Friedman 2001 (friedman2001boosting); histograms as of Ke et al. 2017 (ke2017lightgbm). Trees
    that send what is absent to either side: Josse et al. 2019 (josse2019consistency).
    """

    steps: Annotated[int, Search(10, 1000, log=True)] = 100
    rate: Annotated[float, Search(1e-2, 1.0, log=True)] = 0.1
    leaves: Annotated[int, Search(2, 255, log=True)] = 31
    fewest: Annotated[int, Search(1, 200, log=True)] = 20
    pull: Annotated[float, Search(0.0, 100.0)] = 0.0

    def fit(
        self,
        views: Mapping[str, Table],
        present: Mapping[str, np.ndarray],
        *,
        labels: Any = None,
        weight: np.ndarray | None = None,
        seed: int = 0,
    ) -> Fused:
        """Grow the trees; see :class:`~conjoin.fusion.model.Fusion`."""
        from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

        inputs, target, y, w = prepared(views, present, labels, weight)
        scalers = {name: inputs.scaler(name, w) for name in inputs.names}
        kind = (
            HistGradientBoostingRegressor if target.classes is None
            else HistGradientBoostingClassifier
        )  # fmt: skip
        grown = kind(
            max_iter=self.steps, learning_rate=self.rate, max_leaf_nodes=self.leaves,
            min_samples_leaf=self.fewest, l2_regularization=self.pull, early_stopping=False,
            random_state=seed,
        )  # fmt: skip
        grown.fit(_columns(inputs, scalers), y, sample_weight=None if weight is None else w)
        return Fused("boosted-trees", target, scalers, TreesBody.of(grown))


@dataclass(frozen=True, eq=False)
class TreesBody:
    """Boosted trees as arrays.

    Parameters
    ----------
    start : ``[scores]`` what is said before the first tree.
    two : whether two classes are decided: one score is grown, that of the second.
    ends : ``[trees]`` where each tree's nodes end; a round has one tree a score.
    nodes : all trees' nodes behind each other, a part of each by name; children count from the
        root of their tree.
    """

    start: np.ndarray
    two: bool
    ends: np.ndarray
    nodes: Mapping[str, np.ndarray]
    name = "trees"

    @classmethod
    def of(cls, grown: Any) -> "TreesBody":
        """From a fitted estimator of scikit-learn.

        Raises
        ------
        ConjoinError : its trees are kept in another way than in the versions this was made for.
        """
        try:
            trees = [tree.nodes for rounds in grown._predictors for tree in rounds]
            start = np.asarray(grown._baseline_prediction, dtype=np.float64).ravel()
            nodes = {
                part: np.concatenate([np.asarray(tree[part], kind) for tree in trees])
                for part, kind in NODES.items()
            }
        except (AttributeError, KeyError, ValueError):
            raise ConjoinError(
                "boosted-trees", "this scikit-learn keeps its trees in another way",
                "install scikit-learn 1.5 to 1.9, or name another method",
            ) from None  # fmt: skip
        two = len(getattr(grown, "classes_", ())) == 2
        return cls(start, two, np.cumsum([len(tree) for tree in trees]), nodes)

    def block(self, rows: Mapping[str, np.ndarray], here: np.ndarray) -> Out:
        """The sum of what the trees say, which is the fused vector as well."""
        scores = np.tile(self.start, (len(here), 1))
        x = _beside(list(rows.values()), here)
        first = 0
        for place, end in enumerate(self.ends.tolist()):
            scores[:, place % len(self.start)] += self._tree(x, first, end)
            first = end
        both = np.concatenate([np.zeros_like(scores), scores], axis=1) if self.two else scores
        return Out(scores, both, None)

    def _tree(self, x: np.ndarray, first: int, end: int) -> np.ndarray:
        """``[n]`` the value of the leaf that each row comes to."""
        own = {part: values[first:end] for part, values in self.nodes.items()}
        at, lines = np.zeros(len(x), np.int32), np.arange(len(x))
        while len(lines := lines[~own["is_leaf"][at[lines]]]):
            node = at[lines]
            value = x[lines, own["feature_idx"][node]]
            left = np.where(
                np.isnan(value), own["missing_go_to_left"][node],
                value <= own["num_threshold"][node],
            )  # fmt: skip
            at[lines] = np.where(left, own["left"][node], own["right"][node])
        return own["value"][at]

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """The arrays."""
        return {"two": self.two}, {"start": self.start, "ends": self.ends, **self.nodes}

    @classmethod
    def from_state(cls, fields: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> "TreesBody":
        """Read back :meth:`state`."""
        nodes = {part: value for part, value in arrays.items() if part not in ("start", "ends")}
        return cls(arrays["start"], bool(fields["two"]), arrays["ends"], nodes)


def _columns(inputs: Inputs, scalers: Mapping[str, Standardise]) -> np.ndarray:
    """All columns of all items, NaN where absent."""
    parts = []
    for lines in inputs.blocks():
        rows = standardised(inputs, lines, scalers)
        parts.append(_beside(list(rows.values()), inputs.here[lines]))
    return np.concatenate(parts)


def _beside(parts: Sequence[np.ndarray], here: np.ndarray) -> np.ndarray:
    """``[b, p]`` float64, NaN where a view is absent: the precision in which bins are cut."""
    filled = [
        np.where(here[:, place, None], part.astype(np.float64), np.nan)
        for place, part in enumerate(parts)
    ]
    return np.concatenate(filled, axis=1)
