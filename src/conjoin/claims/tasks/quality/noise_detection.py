"""Does a detector put planted wrong pairs before right ones, on data it has not been fitted to?"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from scipy.stats import rankdata

from conjoin.alignment.closed_form.linear import Identity
from conjoin.catalogue import Search
from conjoin.errors import ConjoinError
from conjoin.evaluation.arms import Made, Scores, Units
from conjoin.evaluation.benchmark import Bench, Setting, whole_setting
from conjoin.evaluation.memo import once
from conjoin.evaluation.retrieval import drawn
from conjoin.quality.cross_fit import Edge, cross
from conjoin.quality.detectors import Detector
from conjoin.quality.inputs import Case
from conjoin.spaces import Pairs
from conjoin.storage.digest import stable_hash


@dataclass(frozen=True, eq=False)
class Turn:
    """One planting, as an arm saw it.

    Parameters
    ----------
    planted : places, among the held-out pairs, of those that were planted wrong.
    wrong, right : how suspect the planted held-out pairs are, and the others.
    """

    planted: np.ndarray
    wrong: np.ndarray
    right: np.ndarray


@dataclass(frozen=True)
class Detecting:
    """Find planted wrong pairs among held-out ones, by the doctor's own crossed maps.

    The held-out pairs are cut into ``1 / share`` parts by a hash of their groups. In turn each
    part is planted wrong: its right cells move on to pairs of other groups. The same share of the
    training pairs is planted by the seed, and every pair, training or held out, is placed by CCA
    fitted to the other folds, wrong pairs among them. A detector then says how suspect it finds
    each. Every held-out pair is a unit, in the turn in which it is wrong:

    - ``found``: 1 where it is among the most suspect held-out pairs, as many as were planted;
      a tie counts its share. Its mean is precision and recall at once; chance gives ``share``.
    - ``above``: share of the right held-out pairs that are less suspect than it, a tie counting
      half. Its mean is the area under the curve of hits over false alarms; chance gives ½.

    The arm ``identity`` finds all pairs alike.

    Parameters
    ----------
    share : of pairs that are planted wrong.
    """

    share: Annotated[float, Search(0.02, 0.5)] = 0.2
    metrics: ClassVar[tuple[str, ...]] = ("found", "above")
    judges: ClassVar[str] = "detector"
    beside: ClassVar[tuple[str, ...]] = ("chance", "identity", "partner-rank")

    def setting(self, bench: Bench, seed: int) -> Setting:
        """Nine tenths of the training lines of the first two views."""
        whole = whole_setting(bench, tuple(bench.spaces)[:2])
        return whole.with_train(drawn(whole.train, None, seed))

    def fit(self, setting: Setting, made: Made, seed: int) -> list[Turn]:
        """Plant each part in turn and ask the detector.

        Raises
        ------
        ConjoinError : the arm is no detector, or pairs are too few.
        """
        if not isinstance(made.aligner, Identity | Detector):
            raise ConjoinError("arm", "no detector", "name one, such as partner-rank")
        turns = []
        for planted, edge, place in _planted(setting, self.share, seed):
            if isinstance(made.aligner, Identity):
                found = np.zeros(len(edge.crossed))
            else:
                found = made.aligner(edge.crossed, edge.crossed.given)[0]
            held = found[place]
            turns.append(Turn(planted, held[planted], np.delete(held, planted)))
        return turns

    def judge(self, setting: Setting, fitted: list[Turn]) -> Scores:
        """Every held-out pair in the turn in which it was wrong."""
        groups = held_groups(setting)
        found, above = np.zeros(len(groups)), np.zeros(len(groups))
        for turn in fitted:
            found[turn.planted] = among_first(turn.wrong, turn.right)
            above[turn.planted] = beaten(turn.wrong, turn.right)
        return {"found": Units(found, groups), "above": Units(above, groups)}

    def chance(self, setting: Setting) -> Scores:
        """Suspicion by lot."""
        groups = held_groups(setting)
        found = np.zeros(len(groups))
        for planted in parts(groups, self.share):
            found[planted] = len(planted) / len(groups)
        return {"found": Units(found, groups), "above": Units(np.full(len(groups), 0.5), groups)}


def among_first(wrong: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Whether each wrong pair is among the ``len(wrong)`` most suspect; ties share the places.

    Examples
    --------
    >>> among_first(np.array([3.0, 1.0]), np.array([2.0, 0.0]))
    array([1., 0.])
    """
    every = np.concatenate([wrong, right])
    above = (every[None] > wrong[:, None]).sum(axis=1)
    level = (every[None] == wrong[:, None]).sum(axis=1)
    return np.asarray(np.clip((len(wrong) - above) / level, 0, 1))


def beaten(wrong: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Share of the right pairs that are less suspect than each wrong one; a tie counts half.

    Examples
    --------
    >>> beaten(np.array([3.0, 1.0]), np.array([2.0, 0.0]))
    array([1. , 0.5])
    """
    both = rankdata(np.concatenate([wrong, right]))[: len(wrong)]
    return np.asarray((both - rankdata(wrong)) / max(len(right), 1))


def held_groups(setting: Setting) -> np.ndarray:
    """The group of each held-out pair, in the order of their rows."""
    return _lines(setting.bed.test, setting)[1]


def parts(groups: np.ndarray, share: float) -> list[np.ndarray]:
    """Held-out pairs planted together: whole groups, by their hash, the same for every seed.

    Each part is in an order in which moving on halfway leaves no pair in its own group, as long
    as no group is half of it.
    """
    count = max(2, round(1 / share))
    held, owner = np.unique(groups, return_inverse=True)
    place = np.argsort(np.argsort([stable_hash(f"planted/{group}") for group in held]))
    turn = place[owner] % count
    order = np.lexsort((np.arange(len(groups)), place[owner]))
    return [own for part in range(count) if len(own := order[turn[order] == part]) > 1]


def moved(rows: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Rows ``[m, 2]`` in which the chosen lines have each other's right cells."""
    out = rows.copy()
    out[chosen, 1] = rows[np.roll(chosen, len(chosen) // 2), 1]
    return out


def _lines(pairs: Pairs, setting: Setting) -> tuple[np.ndarray, np.ndarray]:
    """Distinct pairs of the two views ``[m, 2]``, and the group of each by its left item."""
    left, right = pairs.names[:2]
    i, j, _ = pairs.between(left, right)
    ids = setting.spaces[left].ids[i]
    groups = [stable_hash(setting.bench.groups.get(str(item), str(item))) for item in ids]
    return np.stack([i, j], axis=1), np.array(groups, dtype=np.int64)


@once(6)
def _planted(
    setting: Setting, share: float, seed: int
) -> list[tuple[np.ndarray, Edge, np.ndarray]]:
    """Each turn: what is planted, the lines as the doctor crosses them, and where the held lie."""
    train, own = _lines(setting.train, setting)
    test, groups = _lines(setting.bed.test, setting)
    rng = np.random.default_rng([seed, stable_hash("planted")])
    number = rng.permutation(len(np.unique(own)))[np.unique(own, return_inverse=True)[1]]
    order = np.argsort(number, kind="stable")
    train = moved(train, order[: round(share * len(order))])
    names = (setting.train.names[0], setting.train.names[1])
    spaces = {name: setting.spaces[name] for name in names}
    items = np.unique(np.concatenate([space.ids for space in spaces.values()]))
    case = Case(spaces, None, items, setting.bench.groups, seed=seed)
    turns = []
    for planted in parts(groups, share):
        rows = np.concatenate([train, moved(test, planted)])
        lines = Pairs(names, rows, group=np.concatenate([own, groups]))
        edge = cross(case.paired(lines), names, lambda *_: None)
        crossed = np.stack(edge.rows, axis=1).tolist()
        at = {tuple(pair): line for line, pair in enumerate(crossed)}
        asked = list(map(tuple, rows[len(train) :].tolist()))
        if any(pair not in at for pair in asked):
            raise ConjoinError(
                f"data {setting.bench.name}", "a held-out row that is zero or not finite",
                "drop it",
            )  # fmt: skip
        turns.append((planted, edge, np.array([at[pair] for pair in asked])))
    return turns
