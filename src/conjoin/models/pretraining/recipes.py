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
          "course": {"steps": 550, "lr": 2e-3, "dropout": 0.1, "check": 50}}),
)  # fmt: skip

_MASKED = {"weight": 1.0, "mask": "token:0.15"}
_SUBWORDS = {"text": {"kind": "text", "cells": "subwords:2000", "types": 2}}

#: The tables of parts of two toolkits, and known models as lines of them.
TOOLKITS: tuple[Row, ...] = (
    _row("bert", "Texts as subwords, a post-norm tower, hidden words named: BERT's own shape.",
         ("devlin2019bert", "zhao2019uer", "zhao2023tencentpretrain"),
         {"views": _SUBWORDS, "mix": {"unpaired.text": 1.0},
          "body": {"kind": "dual", "norm": "post", "dim": 128, "heads": 2, "hidden": 4.0,
                   "towers": 2, "eps": 1e-12},
          "targets": {"masked-ids": _MASKED}, "course": {"lr": 1e-3}},
         frozenset()),
    _row("spanbert", "The same with spans hidden in place of single words.",
         ("joshi2020spanbert", "zhao2019uer"),
         {"views": _SUBWORDS, "mix": {"unpaired.text": 1.0},
          "body": {"kind": "dual", "norm": "post", "dim": 128, "heads": 2, "hidden": 4.0,
                   "towers": 2},
          "targets": {"masked-ids": {"weight": 1.0, "mask": "span:0.15:3"}},
          "course": {"lr": 1e-3}},
         frozenset()),
    _row("gpt2", "Each word told from those before it, by layers that look back only.",
         ("radford2019gpt2", "zhao2023tencentpretrain"),
         {"views": {"text": {"kind": "text", "cells": "subwords:2000"}},
          "mix": {"unpaired.text": 1.0},
          "body": {"kind": "single", "dim": 128, "heads": 2, "hidden": 4.0, "towers": 2},
          "targets": {"next-id": 1.0}, "course": {"lr": 1e-3}},
         frozenset()),
    _row("mae", "Patches hidden and given back: each standardised by itself.",
         ("he2022mae", "zhao2023tencentpretrain"),
         {"views": {"image": {"kind": "image", "cells": "patches:8:8"}},
          "mix": {"unpaired.image": 1.0}, "body": {**_SMALL, "kind": "dual", "towers": 2},
          "targets": {"masked-features": {"mask": "token:0.75", "how": "patch"}}},
         frozenset()),
    _row("clip", "Patches and subwords, two towers, one contrast.",
         ("radford2021clip", "zhao2023tencentpretrain"),
         {"views": {"image": {"kind": "image", "cells": "patches:8:8"},
                    "text": {"kind": "text", "cells": "subwords:2000"}},
          "body": {**_SMALL, "kind": "dual", "towers": 2}, "targets": {"contrast": 1.0}}),
    _row("s2t", "Sounds to subwords: frames encoded, words written one after the other.",
         ("vaswani2017attention", "zhao2023tencentpretrain"),
         {"views": {"speech": {"kind": "audio", "cells": "frames:4", "mixing": 9},
                    "text": {"cells": "subwords:600", "column": "label"}},
          "body": {**_SMALL, "kind": "dual", "towers": 2, "decoder": 1},
          "targets": {"write": {"into": "text", "source": "speech"}}, "longest": 128}),
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

ROWS = (*SPEECH, *TOOLKITS, *FUSION)
