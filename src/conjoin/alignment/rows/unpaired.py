"""Catalogue rows of aligners that need no pairs."""

from conjoin.catalogue import Claim, Row

_MATCHING = "conjoin.alignment.unpaired"
_UNPAIRED = frozenset({"unpaired"})
#: How far unpaired claims are from their papers, and what those report: differs, reported.
_SELF = (
    "sentence or image encoders of one set of items, not word vectors of two languages; "
    "candidates are dropped whole, not entry by entry; the last map is ridge CCA",
    "the abstract: succeeds in all scenarios tested, including ones where adversarial methods fail",
)
_GROMOV = (
    "the coupling starts the growth of pairs, it is not the answer; it is fused with a cost "
    "between sorted similarities; cosine of centred vectors",
    "the abstract: comparable with the state of the art in unsupervised word translation",
)
_WASSERSTEIN = (
    "starts at sorted similarities, not at the convex relaxation; the rotation is solved each "
    "round, not stepped towards",
    "the abstract: state of the art in unsupervised word translation with less computation",
)


def _unpaired(data: str, baseline: str, differs: str, reported: str) -> Claim:
    return Claim("unpaired", data, "recall@10", baseline, "restated", differs, reported)


UNPAIRED: tuple[Row, ...] = (
    Row(
        "map",
        "guessed",
        f"{_MATCHING}:Guessed",
        "An affine map fitted to estimated pairs, with the agreement of restarts.",
        cost="free",
    ),
    Row(
        "aligner",
        "moment-matching",
        f"{_MATCHING}:MomentMatching",
        "Whitened principal axes matched by rank and sign of skewness; a baseline without pairs.",
        needs=_UNPAIRED,
        family="unpaired",
    ),
    Row(
        "aligner",
        "profile-matching",
        f"{_MATCHING}:Matching",
        "Unpaired: initial pairs from sorted similarity profiles, then self-learning by "
        "Procrustes.",
        papers=("artetxe2018selflearning", "conneau2018word"),
        needs=_UNPAIRED,
        family="unpaired",
        claims=(
            _unpaired("emoji:static+text", "moment-matching", *_SELF),
            _unpaired("emoji:image+text", "moment-matching", *_SELF),
            _unpaired("digits:left+right", "moment-matching", *_SELF),
            _unpaired("emoji:static+text", "identity", *_SELF),
        ),
    ),
    Row(
        "aligner",
        "gw-matching",
        f"{_MATCHING}:Matching",
        "Unpaired: profile matching, initialised by fused entropic Gromov-Wasserstein.",
        papers=("peyre2016gw", "vayer2019fused", "alvarezmelis2018gw", "artetxe2018selflearning"),
        needs=_UNPAIRED,
        settings={"start": "gromov"},
        family="unpaired",
        claims=(
            _unpaired("emoji:static+text", "moment-matching", *_GROMOV),
            _unpaired("emoji:static+text", "profile-matching", *_GROMOV),
            _unpaired("emoji:image+text", "moment-matching", *_GROMOV),
            _unpaired("digits:left+right", "moment-matching", *_GROMOV),
        ),
    ),
    Row(
        "aligner",
        "sinkhorn-matching",
        f"{_MATCHING}:Matching",
        "Unpaired: profile matching with soft assignments by entropic optimal transport.",
        papers=(
            "cuturi2013sinkhorn",
            "schmitzer2019stabilized",
            "thibault2021overrelaxed",
            "grave2019procrustes",
        ),
        needs=_UNPAIRED,
        settings={"match_by": "sinkhorn"},
        family="unpaired",
        claims=(
            _unpaired("emoji:static+text", "moment-matching", *_WASSERSTEIN),
            _unpaired("emoji:static+text", "profile-matching", *_WASSERSTEIN),
            _unpaired("emoji:image+text", "moment-matching", *_WASSERSTEIN),
        ),
    ),
)
