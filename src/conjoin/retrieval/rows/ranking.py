"""Catalogue rows of ranking: mixers, composers, aggregations, sparse weights."""

from conjoin.catalogue import Claim, Row

_MIXERS, _COMPOSED = (
    "conjoin.retrieval.ranking.score_fusion",
    "conjoin.retrieval.queries.composition",
)
_TRAINED, _PARTS = "conjoin.retrieval.queries.composers", "conjoin.retrieval.multi_vector.aggregate"
_POOLED = "conjoin.retrieval.multi_vector.pooling"
_SPARSE = "conjoin.retrieval.sparse.sparse"

# Mixers

_CC = "convex combination beats RRF in and out of domain on nine text sets (abstract)"
_HELPS = "in zero-shot French law fusing always helps (abstract)"
_HURTS = "after in-domain training fusing hurts unless weights are tuned (abstract)"
_TEXTS = "keywords of emoji asked of their names, by MiniLM and by BM25; weights from 50 queries"
_CROSS = "keywords of emoji asked of their pictures and of the pictures' names; 50 queries"
_SHORT, _SEEN = "emoji:keywords+name", "emoji:keywords+image"
_SAME = {"aligner": "identity"}


def _fused(baseline: str, reported: str, fidelity: str = "formula") -> tuple[Claim, ...]:
    """Against an arm, where both lists read text and where one reads pictures."""
    return (
        Claim("hybrid", _SHORT, "mrr", baseline, fidelity, _TEXTS, reported, condition=_SAME),
        Claim("hybrid", _SEEN, "mrr", baseline, fidelity, _CROSS, reported),
    )


_FEW = tuple(
    Claim(
        "hybrid", _SHORT, "mrr", "rrf", "formula",
        "weights from that many judged queries", "a handful of labelled queries are enough (§5)",
        condition={**_SAME, "queries": queries},
    )
    for queries in (8, 20)
)  # fmt: skip

MIXERS: tuple[Row, ...] = (
    Row(
        "score-fusion", "cc", f"{_MIXERS}:Combination",
        "Convex combination of scores scaled by their theoretical minimum and the list's maximum.",
        ("bruch2023fusion",), settings={"scale": "theoretical"}, family="mixing",
        claims=(*_fused("rrf", _CC), *_fused("identity", _HELPS), *_fused("lexical-alone", _HELPS),
                *_FEW),
    ),
    Row(
        "score-fusion", "cc-minmax", f"{_MIXERS}:Combination",
        "Convex combination of min-max normalised scores.",
        ("bruch2023fusion", "louis2025fuse"), settings={"scale": "minmax"}, family="mixing",
        claims=_fused("rrf", _CC),
    ),
    Row(
        "score-fusion", "cc-zscore", f"{_MIXERS}:Combination",
        "Convex combination of standardised scores.",
        ("bruch2023fusion", "louis2025fuse"), settings={"scale": "zscore"}, family="mixing",
        claims=_fused("rrf", _CC),
    ),
    Row(
        "score-fusion", "cc-percentile", f"{_MIXERS}:Combination",
        "Convex combination of percentile ranks.",
        ("louis2025fuse",), settings={"scale": "percentile"}, family="mixing",
        claims=_fused("rrf", "no figure was checked", "restated"),
    ),
    Row(
        "score-fusion", "rrf", f"{_MIXERS}:RankFusion",
        "Reciprocal rank fusion with constant 60.",
        ("cormack2009rrf", "bruch2023fusion"), settings={"worth": "reciprocal"}, family="mixing",
        claims=_fused("identity", _HURTS),
    ),
    Row(
        "score-fusion", "borda", f"{_MIXERS}:RankFusion",
        "Borda count over lists.",
        ("louis2025fuse",), settings={"worth": "borda"}, family="mixing",
        claims=tuple(
            each.noting("the first of a list counts 1, the last of n counts 1/n")
            for each in _fused("identity", _HURTS)
        ),
    ),
    Row(
        "score-fusion", "lexical-alone", f"{_MIXERS}:Alone",
        "The lexical scores alone: the baseline every fusion must beat.",
        settings={"which": "bm25"},
        family="mixing", cost="free",
    ),
)  # fmt: skip

# Composers

_CIR = (
    "drawings and names of emoji that differ by one word, in MiniLM's space, pictures mapped "
    "there by ridge; the papers ask photos and sentences of CLIP or BLIP"
)
_EMOJI = "emoji:image+name"


def _composed(baseline: str, fidelity: str, reported: str) -> tuple[Claim, ...]:
    """Over all couples of captions, and within families."""
    return tuple(
        Claim("composed", _EMOJI, "recall@10", baseline, fidelity, _CIR, reported,
              condition={"within": within})
        for within in ("all", "family")
    )  # fmt: skip


COMPOSERS: tuple[Row, ...] = (
    Row(
        "query-composition", "sum", f"{_COMPOSED}:Sum",
        "Weighted sum of the parts' vectors; negative weights ask for the opposite.",
        ("jia2021align",), family="composing",
        claims=(*_composed("identity", "formula", "shown by examples only"),
                *_composed("change-alone", "formula", "shown by examples only")),
    ),
    Row(
        "query-composition", "change-alone", f"{_COMPOSED}:Sum",
        "The second part alone: the baseline every composition must beat.",
        settings={"balance": 1.0}, family="composing", cost="free",
    ),
    Row(
        "query-composition", "and", f"{_COMPOSED}:Conjunction",
        "Conjunction: the minimum of standardised similarities over the parts.",
        ("moayeri2023concept",), family="composing",
        claims=_composed("sum", "restated", "shown by examples only"),
    ),
    Row(
        "query-composition", "combiner", f"{_TRAINED}:Combiner",
        "A trained gate between two parts plus a trained residual.",
        ("baldrati2024combiner",), cost="trained", extra="train", family="composing",
        claims=_composed("sum", "formula", "recall@10 on FashionIQ and CIRR above a plain sum"),
    ),
    Row(
        "query-composition", "transagg", f"{_TRAINED}:TransAgg",
        "A small transformer over the parts yields their weights and a residual.",
        ("liu2023transagg",), cost="trained", extra="train", family="composing",
        claims=tuple(
            each.noting("it reads one vector a part, where theirs reads tokens")
            for each in (
                *_composed("sum", "restated", "zero-shot state of the art on CIRR (abstract)"),
                *_composed("combiner", "restated", "zero-shot state of the art on CIRR"),
            )
        ),
    ),
)  # fmt: skip

# Aggregations

_KEYS = (
    "an emoji is its keywords, about seven vectors; asked by its name (one encoder) or by its "
    "picture under ridge; the papers' parts are tokens, passages or frames"
)


def _parted(
    baseline: str, reported: str, fidelity: str = "restated", data: tuple[str, ...] = ()
) -> tuple[Claim, ...]:
    """An emoji's keywords asked by its name, and by its picture."""
    return tuple(
        Claim("parts", name, "mrr", baseline, fidelity, _KEYS, reported,
              condition={"aligner": "identity" if "name" in name else "ridge"})
        for name in data or ("emoji:name+keywords", "emoji:image+keywords")
    )  # fmt: skip


_PASSAGES = "pooled representations beat the best passage's score on Robust04 (abstract)"

AGGREGATIONS: tuple[Row, ...] = (
    Row(
        "multi-vector", "max-part", f"{_PARTS}:Pooling",
        "MaxSim over an item's vectors.",
        ("luan2021mebert",), settings={"rule": "max"}, family="parts",
        claims=_parted("mean-parts", "several vectors beat one (abstract)"),
    ),
    Row(
        "multi-vector", "mean-parts", f"{_PARTS}:Pooling",
        "Mean pooling of an item's vectors.",
        ("luo2022clip4clip",), settings={"rule": "mean"}, family="parts",
        claims=_parted("first-part", "mean pooling is best where videos are few (section 4)"),
    ),
    Row(
        "multi-vector", "shortlisted-parts", f"{_PARTS}:Shortlist",
        "Mean pooling for candidates, MaxSim to re-rank them.",
        ("lee2024identify",), family="parts",
        claims=(
            *_parted("mean-parts", "a second look at the sections of the documents found gains "
                     "over the documents' own order (abstract, in words)"),
            *_parted("max-part", "one vector a document finds better than passages apart "
                     "(abstract, in words)"),
        ),
    ),
    Row(
        "multi-vector", "first-part", f"{_PARTS}:Pooling",
        "The item's first vector only.",
        ("li2024parade",), settings={"rule": "first"}, family="parts", cost="free",
    ),
    Row(
        "multi-vector", "sum-parts", f"{_PARTS}:Pooling",
        "Sum pooling: items with more vectors score higher.",
        ("li2024parade",), settings={"rule": "sum"}, family="parts",
        claims=_parted("max-part", _PASSAGES),
    ),
    Row(
        "multi-vector", "peak-parts", f"{_PARTS}:Pooling",
        "Max pooling, coordinate by coordinate.",
        ("li2024parade",), settings={"rule": "peak"}, family="parts",
        claims=_parted("max-part", _PASSAGES),
    ),
    Row(
        "multi-vector", "attention-parts", f"{_PARTS}:Attention",
        "Attention pooling with one learned query.",
        ("li2024parade",), family="parts", claims=_parted("mean-parts", _PASSAGES),
    ),
    Row(
        "multi-vector", "temporal-parts", f"{_POOLED}:TrainedPooling",
        "A transformer over the parts in order, then mean pooling.",
        ("luo2022clip4clip",), settings={"rule": "temporal"}, cost="trained", extra="train",
        family="parts",
        claims=_parted("mean-parts", "better than the mean where videos are many (section 4)"),
    ),
    Row(
        "multi-vector", "passage-parts", f"{_POOLED}:TrainedPooling",
        "A transformer over the parts; the output of one token is the item's vector.",
        ("li2024parade",), settings={"rule": "passages"}, cost="trained", extra="train",
        family="parts",
        claims=(*_parted("max-part", _PASSAGES), *_parted("mean-parts", _PASSAGES)),
    ),
    Row(
        "multi-vector", "gaussians", f"{_PARTS}:Gaussians",
        "A Gaussian per item, scored by divergence as one inner product.",
        ("zamani2023mrl",), family="parts",
        claims=_parted("mean-parts", "above trained single vectors on MS MARCO (abstract)"),
    ),
    Row(
        "multi-vector", "ensemble", f"{_PARTS}:Ensemble",
        "Normalised vectors of several encoders, concatenated.",
        ("wang2022v2l",), family="parts",
        claims=(Claim(
            "parts", "emoji:text+static+characters+image", "mrr", "identity", "restated",
            "three encoders of one text, pictures mapped to each by ridge; against the first "
            "alone, MiniLM; the paper joins some twenty image encoders",
            "first place in a product search contest", condition={"over": "encoders"},
        ),),
    ),
)  # fmt: skip

# Sparse weights

_WORDS = (
    "drawings bound to names in MiniLM's space, a vocabulary of the names' words; the papers "
    "train language models"
)

SPARSE: tuple[Row, ...] = (
    Row(
        "sparse-encoder", "nearest-words", f"{_SPARSE}:NearestWords",
        "A vector's nearest vocabulary words as sparse weights; training-free.", family="sparse",
    ),
    Row(
        "sparse-encoder", "sliced-words", f"{_SPARSE}:NearestWords",
        "The same, one word per slice of the vocabulary, for denser overlap.",
        ("lin2021slicing",), settings={"slices": 128}, family="sparse",
        claims=(Claim(
            "terms", _EMOJI, "mrr", "nearest-words", "formula",
            f"rows are brought to length 1 again after slicing; {_WORDS}",
            "densified rows lose next to nothing; a gain is not claimed",
        ),),
    ),
    Row(
        "sparse-encoder", "lexical-head", f"{_SPARSE}:LexicalHead",
        "Trained sparse term weights with a FLOPS penalty on frequent terms.",
        ("li2024lexvla",), cost="trained", extra="train", family="sparse",
        claims=(
            Claim("terms", _EMOJI, "mrr", "nearest-words", "idea", _WORDS,
                  "beats larger latent-space models on retrieval (abstract)"),
            Claim("terms", _EMOJI, "mrr", "identity", "idea", _WORDS,
                  "beats larger latent-space models on retrieval (abstract)"),
        ),
    ),
)  # fmt: skip

RANKING: tuple[Row, ...] = (*MIXERS, *COMPOSERS, *AGGREGATIONS, *SPARSE)
