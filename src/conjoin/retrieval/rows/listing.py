"""Catalogue rows of how an index finds, ends and goes on from its lists."""

from conjoin.catalogue import Claim, Row

_SHELVES, _CUTTING = "conjoin.retrieval.engines.two_stage", "conjoin.retrieval.ranking.truncation"
_SUGGEST = "conjoin.retrieval.queries.suggestion"

# Storage

_SMALL = (
    "some 575 held-out emoji instead of a million pictures; 50 candidates for ten hits; costs "
    "are multiplications, not times"
)
_SEEN, _HALVES = "emoji:image+text", "digits:left+right"
_MRL = "as accurate as single-shot retrieval at up to 14 times its speed (abstract)"
_RESCORED = "96.45 % of retrieval quality kept, 92.53 % without a second look (authors' page)"
#: Data, and what makes the vectors: coordinates trained to do alone, or ordered by correlation.
_MADE = ((_SEEN, "matryoshka"), (_SEEN, "cca"), (_HALVES, "cca"))


def _found(
    baseline: str, reported: str, made: tuple[tuple[str, str], ...] = _MADE, smallest: float = 0.02
) -> tuple[Claim, ...]:
    """The same rows as an exact search."""
    return tuple(
        Claim("stored", data, "same@10", baseline, "formula", _SMALL, reported,
              smallest=smallest, condition={"aligner": aligner})
        for data, aligner in made
    )  # fmt: skip


STORAGE: tuple[Row, ...] = (
    Row(
        "vector-codec", "two-stage", f"{_SHELVES}:Shelf",
        "Scan the first eighth of the dimensions, re-rank five candidates per hit in full.",
        ("kusupati2022matryoshka",), settings={"share": 0.125, "more": 5}, cost="free",
        family="storing",
        claims=(
            *_found("prefix-alone", _MRL),
            Claim("stored", _SEEN, "found@10", "prefix-alone", "formula", _SMALL, _MRL,
                  condition={"aligner": "cca"}),
        ),
    ),
    Row(
        "vector-codec", "funnel", f"{_SHELVES}:Shelf",
        "The same, candidates halved at each doubling of the dimensions.",
        ("kusupati2022matryoshka",), settings={"share": 0.125, "more": 5, "funnel": True},
        cost="free", family="storing",
        claims=_found("prefix-alone", "as accurate as two stages, with less work (section 4.3)"),
    ),
    Row(
        "vector-codec", "prefix-alone", f"{_SHELVES}:Shelf",
        "A prefix of equal cost to the two stages, without re-ranking.",
        settings={"share": 0.125, "paid": 5}, cost="free", family="storing",
    ),
    Row(
        "vector-codec", "int8", f"{_SHELVES}:Shelf",
        "Scan int8 codes, re-rank four candidates per hit in full.",
        ("shakir2024quantization",), settings={"kind": "int8", "more": 4}, cost="free",
        family="storing",
        claims=_found("binary", "nearly all of retrieval quality kept, more than by bits "
                      "(authors' page)", _MADE[1:], 0.005),
    ),
    Row(
        "vector-codec", "binary", f"{_SHELVES}:Shelf",
        "Scan binary codes, re-rank four candidates per hit in full.",
        ("shakir2024quantization",), settings={"kind": "binary", "more": 4}, cost="free",
        family="storing", claims=_found("binary-alone", _RESCORED, _MADE[1:]),
    ),
    Row(
        "vector-codec", "binary-alone", f"{_SHELVES}:Shelf",
        "Binary codes without re-ranking.",
        ("shakir2024quantization",), settings={"kind": "binary"}, cost="free", family="storing",
    ),
)  # fmt: skip

# Where lists end

_CUT = (
    "keywords of emoji asked of their drawings, and their names, under ridge, a quarter of them "
    "with no right answer; scores are cosines, where the paper trains a scorer of pairs"
)
_UPTO = "more relevant context than a fixed number of entries on COCO (abstract; no figure)"

CUTOFFS: tuple[Row, ...] = (
    Row(
        "list-truncation", "score-threshold", f"{_CUTTING}:ByScore",
        "Up to ten hits above the score threshold of the best F1.",
        ("mortaheb2025reranking",), cost="free", family="cutting",
        claims=tuple(
            Claim("cutting", data, "f1", baseline, "idea", _CUT, _UPTO, condition=condition)
            for data, condition in (
                ("emoji:image+keywords", {}), ("emoji:image+keywords", {"astray": 0.0}),
                ("emoji:image+text", {}), ("emoji:name+keywords", {"aligner": "identity"}),
            )
            for baseline in ("fixed-count", "identity")
        ),
    ),
    Row(
        "list-truncation", "fixed-count", f"{_CUTTING}:ByCount",
        "A fixed number of hits, the one of the best F1.",
        cost="free", family="cutting",
    ),
)  # fmt: skip

# What to ask next

_ASKED = (
    "names of 99 classes asked of drawings under ridge, clusters found by k-means, words taken "
    "from the names of what is shown; in the paper people made the clusters of 50 queries and "
    "models wrote the new ones"
)
_MORE = {
    "specificity": "recall of a cluster more than 115 % above the first query's (abstract)",
    "representativeness": "average precision more than 52 % above the first query's (abstract)",
}

SUGGESTERS: tuple[Row, ...] = (
    Row(
        "query-suggestion", "cluster-words", f"{_SUGGEST}:Distinctive",
        "Expand the query with the words that distinguish a cluster of its hits.",
        ("pacini2025croqs",), cost="free", family="suggesting",
        claims=tuple(
            Claim("suggesting", "emoji:image+name", metric, baseline, "restated", _ASKED, said)
            for metric, said in _MORE.items()
            for baseline in ("identity", "central-text")
        ),
    ),
    Row(
        "query-suggestion", "central-text", f"{_SUGGEST}:Central",
        "Expand the query with the text of the cluster's medoid.",
        ("pacini2025croqs",), cost="free", family="suggesting",
        claims=tuple(
            Claim("suggesting", "emoji:image+name", metric, "identity", "restated", _ASKED, said)
            for metric, said in _MORE.items()
        ),
    ),
)  # fmt: skip

LISTING: tuple[Row, ...] = (*STORAGE, *CUTOFFS, *SUGGESTERS)
