"""Catalogue rows of maps and aligners."""

from collections.abc import Iterator

from conjoin.alignment.rows.batches import BATCHES
from conjoin.alignment.rows.linear import CLOSED
from conjoin.alignment.rows.trained import TRAINED
from conjoin.alignment.rows.unpaired import UNPAIRED
from conjoin.catalogue import Claim, Recovery, Row

_MAP = "conjoin.maps.base"
_LINEAR = "conjoin.alignment.closed_form.linear"
_PAIRS = frozenset({"pairs"})

_THEORY = "no figure: that a ridge steadies canonical variates of near-collinear data is derived"
_OTHERS = (
    "digits:left+right", "wine:acids+colours", "motions:acceleration+rotation",
    "umls:graph+name", "kinships:subject+object", "emoji:speech+text",
)  # fmt: skip
_SHORT = "two frozen encoders, pairs drawn by group"


def _cca_claims() -> Iterator[Claim]:
    """Whether weighing both sides helps over least squares onto one, where pairs are few or bad."""
    for pairs in (50, 100, 300, None):
        yield Claim(
            "few-pairs", "emoji:image+text", "recall@10", "ridge", "formula", _SHORT, _THEORY,
            condition={"pairs": pairs},
        )  # fmt: skip
    for noise in (0.2, 0.4, 0.6):
        yield Claim(
            "noisy-pairs", "emoji:image+text", "recall@10", "ridge", "idea",
            "that share of the training pairs is shuffled; the sources speak of no such pairs",
            _THEORY, condition={"noise": noise},
        )  # fmt: skip
    for data in _OTHERS:
        yield Claim(
            "retrieval", data, "mrr", "ridge", "formula",
            "a small set of another kind: digits, wine, motions, graphs", _THEORY,
        )  # fmt: skip
    yield Claim(
        "domain-shift", "emoji:image+drawing+text", "recall@10", "ridge", "idea",
        "fitted on one style of drawing, asked in another of the same encoder", _THEORY,
    )  # fmt: skip


def _rotation_claims() -> Iterator[Claim]:
    """Whether a rotation, having least to learn, is the safer map from few or bad pairs."""
    for condition in ({"pairs": 50}, {"pairs": 100}):
        yield Claim(
            "few-pairs", "emoji:image+text", "recall@10", "ridge", "idea", _SHORT,
            "no figure: the least-squares rotation is derived, nothing is claimed of few pairs",
            condition=condition,
        )  # fmt: skip
    yield Claim(
        "noisy-pairs", "emoji:image+text", "recall@10", "ridge", "idea", _SHORT,
        "no figure: nothing is claimed of wrong pairs", condition={"noise": 0.6},
    )  # fmt: skip


ROWS: tuple[Row, ...] = (
    Row("map", "affine", f"{_MAP}:Affine", "A linear map and a shift.", cost="free"),
    Row("map", "normalise", f"{_MAP}:Normalise", "Scale to unit length.", cost="free"),
    Row("map", "chain", f"{_MAP}:Chain", "Composition of maps.", cost="free"),
    Row(
        "aligner",
        "identity",
        f"{_LINEAR}:Identity",
        "Leave every view as it is: the do-nothing baseline.",
        needs=_PAIRS,
        cost="free",
        family="closed",
        shortlist=True,
        simple=True,
        recovery=Recovery("same"),
    ),
    Row(
        "aligner",
        "mean-centering",
        f"{_LINEAR}:MeanCentering",
        "Subtract each view's mean; closes the gap between modalities, nothing more.",
        papers=("liang2022gap",),
        needs=_PAIRS,
        family="closed",
        shortlist=True,
        simple=True,
        recovery=Recovery("shift"),
    ),
    Row(
        "aligner",
        "ridge",
        f"{_LINEAR}:Ridge",
        "Ridge regression from each view onto the reference modality.",
        papers=("hoerl1970ridge",),
        needs=_PAIRS,
        family="closed",
        shortlist=True,
        simple=True,
    ),
    Row(
        "aligner",
        "procrustes",
        f"{_LINEAR}:Procrustes",
        "Orthogonal Procrustes: the rotation of each view nearest to the reference modality.",
        papers=("schonemann1966procrustes",),
        needs=_PAIRS,
        family="closed",
        claims=tuple(_rotation_claims()),
        shortlist=True,
        simple=True,
        recovery=Recovery("turn"),
    ),
    Row(
        "aligner",
        "cca",
        f"{_LINEAR}:CCA",
        "Regularised (generalised) canonical correlation analysis, directions weighted by "
        "correlation.",
        papers=("hotelling1936cca", "vinod1976ridgecca", "kettenring1971multiset"),
        needs=_PAIRS,
        family="closed",
        claims=tuple(_cca_claims()),
        shortlist=True,
        simple=True,
    ),
    *CLOSED,
    *UNPAIRED,
    # trained heads
    Row(
        "map",
        "residual-mlp",
        "conjoin.maps.mlp:ResidualMLP",
        "A linear map plus a small network; evaluated without torch.",
        cost="free",
    ),
    Row(
        "aligner",
        "heads",
        "conjoin.alignment.trained.contrastive_heads:ContrastiveHeads",
        "Residual heads started at regularised CCA, trained with InfoNCE, kept only where they "
        "help.",
        papers=("radford2021clip", "zhai2022lit"),
        needs=_PAIRS,
        cost="trained",
        extra="train",
        family="trained",
        shortlist=True,
    ),
    *TRAINED,
    *BATCHES,
)
