"""Catalogue rows of adaptations: a head taken to another domain by its unlabelled rows."""

from collections.abc import Mapping
from typing import Any

from conjoin.catalogue import Claim, Row

_HERE = "conjoin.transfer.adaptation"
_FREE = frozenset({"unpaired"})
_STYLE = "emoji-groups:image+drawing"
_NOISE = "emoji-groups:image+noisy"
_ON = (
    "a logistic head on frozen vectors of drawings, settings chosen on the source alone, where the "
    "paper adapts a network"
)


def _claim(
    baseline: str, reported: str, fidelity: str = "restated", data: str = _STYLE, differs: str = "",
    condition: Mapping[str, Any] = {},
) -> Claim:  # fmt: skip
    said = f"{differs}; {_ON}" if differs else _ON
    return Claim(
        "adapting", data, "accuracy", baseline, fidelity, said, reported, condition=dict(condition)
    )


#: One style, half of whose classes are four times as rare in the target.
_RARE: Mapping[str, Any] = {"source": "image", "target": "image", "tilt": 0.75}
_DRAWN_RARE: Mapping[str, Any] = {"tilt": 0.75, "target": "drawing"}
_DIGITS = "digits:whole+left"
_SPOILT: Mapping[str, Any] = {"source": "whole", "target": "whole", "spoil": 2.0}
_SHARES = "class shares that differ are recovered and accuracy rises (figures, in words)"


def _row(
    name: str, engine: str, summary: str, papers: tuple[str, ...], settings: Mapping[str, Any],
    claims: tuple[Claim, ...], cost: str = "closed", extra: str | None = None,
) -> Row:  # fmt: skip
    return Row(
        "adaptation", name, f"{_HERE}.{engine}", summary, papers, _FREE, cost, dict(settings),
        extra, "adapt", claims, simple=cost == "free",
    )  # fmt: skip


_SKADA = "source_alignment:AlignedSource"
_WEIGHED = "source_alignment:WeighedSource"

ADAPTATIONS: tuple[Row, ...] = (
    _row("unchanged", "moments:Unchanged", "The head as it is.", (), {}, (), "free"),
    _row(
        "match-mean", "moments:MatchMoments", "The target's rows are given the source's mean.",
        ("sun2016coral",), {"order": "mean"},
        (_claim("unchanged", "no figure: the first step of CORAL", "idea"),
         _claim("unchanged", "no figure: the first step of CORAL", "idea", _NOISE)),
        "free",
    ),
    _row(
        "match-deviation", "moments:MatchMoments",
        "The target's rows are given the source's mean and deviations.",
        ("sun2016coral",), {"order": "deviation"},
        (_claim("match-mean", "no figure: between centring and CORAL", "idea"),
         _claim("match-mean", "no figure: between centring and CORAL", "idea", _NOISE),
         _claim("unchanged", "no figure: between centring and CORAL", "idea", _DIGITS,
                condition=_SPOILT)),
        "free",
    ),
    _row(
        "match-covariance", "moments:MatchMoments",
        "The target's rows are given the source's mean and covariance.",
        ("sun2016coral",), {"order": "covariance"},
        tuple(
            _claim(
                "match-deviation", "46.1 to 52.0 on the mean of Office-Caltech's shifts against no "
                "adaptation (recalled, not found on the pages looked through)", "restated", data,
                "the target is taken to the source and the head kept, where theirs takes the "
                "source to the target and fits anew", condition,
            )
            for data, condition in ((_STYLE, {}), (_NOISE, {}), (_DIGITS, _SPOILT))
        ),
    ),
    _row(
        "bbse", "class_shares:ConfusionShares",
        "Class shares of the target from the confusions of the source.",
        ("lipton2018bbse",), {}, (_claim("unchanged", _SHARES, "formula", condition=_RARE),),
    ),
    _row(
        "mlls", "class_shares:LikelyShares",
        "Class shares that make the target's rows likeliest.",
        ("saerens2002adjusting", "alexandari2020mlls"), {},
        (_claim("unchanged", _SHARES, "formula", condition=_RARE),
         _claim("bbse", "beats BBSE where the probabilities are calibrated (tables, in words)",
                "formula", condition=_RARE)),
    ),
    _row(
        "lame", "neighbourhood:LaplacianAnswers",
        "Answers pulled towards those of the nearest rows of the target.",
        ("boudiaf2022lame",), {"weight": 1.0},
        (_claim("unchanged", "the only one of seven methods that does not fall below doing nothing "
                "on the mean of its scenarios (figure, in words)",
                differs="all unlabelled rows settle together, where theirs settle by batches"),
         _claim("match-deviation", "as above", condition=_DRAWN_RARE,
                differs="all unlabelled rows settle together, where theirs settle by batches")),
    ),
    _row(
        "reclip", "neighbourhood:PropagatedNames",
        "Names spread over the target by a graph, less the direction all names share.",
        ("hu2024reclip",), {},
        tuple(
            _claim(
                "unchanged", "mean error from 30.17 to 25.06 % on 22 benchmarks, self-training "
                "included (abstract)", "restated", "emoji-groups:image+text",
                "propagation only, in a space bound by CCA, where theirs also trains "
                "normalisation layers of CLIP", condition,
            )
            for condition in ({"named": True}, {"named": True, "target": "text"})
        ),
    ),
    _row(
        "shot-im", "self_training:InformationMaximisation",
        "A change of the rows by which a frozen head is sure of each and even over all.",
        ("liang2020shot",), {},
        (_claim("match-deviation", "82.9 against 58.9 without adaptation on VisDA-C, pseudo-labels "
                "included (recalled, not found on the pages looked through)",
                differs="a low-rank map is trained, and no pseudo-labels"),
         _claim("match-deviation", "as above", "restated", _NOISE,
                differs="a low-rank map is trained, and no pseudo-labels")),
        "trained", "train",
    ),
    _row(
        "pseudo-pretraining", "self_training:PseudoPretraining",
        "Its own answers on the target first, then the labels, from there.",
        ("guo2020predictions",), {},
        (_claim("unchanged", "+3.6 % on a small labelled set (abstract)",
                differs="two convex fits of a linear head, where theirs fine-tunes a language "
                "model three times"),),
    ),
    _row(
        "subspace-alignment", _SKADA, "The source's principal directions turned to the target's.",
        ("fernando2013subspace", "lalou2024skada"), {"method": "subspace"},
        (_claim("match-deviation", "better than no adaptation and than geodesic flows on "
                "Office-Caltech (tables, in words)"),), "closed", "adapt",
    ),
    _row(
        "transport", _SKADA, "The source carried to the target by optimal transport.",
        ("courty2017otda", "lalou2024skada"), {"method": "transport"},
        (_claim("match-deviation", "better than subspaces on most shifts of digits, faces and "
                "Office-Caltech (tables, in words)"),
         _claim("match-deviation", "as above", "restated", _DIGITS, condition=_SPOILT)),
        "closed", "adapt",
    ),
    _row(
        "linear-transport", _SKADA, "The same between two Gaussians: a linear map.",
        ("courty2017otda", "lalou2024skada"), {"method": "linear-transport"},
        (_claim("match-deviation", "no figure on its own"),), "closed", "adapt",
    ),
    _row(
        "kernel-mean", _WEIGHED, "Source rows weighed so that means in a kernel's space agree.",
        ("huang2006kmm", "lalou2024skada"), {"method": "kernel-mean"},
        (_claim("unchanged", "lower error than unweighed fits under sampling bias on most of its "
                "data sets (tables, in words)"),), "closed", "adapt",
    ),
    _row(
        "discriminator-weights", _WEIGHED,
        "Source rows weighed by how hard they are to tell from the target.",
        ("lalou2024skada",), {"method": "discriminator"},
        (_claim("unchanged", "no figure on its own"),), "closed", "adapt",
    ),
)  # fmt: skip
