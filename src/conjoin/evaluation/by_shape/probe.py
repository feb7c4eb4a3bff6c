"""Probing tasks: a linear classifier on frozen vectors, trained on at most so many labels."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from conjoin.errors import ConjoinError
from conjoin.evaluation.by_shape.base import Arm, Made
from conjoin.evaluation.formats.base import Cells, Probe

#: Labels a task may train on, as VTAB's 1,000 examples a task.
LABELS = 1000
#: Inverse strengths of the classifier's penalty among which a fifth of the training set chooses.
STRENGTHS = (0.001, 0.01, 0.1, 1.0, 10.0)


def probed(task: Probe, arms: Sequence[Arm], seed: int = 0) -> Iterator[Made]:
    """The most frequent class, and a logistic regression on every arm's vectors."""
    names = sorted(set(task.labels.values()))
    chance = {"accuracy": 1 / len(names)}
    tested = list(task.test.values)
    right = np.array([task.labels[item] for item in tested])
    trained = budgeted(list(task.train.values), seed)
    known = np.array([task.labels[item] for item in trained])
    often = Counter(known.tolist()).most_common(1)[0][0]
    yield Made("the most frequent class", "trivial", {"accuracy": (right == often).astype(float)},
               chance, 0.0)  # fmt: skip
    cells = Cells(task.train.kind, {item: task.train.values[item] for item in trained})
    for arm in arms:
        began = time.monotonic()
        found = linear_probe(arm.embed(cells), known, arm.embed(task.test), seed)
        units = {"accuracy": (found == right).astype(float)}
        yield Made(arm.name, "encoder", units, chance, time.monotonic() - began)


def budgeted(items: Sequence[str], seed: int = 0) -> list[str]:
    """At most :data:`LABELS` of the items, drawn by seed, in their order."""
    if len(items) <= LABELS:
        return list(items)
    drawn = np.random.default_rng([seed, 545]).permutation(len(items))[:LABELS]
    return [items[i] for i in np.sort(drawn)]


def linear_probe(
    train: np.ndarray, labels: np.ndarray, test: np.ndarray, seed: int = 0
) -> np.ndarray:
    """Classes of test rows by a logistic regression on centred vectors of one scale.

    Vectors lose the mean of the training rows and are divided by one number, the root mean square
    of what is left. The penalty is chosen on a fifth of the training rows, four fifths being
    fitted; of equal ones, the weakest.

    Raises
    ------
    ConjoinError : fewer than two classes among the labels.
    """
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(labels)) < 2:
        raise ConjoinError("probe", "one class to train on", "give items of two classes or more")

    middle = train.mean(axis=0)
    scale = float(np.sqrt(np.mean((train - middle) ** 2))) or 1.0
    train, test = (train - middle) / scale, (test - middle) / scale

    def fitted(strength: float, rows: np.ndarray) -> LogisticRegression:
        return LogisticRegression(C=strength, max_iter=500).fit(train[rows], labels[rows])

    order = np.random.default_rng([seed, 546]).permutation(len(train))
    cut = max(1, len(train) // 5)
    kept, held = order[cut:], order[:cut]
    best, most = 1.0, -1.0
    if len(np.unique(labels[kept])) > 1:
        for strength in STRENGTHS:
            model = fitted(strength, kept)
            score = float(np.mean(model.predict(train[held]) == labels[held]))
            if score >= most:
                best, most = strength, score
    return np.asarray(fitted(best, np.arange(len(train))).predict(test))
