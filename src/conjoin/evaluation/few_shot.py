"""How far a few labels go: curves over shots, and what is refused."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from numbers import Real
from typing import Any

import numpy as np

from conjoin.catalogue import simple
from conjoin.errors import ConjoinError
from conjoin.selection.heads import HeadChoice, Lesson, choose_head
from conjoin.spaces.given import cells_of, instance_of, whole_number
from conjoin.stats.bootstrap import interval, paired_difference
from conjoin.storage.digest import stable_hash
from conjoin.transfer.base import Prototypes, check_labels
from conjoin.transfer.heads import Rejecting, kept_rows, nearest_cosine

#: Times the shots of a point are drawn.
DRAWS = 3


@dataclass(frozen=True)
class Point:
    """What a head is worth from so many labels.

    Parameters
    ----------
    shots : rows a class at most; ``None`` for all.
    method : of the catalogue, or ``chance``.
    value, low, high : accuracy on the held-out rows, and its interval by whole groups.
    balanced : accuracy where each class counts the same.
    rows : rows it was fitted to.
    chosen : whether it is what was chosen.
    """

    shots: int | None
    method: str
    value: float
    low: float
    high: float
    balanced: float
    rows: int
    chosen: bool = False


@dataclass(frozen=True)
class Rejection:
    """What a head refuses to name, with some classes kept out of its training.

    Parameters
    ----------
    rate : the share of rows of known classes that might be refused.
    known, unknown : shares refused of held-out rows of known classes, and of those kept out.
    accuracy : of the rows of known classes that it named.
    kept_out : those classes.
    threshold : of the head that was fitted to all classes.
    nearness : whether nearness to rows trained on counts beside the largest probability.
    by_probability : shares refused of known and of kept-out classes' rows at the same rate by the
        largest probability alone.
    """

    rate: float
    known: float
    unknown: float
    accuracy: float
    kept_out: tuple[str, ...]
    threshold: float
    nearness: bool
    by_probability: tuple[float, float]


@dataclass(frozen=True, eq=False)
class Curve:
    """Points by number of shots, and the head chosen at the last.

    Parameters
    ----------
    choice : the head fitted to the most shots.
    gain : the best simple baseline there, what the head adds to its accuracy, and the interval.
    rejection : what it refuses, where that was asked for; ``choice.head`` then refuses too.
    notes : what a reader must know.
    """

    points: tuple[Point, ...]
    choice: HeadChoice
    gain: tuple[str, float, float, float]
    rejection: Rejection | None
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Everything but the head."""
        return {
            "points": [asdict(point) for point in self.points],
            "method": self.choice.method, "fields": dict(self.choice.fields),
            "gain": dict(zip(("baseline", "value", "low", "high"), self.gain, strict=True)),
            "tried": [
                {"method": t.method, "fields": t.fields, "accuracy": t.mean}
                for t in self.choice.tried
            ],
            "skipped": dict(self.choice.skipped),
            "rejection": None if self.rejection is None else asdict(self.rejection),
            "notes": list(self.notes),
        }  # fmt: skip


def few_shot(
    train: Lesson,
    test: Lesson,
    *,
    shots: Sequence[int | None] = (1, 2, 4, 8, 16),
    method: str = "auto",
    reject: float | None = None,
    alike: bool = True,
    seed: int = 0,
    report: Callable[[str], None] = lambda _: None,
) -> Curve:
    """Accuracy on held-out rows by number of labelled rows a class, beside simple baselines.

    Shots are drawn three times each; ``auto`` as method chooses one on folds of the first draw.
    Intervals are over groups of held-out rows. Rows asked may be of another modality than those
    trained on, in one frame.

    Parameters
    ----------
    train : rows to draw shots from, and the prototypes of classes where there are any.
    test : held-out rows; those of classes that are trained on nowhere count as wrong.
    shots : rows a class at most; ``None`` takes all.
    reject : share of known classes' rows that may be refused, set on rows the head has not seen.
    alike : rows asked are of the modality trained on; only then can nearness to them count.
    report : told what is tried.

    Raises
    ------
    ConjoinError : all labels are one class, no class has that many rows, or rows are not finite.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y = np.arange(90) % 3
    >>> x = np.eye(3)[y] + 0.2 * rng.normal(size=(90, 3))
    >>> curve = few_shot(Lesson.of(x[:60], y[:60]), Lesson.of(x[60:], y[60:]), shots=[2, 8])
    >>> [point.value > 0.9 for point in curve.points if point.chosen]
    [True, True]
    """
    shots = _checked(train, test, shots, reject, seed)
    points: list[Point] = []
    last, rights = train, dict[str, np.ndarray]()
    for count in shots:
        report("heads on all labelled items" if count is None else f"heads with {count} a class")
        draws, choice = _chosen(train, count, method, seed)
        last = draws[0]
        points.append(_chance(count, last, test, seed))
        rights = _answers(count, draws, choice, test, seed)
        points += [
            _scored(count, name, right, test, len(last), seed, name == choice.method)
            for name, right in rights.items()
        ]
    gain = _gain(choice.method, rights, test, seed)
    notes = tuple(_notes(train, test, shots))
    if reject is None:
        return Curve(tuple(points), choice, gain, None, notes)
    report("what is refused")
    rejection, head = rejecting(last, test, choice, reject, alike, seed)
    return Curve(tuple(points), replace(choice, head=head), gain, rejection, notes)


def _checked(train: Lesson, test: Lesson, shots: Any, reject: Any, seed: Any) -> list[int | None]:
    """The shots, where all that is given can be used."""
    for where, lesson in (("train", train), ("test", test)):
        instance_of(lesson, Lesson, where, "give Lesson.of(vectors, labels)")
    if not len(test):
        raise ConjoinError("test", "no rows", "give held-out rows")
    if train.x.shape[1] != test.x.shape[1]:
        found = f"{test.x.shape[1]} dimensions for {train.x.shape[1]} of train"
        raise ConjoinError("test", found, "give both in one frame")
    whole_number(seed, "seed")
    if reject is not None:
        instance_of(reject, Real, "reject", "give a share from 0 to below 1")
    counts = list(cells_of(shots, "shots"))
    if not counts:
        raise ConjoinError("shots", "none given", "give numbers such as 1,4,16")
    return [None if one is None else whole_number(one, "shots", 1) for one in counts]


def _chosen(
    train: Lesson, count: int | None, method: str, seed: int
) -> tuple[list[Lesson], HeadChoice]:
    """Draws of so many rows a class, and the head chosen on the first."""
    draws = [train.take(draw_shots(train.y, count, seed + turn)) for turn in range(DRAWS)]
    first = draws[0]
    choice = choose_head(
        first.x, first.y, prototypes=train.prototypes, groups=first.groups, method=method, seed=seed
    )
    return draws, choice


def _answers(
    shots: int | None, draws: Sequence[Lesson], choice: HeadChoice, test: Lesson, seed: int
) -> dict[str, np.ndarray]:
    """How often each row was answered rightly, over the draws: by baselines and what was chosen."""
    found = {}
    names = [n for n in simple("head") if n != choice.method and _fed(n, draws[0])]
    for name in (*names, choice.method):
        mine = name == choice.method
        heads = [choice.head] if mine else [draws[0].fit(name, {}, seed)]
        if name not in ("majority", "zero-shot-head") and shots is not None:
            fields = choice.fields if mine else {}
            heads += [one.fit(name, fields, seed) for one in draws[1:]]
        found[name] = np.mean([head.predict(test.x) == test.y for head in heads], axis=0)
    return found


def draw_shots(y: np.ndarray, shots: int | None, seed: int) -> np.ndarray:
    """Rows of so many of each class, all of smaller ones; in stored order.

    Raises
    ------
    ConjoinError : no class has that many, or the number is below 1.
    """
    if shots is None:
        return np.arange(len(y))
    if shots < 1:
        raise ConjoinError("shots", f"{shots}", "give 1 or more")
    classes, owner, counts = np.unique(y, return_inverse=True, return_counts=True)
    if not len(classes) or shots > counts.max():
        large = f"the largest class has {counts.max()}" if len(classes) else "there are no labels"
        raise ConjoinError("shots", f"{shots} of each class", f"{large}: ask for no more")
    order = np.random.default_rng([seed, stable_hash("shots")]).permutation(len(y))
    ranked = order[np.argsort(owner[order], kind="stable")]
    place = np.arange(len(y)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.sort(ranked[place < shots])


def _notes(train: Lesson, test: Lesson, shots: Sequence[int | None]) -> Sequence[str]:
    classes, counts = np.unique(train.y, return_counts=True)
    said = []
    known = classes if train.prototypes is None else np.union1d(classes, train.prototypes.labels)
    new = np.setdiff1d(test.y, known)
    if len(new):
        rows = int(np.isin(test.y, new).sum())
        few = ", ".join(map(str, new[:3])) + (" …" if len(new) > 3 else "")
        said.append(
            f"{len(new)} labels are on held-out items only ({few}): those {rows} count as wrong"
        )
    asked = [n for n in shots if n is not None and (counts < n).any()]
    for number in asked[:1]:
        said.append(
            f"{int((counts < number).sum())} of {len(classes)} classes have fewer than {number} "
            "training items: all of theirs are taken"
        )
    return said


def _fed(name: str, train: Lesson) -> bool:
    return name != "zero-shot-head" or train.prototypes is not None


def _chance(shots: int | None, train: Lesson, test: Lesson, seed: int) -> Point:
    """A class drawn as often as it was trained on."""
    names, counts = np.unique(train.y, return_counts=True)
    share = dict(zip(names.tolist(), counts / max(counts.sum(), 1), strict=True))
    worth = np.array([share.get(label, 0.0) for label in test.y.tolist()])
    return _scored(shots, "chance", worth, test, len(train), seed)


def _gain(
    chosen: str, rights: dict[str, np.ndarray], test: Lesson, seed: int
) -> tuple[str, float, float, float]:
    """The best of the other heads, and what the chosen one adds to it."""
    others = [name for name in rights if name != chosen]
    best = max(others, key=lambda name: float(rights[name].mean()))
    groups = np.arange(len(test)) if test.groups is None else test.groups
    gap, low, high, _ = paired_difference(rights[chosen], rights[best], groups, seed=seed)
    return best, gap, low, high


def _scored(
    shots: int | None, name: str, right: np.ndarray, test: Lesson, rows: int, seed: int,
    chosen: bool = False,
) -> Point:  # fmt: skip
    owner = np.unique(test.y, return_inverse=True)[1]
    by_class = np.bincount(owner, right) / np.bincount(owner)
    groups = np.arange(len(test)) if test.groups is None else test.groups
    low, high = interval(right.astype(np.float64), groups, seed=seed)
    return Point(shots, name, float(right.mean()), low, high, float(by_class.mean()), rows, chosen)


def rejecting(
    train: Lesson, test: Lesson, choice: HeadChoice, rate: float, alike: bool, seed: int
) -> tuple[Rejection, Rejecting]:
    """What a chosen head refuses when fitted without some classes, and the head that refuses.

    Raises
    ------
    ConjoinError : the rate is out of range, rows are too few for folds, or classes too few.
    """
    if not 0 <= rate < 1:
        raise ConjoinError("reject", f"{rate}", "give a share from 0 to below 1")
    classes = np.unique(np.concatenate([train.y, test.y]))
    if len(classes) < 3:
        raise ConjoinError("reject", f"{len(classes)} classes", "three are needed to keep one out")
    order = np.random.default_rng([seed, stable_hash("kept out")]).permutation(len(classes))
    out = classes[order[: max(1, len(classes) // 5)]]
    named = _without(train.prototypes, out)
    some = train.take(np.flatnonzero(~np.isin(train.y, out)))
    known = Lesson(some.x, some.y, named, some.groups)
    inner = known.fit(choice.method, choice.fields, seed)
    sure, near = _unseen(known, choice, seed)
    head = Rejecting.by(inner, sure, rate, near, known.x if alike else None)
    plain = Rejecting.by(inner, sure, rate)
    new = np.isin(test.y, out)
    said = head.predict(test.x[~new])
    refused = np.array([label is None for label in said])
    right = np.array([a == b for a, b in zip(said, test.y[~new], strict=True)])
    sure, near = _unseen(train, choice, seed)
    whole = Rejecting.by(choice.head, sure, rate, near, train.x if alike else None)
    rejection = Rejection(
        rate, _mean(refused), _mean(head.rejected(test.x[new])), _mean(right[~refused]),
        tuple(map(str, np.sort(out))), whole.threshold, alike,
        (_mean(plain.rejected(test.x[~new])), _mean(plain.rejected(test.x[new]))),
    )  # fmt: skip
    return rejection, whole


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _without(named: Prototypes | None, classes: np.ndarray) -> Prototypes | None:
    if named is None:
        return None
    kept = ~np.isin(named.labels, classes)
    return Prototypes(named.labels[kept], named.vectors[kept])


def _unseen(lesson: Lesson, choice: HeadChoice, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Largest probability of each row, and its nearness, by heads fitted to the other folds."""
    fold = lesson.folds(seed)
    if fold is None:
        raise ConjoinError("reject", "one labelled item a class", "give two shots or more")
    sure, near = np.empty(len(lesson)), np.empty(len(lesson))
    for number in range(int(fold.max()) + 1):
        held = fold == number
        inside = lesson.take(np.flatnonzero(~held))
        head = inside.fit(choice.method, choice.fields, seed)
        sure[held] = head.predict_proba(lesson.x[held]).max(axis=1)
        near[held] = nearest_cosine(lesson.x[held], kept_rows(inside.x))
    return sure, near


def held_level(head: Any, x: np.ndarray, y: np.ndarray, rate: float) -> Rejecting:
    """A head fitted without labels, with the threshold that these labelled rows set."""
    labels = check_labels(y, len(x))
    return Rejecting.at(head, x[np.isin(labels, head.classes)], rate)
