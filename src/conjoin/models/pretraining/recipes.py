"""Catalogue rows of recipes: published models as settings of the parts, never code."""

from typing import Any

from conjoin.catalogue import Row

_RECIPE = "conjoin.models.pretraining.recipe:Recipe"
_IMAGE = {"image": {"kind": "image"}}
_TEXT = {"text": {"kind": "text"}}
_PAIR = {**_IMAGE, **_TEXT}
_WORDS = {**_IMAGE, "words": {"cells": "subwords:600"}}
_SMALL: dict[str, Any] = {"dim": 64, "heads": 4}
_ALL = {"pairs": 1.0, "unpaired.image": 1.0, "unpaired.text": 1.0}


def _row(
    name: str, summary: str, papers: tuple[str, ...], settings: dict[str, Any],
    needs: frozenset[str] = frozenset({"pairs"}),
) -> Row:  # fmt: skip
    return Row("recipe", name, _RECIPE, summary, papers, needs, "trained", settings,
               extra="train", family="pretraining")  # fmt: skip


SPEECH: tuple[Row, ...] = (
    _row("speech-letters",
         "Sounds to letters from nothing: stacked log-mel frames, two blocks, alignment-free loss.",
         ("graves2006ctc", "park2019specaugment"),
         {"views": {"speech": {"cells": "frames:2", "mixing": 9, "bands": 64},
                    "letters": {"cells": "letters", "column": "label"}},
          "body": {"kind": "dual", "dim": 128, "heads": 4, "towers": 2, "dropout": 0.1},
          "targets": {"transcribe": {"view": "speech", "into": "letters"}},
          "longest": 256, "batch": 32,
          "course": {"steps": 1200, "lr": 2e-3, "dropout": 0.1, "check": 50}}),
)  # fmt: skip

FUSION: tuple[Row, ...] = (
    _row("contrast", "Two towers over frozen tokens and a contrastive loss: what fusion must beat.",
         ("radford2021clip",),
         {"views": _PAIR, "body": {**_SMALL, "kind": "dual"}, "targets": {"contrast": 1.0}}),
    _row("albef", "Contrast first, then match hard negatives and mask where both views meet.",
         ("li2021albef",),
         {"views": _PAIR, "body": {**_SMALL, "kind": "fusion", "meet": "cross"},
          "targets": {"contrast": 1.0, "matching": 1.0,
                      "masked-features": {"weight": 0.5, "view": "text", "mask": "token:0.3",
                                          "how": "nce"}}}),
)  # fmt: skip

ROWS = (*SPEECH, *FUSION)
