"""The whole examination: every kind that is asked for, in one order."""

from collections.abc import Sequence
from typing import Any

from conjoin.errors import ConjoinError
from conjoin.quality.duplicates import duplicates, leaks, twins
from conjoin.quality.finding import KINDS, LEAST, Finding, Report, check_kinds
from conjoin.quality.inputs import Case, Progress
from conjoin.quality.mismatch import mismatches
from conjoin.quality.outliers import encoders, outliers
from conjoin.quality.table_checks import imbalance, language, missing


def _silent(_: str, __: int, ___: int) -> None:
    return None


def examine(
    case: Case,
    kinds: Sequence[str] = (),
    *,
    least: float = LEAST,
    progress: Progress = _silent,
) -> Report:
    """Look for what is wrong with the data, from stored vectors and a few columns alone.

    Parameters
    ----------
    kinds : of :data:`~conjoin.quality.finding.KINDS`; all when none is named.
    least : confidence from which a finding is told.

    Raises
    ------
    ConjoinError : a kind is unknown, ``least`` is no confidence, or nothing is embedded.
    """
    wanted = check_kinds(kinds)
    if not 0 <= least <= 1:
        raise ConjoinError("--min-confidence", f"{least}", "give a confidence from 0 to 1")
    if not case.spaces:
        raise ConjoinError("doctor", "no modality is embedded", "run: conjoin embed")
    found: list[Finding] = []
    notes: list[str] = []
    facts: dict[str, Any] = {}
    if "mismatch" in wanted:
        some, facts["mismatch"], said = mismatches(case, least, progress)
        found, notes = found + some, notes + said
    found += _near(case, wanted, least, progress, notes)
    if "outlier" in wanted:
        found += outliers(case, least)
    for kind, look in (("encoder", encoders), ("missing", missing), ("imbalance", imbalance)):
        if kind in wanted:
            some, facts[kind] = look(case)
            found += some
    if {"language", "length"} & set(wanted):
        mixed, odd, facts["language"], said = language(case)
        found += [*mixed, *odd]
        notes += said if "language" in wanted else []
    order = list(KINDS)
    kept = [f for f in found if f.kind in wanted and f.confidence >= least]
    kept.sort(key=lambda f: (order.index(f.kind), -f.confidence, f.modality, f.items))
    return Report(tuple(kept), tuple(notes), facts)


def _near(
    case: Case, wanted: Sequence[str], least: float, progress: Progress, notes: list[str]
) -> list[Finding]:
    """Duplicates, twins, and leaks, which are those across the split."""
    if not {"duplicate", "twin", "leak"} & set(wanted):
        return []
    near = duplicates(case, least, progress)
    if len(case.spaces) > 1:
        near += twins(case, least, progress)
    else:
        notes.append("twins were not looked for: they are near in two modalities, and one is here")
    return near + (leaks(case, near, least) if "leak" in wanted else [])
