"""Catalogue rows of metrics of texts."""

from conjoin.catalogue import Row

_OWN = "conjoin.metrics.generation.metrics"
_PEER = "conjoin.metrics.generation.sacre"

TEXTS: tuple[Row, ...] = (
    Row("text-metric", "exact-match", f"{_OWN}:ExactMatch",
        "Share of texts whose words are those of a reference.",
        ("rajpurkar2016squad",), cost="free"),
    Row("text-metric", "unigram-f1", f"{_OWN}:UnigramF1",
        "Harmonic mean of precision and recall of words.",
        ("rajpurkar2016squad",), cost="free"),
    Row("text-metric", "knowledge-f1", f"{_OWN}:KnowledgeF1",
        "Overlap of a reply's words with those of the knowledge it should rest on.",
        ("shuster2021reduces",), cost="free"),
    Row("text-metric", "rouge-l", f"{_OWN}:RougeL",
        "Longest common subsequence of words with a reference.",
        ("lin2004rouge",), cost="free"),
    Row("text-metric", "cider-d", f"{_OWN}:CiderD",
        "Similarity of tf-idf weighted n-grams with the references.",
        ("vedantam2015cider",), cost="free"),
    Row("text-metric", "sari", f"{_OWN}:Sari",
        "What a rewriting kept, added and deleted, against references.",
        ("xu2016sari",), cost="free"),
    Row("text-metric", "distinct-1", f"{_OWN}:Distinct",
        "Different words over all words of all texts.",
        ("li2016diversity",), cost="free", settings={"n": 1}),
    Row("text-metric", "distinct-2", f"{_OWN}:Distinct",
        "Different pairs of words over all pairs of all texts.",
        ("li2016diversity",), cost="free", settings={"n": 2}),
    Row("text-metric", "bleu", f"{_PEER}:Bleu",
        "Geometric mean of clipped n-gram precisions with a penalty of short texts.",
        ("papineni2002bleu", "post2018sacrebleu"), cost="free", extra="bench"),
    Row("text-metric", "chrf", f"{_PEER}:Chrf",
        "F score of character n-grams.",
        ("popovic2015chrf", "post2018sacrebleu"), cost="free", extra="bench"),
)  # fmt: skip
