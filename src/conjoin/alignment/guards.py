"""What can go wrong in an upgrade without a sound, each caught and said in one line."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from conjoin.encoders.probe import check_drift
from conjoin.errors import ConjoinError, FrameError
from conjoin.maps.base import Map
from conjoin.spaces import Space
from conjoin.spaces.frame import unit
from conjoin.storage.digest import stable_hash

#: Rows of a side that a two-sample test reads, and how often it shuffles them.
ROWS, SHUFFLES = 400, 199
#: How many spreads of the shuffled statistic make two samples different. Random halves come to
#: 5 at times, as the statistic is skewed; one class of ten drawn half as often comes to 9, and
#: queries for documents to 100.
FAR = 8.0
#: Neighbours that old and new are asked for, and pairs that say whether they agree.
NEAR = 10
#: Fewest pairs from which guards tell anything.
FEWEST = 20


def discrepancy(a: np.ndarray, b: np.ndarray, seed: int = 0) -> float:
    """How many spreads of its shuffles the energy distance of two samples lies above their mean.

    ``E = 2 E|a − b| − E|a − a'| − E|b − b'|`` (Székely and Rizzo 2013), against the same of
    random halves of both together. About 0 where both are drawn alike.

    Parameters
    ----------
    a, b : ``[n, d]`` and ``[m, d]``; at most :data:`ROWS` of each are read.
    """
    rng = np.random.default_rng([seed, stable_hash("two samples")])
    parts = [np.asarray(x[np.sort(rng.permutation(len(x))[:ROWS])], np.float64) for x in (a, b)]
    both = np.concatenate(parts)
    squares = (both * both).sum(1)
    far = np.sqrt(np.maximum(squares[:, None] + squares - 2 * both @ both.T, 0))
    first = np.zeros(len(both))
    first[: len(parts[0])] = 1.0

    def energy(side: np.ndarray) -> float:
        other, n, m = 1 - side, side.sum(), len(side) - side.sum()
        across = far @ other
        within = side @ far @ side / (n * n), other @ across / (m * m)
        return float(2 * (side @ across) / (n * m) - within[0] - within[1])

    shuffled = np.array([energy(rng.permutation(first)) for _ in range(SHUFFLES)])
    spread = float(shuffled.std()) or np.finfo(float).tiny
    return (energy(first) - float(shuffled.mean())) / spread


def check_sample(sample: np.ndarray, rest: np.ndarray, what: str = "sample") -> None:
    """Refuse a sample that is not like the collection, by the old vectors of both.

    Raises
    ------
    ConjoinError : a two-sample test tells them apart.
    """
    if min(len(sample), len(rest)) < FEWEST:
        return
    found = discrepancy(sample, rest)
    if found > FAR:
        raise ConjoinError(
            what, f"is not like the collection: its old vectors lie {found:.1f} spreads apart",
            "draw it at random from the whole collection",
        )  # fmt: skip


def check_use(fitted: np.ndarray, used: np.ndarray, what: str = "bridge") -> None:
    """Refuse a bridge on other rows than it was fitted to, such as documents after queries.

    Raises
    ------
    ConjoinError : a two-sample test tells the rows of the fit from those it is used on.
    """
    if min(len(fitted), len(used)) < FEWEST:
        return
    found = discrepancy(fitted, used)
    if found > FAR:
        raise ConjoinError(
            what, f"was fitted to other rows than it is used on ({found:.1f} spreads apart)",
            "fit it to a sample of what it will map: documents for documents",
        )  # fmt: skip


def agreement(old: np.ndarray, new: np.ndarray) -> tuple[float, float]:
    """Share of near neighbours that two encoders agree on, row by row, and what chance gives."""
    count = len(old)
    near = min(NEAR, count - 2)
    lists = []
    for rows in (old, new):
        scores = unit(np.asarray(rows, np.float64))
        scores = scores @ scores.T
        np.fill_diagonal(scores, -np.inf)
        lists.append(np.argpartition(-scores, near, axis=1)[:, :near])
    shared = np.mean([len(np.intersect1d(a, b)) for a, b in zip(*lists, strict=True)])
    return float(shared / near), near / (count - 1)


def check_ids(old: np.ndarray, new: np.ndarray) -> None:
    """Refuse a sample whose rows are not in the order of the old vectors' ids.

    Both encoders saw the same cells, so rows that are near by one are near by the other more
    often than chance has it, however different the encoders are. A tenth of the rows is read
    apart, so that a shuffled part is seen as well as a shuffled whole.

    Raises
    ------
    ConjoinError : they agree no more than shuffled rows would.
    """
    if len(old) < FEWEST:
        return
    some = np.random.default_rng(0).permutation(len(old))[:2000]
    found, chance = agreement(old[some], new[some])
    error = np.sqrt(chance * (1 - chance) / (len(some) * NEAR))
    if found < chance + 4 * error:
        raise ConjoinError(
            "sample", f"old and new vectors agree on {found:.1%} of near rows, chance is "
            f"{chance:.1%}", "check that ids of both are in one order: they look shuffled",
        )  # fmt: skip


def found_back(bridge: Map, x: np.ndarray, target: np.ndarray) -> np.ndarray:
    """``[n]`` whether each row's own target is the nearest of all to where the bridge puts it."""
    placed = unit(np.asarray(bridge.apply(x), np.float32))
    best = (placed @ unit(np.asarray(target, np.float32)).T).argmax(axis=1)
    return np.asarray(best == np.arange(len(best)))


def check_direction(bridge: Map, x: np.ndarray, target: np.ndarray) -> float:
    """Refuse a bridge that leads the wrong way, end to end on held-out rows.

    Widths alone show nothing where both encoders have the same. A bridge must name the target of
    held-out rows more often than chance, and no worse than the same bridge read backwards.

    Returns
    -------
    The share of held-out rows whose own target comes first.

    Raises
    ------
    FrameError : the widths are those of the other direction.
    ConjoinError : it finds the targets back no better than chance, or better backwards.
    """
    remedy = "fit it from the encoder it will read to the frame it should lead into"
    try:
        forward = found_back(bridge, x, target)
    except (ConjoinError, ValueError) as error:
        raise FrameError("bridge", f"leads the wrong way: {error}", remedy) from None
    share, chance = float(forward.mean()), 1 / len(forward)
    backward = 0.0
    if x.shape[1] == target.shape[1]:
        backward = float(found_back(bridge, target, x).mean())
    if share <= chance + 4 * np.sqrt(chance / len(forward)) or backward > share + 0.05:
        raise ConjoinError(
            "bridge", f"leads the wrong way: {share:.1%} of held-out rows find their own target, "
            f"{backward:.1%} read backwards", remedy,
        )  # fmt: skip
    return share


def check_encoder(name: str, before: np.ndarray, now: np.ndarray) -> None:
    """Refuse a new encoder whose vectors of the same cells moved since the plan.

    Raises
    ------
    FrameError : it drifted.
    """
    check_drift(f"encoder of {name}", before, now)


def check_scores(
    name: str, before: Mapping[tuple[str, str], Any], after: Mapping[tuple[str, str], Any]
) -> None:
    """Refuse what was tuned to scores of before the upgrade: calibrations and their thresholds.

    A bridge keeps the frame but not the scores: probabilities and thresholds of every direction
    that the upgraded modality has a part in must be fitted again or left out.

    Parameters
    ----------
    before, after : calibrations by direction, as JSON-able values.

    Raises
    ------
    ConjoinError : one of after is one of before.
    """
    for edge, found in after.items():
        if name in edge and before.get(edge) == found:
            raise ConjoinError(
                f"calibration {edge[0]} to {edge[1]}", "was fitted before the upgrade",
                "fit it again: scores of a bridged modality mean something else",
            )  # fmt: skip


def check_stays(name: str, before: Mapping[str, Space], after: Mapping[str, Space]) -> None:
    """Refuse an upgrade of one modality in which another's vectors moved.

    Raises
    ------
    FrameError : the frame is another.
    ConjoinError : a vector is.
    """
    for other, held in before.items():
        if other == name or other not in after:
            continue
        if held.frame != after[other].frame:
            raise FrameError(f"modality {other}", "is in another frame", "apply it again")
        one, two = (np.asarray(s.vectors) for s in (held, after[other]))
        if one.shape != two.shape or one.tobytes() != two.tobytes():
            raise ConjoinError(
                f"modality {other}", "its vectors moved though only "
                f"{name} was upgraded", "roll back: conjoin upgrade rollback",
            )  # fmt: skip
