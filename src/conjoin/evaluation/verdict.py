"""Several arms on the same held-out rows, and one sentence: which to use, or to change nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from conjoin.display import Tabular
from conjoin.errors import ConjoinError
from conjoin.stats.bootstrap import holm, interval, paired_difference


@dataclass(frozen=True)
class Arm:
    """One way of doing it, and how well it did.

    Parameters
    ----------
    name : of the arm; the do-nothing arm has its verb's word for it (``frozen``, ``base``).
    metric : name of the score, higher is better.
    value, low, high : mean over held-out rows and its 95 % interval over groups.
    cost : CPU-seconds it took to make, 0 of what was there.
    """

    name: str
    metric: str
    value: float
    low: float
    high: float
    cost: float


@dataclass(frozen=True, repr=False)
class Arms(Tabular):
    """The table of arms and what follows from it.

    Parameters
    ----------
    arms : the do-nothing arm first.
    verdict : in a sentence, what to use.
    use : name of the arm the verdict is for.
    """

    arms: tuple[Arm, ...]
    verdict: str
    use: str

    def table(self) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        """A row per arm, the one to use marked."""
        return ("arm", "metric", "value", "low", "high", "CPU-s"), [
            (
                f"{'*' if arm.name == self.use else ' '} {arm.name}", arm.metric, arm.value,
                arm.low, arm.high, f"{arm.cost:.1f}",
            )
            for arm in self.arms
        ]  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """One object for programs: ``{"arms": [...], "verdict": "..."}``."""
        return {"arms": [asdict(arm) for arm in self.arms], "verdict": self.verdict}


def judge(
    scores: Mapping[str, np.ndarray],
    groups: np.ndarray,
    *,
    metric: str,
    costs: Mapping[str, float],
    seed: int = 0,
) -> Arms:
    """Compare arms with the first of them, which does nothing.

    An arm is worth it where the 95 % interval of its paired difference from the first, whole
    groups resampled, lies above 0 and its p-value holds by Holm's correction over all arms; among
    those the one of the highest mean is named. Else the first stays.

    Parameters
    ----------
    scores : by arm, ``[n]`` scores of the same held-out rows, higher is better; the do-nothing
        arm first.
    groups : ``[n]`` labels; rows of one group rise and fall together.
    metric : what the scores are called.
    costs : CPU-seconds by arm; 0 where not named.

    Raises
    ------
    ConjoinError : fewer than two arms; scores of another length or that are not finite.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> low = rng.random(200)
    >>> found = judge({"frozen": low, "tuned": low + 0.1}, np.arange(200), metric="recall@10",
    ...               costs={"tuned": 3.0})
    >>> found.use, found.verdict[:40]
    ('tuned', 'use tuned: recall@10 +0.100 [+0.100, +0.')
    """
    names = list(scores)
    if len(names) < 2:
        raise ConjoinError("arms", f"{len(names)} given", "give the do-nothing arm and another")
    base = names[0]
    apart = {
        name: paired_difference(scores[name], scores[base], groups, seed=seed) for name in names[1:]
    }
    level = dict(zip(apart, holm(np.array([p for *_, p in apart.values()])), strict=True))
    better = [name for name, (_, low, _, _) in apart.items() if low > 0 and level[name] < 0.05]
    means = {name: float(np.mean(values)) for name, values in scores.items()}
    use = max(better, key=lambda name: means[name], default=base)
    arms = tuple(
        Arm(
            name, metric, means[name], *interval(scores[name], groups, seed=seed),
            float(costs.get(name, 0.0)),
        )
        for name in names
    )  # fmt: skip
    return Arms(arms, _sentence(use, base, apart, means, metric), use)


def _sentence(
    use: str, base: str, apart: Mapping[str, tuple[float, float, float, float]],
    means: Mapping[str, float], metric: str,
) -> str:  # fmt: skip
    best = use if use != base else max(apart, key=lambda name: means[name])
    value, low, high, _ = apart[best]
    found = f"{metric} {value:+.3f} [{low:+.3f}, {high:+.3f}]"
    if use != base:
        return f"use {use}: {found} over {base} on held-out rows"
    return f"use {base}: nothing is clearly better on held-out rows (best: {best}, {found})"
