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

_MIM = {"weight": 0.5, "view": "image", "mask": "token:0.4"}
_MTM = {"weight": 0.5, "view": "text", "mask": "token:0.3", "how": "nce"}
_BOTH = {"weight": 0.5, "mask": "token:0.3", "beside": "both"}

#: Pictures and texts as frozen tokens, hidden, matched and told apart in the ways of the field.
FUSION: tuple[Row, ...] = (
    _row("contrast", "Two towers over frozen tokens and a contrastive loss: what fusion must beat.",
         ("radford2021clip",),
         {"views": _PAIR, "body": {**_SMALL, "kind": "dual"}, "targets": {"contrast": 1.0}}),
    _row("albef", "Contrast first, then match hard negatives and mask where both views meet.",
         ("li2021albef",),
         {"views": _PAIR, "body": {**_SMALL, "kind": "fusion", "meet": "cross"},
          "targets": {"contrast": 1.0, "matching": 1.0, "masked-features": _MTM}}),
    _row("blip2-stage-1", "Trained queries read both views: contrast, matching, and words written.",
         ("li2023blip2",),
         {"views": {**_IMAGE, "words": {"cells": "subwords:600", "column": "text"}},
          "body": {**_SMALL, "kind": "fusion", "meet": "query", "queries": 8, "decoder": 1},
          "targets": {"contrast": 1.0, "matching": 1.0, "write": 1.0}}),
    _row("flava", "Pairs, pictures alone and texts alone by turns; the losses a batch can feed.",
         ("singh2022flava",),
         {"views": _PAIR, "mix": _ALL, "body": {**_SMALL, "kind": "fusion"},
          "targets": {"contrast": 1.0, "matching": 1.0,
                      "masked-features": {"weight": 0.5, "mask": "token:0.4"}}}),
    _row("flava-paired", "The same of pairs alone: what unpaired cells must add to.",
         ("singh2022flava",),
         {"views": _PAIR, "body": {**_SMALL, "kind": "fusion"},
          "targets": {"contrast": 1.0, "matching": 1.0,
                      "masked-features": {"weight": 0.5, "mask": "token:0.4"}}}),
    _row("vlmo", "Shared attention, a part for each view and one for both: pictures, texts, pairs.",
         ("bao2022vlmo",),
         {"views": _PAIR, "mix": _ALL,
          "body": {**_SMALL, "kind": "multiway", "towers": 2, "top": 1},
          "targets": {"contrast": 1.0, "matching": 1.0, "image": {"of": "masked-features", **_MIM},
                      "text": {"of": "masked-features", **_MTM}},
          "stages": [{"share": 1.0, "targets": ["image"]},
                     {"share": 1.0, "targets": ["text"], "freeze": ["body/shared/*/attn/*"]},
                     {"share": 3.0}]}),
    _row("vlmo-joint", "The same targets from the start, without stages.", ("bao2022vlmo",),
         {"views": _PAIR, "mix": _ALL,
          "body": {**_SMALL, "kind": "multiway", "towers": 2, "top": 1},
          "targets": {"contrast": 1.0, "matching": 1.0, "image": {"of": "masked-features", **_MIM},
                      "text": {"of": "masked-features", **_MTM}}}),
    _row("uniter", "One stack for both views, one side masked at a time, transport of tokens.",
         ("chen2020uniter",),
         {"views": _PAIR, "body": {**_SMALL, "kind": "single", "towers": 2},
          "targets": {"matching": {"weight": 1.0, "negatives": "random"}, "token-transport": 0.1,
                      "image": {"of": "masked-features", **_MIM},
                      "text": {"of": "masked-features", **_MTM}}}),
    _row("unicoder-vl", "One stack: masked tokens of each view and a match of both.",
         ("li2020unicodervl",),
         {"views": _PAIR, "body": {**_SMALL, "kind": "single", "towers": 2},
          "targets": {"matching": {"weight": 1.0, "negatives": "random"},
                      "image": {"of": "masked-features", **_MIM},
                      "text": {"of": "masked-features", **_MTM}}}),
    _row("interbert", "Spans hidden in both views, then matching with hard negatives.",
         ("lin2021interbert",),
         {"views": _PAIR, "body": {**_SMALL, "kind": "fusion"},
          "targets": {"matching": 1.0,
                      "masked-features": {**_BOTH, "mask": "span:0.3:2", "how": "nce"}}}),
    _row("lxmert", "Two towers that attend to each other; masked tokens and matching.",
         ("tan2019lxmert",),
         {"views": _PAIR, "body": {**_SMALL, "kind": "fusion", "meet": "cross", "top": 2},
          "targets": {"matching": {"weight": 1.0, "negatives": "random"},
                      "image": {"of": "masked-features", **_MIM},
                      "text": {"of": "masked-features", **_MTM}}}),
    _row("vlm", "One stack, a whole view hidden now and then: the same weights alone and together.",
         ("xu2021vlm",),
         {"views": _PAIR, "body": {**_SMALL, "kind": "single", "towers": 2},
          "targets": {"contrast": 1.0,
                      "masked-features": {**_BOTH, "mask": "view:0.5:0.15", "how": "nce"}}}),
    _row("fiber", "Cross-attention inside the towers behind gates that start shut.",
         ("dou2022fiber",),
         {"views": _PAIR, "body": {**_SMALL, "kind": "fusion", "meet": "cross", "gated": True},
          "targets": {"contrast": 1.0, "matching": 1.0, "masked-features": _MTM}}),
    _row("bridgetower", "Each layer where views meet is fed by the tower's layer of its height.",
         ("xu2023bridgetower",),
         {"views": _PAIR, "body": {**_SMALL, "kind": "fusion", "meet": "cross", "towers": 2,
                                   "top": 2, "link": "bridge"},
          "targets": {"contrast": 1.0, "matching": 1.0, "masked-features": _MTM}}),
    _row("managertower", "The same, fed by a trained average of all layers of the tower.",
         ("xu2023managertower",),
         {"views": _PAIR, "body": {**_SMALL, "kind": "fusion", "meet": "cross", "towers": 2,
                                   "top": 2, "link": "manager"},
          "targets": {"contrast": 1.0, "matching": 1.0, "masked-features": _MTM}}),
    _row("multimae", "A budget of visible tokens shared among views; the rest is given back.",
         ("bachmann2022multimae",),
         {"views": _PAIR, "body": {**_SMALL, "kind": "single", "towers": 2},
          "targets": {"masked-features": {"mask": "dirichlet:0.167:1", "beside": "both",
                                          "how": "mse"}}}),
    _row("valor", "Contrast by weighted best matches of tokens; words written from the picture.",
         ("chen2023valor",),
         {"views": {**_IMAGE, "words": {"cells": "subwords:600", "column": "text"}},
          "body": {**_SMALL, "kind": "dual", "decoder": 1},
          "targets": {"token-contrast": 1.0, "write": 1.0}}),
    _row("one-peace", "Contrast, and hidden tokens named among those of a pass that shows all.",
         ("wang2023onepeace",),
         {"views": _PAIR, "body": {**_SMALL, "kind": "multiway", "towers": 2, "top": 0},
          "targets": {"contrast": 1.0, "named-tokens": {"weight": 0.5, "mask": "token:0.4"}}}),
    _row("eva", "Hidden tokens of a frozen encoder given back by cosine.",
         ("fang2023eva",),
         {"views": _IMAGE, "mix": {"unpaired.image": 1.0},
          "body": {**_SMALL, "kind": "dual", "towers": 2},
          "targets": {"masked-features": {"mask": "token:0.4", "how": "cos"}}}, frozenset()),
    _row("lfr", "Agree with random networks of one's own input: no pairs, any kind of cell.",
         ("sui2023lfr",),
         {"views": _IMAGE, "mix": {"unpaired.image": 1.0},
          "body": {**_SMALL, "kind": "dual", "towers": 1}, "targets": {"random-projections": 1.0}},
         frozenset()),
)  # fmt: skip

_SOUND = {"cells": "frames:4", "mixing": 9}
_LETTERS = {"cells": "letters", "column": "label"}
_SPOKEN = {"views": {"speech": _SOUND, "letters": _LETTERS}, "longest": 128, "batch": 32}
_READ = {"view": "speech", "into": "letters"}
_HEARD = {"of": "masked-features", "view": "speech", "mask": "span:0.4:4", "beside": "no"}
_SPELT = {"of": "masked-ids", "view": "letters", "mask": "span:0.3:3", "beside": "no"}
_DUAL = {"kind": "dual", "dim": 96, "heads": 4, "towers": 2}
_UNPAIRED = {"pairs": 2.0, "unpaired.speech": 1.0, "unpaired.letters": 1.0}

#: Sounds and letters together.
SPOKEN: tuple[Row, ...] = (
    _row("mslam", "Letters of sounds, and hidden stretches of sounds and of letters alone.",
         ("bapna2022mslam",),
         {**_SPOKEN, "mix": _UNPAIRED, "body": _DUAL,
          "targets": {"transcribe": _READ, "heard": {**_HEARD, "how": "nce"}, "spelt": _SPELT,
                      "contrast": 0.2}}),
    _row("stpt", "Masked sounds, masked letters, letters of sounds, and letters written.",
         ("tang2022stpt",),
         {**_SPOKEN, "mix": _UNPAIRED, "body": {**_DUAL, "decoder": 1},
          "targets": {"transcribe": _READ, "heard": {**_HEARD, "how": "nce"}, "spelt": _SPELT,
                      "write": {"into": "letters", "source": "speech"}}}),
    _row("multi-stage-asr", "Sounds alone first, then sounds with letters, then letters of sounds.",
         ("jain2024multistage",),
         {**_SPOKEN, "mix": {"pairs": 2.0, "unpaired.speech": 1.0}, "body": _DUAL,
          "targets": {"transcribe": _READ, "heard": {**_HEARD, "how": "mse"}, "contrast": 1.0},
          "stages": [{"share": 1.0, "targets": ["heard"]},
                     {"share": 1.0, "targets": ["contrast", "heard"]},
                     {"share": 4.0, "targets": ["transcribe"]}]}),
)  # fmt: skip

ROWS = (*SPEECH, *TOOLKITS, *FUSION, *SPOKEN)
