"""By what "nothing relevant" could be told, and what each way would reject.

    python benchmarks/scores.py [--keep 0.95]

The bundled sample, pictures and words under CCA. Thresholds are set on one fold of the training
pairs, to which nothing was fitted, so that ``keep`` of the lists with a right answer among their
first ten stay; shares are of held-out queries, the least and the most of both directions.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from conjoin.claims.datasets.registry import open_bench
from conjoin.claims.tasks.search.texts import bound_views
from conjoin.encoders.columns import embed
from conjoin.evaluation.benchmark import Setting, whole_setting
from conjoin.retrieval.calibration.out_of_distribution import familiarity
from conjoin.spaces import Space, unit

VIEWS = ("image", "text")
#: Words that ask for nothing that is in the sample.
OFF = (
    "because", "quarterly earnings call", "lorem ipsum", "therefore", "tax law of 1986",
    "asynchronous callback", "epistemology", "subordinate clause", "gross margin", "whereas",
    "mitochondrial DNA", "kernel panic", "monetary policy", "terms and conditions", "nonetheless",
    "eigenvalue", "habeas corpus", "amortised cost", "the former of the two", "stochastic gradient",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Asked:
    """Queries put to a gallery.

    Parameters
    ----------
    scores : ``[q, n]``; ``right`` marks the answers.
    raw, bound : how familiar each query is, as encoded and as bound.
    """

    scores: np.ndarray
    right: np.ndarray
    raw: np.ndarray
    bound: np.ndarray

    def answered(self) -> np.ndarray:
        """Whether an answer is among the first ten."""
        first = np.argsort(-self.scores, axis=1)[:, :10]
        return np.asarray(np.take_along_axis(self.right, first, axis=1).any(axis=1))

    def without(self) -> "Asked":
        """The same with every answer taken out."""
        return Asked(np.where(self.right, -np.inf, self.scores), self.right, self.raw, self.bound)


def _top(asked: Asked, k: int) -> np.ndarray:
    return np.asarray(-np.sort(-asked.scores, axis=1)[:, :k])


def _z(asked: Asked) -> np.ndarray:
    held = np.where(np.isfinite(asked.scores), asked.scores, np.nan)
    return np.asarray((np.nanmax(held, 1) - np.nanmean(held, 1)) / np.nanstd(held, 1))


WAYS: Mapping[str, Callable[[Asked], np.ndarray]] = {
    "score of the best hit": lambda a: _top(a, 1)[:, 0],
    "its margin over the second": lambda a: _top(a, 2) @ np.array([1, -1]),
    "its lift over the first ten": lambda a: _top(a, 1)[:, 0] - _top(a, 10).mean(axis=1),
    "its z-score among all rows": _z,
    "likeness to training queries, as encoded": lambda a: a.raw,
    "likeness to training queries, as bound": lambda a: a.bound,
}
BOTH = ("score of the best hit", "likeness to training queries, as bound")


def rejects(learn: Asked, keep: float) -> Iterator[tuple[str, Callable[[Asked], np.ndarray]]]:
    """Each way with its threshold: queries → which are rejected."""
    kept = learn.answered()

    def least(name: str, share: float) -> float:
        return float(np.quantile(WAYS[name](learn)[kept], share))

    def below(way: Callable[[Asked], np.ndarray], limit: float) -> Callable[[Asked], np.ndarray]:
        return lambda asked: way(asked) < limit

    for name, way in WAYS.items():
        yield name, below(way, least(name, 1 - keep))
    half = {name: least(name, (1 - keep) / 2) for name in BOTH}
    yield (
        "best hit or likeness as bound, half each",
        lambda a: np.any([WAYS[name](a) < t for name, t in half.items()], axis=0),
    )


def ask(setting: Setting, rows: np.ndarray | Space, way: tuple[str, str], fitted: object) -> Asked:
    """Queries of one direction among the setting's held-out rows.

    Parameters
    ----------
    rows : held-out query rows, or vectors of other queries.
    """
    query, target = way
    binding, views = fitted  # type: ignore[misc]
    space = setting.spaces[query]
    asked = rows if isinstance(rows, Space) else space.take(rows)
    q = binding.bind(query, asked)
    gallery = views[target].take(setting.bed.rows[target])
    scores = unit(np.asarray(q.vectors)) @ unit(np.asarray(gallery.vectors)).T
    right = asked.ids[:, None] == gallery.ids[None]
    bank = np.unique(setting.train.column(query))
    known = np.asarray(views[query].vectors)[bank]
    raw = familiarity(np.asarray(asked.vectors), np.asarray(space.vectors)[bank])
    return Asked(scores, right, raw, familiarity(np.asarray(q.vectors), known))


def scrambled(space: Space) -> Space:
    """Coordinates shuffled among items, under ids that answer nothing."""
    rng = np.random.default_rng(0)
    x = np.array(space.vectors, dtype=np.float32)
    for column in range(x.shape[1]):
        x[:, column] = x[rng.permutation(len(x)), column]
    return Space(np.array([f"scrambled{i}" for i in range(len(x))]), x, space.frame)


def main() -> None:
    """Print one line a statistic."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", type=float, default=0.95)
    keep = parser.parse_args().keep
    whole = whole_setting(open_bench("emoji:image+text"), VIEWS)
    inner = whole.inner(0)
    test = whole.with_train(inner.train)
    fitted = bound_views(inner, "cca", "text", 0)
    words = embed(list(OFF), "builtin:text")
    off = Space(np.array(OFF), words.vectors, whole.spaces["text"].frame)
    table: dict[str, list[list[float]]] = {}
    for way in (VIEWS, VIEWS[::-1]):
        learn = ask(inner, inner.bed.rows[way[0]], way, fitted)
        held = ask(test, test.bed.rows[way[0]], way, fitted)
        odd = ask(test, scrambled(test.spaces[way[0]].take(test.bed.rows[way[0]])), way, fitted)
        strange = ask(test, off, way, fitted) if way[0] == "text" else None
        for name, rule in rejects(learn, keep):
            said = [rule(held)[held.answered()], rule(held.without()), rule(odd)]
            said += [rule(strange)] if strange is not None else []
            table.setdefault(name, []).append([100 * float(one.mean()) for one in said])
    print(f"rejected, % (answered: {100 * (1 - keep):.0f} stated)")
    print(f"{'':42} answered  answer out  scrambled  off the subject")
    for name, (one, two) in table.items():
        pairs = [f"{min(p):.1f}-{max(p):.1f}" for p in zip(one, two, strict=False)]
        print(f"{name:42} {pairs[0]:>8}  {pairs[1]:>10}  {pairs[2]:>9}  {two[3]:>8.0f}")


if __name__ == "__main__":
    main()
