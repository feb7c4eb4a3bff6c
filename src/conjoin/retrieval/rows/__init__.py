"""Catalogue rows of this room."""

from conjoin.catalogue import Claim, Row
from conjoin.retrieval.rows.listing import LISTING
from conjoin.retrieval.rows.ranking import RANKING

_BANKS = "conjoin.retrieval.hubness.query_bank"
_FAR = (
    "two views of small data (emoji in pictures or speech and words, halves of digits) under CCA "
    "instead of video and captions under trained towers; banks of the training queries and "
    "items, asked by held-out queries among held-out items"
)
_PUSHED = "the mean that rows are pushed from is the bank's, where the authors take the gallery's"
#: Data on which every correction is put to the test.
_DATA = ("emoji:image+text", "emoji:speech+text", "digits:left+right")


def _hubs(reported: str, data: tuple[str, ...] = _DATA) -> tuple[Claim, ...]:
    """Fewer hubs on every data set, and better recall."""
    return tuple(
        Claim(
            "hubs", name, metric, "identity", "restated", _FAR, reported,
            smallest=0.02 if metric == "recall@10" else 0.1,
        )
        for name in data
        for metric in ("recall@10", "evenness")
    )  # fmt: skip


CORRECTIONS: tuple[Row, ...] = (
    Row(
        "correction", "csls", "conjoin.retrieval.hubness.csls:CSLS",
        "CSLS: gallery rows are discounted by their mean similarity to their nearest queries.",
        papers=("conneau2018word",), family="hubs", shortlist=True,
        claims=_hubs("word translation better than by nearest neighbours (no figure was checked)"),
    ),
    Row(
        "correction", "inverted-softmax", f"{_BANKS}:InvertedSoftmax",
        "Scores are normalised over a bank of queries instead of over the gallery.",
        papers=("smith2017offline", "bogolin2022querybank"), family="hubs", shortlist=True,
        settings={"dynamic": False},
        claims=_hubs("words, precision@1 34 to 43 with an orthogonal map beside (abstract)"),
    ),
    Row(
        "correction", "qb-norm", f"{_BANKS}:InvertedSoftmax",
        "Inverted softmax, only for queries whose best hit is a hub of the query bank.",
        papers=("bogolin2022querybank",), family="hubs", shortlist=True, settings={"dynamic": True},
        claims=_hubs(
            "recall@1 on MSR-VTT of CE+ 14.4 to 16.4, on COCO of CLIP 30.3 to 34.8 (authors' page)"
        ),
    ),
    Row(
        "correction", "dual-is", f"{_BANKS}:DualSoftmax",
        "Inverted softmax over a bank of queries and a bank of gallery items.",
        papers=("wang2023balance",), family="hubs", shortlist=True, settings={"dynamic": False},
        claims=_hubs("beats a query bank alone on four kinds of retrieval (abstract)"),
    ),
    Row(
        "correction", "dual-dis", f"{_BANKS}:DualSoftmax",
        "The same, each bank only for queries whose best hit is a hub of it.",
        papers=("wang2023balance",), family="hubs", shortlist=True, settings={"dynamic": True},
        claims=tuple(
            each.noting(
                "where a gate is shut the factor is exp(β s), in the authors' code the bare "
                "similarity"
            )
            for each in _hubs("beats a query bank alone on four kinds of retrieval (abstract)")
        ),
    ),
    Row(
        "correction", "invgc", "conjoin.retrieval.hubness.inverse_gc:InvGC",
        "Inverse graph convolution: gallery rows are moved away from similar rows of two banks.",
        papers=("jian2023invgc",), family="hubs", shortlist=True, settings={"local": False},
        claims=tuple(
            each.noting(_PUSHED)
            for each in _hubs("better retrieval on several benchmarks (no figure was checked)")
        ),
    ),
    Row(
        "correction", "invgc-local", "conjoin.retrieval.hubness.inverse_gc:InvGC",
        "The same, from the nearest rows of each bank only.",
        papers=("jian2023invgc",), family="hubs", settings={"local": True},
        claims=tuple(
            each.noting(_PUSHED)
            for each in _hubs("as above; said to be better than pushing from all rows")
        ),
    ),
    Row(
        "map", "pushed-away", "conjoin.retrieval.hubness.inverse_gc:PushedAway",
        "Rows less a share of similar rows of two banks.", ("jian2023invgc",), cost="free",
    ),
)  # fmt: skip

ROWS: tuple[Row, ...] = (*CORRECTIONS, *RANKING, *LISTING)
