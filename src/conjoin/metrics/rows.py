"""Catalogue rows of measures."""

from conjoin.catalogue import Row
from conjoin.metrics.generation.rows import TEXTS
from conjoin.metrics.geometry_rows import GEOMETRY
from conjoin.metrics.outcomes.rows import OUTCOMES

_HERE = "conjoin.metrics.retrieval.scores"
_RECALL = ("hodosh2013framing",)

ROWS: tuple[Row, ...] = (
    Row("metric", "recall@1", f"{_HERE}:Recall",
        "Share of queries whose first hit is relevant.",
        _RECALL, cost="free", settings={"k": 1}),
    Row("metric", "recall@5", f"{_HERE}:Recall",
        "Share of queries with a relevant hit among the first 5.",
        _RECALL, cost="free", settings={"k": 5}),
    Row("metric", "recall@10", f"{_HERE}:Recall",
        "Share of queries with a relevant hit among the first 10.",
        _RECALL, cost="free", settings={"k": 10}),
    Row("metric", "mrr", f"{_HERE}:MRR",
        "Mean reciprocal rank of the first relevant hit.",
        ("voorhees1999trec8",), cost="free"),
    Row("metric", "ndcg@10", f"{_HERE}:NDCG",
        "Discounted gain of the first 10 hits over that of the ideal order.",
        ("jarvelin2002cumulated",), cost="free", settings={"k": 10}),
    Row("metric", "map", f"{_HERE}:MAP",
        "Mean average precision over queries.",
        ("manning2008ir",), cost="free"),
    Row("metric", "median_rank", f"{_HERE}:MedianRank",
        "Median rank of the first relevant hit.",
        _RECALL, cost="free"),
    *GEOMETRY,
    *TEXTS,
    *OUTCOMES,
)  # fmt: skip
