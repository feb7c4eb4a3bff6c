"""What a fit decides of scores: corrections, calibrations, mixing; with what they rest on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from conjoin.alignment.binding import Binding
from conjoin.catalogue import find
from conjoin.errors import ConjoinError
from conjoin.retrieval.calibration.calibration import Calibration
from conjoin.retrieval.calibration.cross_fit import (
    Edge,
    Own,
    Rehearsal,
    bank_groups,
    bank_of,
    row_groups,
)
from conjoin.retrieval.calibration.fit import (
    calibrations,
    carried,
    graded_lists,
    lists_by_pieces,
    lists_of,
)
from conjoin.retrieval.calibration.graded_relevance import RELEVANT, Grades
from conjoin.retrieval.hubness.choose import correctors, decide, fields_of
from conjoin.retrieval.hubness.csls import Correction, Corrector
from conjoin.retrieval.hubness.query_bank import fit_all
from conjoin.retrieval.ranking.choose_fair import mixing
from conjoin.retrieval.ranking.modality_fair import Mixing
from conjoin.selection.folds import Folds
from conjoin.spaces import Pairs, Space


@dataclass(frozen=True, eq=False)
class Rules:
    """How an index of a binding scores, says what scores mean, and mixes.

    Parameters
    ----------
    correctors : by direction, where one helps.
    calibrations : by direction, where answers are known; ``uncalibrated`` says why others lack.
    decisions : what was tried for every direction, as JSON.
    """

    correctors: Mapping[Edge, Corrector] = field(default_factory=dict)
    calibrations: Mapping[Edge, Calibration] = field(default_factory=dict)
    mixing: Mixing = field(default_factory=Mixing)
    decisions: Sequence[Mapping[str, Any]] = ()
    uncalibrated: Mapping[Edge, str] = field(default_factory=dict)

    @classmethod
    def rehearse(
        cls, binding: Binding, spaces: Mapping[str, Space], train: Pairs, *, seed: int = 0,
        pieces: Mapping[str, Space] = {}, folds: Folds | None = None,
        incumbents: Mapping[Edge, Corrector] = {}, report: Callable[[str], None] = lambda _: None,
    ) -> "Rules":  # fmt: skip
        """Decide everything on held-out folds of the training pairs.

        Parameters
        ----------
        pieces : by modality, pieces of cells; with them lists of the query's own modality have
            probabilities too, and take part in the choice of how lists are mixed.
        folds : those the method was chosen on, which hold what was fitted.
        incumbents : the corrections in use; see :func:`~conjoin.retrieval.hubness.choose.decide`.
        report : told of each step.
        """
        rehearsal = Rehearsal(
            binding, spaces, train, seed=seed, pieces=pieces, folds=folds, report=report
        )
        return cls.decided(rehearsal, incumbents, report)

    @classmethod
    def decided(
        cls, rehearsal: Rehearsal, incumbents: Mapping[Edge, Corrector] = {},
        report: Callable[[str], None] = lambda _: None, grades: Grades | None = None,
    ) -> "Rules":  # fmt: skip
        """Decide everything on a rehearsal.

        Parameters
        ----------
        incumbents, report : as :meth:`rehearse` takes them.
        grades : what is relevant beside partners: probabilities between modalities are then those
            of being relevant, and do not decide how lists are mixed.
        """
        decisions = decide(rehearsal, incumbents, report)
        chosen = correctors(decisions)
        lists = lists_of(rehearsal, chosen)
        rows = {name: len(space) for name, space in rehearsal.spaces.items()}
        report("what scores mean")
        fitted, left = calibrations(rehearsal, chosen, rows, lists)
        cut = lists_by_pieces(rehearsal, chosen)
        same, why = calibrations(rehearsal, chosen, rows, {e: x for e, x in cut.items()
                                                           if e[0] == e[1]})  # fmt: skip
        told = {
            edge: carried(fitted[edge], lists[edge], own)
            for edge, own in cut.items() if edge in fitted
        }  # fmt: skip
        report("how lists are mixed")
        found = {edge: one.calibration for edge, one in {**fitted, **same}.items()}
        if grades is None:
            mixed = mixing(rehearsal, lists, fitted, chosen, (cut, {**told, **same}))
        else:
            mixed = mixing(rehearsal, lists, {}, chosen, (cut, {}))
            marked = graded_lists(rehearsal, chosen, grades)
            more, _ = calibrations(rehearsal, chosen, rows, marked, RELEVANT)
            found |= {edge: one.calibration for edge, one in more.items()}
        facts = tuple(one.to_json() for one in decisions)
        return cls(chosen, found, mixed, facts, {**left, **why})

    def corrections(
        self,
        binding: Binding,
        spaces: Mapping[str, Space],
        train: Pairs,
        bound: Mapping[str, Space],
        rows: Mapping[str, np.ndarray] | None = None,
    ) -> dict[Edge, Correction]:
        """Corrections of an index of ``bound``, each row's own training partners left out.

        Parameters
        ----------
        spaces : encoder outputs.
        rows : which of their rows ``bound`` holds; all when not given.
        """
        found = {}
        for (query, target), rule in self.correctors.items():
            if target not in bound:
                continue
            held = np.arange(len(bound[target])) if rows is None else rows[target]
            bank, items = (bank_of(binding, spaces, train, name) for name in (query, target))
            own = Own(
                row_groups(train, target, held),
                bank_groups(spaces, train, query), bank_groups(spaces, train, target),
            )  # fmt: skip
            found[query, target] = fit_all([rule], bound[target].vectors, bank, items, own)[0]
        return found

    def serving(self, bound: Mapping[str, Space]) -> dict[Edge, Calibration]:
        """Calibrations for an index of ``bound``."""
        return {
            edge: one.serving(len(bound[edge[1]]))
            for edge, one in self.calibrations.items()
            if edge[0] in bound and edge[1] in bound
        }

    def to_json(self) -> dict[str, Any]:
        """JSON-able fields."""
        return {
            "correctors": [
                [*edge, one.name, fields_of(one)] for edge, one in sorted(self.correctors.items())
            ],
            "calibrations": [[*e, one.to_json()] for e, one in sorted(self.calibrations.items())],
            "mixing": self.mixing.to_json(), "decisions": [dict(d) for d in self.decisions],
            "uncalibrated": [[*edge, why] for edge, why in sorted(self.uncalibrated.items())],
        }  # fmt: skip

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "Rules":
        """Read back what :meth:`to_json` wrote.

        Raises
        ------
        ConjoinError : a part is missing.
        """
        try:
            return cls(
                {(q, t): find("correction", n).make(f) for q, t, n, f in raw["correctors"]},
                {(q, t): Calibration.from_json(one) for q, t, one in raw["calibrations"]},
                Mixing.from_json(raw["mixing"]), tuple(raw["decisions"]),
                {(q, t): why for q, t, why in raw["uncalibrated"]},
            )  # fmt: skip
        except (KeyError, TypeError, ValueError) as error:
            raise ConjoinError(
                "fit.json rules", f"{error} is missing", "run: conjoin fit"
            ) from None
