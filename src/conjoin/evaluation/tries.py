"""Which settings an arm tries: what decides most, moved together, as often for every arm."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from conjoin import catalogue
from conjoin.catalogue import Choice, Row, Search
from conjoin.selection.coordinate_search import default_of, is_int
from conjoin.storage.digest import stable_hash

#: Settings every arm may try on validation, its defaults among them.
TRIES = 4
#: Hyper-parameters that are moved, the most important first; more than these stay where they are.
MOVED = 4
#: How far from its default a value is drawn: decades where its range is logarithmic, else a share
#: of the range.
DECADES, SHARE = 1.0, 1 / 3

Fields = dict[str, Any]

#: From what decides most to what decides least; of names in one line the engine's order counts.
IMPORTANCE: Sequence[Sequence[str]] = (
    ("temperature", "sharp", "sharpness", "beta", "scale"),
    ("lr",),
    ("noise", "std", "alpha"),
    (
        "lam", "strength", "weight", "share", "contrast", "consistency", "margin", "regress",
        "overuse", "pull", "entailment", "start_curvature",
    ),
    ("k", "rank", "dims", "keep", "power", "drop", "factor"),
)  # fmt: skip
#: Size and length: moved only where nothing of the above is left.
LAST = (
    "width", "hidden", "layers", "wide", "rows", "projectors", "projector_steps", "dropout",
    "weight_decay", "steps", "batch",
)  # fmt: skip
#: Searched from the row's own value where a row sets them: they are where training starts, and
#: not what makes the method.
STARTS = ("temperature", "lr", "noise")


def tries(row: Row, choices: Mapping[str, Sequence[Any]], count: int = TRIES) -> list[Fields]:
    """The settings of an arm: its defaults, and ``count − 1`` drawn around them.

    Up to :data:`MOVED` hyper-parameters move together, each through every stratum of its window
    once, so that no try leaves one of them at its default only because another came first. A
    hyper-parameter of the same name moves alike in every arm that has it.

    Parameters
    ----------
    row : the method; fields its row sets stay as they are, :data:`STARTS` aside.
    choices : further fields that are no part of the method (such as the hub) and their values.

    Examples
    --------
    >>> from conjoin.catalogue import find
    >>> found = tries(find("aligner", "ridge"), {"hub": ("image", "text")})
    >>> found[0], sorted(found[1])
    ({'hub': 'image'}, ['hub', 'lam'])
    """
    first = {**row.settings, **{name: own[0] for name, own in choices.items()}}
    engine = row.load()
    knobs = knobs_of(row)[: max(0, MOVED - len(choices))]
    found = [first]
    if not (knobs or any(len(own) > 1 for own in choices.values())):
        return found
    for number in range(count - 1):
        fields = {
            **first, **{name: own[(number + 1) % len(own)] for name, own in choices.items()}
        }  # fmt: skip
        for name, span in knobs:
            start = row.settings.get(name, default_of(engine, name))
            value = _drawn(name, span, start, number, count - 1)
            whole = isinstance(span, Search) and is_int(engine, name)
            fields[name] = round(value) if whole else value
        if fields not in found:
            found.append(fields)
    return found


def drawn_fields(row: Row, directed: bool) -> list[str]:
    """What an arm may try, written so that it tells one set of tries from another."""
    hubs = {"hub": ("first", "second")} if directed else {}
    return [repr(sorted(fields.items(), key=str)) for fields in tries(row, hubs)]


def knobs_of(row: Row) -> list[tuple[str, Search | Choice]]:
    """The hyper-parameters that may move, the most important first."""
    engine = row.load()
    spans = {
        name: span
        for name, span in catalogue.ranges(engine).items()
        if (name not in row.settings or name in STARTS)
        and name not in getattr(engine, "neutral", {})
        and row.settings.get(name, default_of(engine, name)) is not None
    }
    order = list(spans)
    return sorted(spans.items(), key=lambda item: (_rank(item[0]), order.index(item[0])))


def _rank(name: str) -> int:
    if name in LAST:
        return len(IMPORTANCE) + 1 + LAST.index(name)
    places = (place for place, names in enumerate(IMPORTANCE) if name in names)
    return next(places, len(IMPORTANCE))


def _drawn(name: str, span: Search | Choice, start: Any, number: int, count: int) -> Any:
    """The value of a hyper-parameter in one of ``count`` draws."""
    if isinstance(span, Choice):
        own = span.values
        return own[(own.index(start) + 1 + number) % len(own)]
    rng = np.random.default_rng([stable_hash(f"tries/{name}")])
    stratum = rng.permutation(count)[number]
    place = 2 * (stratum + rng.random(count)[number]) / count - 1
    if span.log:
        value = start * 10 ** (DECADES * place)
    else:
        value = start + SHARE * place * (span.high - span.low)
    return min(max(float(f"{value:.4g}"), span.low), span.high)
