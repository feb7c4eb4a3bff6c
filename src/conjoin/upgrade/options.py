"""The arms of an upgrade as they are told, and which to take."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from conjoin.stats.bootstrap import mean_draws, paired_difference
from conjoin.upgrade.refit import Way

METRIC, FIRST = "recall@10", 10
#: A value this much lower is not worth paying to avoid.
SLACK = 0.01


@dataclass(frozen=True)
class Arm:
    """One way to upgrade, what it is worth on the sample and what it costs on the collection.

    Parameters
    ----------
    name : nothing, bridge, cascade, partial or re-embed.
    value, low, high : of the metric, with a 95 % interval by group.
    cost : encoder seconds; those of a cascade are of ``queries`` queries.
    gain, gain_low, gain_high, p : against doing nothing, on the same queries; the interval of
        this arm alone, p of two sides and of all arms at once.
    seconds, bytes, money : encoder seconds again, further storage, and what a price makes of it.
    direction : of a bridge: ``new-to-old`` maps queries, ``old-to-new`` documents.
    share : of the collection, of a partial re-embedding.
    others : whether the other modalities' vectors stay or move.
    """

    name: str
    value: float
    low: float
    high: float
    cost: float
    gain: float = 0.0
    gain_low: float = 0.0
    gain_high: float = 0.0
    p: float = 1.0
    seconds: float = 0.0
    bytes: int = 0
    money: float | None = None
    direction: str | None = None
    share: float | None = None
    others: str = "stay"
    note: str = ""

    @property
    def label(self) -> str:
        """What people call it."""
        share = None if self.share is None else f"{self.share:.0%}"
        moved = "all moved" if self.others == "move" and self.name == "re-embed" else None
        return " ".join(filter(None, (self.name, self.direction, share, moved)))

    def to_json(self) -> dict[str, Any]:
        """JSON-able fields."""
        return {"name": self.name, "metric": METRIC,
                **{k: v for k, v in self.__dict__.items() if k != "name"}}  # fmt: skip


@dataclass(frozen=True)
class Rates:
    """What things cost.

    Parameters
    ----------
    seconds : the new encoder takes for one cell, as measured on the sample.
    items : cells of the collection.
    queries : that a cascade's cost is told for.
    top : hits a cascade encodes anew.
    price : money for a thousand cells, if it costs any.
    """

    seconds: float
    items: int
    queries: int = 1000
    top: int = 20
    price: float | None = None

    def of(self, cells: float) -> dict[str, Any]:
        """Seconds and money of so many cells."""
        seconds = round(self.seconds * cells, 3)
        money = None if self.price is None else round(self.price * cells / 1000, 4)
        return {"cost": seconds, "seconds": seconds, "money": money}


@dataclass(frozen=True, eq=False)
class Curve:
    """All arms, cheapest first, and what to do.

    Parameters
    ----------
    recommendation : ``stay``, or the name of an arm.
    chosen : that arm.
    way : the bridge that was chosen, and what each was worth on lines held out of the fit.
    facts : how it was measured.
    """

    arms: tuple[Arm, ...]
    recommendation: str
    chosen: Arm
    reason: str
    way: Way
    worth: Mapping[str, float] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """One object for programs."""
        return {
            "arms": [arm.to_json() for arm in self.arms],
            "recommendation": self.recommendation,
            "recommended": self.chosen.to_json(), "reason": self.reason,
            "bridge": {"method": self.way.method, "toward": self.way.toward,
                       "worth": {k: v for k, v in self.worth.items() if v == v}},
            **self.facts,
        }  # fmt: skip


def together(gains: np.ndarray, groups: np.ndarray, seed: int = 0, draws: int = 4000) -> np.ndarray:
    """``[m]`` two-sided p-values of the mean of every column of ``[n, m]``, all at once.

    An arm's is the share of resamples of groups in which any arm's error, in standard errors, is
    as large as its gain (Romano and Wolf 2005, one step): arms that ask the same queries err
    together, so this costs less than Holm's, and it is the rule by which corrections are chosen.
    Two-sided, for which way an arm goes is not known before it is measured.
    """
    means = gains.mean(axis=0)
    error = mean_draws(gains, groups, draws=draws, seed=seed) - means
    spread = error.std(axis=0)
    safe = np.where(spread > 0, spread, 1.0)
    count = len(np.unique(groups))
    most = np.abs(error / safe).max(axis=1) * np.sqrt(count / max(count - 1, 1))
    reached = most[:, None] >= np.abs(means / safe)
    return np.asarray((1 + reached.sum(axis=0)) / (1 + draws))


def recommend(
    arms: Sequence[Arm], values: Sequence[np.ndarray], groups: np.ndarray, seed: int = 0
) -> tuple[Arm, str]:
    """The arm to take and one sentence why."""
    better = [k for k, a in enumerate(arms) if a.gain_low > 0 and a.p < 0.05]
    if not better:
        most = max(arms[1:], key=lambda a: a.value)
        return arms[0], (
            f"no way surely gains: the best, {most.label}, brings {most.gain:+.3f} "
            f"[{most.gain_low:+.3f}, {most.gain_high:+.3f}]"
        )
    best = max(better, key=lambda k: arms[k].value)
    for k in sorted(better, key=lambda k: (arms[k].cost, arms[k].bytes, -arms[k].value)):
        behind = paired_difference(values[best], values[k], groups, seed=seed)
        if k == best or (behind[1] <= SLACK and behind[0] <= 2 * SLACK):
            arm = arms[k]
            said = f"{arm.label} surely gains ({arm.gain:+.3f} [{arm.gain_low:+.3f}, "
            said += f"{arm.gain_high:+.3f}])"
            if k != best:
                said += f", and {arms[best].label} is not surely better"
            return arm, said
    raise AssertionError("the best arm is among those tried")
