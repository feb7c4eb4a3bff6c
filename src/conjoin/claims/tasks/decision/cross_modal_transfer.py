"""Transfer across modalities: a classifier trained on one view, tested on another."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import numpy as np

from conjoin.alignment.binding import Binding
from conjoin.catalogue import Search
from conjoin.claims.tasks.decision.zero_shot import (
    ACCURACIES,
    Budget,
    labels_of,
    refuse_tested,
    scored,
)
from conjoin.errors import ConjoinError, optional
from conjoin.evaluation.arms import Made, Scores, bind
from conjoin.evaluation.benchmark import Bench, Setting, whole_setting
from conjoin.evaluation.retrieval import drawn
from conjoin.spaces import Batch, Pairs
from conjoin.spaces.pairs import ABSENT

#: Passes over the training rows, each augmented anew.
COPIES = 4


@dataclass(frozen=True, eq=False)
class Head:
    """A binding, and a classifier of its vectors with the classes it knows."""

    binding: Binding
    classes: np.ndarray
    model: Any


@dataclass(frozen=True)
class Transfer:
    """Train a classifier on one view's bound vectors and test it on another view's.

    A multinomial logistic regression of the training items' ``source`` rows; the arm's
    augmentation is applied to the bound vectors, line by line with their ``target`` partners,
    :data:`COPIES` times with other draws. Tested on held-out rows of ``target``. The ceiling is
    the same task with ``source`` equal to ``target``. Guessing draws classes as often as they
    were trained on.

    Parameters
    ----------
    source : the view trained on; the second of the data where not given.
    target : the view tested on; the first of the data where not given.
    pairs : training lines, of the binding and of the head; ``None`` takes nine tenths.
    strength : weight of the head's mean loss against half its squared length, the same for every
        arm.
    """

    source: str | None = None
    target: str | None = None
    pairs: Budget = None
    strength: Annotated[float, Search(1e-4, 1e6, log=True)] = 1e4
    metrics: ClassVar[tuple[str, ...]] = ACCURACIES

    def setting(self, bench: Bench, seed: int) -> Setting:
        """Training pairs, and the labelled held-out rows of the target.

        Raises
        ------
        ConjoinError : no classes, or fewer than two of them on training lines.
        """
        source, target = self._views(bench)
        both = list(dict.fromkeys((target, source, *bench.spaces)))[:2]
        whole = whole_setting(bench, both)
        labels = labels_of(whole.spaces[target], bench)
        rows = whole.bed.rows[target]
        bed = replace(whole.bed, rows={**whole.bed.rows, target: rows[labels[rows] != ""]})
        setting = replace(whole, bed=replace(bed, train=drawn(bed.train, self.pairs, seed)))
        lines = _labelled(setting, source)
        if len(np.unique(labels_of(setting.spaces[source].take(lines.column(source)), bench))) < 2:
            raise ConjoinError(f"data {bench.name}", "fewer than two classes", "label more items")
        tested = setting.spaces[target].ids[setting.bed.rows[target]]
        refuse_tested(lines, setting.spaces, tested, bench)
        return setting

    def _views(self, bench: Bench) -> tuple[str, str]:
        names = list(bench.spaces)
        source, target = self.source or names[min(1, len(names) - 1)], self.target or names[0]
        bench.view(source)
        bench.view(target)
        return source, target

    def fit(self, setting: Setting, made: Made, seed: int) -> Head:
        """A binding, and a head on its training vectors."""
        source, _ = self._views(setting.bench)
        binding = bind(setting, replace(made, augmentation=None), seed)
        lines = _labelled(setting, source)
        x = _bound(setting, binding, source, lines)
        labels = labels_of(setting.spaces[source].take(lines.column(source)), setting.bench)
        classes, y = np.unique(labels, return_inverse=True)
        if len(classes) < 2:
            raise ConjoinError("classes", f"{len(classes)} to train on", "give more pairs")
        weight = np.ones(len(y))
        if made.augmentation is not None:
            views = {n: _bound(setting, binding, n, lines) for n in lines.names}
            x, y, weight = augmented(made.augmentation, views, lines, y, source, seed)
        return Head(binding, classes, trained_head(x, y, weight, self.strength))

    def judge(self, setting: Setting, fitted: Head) -> Scores:
        """Right or wrong, row by row."""
        _, target = self._views(setting.bench)
        rows = setting.spaces[target].take(_asked_rows(setting, target))
        bound = fitted.binding.bind(target, rows)
        vectors = bound.frame.item(np.asarray(bound.vectors, np.float32))
        found = fitted.classes[fitted.model.predict(vectors)]
        right = (found == labels_of(rows, setting.bench)).astype(np.float64)
        return scored(setting, rows, right)

    def chance(self, setting: Setting) -> Scores:
        """A class drawn as often as it was trained on."""
        source, target = self._views(setting.bench)
        trained = setting.spaces[source].take(_labelled(setting, source).column(source))
        known, counts = np.unique(labels_of(trained, setting.bench), return_counts=True)
        share = dict(zip(known.tolist(), counts / counts.sum(), strict=True))
        rows = setting.spaces[target].take(_asked_rows(setting, target))
        worth = [share.get(label, 0.0) for label in labels_of(rows, setting.bench).tolist()]
        return scored(setting, rows, np.array(worth, dtype=np.float64))


def _asked_rows(setting: Setting, target: str) -> np.ndarray:
    rows = setting.bed.rows[target]
    return rows[labels_of(setting.spaces[target], setting.bench)[rows] != ""]


def _labelled(setting: Setting, source: str) -> Pairs:
    """One training line for each labelled row of a view."""
    rows = setting.train.column(source)
    _, first = np.unique(rows, return_index=True)
    first = first[rows[first] != ABSENT]
    labels = labels_of(setting.spaces[source].take(rows[first]), setting.bench)
    return setting.train.take(first[labels != ""])


def _bound(setting: Setting, binding: Binding, name: str, lines: Pairs) -> np.ndarray:
    """A view's bound vectors, line by line; the first row's where a line lacks it."""
    rows = np.maximum(lines.column(name), 0)
    bound = binding.bind(name, setting.spaces[name].take(rows))
    return np.asarray(bound.frame.item(np.asarray(bound.vectors, np.float32)))


def augmented(
    augmentation: Any, views: Mapping[str, np.ndarray], lines: Pairs, y: np.ndarray, source: str,
    seed: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Vectors, classes and weights of :data:`COPIES` passes; a mixture counts in each class."""
    torch = optional("torch", "train")
    here = {name: lines.column(name) for name in views}
    batch = Batch(
        {name: torch.from_numpy(x) for name, x in views.items()},
        {name: torch.from_numpy(own) for name, own in here.items()},
        {name: torch.from_numpy(own != ABSENT) for name, own in here.items()},
        torch.from_numpy(lines.weight.astype(np.float32)), torch.from_numpy(y.astype(np.int64)),
    )  # fmt: skip
    found = []
    for copy in range(COPIES):
        out = augmentation(replace(batch, seed=(seed, copy)))
        x, labels = out.rows[source].numpy(), out.labels.numpy()
        if labels.ndim == 1:
            found.append((x, labels, np.ones(len(labels))))
        else:
            line, own = np.nonzero(labels)
            found.append((x[line], own, labels[line, own]))
    parts = [np.concatenate(each) for each in zip(*found, strict=True)]
    return parts[0], parts[1], parts[2]


def trained_head(x: np.ndarray, y: np.ndarray, weight: np.ndarray, strength: float) -> Any:
    """A multinomial logistic regression; where 200 steps do not suffice, as far as they came."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    # Divided by the weights, so that passes and mixtures do not change the penalty.
    model = LogisticRegression(C=strength / float(weight.sum()), max_iter=200)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(x, y, sample_weight=weight)
