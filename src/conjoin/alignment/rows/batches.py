"""Catalogue rows of heads by their batches, negatives and loss, with what their papers say."""

from collections.abc import Mapping
from typing import Any

from conjoin.alignment.rows.trained import FRESH
from conjoin.catalogue import Claim, Recovery, Row

_HEADS = "conjoin.alignment.trained.contrastive_heads:ContrastiveHeads"
_PAIRS = frozenset({"pairs"})
_FROZEN = (
    "one-hidden-layer heads on frozen vectors of emoji, where the paper trains whole encoders on "
    "millions of pairs"
)


def _against(baseline: str, *tasks: tuple[str, Mapping[str, Any]], how: str) -> tuple[Claim, ...]:
    """An effect asked for on some tasks; at few and at all pairs, by design."""
    return tuple(
        Claim(
            task, "emoji:image+text", "recall@10", baseline, "restated", f"{how}; {_FROZEN}",
            "no figure was checked", condition=dict(condition),
        )
        for task, condition in tasks
    )  # fmt: skip


def _row(
    name: str, summary: str, papers: tuple[str, ...], settings: Mapping[str, Any],
    claims: tuple[Claim, ...] = (), share: float | None = None,
) -> Row:  # fmt: skip
    return Row(
        "aligner", name, _HEADS, summary, papers, _PAIRS, "trained",
        {**FRESH, **settings}, "train", "trained", claims, recovery=Recovery(share=share),
    )  # fmt: skip


_ALL: tuple[str, Mapping[str, Any]] = ("retrieval", {})
_FEW: tuple[str, Mapping[str, Any]] = ("few-pairs", {"pairs": 300})
_THOUSAND: tuple[str, Mapping[str, Any]] = ("few-pairs", {"pairs": 1000})
_NOISY: tuple[str, Mapping[str, Any]] = ("noisy-pairs", {"noise": 0.4})
_SMALL = {"batch": 64}

BATCHES: tuple[Row, ...] = (
    _row(
        "contextual-head", "InfoNCE heads whose batches are packed clusters of frozen vectors.",
        ("morris2025contextual",), {"sampler": "contextual", "batch": 128},
        _against("plain-128-head", _ALL, _THOUSAND, _FEW,
                 how="clusters of the first view's vectors; batches of 128 in both arms"),
    ),
    _row(
        "neighbour-head", "InfoNCE heads whose batches hold nearest neighbours by frozen vectors.",
        ("xiong2021ance",), {"sampler": "neighbour", "batch": 128},
        _against("plain-128-head", _ALL, _THOUSAND, _FEW,
                 how="neighbours by the first view's frozen vectors, not by the model in training"),
    ),
    _row(
        "guided-head", "InfoNCE heads that leave out likely false negatives, found by a guide.",
        ("solatorio2024gist",), {"guide": "first", "margin": 0.1, "batch": 128},
        _against("plain-128-head", _ALL, _NOISY, _FEW,
                 how="the guide is the first view's frozen encoder, with a margin of .1"),
    ),
    _row(
        "plain-128-head", "InfoNCE heads with random batches of 128.",
        ("radford2021clip",), {"batch": 128},
    ),
    _row(
        "sigmoid-head", "Heads trained with the sigmoid loss (SigLIP), batches of 64.",
        ("zhai2023siglip",), {"loss": "sigmoid", "temperature": 0.1, **_SMALL},
        _against("plain-64-head", _ALL, _THOUSAND, _FEW,
                 how="both arms in batches of 64, where the paper finds the gain largest"),
    ),
    _row(
        "plain-64-head", "InfoNCE heads with random batches of 64.",
        ("radford2021clip",), _SMALL,
    ),
    _row(
        "hinge-head", "Heads trained with the triplet loss over all negatives.",
        ("faghri2018vsepp",), {"loss": "hinge", "batch": 128},
    ),
    _row(
        "hardest-head", "VSE++ heads: triplet loss to the hardest negative of the batch.",
        ("faghri2018vsepp",), {"loss": "hinge-hardest", "batch": 128},
        _against("hinge-head", _ALL, _THOUSAND, _FEW, how="batches of 128 in both arms"),
    ),
)  # fmt: skip
