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
        "Gallery rows near to many queries are marked down by their mean similarity to them.",
        papers=("conneau2018word",), family="hubs", shortlist=True,
        claims=_hubs("word translation better than by nearest neighbours (no figure was checked)"),
    ),
    Row(
        "correction", "inverted-softmax", f"{_BANKS}:InvertedSoftmax",
        "Scores are normalised over the queries of a bank instead of over the gallery.",
        papers=("smith2017offline", "bogolin2022querybank"), family="hubs", shortlist=True,
        settings={"dynamic": False},
        claims=_hubs("words, precision@1 34 to 43 with an orthogonal map beside (abstract)"),
    ),
    Row(
        "correction", "qb-norm", f"{_BANKS}:InvertedSoftmax",
        "The same, only for queries whose best row is one that bank queries find first.",
        papers=("bogolin2022querybank",), family="hubs", shortlist=True, settings={"dynamic": True},
        claims=_hubs(
            "recall@1 on MSR-VTT of CE+ 14.4 to 16.4, on COCO of CLIP 30.3 to 34.8 (authors' page)"
        ),
    ),
    Row(
        "correction", "dual-is", f"{_BANKS}:DualSoftmax",
        "Scores are normalised over a bank of queries and one of gallery items.",
        papers=("wang2023balance",), family="hubs", shortlist=True, settings={"dynamic": False},
        claims=_hubs("beats a query bank alone on four kinds of retrieval (abstract)"),
    ),
    Row(
        "correction", "dual-dis", f"{_BANKS}:DualSoftmax",
        "The same, each bank only for queries whose best row is active in it.",
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
        "Gallery rows are pushed away from the rows of two banks they are like.",
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
        "Rows less what they share with two banks.", ("jian2023invgc",), cost="free",
    ),
)  # fmt: skip

ROWS: tuple[Row, ...] = (*CORRECTIONS, *RANKING, *LISTING)
