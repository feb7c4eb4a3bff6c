"""Catalogue rows of measures."""

from conjoin.catalogue import Row
from conjoin.metrics.geometry_rows import GEOMETRY

_HERE = "conjoin.metrics.retrieval.scores"
_RECALL = ("hodosh2013framing",)

ROWS: tuple[Row, ...] = (
    Row("metric", "recall@1", f"{_HERE}:Recall",
        "Share of queries whose first item is a right answer.",
        _RECALL, cost="free", settings={"k": 1}),
    Row("metric", "recall@5", f"{_HERE}:Recall",
        "Share of queries with a right answer among the first 5.",
        _RECALL, cost="free", settings={"k": 5}),
    Row("metric", "recall@10", f"{_HERE}:Recall",
        "Share of queries with a right answer among the first 10.",
        _RECALL, cost="free", settings={"k": 10}),
    Row("metric", "mrr", f"{_HERE}:MRR",
        "One over the rank of the first right answer, on average.",
        ("voorhees1999trec8",), cost="free"),
    Row("metric", "ndcg@10", f"{_HERE}:NDCG",
        "How near the first 10 are to the best order, early places counting more.",
        ("jarvelin2002cumulated",), cost="free", settings={"k": 10}),
    Row("metric", "map", f"{_HERE}:MAP",
        "Precision down to each right answer, averaged over answers and queries.",
        ("manning2008ir",), cost="free"),
    Row("metric", "median_rank", f"{_HERE}:MedianRank",
        "Median rank of the first right answer.",
        _RECALL, cost="free"),
    *GEOMETRY,
)  # fmt: skip
