"""What a fit, a score or a rehearsal costs, in units of about a second of one quiet core.

``units = Σ_p table[engine][p] · p(shape, fields)`` with a few parts ``p`` that say how the work of
an engine grows: with the rows read, with the cube of a width, with the steps of a training. The
table is data of the package, ``costs.json``, measured by ``benchmarks/costs.py``. It is a price
list and no measurement of the machine at hand, so that a budget ends at the same place everywhere.
"""

import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from conjoin import catalogue
from conjoin.catalogue import Row

#: Work is priced by the thousand million of what a part counts.
GIGA = 1e9
#: Width and hidden units of a trained method whose fields name none.
WIDE = 256
#: Passes of a linear fusion over its items.
PASSES = 40
#: Rows of a fold that ask, of its gallery and of the whole one, of a bank while deciding and of
#: one that corrects.
ASKED, OWN, GALLERY, BANK, SERVED = 500, 2000, 8192, 2000, 10_000
#: Times that a fold's gallery is scored and listed, and banks are walked, for all corrections.
TRIED, BANKED = 20, 4


@dataclass(frozen=True)
class Shape:
    """The size of what a method is fitted to.

    Parameters
    ----------
    pairs : lines.
    dims : width of each view, hub first.
    """

    pairs: int
    dims: tuple[int, ...]

    def parts(self) -> dict[str, float]:
        """What closed forms grow with, in thousand millions; ``fixed`` is 1."""
        hub, *others = self.dims
        couples = [(max(hub, other), min(hub, other)) for other in others]
        wide = sum(self.dims)
        return {
            "fixed": 1.0,
            "read": self.pairs * wide / GIGA,
            "moments": self.pairs * wide**2 / GIGA,
            "square": self.pairs**2 / GIGA,
            "cube": sum(a**3 for a, _ in couples) / GIGA,
            "cross": sum(a * b * b for a, b in couples) / GIGA,
        }


@cache
def table() -> Mapping[str, Mapping[str, float]]:
    """Units a part, by engine; ``closed`` and ``trained`` stand for engines that are not there."""
    raw = json.loads((files("conjoin.execution") / "costs.json").read_text(encoding="utf-8"))
    return dict(raw["units"])


def priced(key: str, parts: Mapping[str, float]) -> float:
    """Units of work of one kind, from its parts.

    Examples
    --------
    >>> priced("read", {"fixed": 1.0}) >= 0
    True
    """
    known = table().get(key, {})
    return sum(known.get(name, 0.0) * count for name, count in parts.items())


def of_fit(row: Row, fields: Mapping[str, Any], shape: Shape) -> float:
    """Units of one fit of a method, the moments of its pairs aside.

    Parameters
    ----------
    fields : settings that are not the row's or the engine's own.

    Examples
    --------
    >>> row = catalogue.find("aligner", "heads")
    >>> short, whole = ({"steps": n} for n in (25, 100))
    >>> shape = Shape(2000, (1280, 384))
    >>> of_fit(row, short, shape) < of_fit(row, whole, shape)
    True
    """
    own = {**row.settings, **fields}
    if isinstance(own.get("of"), str):  # a method on top of another
        inner = catalogue.find(row.kind, own["of"])
        return of_fit(inner, {}, shape) + priced(row.target, shape.parts())
    key = row.target if row.target in table() else row.cost
    return priced(key, parts_of(row, fields, shape))


def parts_of(row: Row, fields: Mapping[str, Any], shape: Shape) -> dict[str, float]:
    """What a fit of a method grows with."""
    return {**shape.parts(), **_training(row, {**row.settings, **fields}, shape)}


def _training(row: Row, own: Mapping[str, Any], shape: Shape) -> dict[str, float]:
    """What trained methods grow with; no field ``steps``, no part."""
    known = inspect.signature(row.load()).parameters

    def value(name: str, otherwise: float) -> float:
        found = own.get(name, known[name].default if name in known else otherwise)
        return float(found) if isinstance(found, int | float) else otherwise

    if "steps" not in known:
        return {}
    batch = min(value("batch", 512), shape.pairs)
    passes = max(1.0, batch)  # at least one whole pass over the lines is made
    steps = max(value("steps", 100), shape.pairs / passes)
    width, hidden = value("width", WIDE), value("hidden", WIDE)
    heads = sum(d * (width + hidden) + hidden * width for d in shape.dims)
    return {
        "steps": steps * batch * heads / GIGA,
        "pairwise": steps * batch**2 * width / GIGA,
        "updates": steps * heads / GIGA,
        "step": steps / GIGA,
    }


def of_fusion(
    row: Row, fields: Mapping[str, Any], shape: Shape, judged: tuple[int, int]
) -> tuple[float, float]:
    """Units of a fit of a fusion, and of judging it.

    Parameters
    ----------
    judged : its outputs, and how many items are judged.
    """
    outputs, asked = judged
    key = row.target if row.target in table() else f"fusion {row.cost}"
    return priced(key, fusion_parts(row, fields, shape, outputs)), priced(
        "credit", {"fixed": 1.0, "read": asked * sum(shape.dims) * outputs / GIGA}
    )


def fusion_parts(
    row: Row, fields: Mapping[str, Any], shape: Shape, outputs: int
) -> dict[str, float]:
    """What a fit of a fusion grows with; passes over the items for each class, or steps."""
    width = sum(shape.dims)
    parts = {
        "fixed": 1.0,
        "read": shape.pairs * width / GIGA,
        "outputs": PASSES * shape.pairs * width * outputs / GIGA,
        "views": PASSES * shape.pairs * width * outputs * len(shape.dims) / GIGA,
        "moments": shape.pairs * width**2 / GIGA,
    }
    own = {**row.settings, **fields}
    if row.family == "trees":  # each round looks at every column once a class
        rounds = own.get("steps", inspect.signature(row.load()).parameters["steps"].default)
        each = {"trees": rounds * parts["read"] * outputs, "round": rounds * outputs / GIGA}
        return {"fixed": 1.0, **each}
    return {**parts, **_training(row, own, shape)}


def of_moments(shape: Shape) -> float:
    """Units of one pass over the lines for every closed form."""
    return priced("moments", shape.parts())


def of_score(lines: int, dims: Sequence[int]) -> float:
    """Units of scoring a fold of so many lines: every view placed, every direction ranked."""
    return priced("score", score_parts(lines, dims))


def score_parts(lines: int, dims: Sequence[int]) -> dict[str, float]:
    """What scoring a fold grows with."""
    most, ways = max(dims), 2 * (len(dims) - 1)
    return {
        "fixed": 1.0,
        "placed": lines * sum(dims) * most / GIGA,
        "compared": ways * lines**2 * most / GIGA,
        "ranked": ways * lines**2 / GIGA,
    }


def of_rest(shape: Shape, folds: int) -> float:
    """Units of what follows a choice: corrections, what scores mean, the last fit, the index.

    Parameters
    ----------
    shape : of what is fitted without a fold.
    """
    after, index = rest_parts(shape, folds)
    return priced("rest", after) + priced("index", index)


def rest_parts(shape: Shape, folds: int) -> tuple[dict[str, float], dict[str, float]]:
    """What a rehearsal with the last fit grows with, and what an index does."""
    pairs, wide, width = shape.pairs, shape.dims[0], sum(shape.dims)
    asked = min(pairs / max(folds - 1, 1), ASKED)
    own = min(pairs / max(folds - 1, 1), OWN)
    gallery, bank, served = min(pairs, GALLERY), min(pairs, BANK), min(pairs, SERVED)
    ways = len(shape.dims) * (len(shape.dims) - 1)
    scored = asked * (TRIED * own + 4 * gallery)
    banked = BANKED * (own + gallery) * bank + 2 * own * served
    placed = (gallery + bank + served) * width / ways
    after = {
        "ways": float(ways),
        "multiplied": folds * ways * wide * (scored + banked + placed + 4 * bank * wide) / GIGA,
        "looked": folds * ways * (scored + banked) / GIGA,
        "asked": folds * ways * asked / GIGA,
    }
    index = {
        "fixed": 1.0,
        "multiplied": pairs * wide * (width + 2 * ways * served) / GIGA,
        "looked": 2 * ways * pairs * served / GIGA,
    }
    return after, index
