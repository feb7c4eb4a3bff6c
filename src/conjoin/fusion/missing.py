"""What every subset of the modalities is worth, whether absence tells, and what to collect next."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np

from conjoin.fusion.inputs import Inputs
from conjoin.fusion.model import Fused
from conjoin.stats.bootstrap import interval, resamples
from conjoin.storage.digest import stable_hash

#: With more modalities than this only single ones, all, and all but one are scored.
MOST = 6
#: Fewer items than this give no figure.
FEWEST = 10
#: Permutations of the test whether absence tells.
DRAWS = 999
#: Below this it is said that absence tells.
LEVEL = 0.01
#: Resamples of groups behind each interval.
RESAMPLES = 500


@dataclass(frozen=True)
class MaskScore:
    """A subset of the modalities and what deciding by it alone is worth.

    Parameters
    ----------
    names : the modalities used.
    items : held-out items that have them all.
    value, low, high : on these items; ``None`` where they are too few.
    whole : on the items that have every modality, the same for every subset.
    """

    names: tuple[str, ...]
    items: int
    value: float | None
    low: float | None
    high: float | None
    whole: float | None


@dataclass(frozen=True)
class Absence:
    """Whether what is absent predicts the label.

    Parameters
    ----------
    patterns : which sets of modalities occur, and how often.
    value, guess : of deciding by what is absent alone, on folds, and by the class shares (0 for
        numbers).
    p : how often shuffled labels hang together with absence as much.
    tells : whether ``p`` is at most :data:`LEVEL`.
    """

    patterns: Mapping[str, int]
    value: float
    guess: float
    p: float
    tells: bool


@dataclass(frozen=True)
class Collect:
    """What adding a modality to the items that lack it is expected to bring.

    Parameters
    ----------
    lacking : items without it, held out or not.
    gain, low, high : for them, as measured on held-out items that have it: by deciding these with
        what the others have, and with the modality besides. ``None`` where nobody lacks it, or
        nobody who has it has what they have.
    covered : share of the lacking items that there are such items for.
    """

    name: str
    lacking: int
    gain: float | None
    low: float | None
    high: float | None
    covered: float


@dataclass(frozen=True)
class Missing:
    """The missing-modality report.

    Parameters
    ----------
    metric : ``accuracy``, or ``explained``: one minus the squared error in parts of the variance.
    masks : every subset, largest first.
    importance : by modality, the mean over all subsets of the others of what it adds, with
        interval; on items that have everything.
    needs : shares of those items that any single modality decides, one alone, only several, none.
    absence : whether what is absent tells.
    collect : what to collect, most gain first.
    """

    metric: str
    masks: tuple[MaskScore, ...]
    importance: Mapping[str, tuple[float, float, float]]
    needs: Mapping[str, float]
    absence: Absence
    collect: tuple[Collect, ...]

    @property
    def said(self) -> tuple[str, ...]:
        """The warnings and the advice, a sentence each."""
        found = []
        if self.absence.tells:
            found.append(
                f"which modalities are present tells the label (p = {self.absence.p:.3f}; "
                f"{self.metric} {self.absence.value:.3f} from absence alone, "
                f"{self.absence.guess:.3f} without): scores may not hold where items lack "
                "things for other reasons"
            )
        best = next((c for c in self.collect if c.low is not None and c.low > 0), None)
        if best is not None:
            found.append(
                f"collect {best.name} next: {best.gain:+.3f} [{best.low:+.3f}, {best.high:+.3f}] "
                f"for the {best.lacking} items that lack it"
            )
        elif any(c.lacking for c in self.collect):
            found.append("collecting more of any modality has no gain that can be seen here")
        return tuple(found)

    def to_json(self) -> dict[str, Any]:
        """JSON-able fields."""
        return {**asdict(self), "said": list(self.said)}


def missing_report(
    fused: Fused,
    inputs: Inputs,
    labels: Any,
    groups: np.ndarray,
    lacking: np.ndarray | None = None,
    seed: int = 0,
) -> Missing:
    """Score every subset of the modalities on held-out items.

    Importance is the modality importance score of Park et al. (2025): performance with a modality
    less that without it, over all subsets of the others, the class shares standing for none.

    Parameters
    ----------
    inputs, labels, groups : of held-out items.
    lacking : ``[n, modalities]`` presence of all items that might be added to; the held-out
        items' own where not given.
    """
    scores = Subsets(fused, inputs, labels)
    names = inputs.names
    masks = []
    for subset in subsets_of(len(names)):
        lines, credit = scores.of(subset)
        whole = scores.whole(subset)
        span = _interval(credit, groups[lines], seed)
        enough = len(credit) >= FEWEST
        masks.append(MaskScore(
            tuple(names[k] for k in subset), len(lines),
            float(credit.mean()) if enough else None, *span, whole,
        ))  # fmt: skip
    pool = inputs.here if lacking is None else lacking
    collect = [_collect(scores, place, pool, groups, seed) for place in range(len(names))]
    collect.sort(key=lambda c: -(c.gain if c.gain is not None else -np.inf))
    return Missing(
        "accuracy" if fused.target.classes is not None else "explained",
        tuple(masks), _importance(scores, groups, seed), _needs(scores),
        absence(inputs.here, labels, groups, names, seed), tuple(collect),
    )  # fmt: skip


class Subsets:
    """What each item is worth when it is decided by a subset of what it has, kept once asked."""

    def __init__(self, fused: Fused, inputs: Inputs, labels: Any):
        self.fused, self.inputs, self.labels = fused, inputs, np.asarray(labels)
        self._kept: dict[tuple[int, ...], tuple[np.ndarray, np.ndarray]] = {}

    def of(self, subset: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """The items that have all of it, and the credit of each."""
        if subset not in self._kept:
            lines = np.flatnonzero(self.inputs.here[:, list(subset)].all(axis=1))
            here = np.zeros((len(lines), len(self.inputs.names)), dtype=bool)
            here[:, list(subset)] = True
            found = np.zeros(0)
            if len(lines):
                found = credit(
                    self.fused, self.inputs.take(lines).with_here(here), self.labels[lines]
                )
            self._kept[subset] = lines, found
        return self._kept[subset]

    def on(self, subset: tuple[int, ...], lines: np.ndarray) -> np.ndarray:
        """The credit of some of these items."""
        own, found = self.of(subset)
        return found[np.searchsorted(own, lines)]

    @property
    def complete(self) -> np.ndarray:
        """The items that have everything."""
        return np.flatnonzero(self.inputs.here.all(axis=1))

    def whole(self, subset: tuple[int, ...]) -> float | None:
        """The mean credit of the items that have everything."""
        lines = self.complete
        return float(self.on(subset, lines).mean()) if len(lines) >= FEWEST else None

    def without_any(self, lines: np.ndarray) -> np.ndarray:
        """The credit of the class shares."""
        target = self.fused.target
        if target.classes is None:
            return 1 - target.encode(self.labels[lines]).astype(np.float64) ** 2
        usual = target.classes[int(np.argmax(target.prior))]
        return (self.labels[lines].astype(str) == usual).astype(np.float64)


def credit(fused: Fused, inputs: Inputs, labels: Any) -> np.ndarray:
    """``[n]`` 1 where the class is right, else 0; or ``1 − (error / spread)²`` for numbers."""
    scores = fused.scores_of(inputs)
    if fused.target.classes is None:
        return 1 - (scores[:, 0].astype(np.float64) - fused.target.encode(labels)) ** 2
    return (fused.target.decode(scores) == np.asarray(labels).astype(str)).astype(np.float64)


def subsets_of(count: int) -> list[tuple[int, ...]]:
    """Subsets of so many places, none empty, larger first; a few where they would be too many."""
    sizes = range(count, 0, -1) if count <= MOST else sorted({count, count - 1, 1}, reverse=True)
    return [each for size in sizes for each in combinations(range(count), size)]


def absence(
    here: np.ndarray, labels: Any, groups: np.ndarray, names: Sequence[str], seed: int = 0
) -> Absence:
    """Whether what is absent predicts the label: a permutation test of one item a group.

    The statistic is the mutual information of pattern and class, or the share of the variance
    between patterns; ``p = (1 + #{shuffled ≥ seen}) / (1 + draws)``.
    """
    first = np.unique(groups, return_index=True)[1]
    codes = here[first] @ (1 << np.arange(here.shape[1]))
    pattern = np.unique(codes, return_inverse=True)[1]
    values = np.asarray(labels)[first]
    numbers = values.dtype.kind == "f"
    y = values.astype(np.float64) if numbers else np.unique(values, return_inverse=True)[1]
    rng = np.random.default_rng([seed, stable_hash("absence")])
    seen = _hangs(pattern, y, numbers)
    if len(np.unique(pattern)) < 2:
        p = 1.0
    else:
        shuffled = [_hangs(pattern, rng.permutation(y), numbers) for _ in range(DRAWS)]
        p = (1 + sum(s >= seen - 1e-12 for s in shuffled)) / (1 + DRAWS)
    fold = rng.permutation(len(y)) % 5
    value, guess = _from_pattern(pattern, y, fold, numbers)
    whole, counts = np.unique(here, axis=0, return_counts=True)
    said = {
        "+".join(n for n, own in zip(names, row, strict=True) if own) or "nothing": int(c)
        for row, c in zip(whole, counts, strict=True)
    }
    return Absence(said, value, guess, float(p), bool(p <= LEVEL and value > guess))


def _hangs(pattern: np.ndarray, y: np.ndarray, numbers: bool) -> float:
    """Mutual information in nats, or the share of the variance between patterns."""
    if numbers:
        sums, counts = np.bincount(pattern, y), np.bincount(pattern)
        between = (sums**2 / counts).sum() / len(y) - y.mean() ** 2
        return float(between / max(y.var(), 1e-30))
    kinds = int(y.max()) + 1
    counts = np.bincount(pattern * kinds + y, minlength=(int(pattern.max()) + 1) * kinds)
    table = counts.reshape(-1, kinds) / len(y)
    free = table.sum(axis=1, keepdims=True) * table.sum(axis=0, keepdims=True)
    full = table > 0
    return float((table[full] * np.log(table[full] / free[full])).sum())


def _from_pattern(
    pattern: np.ndarray, y: np.ndarray, fold: np.ndarray, numbers: bool
) -> tuple[float, float]:
    """Deciding by the pattern alone on folds, and by the shares alone."""
    by_pattern, alone = np.zeros(len(y)), np.zeros(len(y))
    for number in np.unique(fold):
        held, learn = fold == number, fold != number
        usual = y[learn].mean() if numbers else np.bincount(y[learn].astype(int)).argmax()
        said = np.full(pattern.max() + 1, usual, dtype=np.float64)
        for each in np.unique(pattern[learn]):
            own = y[learn & (pattern == each)]
            said[each] = own.mean() if numbers else np.bincount(own.astype(int)).argmax()
        for into, guess in ((by_pattern, said[pattern[held]]), (alone, usual)):
            right = (
                1 - (y[held] - guess) ** 2 / max(y.var(), 1e-30) if numbers else y[held] == guess
            )
            into[held] = right
    return float(by_pattern.mean()), float(alone.mean())


def _interval(
    values: np.ndarray, groups: np.ndarray, seed: int
) -> tuple[float | None, float | None]:
    if len(values) < FEWEST or len(np.unique(groups)) < 2:
        return None, None
    return interval(values, groups, draws=RESAMPLES, seed=seed)


def _importance(
    scores: Subsets, groups: np.ndarray, seed: int
) -> dict[str, tuple[float, float, float]]:
    lines, count = scores.complete, len(scores.inputs.names)
    found: dict[str, tuple[float, float, float]] = {}
    if len(lines) < FEWEST or count > MOST or len(np.unique(groups[lines])) < 2:
        return found
    for place, name in enumerate(scores.inputs.names):
        gains = []
        for subset in [(), *subsets_of(count)]:
            if place in subset:
                continue
            more = tuple(sorted((*subset, place)))
            less = scores.on(subset, lines) if subset else scores.without_any(lines)
            gains.append(scores.on(more, lines) - less)
        mean = np.mean(gains, axis=0)
        low, high = interval(mean, groups[lines], draws=RESAMPLES, seed=seed)
        found[name] = (float(mean.mean()), low, high)
    return found


def _needs(scores: Subsets) -> dict[str, float]:
    """How many modalities it takes, of items that have everything (classes only)."""
    lines, count = scores.complete, len(scores.inputs.names)
    if len(lines) < FEWEST or scores.fused.target.classes is None:
        return {}
    alone = np.sum([scores.on((place,), lines) for place in range(count)], axis=0)
    whole = scores.on(tuple(range(count)), lines)
    return {
        "any": float((alone == count).mean()),
        "some": float(((alone > 0) & (alone < count)).mean()),
        "together": float(((alone == 0) & (whole == 1)).mean()),
        "none": float(((alone == 0) & (whole == 0)).mean()),
    }


def _collect(
    scores: Subsets, place: int, pool: np.ndarray, groups: np.ndarray, seed: int
) -> Collect:
    """The gain over patterns of what the lacking items have, each by its share of them."""
    name = scores.inputs.names[place]
    lacking = pool[~pool[:, place] & pool.any(axis=1)]
    if not len(lacking):
        return Collect(name, 0, None, None, None, 0.0)
    names, owner = np.unique(groups, return_inverse=True)
    sums, counts, shares = [], [], []
    for row, many in zip(*np.unique(lacking, axis=0, return_counts=True), strict=True):
        have = tuple(int(k) for k in np.flatnonzero(row))
        lines, credit = scores.of(tuple(sorted((*have, place))))
        if len(lines) < FEWEST:
            continue
        gain = credit - scores.on(have, lines)
        sums.append(np.bincount(owner[lines], gain, len(names)))
        counts.append(np.bincount(owner[lines], minlength=len(names)))
        shares.append(many)
    covered = sum(shares) / len(lacking)
    if not shares:
        return Collect(name, len(lacking), None, None, None, 0.0)
    weight = np.array(shares) / sum(shares)
    total, size = np.array(sums), np.array(counts, dtype=np.float64)
    parts = []
    for drawn in resamples(len(names), RESAMPLES, [seed, stable_hash(f"collect {name}")]):
        draws = drawn.T.astype(np.float64)
        parts.append(weight @ ((total @ draws) / np.maximum(size @ draws, 1)))
    means = np.concatenate(parts)
    low, high = np.quantile(means, [0.025, 0.975])
    value = float(weight @ (total.sum(axis=1) / size.sum(axis=1)))
    return Collect(name, len(lacking), value, float(low), float(high), float(covered))
