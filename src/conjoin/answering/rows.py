"""Catalogue rows of this room: how evidence is selected."""

from collections.abc import Mapping

from conjoin.catalogue import Claim, Row

_PLAIN = "conjoin.answering.selection.plain"
_LEARNED = "conjoin.answering.selection.learned"
_EMOJI = (
    "names ask pictures of emoji, or pictures names, under ridge, classes as chapters, instead of "
    "documents; at most five pieces, a quarter of the questions without an answer"
)
_DATA = ("emoji:image+name", "emoji:name+image")


def _claims(
    metric: str, reported: str, baseline: str = "identity", fidelity: str = "idea",
    condition: Mapping[str, float] | None = None,
) -> tuple[Claim, ...]:  # fmt: skip
    """More of what is right among the evidence, on both directions."""
    return tuple(
        Claim("selecting", name, metric, baseline, fidelity, _EMOJI, reported,
              condition=condition or {})
        for name in _DATA
    )  # fmt: skip


SELECTORS: tuple[Row, ...] = (
    Row(
        "selector", "top-k", "conjoin.answering.selection.base:TopK",
        "Keep the k pieces of the best scores.",
        cost="free", family="evidence", simple=True,
    ),
    Row(
        "selector", "above-score", f"{_PLAIN}:AboveScore",
        "Of the first k pieces those whose score exceeds a floor.",
        cost="free", family="evidence", simple=True,
    ),
    Row(
        "selector", "relevance-cut", f"{_LEARNED}:RelevanceCut",
        "Keep pieces that a relevance head holds relevant, up to k.",
        ("mortaheb2025reranking",), frozenset({"pairs"}), family="evidence",
        claims=_claims(
            "f1", "more relevant context than CLIP with a fixed number (abstract)", "above-score"
        ),
    ),
    Row(
        "selector", "two-gates", f"{_LEARNED}:TwoGates",
        "Ask first whether to look anything up, then of each piece whether it is relevant.",
        ("cocchi2025reflectiva",), frozenset({"pairs"}), family="evidence",
        claims=_claims(
            "f1", "tokens that say what is relevant raise accuracy (abstract)", "above-score"
        ),
    ),
    Row(
        "selector", "routed", f"{_LEARNED}:Routed",
        "Guess from the question which list holds the answer, and search that one.",
        ("yeo2025universalrag",), frozenset({"pairs"}), family="evidence",
    ),
    Row(
        "selector", "two-level", f"{_PLAIN}:TwoLevel",
        "Search inside the chapters nearest to the question.",
        ("caffagni2024wikillava",), cost="free", family="evidence",
        claims=_claims("recall", "documents first, then passages inside them (method)"),
    ),
    Row(
        "selector", "diverse", f"{_PLAIN}:Diverse",
        "Pass over pieces that nearly repeat a kept one.",
        ("yasunaga2023racm3",), cost="free", family="evidence",
        claims=_claims("recall", "redundant documents are skipped (method)"),
    ),
    Row(
        "selector", "structural", f"{_PLAIN}:Structural",
        "Raise pieces that structure links to the best ones, and the list the question asks for.",
        ("guo2025raganything",), cost="free", family="evidence",
        claims=_claims("recall", "structure beside similarity raises accuracy (abstract)"),
    ),
    Row(
        "selector", "difference", f"{_LEARNED}:Difference",
        "Weigh how a piece differs from those chosen at earlier turns.",
        ("zheng2020diffks",), frozenset({"pairs"}), family="evidence",
        claims=_claims(
            "recall", "differences to earlier turns raise accuracy (abstract)", "fit-alone"
        ),
    ),
    Row(
        "selector", "fit-alone", f"{_LEARNED}:Difference",
        "The same head without earlier turns.",
        ("zheng2020diffks",), frozenset({"pairs"}), settings={"history": False},
        family="evidence", simple=True,
    ),
    *(
        Row(
            "selector", name, f"{_PLAIN}:Filter", said,
            ("feng2024cook",), cost="free", settings={"by": name}, family="evidence",
            # Names have no lengths and one score: only what others bear out can differ there.
            claims=_claims("recall", "each filter helps (ablation)") if name == "agreement" else (),
        )
        for name, said in (
            ("relevance", "Keep the pieces nearest to the question among the first."),
            ("brevity", "Keep as many pieces as fit the words of k middling ones."),
            ("agreement", "Keep the pieces that the other first ones are most like."),
        )
    ),
    Row(
        "selector", "enriched", f"{_LEARNED}:Enriched",
        "Refine the question's vector by pieces that answered questions like it, as learnt.",
        ("iscen2024reco",), frozenset({"pairs"}), family="evidence",
        claims=_claims(
            "recall", "learned fusion beats the same memory averaged (ablation)", "memory"
        ),
    ),
    Row(
        "selector", "memory", f"{_LEARNED}:Enriched",
        "The same with the recalled pieces added as they are.",
        ("iscen2024reco",), frozenset({"pairs"}), cost="free", settings={"trained": False},
        family="evidence", simple=True,
    ),
)  # fmt: skip

ROWS: tuple[Row, ...] = SELECTORS
