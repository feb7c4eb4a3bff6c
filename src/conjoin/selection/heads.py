"""Choose a head on folds of its training rows; nothing else is looked at."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from conjoin.catalogue import COSTS, Choice, Row, Search, find, of_kind, ranges
from conjoin.errors import ConjoinError
from conjoin.spaces.given import instance_of, name_of, whole_number
from conjoin.storage.digest import stable_hash
from conjoin.transfer.base import NAMED, Prototypes, check_labels, check_rows

#: Settings of a method tried, folds, and rows looked at, at most.
TRIES, FOLDS, ROWS = 5, 3, 5000


@dataclass(frozen=True, eq=False)
class Tried:
    """A method at its best setting on the folds.

    Parameters
    ----------
    right : ``[n]`` whether each row was answered rightly by a head that had not seen it.
    """

    method: str
    fields: dict[str, Any]
    right: np.ndarray

    @property
    def mean(self) -> float:
        """Accuracy."""
        return float(self.right.mean())


@dataclass(frozen=True, eq=False)
class HeadChoice:
    """A head that was chosen and fitted.

    Parameters
    ----------
    method, fields : of the catalogue.
    head : fitted to all rows.
    tried : every method looked at, best first; empty where there was nothing to choose by.
    skipped : methods not looked at, and why.
    """

    method: str
    fields: dict[str, Any]
    head: Any
    tried: tuple[Tried, ...] = ()
    skipped: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Lesson:
    """Labelled rows, and what else a head may look at.

    Parameters
    ----------
    x, y : ``[n, d]`` and ``[n]``.
    prototypes : vectors of the classes' names.
    groups : ``[n]``; rows of one group are on one side of every fold. Each its own where not given.
    """

    x: np.ndarray
    y: np.ndarray
    prototypes: Prototypes | None = None
    groups: np.ndarray | None = None

    @classmethod
    def of(
        cls, x: Any, y: Any, prototypes: Prototypes | None = None, groups: Any = None
    ) -> "Lesson":
        """Checked rows, labels and groups.

        Raises
        ------
        ConjoinError : as :meth:`~conjoin.transfer.base.Head.fit`.
        """
        rows = check_rows(x, "x")
        labels = check_labels(y, len(rows))
        owners = None if groups is None else check_labels(groups, len(rows), "groups")
        if prototypes is not None:
            instance_of(prototypes, Prototypes, "prototypes", NAMED)
            check_rows(prototypes.vectors, "prototypes", rows.shape[1])
        return cls(rows, labels, prototypes, owners)

    def __len__(self) -> int:
        return len(self.x)

    def take(self, rows: np.ndarray) -> "Lesson":
        """Some of the rows."""
        owners = None if self.groups is None else self.groups[rows]
        return Lesson(self.x[rows], self.y[rows], self.prototypes, owners)

    def fit(self, method: str, fields: dict[str, Any], seed: int) -> Any:
        """A head fitted to them."""
        head = find("head", method).make(fields)
        return head.fit(self.x, self.y, prototypes=self.prototypes, seed=seed)

    def folds(self, seed: int, count: int = FOLDS) -> np.ndarray | None:
        """``[n]`` the fold of each row, each class dealt over all; ``None`` where too few.

        Whole groups; a group belongs to the class of its first row.
        """
        owners = np.arange(len(self)) if self.groups is None else self.groups
        names, first, inverse = np.unique(owners, return_index=True, return_inverse=True)
        owner = np.unique(self.y, return_inverse=True)[1][first]
        counts = np.bincount(owner)
        count = min(count, int(np.median(counts)), int(counts.max()))
        if count < 2:
            return None
        order = np.random.default_rng([seed, stable_hash("head folds")]).permutation(len(names))
        order = order[np.argsort(owner[order], kind="stable")]
        fold = np.empty(len(names), dtype=np.int64)
        fold[order] = np.arange(len(names)) % count
        return fold[inverse.reshape(-1)]


def heads_for(lesson: Lesson) -> tuple[list[Row], dict[str, str]]:
    """Heads over classes that can be fed, cheapest first, and why the others cannot."""
    fed, skipped = [], {}
    for name, row in of_kind("head").items():
        engine = row.load()
        if engine.answers != "classes":
            continue
        looks = engine.prototypes == "needed" or getattr(row.make(), "reads_names", False)
        if looks and lesson.prototypes is None:
            skipped[name] = "needs names of the classes"
        elif "labels" in row.needs and not len(lesson) and engine.prototypes != "needed":
            skipped[name] = "needs labels"
        elif row.cost == "trained":
            skipped[name] = "is trained by steps: name it to have it tried"
        else:
            fed.append(row)
    return sorted(fed, key=lambda row: COSTS.index(row.cost)), skipped


def choose_head(
    x: Any,
    y: Any,
    *,
    prototypes: Prototypes | None = None,
    groups: Any = None,
    method: str = "auto",
    seed: int = 0,
) -> HeadChoice:
    """Choose a head and its settings on folds of the rows given, and fit it to all of them.

    Of methods that the folds do not tell apart by a standard error, the cheaper is taken. With
    rows too few to be dealt (one a class), the head is ``cross-modal`` where names are given,
    else ``nearest-mean``, at its defaults.

    Parameters
    ----------
    x, y : ``[n, d]`` vectors and ``[n]`` classes.
    prototypes : vectors of the classes' names, in the frame of ``x``.
    groups : ``[n]``; rows of one group are never on both sides of a fold.
    method : ``auto``, or a head's name, of which the settings alone are chosen.

    Raises
    ------
    ConjoinError : as :meth:`~conjoin.transfer.base.Head.fit`, or the method is unknown.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y = np.arange(60) % 3
    >>> found = choose_head(np.eye(3)[y] + 0.1 * rng.normal(size=(60, 3)), y)
    >>> found.head.score(np.eye(3), [0, 1, 2])
    1.0
    """
    whole_number(seed, "seed")
    name_of(method, "method")
    lesson = Lesson.of(x, y, prototypes, groups)
    rows, skipped = heads_for(lesson)
    if method != "auto":
        rows, skipped = [find("head", method)], {}
        if rows[0].load().answers != "classes":
            raise ConjoinError("method", f"{method} predicts numbers", "name a head over classes")
    tried = _try_all(lesson, rows, seed)
    if not tried:
        fallback = "cross-modal" if prototypes is not None else "nearest-mean"
        if not len(lesson):
            fallback = "zero-shot-head"
        name = fallback if method == "auto" else method
        return HeadChoice(name, {}, lesson.fit(name, {}, seed), (), skipped)
    best = _cheapest(tried)
    head = lesson.fit(best.method, best.fields, seed)
    ranked = tuple(sorted(tried, key=lambda t: -t.mean))
    return HeadChoice(best.method, best.fields, head, ranked, skipped)


def _try_all(lesson: Lesson, rows: Sequence[Row], seed: int) -> list[Tried]:
    if len(np.unique(lesson.y)) < 2:
        return []
    if len(lesson) > ROWS:
        draw = np.random.default_rng([seed, stable_hash("head rows")])
        lesson = lesson.take(np.sort(draw.choice(len(lesson), ROWS, replace=False)))
    fold = lesson.folds(seed)
    if fold is None:
        return []
    return [_best(lesson, row, fold, seed) for row in rows]


def _best(lesson: Lesson, row: Row, fold: np.ndarray, seed: int) -> Tried:
    """A method at the best of its settings, one field after another."""

    def right(fields: dict[str, Any]) -> np.ndarray:
        out = np.zeros(len(lesson), dtype=bool)
        for number in range(int(fold.max()) + 1):
            held = fold == number
            inside = lesson.take(np.flatnonzero(~held))
            if len(np.unique(inside.y)) > 1 or lesson.prototypes is not None:
                head = inside.fit(row.name, fields, seed)
                out[held] = head.predict(lesson.x[held]) == lesson.y[held]
        return out

    best = Tried(row.name, {}, right({}))
    # A trained head is tried at its defaults: folds of folds would take minutes.
    left = 0 if row.cost == "trained" else TRIES - 1
    for fields in _around(row, left):
        other = Tried(row.name, {**best.fields, **fields}, right({**best.fields, **fields}))
        best = other if other.mean > best.mean else best
    return best


def _around(row: Row, count: int) -> Iterator[dict[str, Any]]:
    """Other values of one searched field after another, ten times up and down or a choice's."""
    made = row.make()
    for name, span in ranges(row.load()).items():
        if name in row.settings or name in ("scale", "temperature"):
            continue
        now = getattr(made, name)
        if isinstance(span, Choice):
            values = [v for v in span.values if v != now]
        else:
            values = _beside(now, span)
        for value in values:
            if count <= 0:
                return
            count -= 1
            yield {name: value}


def _beside(now: Any, span: Search) -> list[Any]:
    if now is None:
        return []
    wide = (span.high - span.low) / 6
    both = (now * 10, now / 10) if span.log else (now + wide, now - wide)
    kept = [min(max(v, span.low), span.high) for v in both]
    return [type(now)(v) for v in kept if v != now]


def _cheapest(tried: Sequence[Tried]) -> Tried:
    """The cheapest, and then the best, of those that the best does not clearly beat."""
    best = max(tried, key=lambda t: t.mean)

    def close(one: Tried) -> bool:
        gap = best.right.astype(float) - one.right
        return bool(gap.mean() <= gap.std() / np.sqrt(len(gap)))

    alike = [t for t in tried if close(t)]
    cost = min(COSTS.index(find("head", t.method).cost) for t in alike)
    return max(
        (t for t in alike if COSTS.index(find("head", t.method).cost) == cost),
        key=lambda t: t.mean,
    )
