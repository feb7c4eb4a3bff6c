"""Choice tasks: of several options, the one nearest to what is shown."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from conjoin.evaluation.by_shape.base import Arm, Made, unit_rows
from conjoin.evaluation.formats.base import Cells, Choose
from conjoin.metrics.outcomes.pairs import OrderedPairs


def chosen(task: Choose, arms: Sequence[Arm]) -> Iterator[Made]:
    """The most frequent letter, the longest option, and every arm; a tie of the best is wrong."""
    chance = {"accuracy": float(np.mean([1 / len(q.options) for q in task.questions]))}
    right = np.array([q.right for q in task.questions])
    letter = Counter(right.tolist()).most_common(1)[0][0]
    picks = {"the most frequent place": right == letter}
    if all(q.option_kind == "text" for q in task.questions):
        longest = [int(np.argmax([len(o) for o in q.options])) for q in task.questions]
        picks["longest option"] = np.array(longest) == right
    for name, won in picks.items():
        yield Made(name, "trivial", {"accuracy": won.astype(float)}, chance, 0.0)
    for arm in arms:
        began = time.monotonic()
        won = _right(task, arm)
        units = {"accuracy": won}
        yield Made(
            arm.name, "encoder", units, chance, time.monotonic() - began,
            facts=_over_pairs(task, won),
        )  # fmt: skip


def _right(task: Choose, arm: Arm) -> np.ndarray:
    """1 where the right option is nearer to what is shown than every other."""
    rows: dict[str, dict[str, np.ndarray]] = {}
    for kind in sorted({q.kind for q in task.questions} | {q.option_kind for q in task.questions}):
        cells = {q.shown: q.shown for q in task.questions if q.kind == kind}
        cells |= {o: o for q in task.questions if q.option_kind == kind for o in q.options}
        found = unit_rows(arm.embed(Cells(kind, cells)))
        rows[kind] = dict(zip(cells, found, strict=True))
    won = []
    for q in task.questions:
        shown = rows[q.kind][q.shown]
        scores = np.array([rows[q.option_kind][o] @ shown for o in q.options])
        others = np.delete(scores, q.right)
        won.append(float(scores[q.right] > others.max()))
    return np.array(won)


def _over_pairs(task: Choose, won: np.ndarray) -> dict[str, float]:
    """The four numbers over ordered pairs of modalities, where two directions are there."""
    pairs = np.array([q.tag for q in task.questions])
    results = {str(p): won[pairs == p] for p in np.unique(pairs) if ">" in p}
    if len(results) < 2:
        return {}
    return {one.name: one.value for one in OrderedPairs()(results)}
