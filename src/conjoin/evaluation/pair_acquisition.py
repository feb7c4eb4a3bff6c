"""Which items to pair next, and whether choosing them beats drawing them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from conjoin.alignment.binding import Binding
from conjoin.alignment.choice import Choice
from conjoin.evaluation.benchmark import Setting
from conjoin.evaluation.retrieval import directions, judged
from conjoin.retrieval.evaluation import TestBed
from conjoin.spaces import Pairs, Space, unit
from conjoin.spaces.pairs import ABSENT
from conjoin.stats.paired import effect
from conjoin.storage.digest import stable_hash

METRIC = "recall@10"
#: Fewest pairs anything here is fitted on.
FEWEST = 16
#: Seeds of each size or start.
SEEDS = 5


@dataclass(frozen=True)
class Picking:
    """Which items to pair next, and whether choosing them beats drawing them.

    Parameters
    ----------
    strategy : what would choose; ``random`` where nothing was better.
    gain, low, high : of the best strategy over random at an equal number of pairs.
    items : ids to pair next, in the order they were picked.
    said : in a sentence.
    """

    strategy: str
    gain: float
    low: float
    high: float
    items: tuple[str, ...]
    said: str


def score_of(setting: Setting, choice: Choice, lines: Pairs, seed: int) -> Any:
    """Scores of every query of a method fitted on some lines."""
    binding = Binding.fit(setting.spaces, lines, method=choice.make(), hub=choice.hub, seed=seed)
    return judged(setting, binding, directions(setting), [METRIC])[METRIC]


Strategy = Callable[[np.ndarray, np.ndarray, int, np.random.Generator], np.ndarray]


def farthest(known: np.ndarray, pool: np.ndarray, count: int, _: np.random.Generator) -> np.ndarray:
    """Cover the space: again and again the row least like everything paired so far.

    The greedy k-centre rule (Sener and Savarese 2018).
    """
    near = (unit(pool) @ unit(known).T).max(axis=1) if len(known) else np.full(len(pool), -2.0)
    rows = unit(pool)
    chosen: list[int] = []
    while len(chosen) < count:
        lone = int(near.argmin())
        chosen.append(lone)
        near = np.maximum(near, rows @ rows[lone])
        near[chosen] = np.inf
    return np.array(chosen)


def typical(
    known: np.ndarray, pool: np.ndarray, count: int, rng: np.random.Generator
) -> np.ndarray:
    """One row near the middle of each of ``count`` clusters of the pool."""
    from sklearn.cluster import KMeans

    found = KMeans(count, n_init=1, random_state=int(rng.integers(2**31))).fit(unit(pool))
    distance = found.transform(unit(pool))
    chosen: list[int] = []
    for cluster in range(count):
        order = np.argsort(distance[:, cluster])
        chosen.append(int(next(row for row in order if row not in chosen)))
    return np.array(chosen)


STRATEGIES: Mapping[str, Strategy] = {"farthest": farthest, "typical": typical}


def pick(
    bed: TestBed,
    setting: Setting,
    choice: Choice,
    *,
    count: int,
    seed: int,
    report: Callable[[str], None] = lambda _: None,
) -> Picking:
    """Try strategies against random on pairs that are known, and name items to pair next.

    From a tenth of the training pairs, each adds as many again by what the hub's vectors
    say; the recall on the groups set apart is compared at that equal number, over seeds and
    groups. Only a strategy whose interval is above zero is used.
    """
    view = choice.hub
    setting = setting.with_train(setting.train.take(setting.train.column(view) != ABSENT))
    rows = np.asarray(setting.spaces[view].pooled().vectors, np.float32)
    half = max(FEWEST // 2, len(setting.train) // 10)
    scores: dict[str, list[np.ndarray]] = {name: [] for name in ("random", *STRATEGIES)}
    groups = np.empty(0)
    for number in range(2 * SEEDS):
        report(f"which items to pair, draw {number + 1} of {2 * SEEDS}")
        rng = np.random.default_rng([seed, number, stable_hash("pick")])
        order = rng.permutation(len(setting.train))
        first, pool = order[:half], order[half:]
        own = setting.train.column(view)
        for name in scores:
            if name == "random":
                added = pool[:half]
            else:
                known, open_ = rows[own[first]], rows[own[pool]]
                added = pool[STRATEGIES[name](known, open_, half, rng)]
            units = score_of(setting, choice, setting.train.take(np.r_[first, added]), number)
            scores[name].append(units.values)
            groups = units.groups
    base = np.stack(scores["random"])
    effects = {n: effect(np.stack(scores[n]), base, groups) for n in STRATEGIES}
    best = max(effects, key=lambda name: effects[name].value)
    level = 1 - 0.05 / len(STRATEGIES)
    low, high = effects[best].interval(level)
    better = low > 0
    used = best if better else "random"
    items = _next(bed, view, used, count, seed)
    said = (
        f"{best} picks beat random ones by {effects[best].value:+.3f} [{low:+.3f}, {high:+.3f}]"
        if better
        else f"no way of picking beats random ones here (best: {best}, "
        f"{effects[best].value:+.3f} [{low:+.3f}, {high:+.3f}])"
    )
    if not items:
        said += "; every item is paired already"
    return Picking(used, effects[best].value, low, high, items, said)


def _next(bed: TestBed, view: str, strategy: str, count: int, seed: int) -> tuple[str, ...]:
    """Unpaired items of a view, not held out, in the order they should be paired."""
    space: Space = bed.spaces[view]
    paired = np.unique(bed.train.column(view))
    closed = np.union1d(paired[paired >= 0], bed.rows.get(view, np.empty(0, np.int64)))
    pool = np.setdiff1d(np.arange(len(space)), closed)
    count = min(count, len(pool))
    if count == 0:
        return ()
    rng = np.random.default_rng([seed, stable_hash("next")])
    if strategy == "random":
        chosen = rng.permutation(len(pool))[:count]
    else:
        vectors = np.asarray(space.pooled().vectors, np.float32)
        known = vectors[paired[paired >= 0]]
        chosen = STRATEGIES[strategy](known, vectors[pool], count, rng)
    return tuple(map(str, space.ids[pool[chosen]]))
