"""How good is a binding on items it never saw: every direction, with intervals and baselines."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from conjoin.alignment.binding import Binding
from conjoin.catalogue import find, simple
from conjoin.display import Tabular
from conjoin.errors import ConjoinError
from conjoin.metrics.retrieval.ranks import Ranking
from conjoin.metrics.retrieval.relevance import Relevance, relevance, relevance_by_id
from conjoin.metrics.retrieval.scores import (
    METRICS,
    chance,
    evaluate_direction,
    metric,
    with_intervals,
)
from conjoin.retrieval.calibration.cross_fit import Rehearsal, bank_of
from conjoin.retrieval.hubness.choose import correctors, decide
from conjoin.retrieval.hubness.csls import Corrector
from conjoin.spaces import Pairs, Space
from conjoin.storage.renamed import current

#: What a baseline is said to beat the chosen method by.
SAID = "recall@10"


@dataclass(frozen=True)
class Result:
    """One metric of one method in one direction."""

    query: str
    target: str
    metric: str
    value: float
    low: float | None
    high: float | None
    n: int
    method: str
    chosen: bool

    def to_json(self) -> dict[str, Any]:
        """The row as JSON-able fields."""
        return dict(self.__dict__)


@dataclass(frozen=True, repr=False)
class Evaluation(Tabular):
    """Results of every direction and what could not be measured.

    Parameters
    ----------
    notes : one plain sentence each: baselines that do not apply, directions without answers,
        what being paired directly would have been worth.
    """

    results: tuple[Result, ...]
    notes: tuple[str, ...] = ()

    def table(self) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        """Recall@10 of each method in each direction, with its 95 % interval."""
        return ("query", "gallery", "method", "recall@10", "low", "high"), [
            (row.query, row.target, f"* {row.method}" if row.chosen else row.method, row.value,
             row.low, row.high)
            for row in self.results if row.metric == "recall@10"
        ]  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """One object for programs."""
        return {"results": [row.to_json() for row in self.results], "notes": list(self.notes)}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "Evaluation":
        """Read back what :meth:`to_json` wrote."""
        named = ({**row, "method": current(row["method"])} for row in raw["results"])
        return cls(tuple(Result(**row) for row in named), tuple(raw["notes"]))


@dataclass(frozen=True, eq=False)
class TestBed:
    """The held-out rows of each modality, with who is right for whom.

    Parameters
    ----------
    spaces : encoder outputs, whole.
    train : training pairs.
    test : pairs of held-out items; empty of a direction when it was never paired.
    rows : held-out rows of each modality.
    groups : cluster of each item id, for intervals.
    """

    spaces: Mapping[str, Space]
    train: Pairs
    test: Pairs
    rows: Mapping[str, np.ndarray]
    groups: Mapping[str, str] = field(default_factory=dict)

    def directions(self) -> Iterator[tuple[str, str]]:
        """Every ordered pair of modalities."""
        for query in self.spaces:
            for target in self.spaces:
                if query != target:
                    yield query, target

    def relevance(self, query: str, target: str) -> Relevance:
        """Right answers among the held-out rows: by pairs where there are some, else by id."""
        asked, gallery = self.spaces[query], self.spaces[target]
        rows, others = self.rows[query], self.rows[target]
        if {query, target} <= set(self.test.names) and len(self.test.between(query, target)[0]):
            return relevance(
                asked, gallery, self.test, query, target, query_rows=rows, gallery_rows=others
            )
        return relevance_by_id(asked.take(rows), gallery.take(others))

    def clusters(self, query: str, wanted: Relevance) -> np.ndarray:
        """The group of each query that has an answer."""
        ids = self.spaces[query].ids[self.rows[query]][wanted.queries]
        return np.array([self.groups.get(str(item), str(item)) for item in ids])


def evaluate(
    bed: TestBed,
    binding: Binding,
    corrections: Mapping[tuple[str, str], Corrector] | None = None,
    *,
    baselines: Sequence[str] | None = None,
    seed: int = 0,
) -> Evaluation:
    """Score a binding on held-out rows, beside chance and the simple baselines.

    Parameters
    ----------
    corrections : the correction of a direction, where one was chosen.
    baselines : methods beside it; the catalogue's simple ones where not given.

    Raises
    ------
    ConjoinError : a held-out group is among those the binding was trained on.
    """
    _refuse_leak(bed, binding)
    beside = simple("aligner") if baselines is None else baselines
    results: list[Result] = []
    notes: list[str] = []
    for query, target in bed.directions():
        try:
            results.extend(_chance(bed, query, target))
        except ConjoinError as error:
            notes.append(f"{query}→{target} not measured: {error}")
    chosen = corrections or {}
    own = binding.choice.method
    results.extend(_score(bed, binding, chosen, own, True, seed))
    for name in beside:
        if name == own:
            plain = _score(bed, binding, {}, own, False, seed)
            results.extend(row for row in plain if chosen.get((row.query, row.target)))
            continue
        try:
            other = _baseline(bed, binding, name, seed)
        except ConjoinError as error:
            notes.append(f"{name} not applicable: {error}")
            continue
        results.extend(_score(bed, other, {}, name, False, seed))
    notes.extend(beaten(results, beside))
    results.extend(_direct(bed, binding, seed, notes))
    return Evaluation(tuple(results), tuple(dict.fromkeys(notes)))


def beaten(results: Sequence[Result], baselines: Sequence[str]) -> list[str]:
    """A sentence for each direction in which a baseline finds more than what was chosen.

    A tie is none, and of several baselines the best is named. The held-out items have no part in
    the choice, so nothing is changed by it.
    """
    found = []
    rows = [row for row in results if row.metric == SAID]
    for own in (row for row in rows if row.chosen):
        others = [
            row for row in rows
            if (row.query, row.target) == (own.query, own.target)
            and not row.chosen and row.method in baselines
        ]  # fmt: skip
        best = max(others, key=lambda row: row.value, default=None)
        if best is not None and best.value > own.value:
            found.append(
                f"{own.query} → {own.target}: the baseline {best.method} beats what was chosen, "
                f"{own.method}, on these items: {SAID} {best.value:.3f} against {own.value:.3f}"
            )
    return found


def _refuse_leak(bed: TestBed, binding: Binding) -> None:
    seen = np.isin(bed.test.group, binding.trained)
    if seen.any():
        raise ConjoinError(
            "evaluate",
            f"{int(seen.sum())} held-out pairs were trained on",
            "fit again with this split",
        )


def _chance(bed: TestBed, query: str, target: str) -> Iterator[Result]:
    wanted = bed.relevance(query, target)
    for name in METRICS:
        value = float(chance(wanted, name))
        yield Result(query, target, name, value, None, None, len(wanted), "chance", False)


def _bound(bed: TestBed, binding: Binding, name: str) -> Space:
    return binding.bind(name, bed.spaces[name].take(bed.rows[name]))


def _score(
    bed: TestBed,
    binding: Binding,
    corrections: Mapping[tuple[str, str], Corrector],
    method: str,
    chosen: bool,
    seed: int,
) -> list[Result]:
    bound = {name: _bound(bed, binding, name) for name in bed.spaces if name in binding.maps}
    found: list[Result] = []
    for query, target in bed.directions():
        if query not in bound or target not in bound:
            continue
        try:
            wanted = bed.relevance(query, target)
        except ConjoinError:
            continue
        fix = corrections.get((query, target))
        groups = bed.clusters(query, wanted)
        if fix is None:
            measured = evaluate_direction(
                bound[query], bound[target], wanted, groups, METRICS, seed=seed
            )
        else:
            ranking = _corrected(bed, binding, fix, (query, target), bound, wanted)
            measured = with_intervals(ranking, [metric(m) for m in METRICS], groups, seed=seed)
        label = f"{method} + {fix.name}" if fix else method
        found.extend(
            Result(query, target, m.name, m.value, m.low, m.high, m.n, label, chosen)
            for m in measured
        )
    return found


def _corrected(
    bed: TestBed,
    binding: Binding,
    fix: Corrector,
    way: tuple[str, str],
    bound: Mapping[str, Space],
    wanted: Relevance,
) -> Ranking:
    """Ranks by a correction of held-out rows, fitted on the training rows of both modalities."""
    query, target = way
    banks = [bank_of(binding, bed.spaces, bed.train, name) for name in way]
    q = binding.frame.query(np.asarray(bound[query].vectors, dtype=np.float32))
    x = binding.frame.item(np.asarray(bound[target].vectors, dtype=np.float32))
    fitted = fix.fit(x, banks[0], banks[1])
    return fitted.rank(q, fitted.items(x), wanted)


def _baseline(bed: TestBed, binding: Binding, name: str, seed: int) -> Binding:
    """A baseline at the setting the choice found best for it, on the same training pairs."""
    best = binding.choice.best_of().get(name)
    fields = dict(best.fields) if best else {}
    method = find("aligner", name).make(fields)
    spaces = {key: bed.spaces[key] for key in bed.train.names}
    hub = best.hub if best else binding.hub
    return Binding.fit(spaces, bed.train, method=method, hub=hub, seed=seed)


def _direct(bed: TestBed, binding: Binding, seed: int, notes: list[str]) -> list[Result]:
    """For modalities never trained together: what direct pairs would have given."""
    trained = {frozenset(edge) for edge in bed.train.edges()}
    found: list[Result] = []
    done: set[frozenset[str]] = set()
    held = {str(i) for name, rows in bed.rows.items() for i in bed.spaces[name].ids[rows]}
    for query, target in bed.directions():
        edge = frozenset((query, target))
        if edge in trained or edge in done or not edge <= set(binding.maps):
            continue
        done.add(edge)
        both = {name: bed.spaces[name] for name in (query, target)}
        seen = {name: space.take(~np.isin(space.ids, sorted(held))) for name, space in both.items()}
        try:
            choice = replace(binding.choice, hub=query)
            direct = Binding.fit(
                seen, Pairs.by_id(seen, bed.groups), method=choice.make(), hub=query, seed=seed
            )
        except ConjoinError as error:
            notes.append(f"{query}–{target} were never trained together; no direct pairs: {error}")
            continue
        pair = replace(bed, spaces=both, rows={name: bed.rows[name] for name in both})
        found.extend(_score(pair, direct, {}, "direct pairs", False, seed))
    return found


def choose_corrections(
    binding: Binding, spaces: Mapping[str, Space], train: Pairs, *, seed: int = 0
) -> dict[tuple[str, str], Corrector]:
    """For each direction of the pair sources, the correction that helps, if one does.

    See :func:`~conjoin.retrieval.hubness.choose.decide`, which also says what was tried.
    """
    return correctors(decide(Rehearsal(binding, spaces, train, seed=seed)))
