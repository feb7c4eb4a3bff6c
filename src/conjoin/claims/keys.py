"""What decides a score, and the key it is kept under.

A score is decided by the method and its settings, by the settings that were tried, by the task
under its condition, by the data, and by the arithmetic of all of them. Where the code lies, what
its classes are called and how it is laid out decide nothing: moved and renamed files run nothing
again. Arithmetic is told by whole numbers that whoever changes it raises: ``arithmetic`` on an
engine's class (1 where it has none), and :data:`SHARED` for what all methods of a cost class go
through. Kinds and methods stand in a key under the words it was first written with
(:mod:`conjoin.storage.renamed`), so that a new name runs nothing again either.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from conjoin import catalogue
from conjoin.catalogue import Row
from conjoin.evaluation.arms import CHANCE, Arm
from conjoin.evaluation.tries import drawn_fields
from conjoin.storage.digest import digest
from conjoin.storage.renamed import FIELDS, KINDS, hashed

#: Versions of what methods of a cost class share: moments and solvers, and the training loop.
SHARED: Mapping[str, int] = {"free": 1, "closed": 1, "trained": 1}


def version(made: Any) -> int:
    """The version of the arithmetic of a method; of an engine's many methods each may say its own.

    Examples
    --------
    >>> version(object())
    1
    """
    return int(getattr(made, "arithmetic", 1))


def facts_of(row: Row, fields: Mapping[str, Any] = {}) -> dict[str, Any]:
    """What a row is, as far as numbers go: its name, every field's value, and versions.

    A field that stands at a value which its engine calls ``neutral`` is left out, so that adding
    one runs nothing again.
    """
    made = row.make(dict(fields))
    engine = type(made)
    neutral = getattr(engine, "neutral", {})
    values = (
        {entry.name: getattr(made, entry.name) for entry in dataclasses.fields(made)}
        if dataclasses.is_dataclass(made)
        else {}
    )
    kept = {
        FIELDS.get(name, name): repr(hashed(value) if name in FIELDS else value)
        for name, value in sorted(values.items())
        if name not in neutral or neutral[name] != value
    }
    return {
        "kind": KINDS.get(row.kind, row.kind), "name": hashed(row.name), "fields": kept,
        "arithmetic": version(made), "shared": SHARED[row.cost],
    }  # fmt: skip


def key_of(
    task: Row, condition: Mapping[str, Any], data: str, metric: str, arm: Arm, bench: str
) -> str:
    """The key of one arm of a table.

    Parameters
    ----------
    condition : fields of the task.
    data, bench : the data as claims write them, and the digest of what they hold.
    """
    facts: dict[str, Any] = {
        "task": facts_of(task, condition), "data": data, "bench": bench, "metric": metric,
        "arm": str(replace(arm, aligner=hashed(arm.aligner))), "parts": [],
    }  # fmt: skip
    if arm.aligner != CHANCE:
        facts["parts"] = _parts(arm)
        facts["tries"] = drawn_fields(arm.row, bool(getattr(arm.method.load(), "directed", False)))
    return digest(facts)


def _parts(arm: Arm) -> list[dict[str, Any]]:
    """The method, its augmentation, and the loss and augmentation that its fields name."""
    made = arm.method.make()
    named = (
        ("loss", getattr(made, "loss", None)),
        ("augmentation", getattr(made, "augment", None)),
        ("sampler", getattr(made, "sampler", None)),
    )
    rows = [catalogue.find(kind, name) for kind, name in named if isinstance(name, str)]
    if arm.augmentation:
        rows.append(arm.row)
    return [facts_of(row) for row in (arm.method, *rows)]
