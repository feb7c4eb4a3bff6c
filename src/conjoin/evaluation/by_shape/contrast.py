"""Contrast tasks: a true caption against a foil, and two pictures against two captions."""

import time
from collections.abc import Iterator, Sequence

import numpy as np

from conjoin.evaluation.by_shape.base import Arm, Made, unit_rows
from conjoin.evaluation.formats.base import Cells, Contrast, Crossed
from conjoin.metrics.outcomes.crossed import CHANCE, Winoground


def contrasted(task: Contrast, arms: Sequence[Arm]) -> Iterator[Made]:
    """Each caption against its foil, by length and by every arm; a tie is no pass."""
    sizes = np.array([len(f.true) - len(f.false) for f in task.foils])
    for name, won in (("longer text", sizes > 0), ("shorter text", sizes < 0)):
        yield Made(name, "trivial", {"accuracy": won.astype(float)}, {"accuracy": 0.5}, 0.0)
    pictures = list(dict.fromkeys(foil.image for foil in task.foils))  # each embedded once
    texts = list(dict.fromkeys(text for foil in task.foils for text in (foil.true, foil.false)))
    for arm in arms:
        began = time.monotonic()
        shown, said = (
            dict(zip(cells, unit_rows(arm.embed(Cells(kind, {c: c for c in cells}))), strict=True))
            for kind, cells in (("image", pictures), ("text", texts))
        )
        passed = [
            float(shown[f.image] @ said[f.true] > shown[f.image] @ said[f.false])
            for f in task.foils
        ]  # a tie is no pass
        units = {"accuracy": np.array(passed)}
        yield Made(arm.name, "encoder", units, {"accuracy": 0.5}, time.monotonic() - began)


def crossed(task: Crossed, arms: Sequence[Arm]) -> Iterator[Made]:
    """Two pictures and two captions: text, image and group scores of every arm."""
    count = len(task.squares)
    sizes = np.array([[len(text) for text in each.captions] for each in task.squares], float)
    longer = {f"c{c}_i{i}": sizes[:, c] for c in (0, 1) for i in (0, 1)}
    yield Made("longer text", "trivial", Winoground().units(longer), CHANCE, 0.0)
    for arm in arms:
        began = time.monotonic()
        sides = []
        for kind in ("image", "text"):
            cells = {
                f"{row}-{at}": (square.images if kind == "image" else square.captions)[at]
                for row, square in enumerate(task.squares) for at in (0, 1)
            }  # fmt: skip
            sides.append(unit_rows(arm.embed(Cells(kind, cells))).reshape(count, 2, -1))
        table = np.einsum("nid,ncd->nci", *sides)
        scores = {f"c{c}_i{i}": table[:, c, i] for c in (0, 1) for i in (0, 1)}
        units = Winoground().units(scores)
        yield Made(arm.name, "encoder", units, CHANCE, time.monotonic() - began)
