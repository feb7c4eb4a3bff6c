"""Catalogue rows of bridges between versions of an encoder, with what their papers say."""

from collections.abc import Iterator

from conjoin.catalogue import Claim, Recovery, Row

_SOLVED = "conjoin.upgrade.bridges.linear_bridges"
_TRAINED = "conjoin.upgrade.bridges.trained_bridges"
_BASIS = "conjoin.upgrade.bridges.orthogonal_bridges:BasisBridge"
_SIMPLEX = "conjoin.upgrade.bridges.simplex_classifier:SimplexHeads"
_PAIRS = frozenset({"pairs"})

_DATA = "emoji-upgrade:old+new+old-name+new-name"
_TOWER = "emoji-upgrade:old+new+image"
_NAMES = (
    "two frozen text encoders and some hundred texts embedded by both; names ask for keyword "
    "lists by the new encoder, in a gallery of the old"
)
_IMAGES = (
    "one tower of a bound space is upgraded: new texts and stored pictures ask for each other, "
    "the pictures' vectors being those of the old binding"
)
_DRIFT = (
    "95 to 99 per cent of the recall of full re-embedding, by secondary sources; a published "
    "reproduction found 24 to 50 per cent and a single bridge seldom better than doing nothing"
)
_BACK = (
    "the backbone stays frozen, where the paper trains it with the classifier and the old "
    "prototypes; of its losses those remain that a rotation of frozen vectors changes"
)

_FROZEN = (
    "linear heads on frozen encoders, where the paper trains the backbone; ten classes, all seen "
    "in training; items of a class are asked for, not one item"
)


def _labelled(differs: str, reported: str, *more: str) -> Iterator[Claim]:
    """Search by class, against what reads the same labels without training."""
    for data in ("digits:left+whole", "emoji-groups:static+text"):
        for baseline in ("class-ridge", "discriminant", *more):
            yield Claim("class-upgrading", data, "map", baseline, "restated", differs, reported)


def _claims(
    differs: str, reported: str, baselines: tuple[str, ...], tower: bool = True
) -> Iterator[Claim]:
    """Against doing nothing, and against the simplest bridge, in both settings."""
    for data, setting in ((_DATA, _NAMES), (_TOWER, _IMAGES))[: 1 + tower]:
        for baseline in baselines:
            yield Claim(
                "upgrading", data, "recall@10", baseline, "restated", f"{setting}; {differs}",
                reported,
            )  # fmt: skip


ROWS: tuple[Row, ...] = (
    Row("map", "local-affine", f"{_SOLVED}:LocalAffine",
        "Local affine maps, blended by proximity.", cost="free"),
    Row("map", "basis-change", "conjoin.upgrade.bridges.orthogonal_bridges:BasisChange",
        "Two rotations with a few added dimensions; invertible.", cost="free"),
    Row(
        "aligner", "re-embed", f"{_SOLVED}:ReEmbed",
        "Every row re-embedded by the new encoder: the ceiling of an upgrade.",
        needs=frozenset({"pairs", "model"}), cost="free", family="bridge",
        recovery=Recovery("same"),
    ),
    Row(
        "aligner", "low-rank", f"{_SOLVED}:LowRank",
        "Reduced-rank least squares onto the reference modality.",
        ("izenman1975rrr", "mukherjee2011rrr", "vejendla2025drift"), _PAIRS, family="bridge",
        claims=tuple(_claims("closed form instead of descent", _DRIFT, ("identity", "ridge"))),
    ),
    Row(
        "aligner", "local-bridge", f"{_SOLVED}:LocalBridge",
        "A mixture of local least-squares maps, each shrunk towards the global one.",
        ("jacobs1991experts", "su2007init"), _PAIRS, family="bridge",
        claims=tuple(_claims(
            "a mixture of ridges by nearness", "no figure: mixtures of experts are general",
            ("identity", "ridge"),
        )),
    ),
    Row(
        "aligner", "residual-bridge", f"{_TRAINED}:ResidualBridge",
        "Ridge plus a small residual network, kept only where it helps.",
        ("vejendla2025drift",), _PAIRS, "trained", extra="train", family="bridge",
        claims=tuple(_claims(
            "one hidden layer beside ridge, stopped on held-out pairs", _DRIFT,
            ("identity", "ridge"),
        )),
        recovery=Recovery(share=1.0),
    ),
    Row(
        "aligner", "v2a-mapper", f"{_TRAINED}:ResidualBridge",
        "A small network from one frozen space into another, trained by squared error.",
        ("wang2024v2amapper",), _PAIRS, "trained",
        {"aim": "squared", "straight": False, "lr": 1e-3, "hidden": 1024, "steps": 600},
        "train", "bridge",
        claims=tuple(
            Claim(
                "retrieval", data, "recall@10", baseline, "idea",
                "the mapper by regression alone, one hidden layer in place of a transformer; "
                "partners are looked for, where the paper makes sound from the mapped vector",
                "a mapper that regresses is slightly better in relevance than one that generates, "
                "and both beat methods of the time (abstract); none was compared with ridge",
            )
            for data in ("emoji:text+speech", "emoji:image+text")
            for baseline in ("ridge", "residual-bridge")
        ),
        recovery=Recovery(bridges=False),
    ),
    Row(
        "aligner", "xbt", f"{_TRAINED}:XBT",
        "One projection for all modalities of a new model, learned from its texts alone.",
        ("jang2025xbt",), _PAIRS, "trained", extra="train", family="bridge",
        claims=tuple(_claims(
            "no two-tower model is at hand, so only the first stage is tried: texts to texts",
            "upgrades without back-filling on three captioning sets (abstract; no figure was "
            "checked)", ("identity", "ridge"),
        )),
        recovery=Recovery(share=1.0),
    ),
    Row(
        "aligner", "bt2", _BASIS,
        "Orthonormal changes of basis with a few added dimensions that reproduce the old vectors.",
        ("zhou2023bt2",), _PAIRS, "trained",
        {"extra": 32, "scale": 3.0, "follow": "rows"}, "train", "bridge",
        claims=tuple(_claims(
            _BACK, "better old-new and new-new retrieval than earlier compatible training on "
            "CIFAR-100 and ImageNet (abstract)", ("identity", "procrustes"), tower=False,
        )),
        recovery=Recovery("turn"),
    ),
    Row(
        "aligner", "oca", _BASIS,
        "One orthonormal layer whose first coordinates follow prototypes of the old vectors.",
        ("ricci2024oca",), _PAIRS, "trained",
        {"extra": 0, "scale": 1.0, "follow": "classes"}, "train", "bridge",
        claims=tuple(_claims(
            f"{_BACK}; classes are regions of the old vectors", "compatible without losing the "
            "new model's accuracy on CIFAR-100 and ImageNet-1k (abstract)",
            ("identity", "procrustes"), tower=False,
        )),
        recovery=Recovery("turn"),
    ),
    Row(
        "aligner", "class-ridge", "conjoin.upgrade.bridges.class_maps:ClassMaps",
        "Scores of one ridge classifier per view as vectors: views agree because classes do.",
        (), frozenset({"pairs", "labels"}), settings={"rule": "ridge"}, family="bridge",
    ),
    Row(
        "aligner", "discriminant", "conjoin.upgrade.bridges.class_maps:ClassMaps",
        "Linear discriminant directions per view, each regressed onto shared class targets.",
        ("fisher1936discriminant",), frozenset({"pairs", "labels"}),
        settings={"rule": "discriminant"}, family="bridge",
        claims=tuple(
            Claim(
                "class-upgrading", data, "map", "class-ridge", "formula",
                "directions of two encoders are set side by side by class, where the paper tells "
                "classes of one set of measures apart",
                "no figure: the best linear function to tell two species apart; nothing on search",
            )
            for data in ("digits:left+whole", "emoji-groups:static+text")
        ),
        recovery=Recovery("turn", share=0.5),
    ),
    Row(
        "aligner", "cores", _SIMPLEX,
        "Heads trained separately on one fixed simplex classifier, so that encoders agree by "
        "labels.",
        ("biondi2023cores",), frozenset({"pairs", "labels"}), "trained",
        {"share": 1.0}, "train", "bridge",
        claims=tuple(_labelled(
            _FROZEN, "compatible through several upgrades on CIFAR-100 and faces, where the state "
            "of the art then was not (abstract; no figure was checked)",
        )),
    ),
    Row(
        "aligner", "stationary", _SIMPLEX,
        "The same, the new encoder also regularised to the old vectors of the same rows.",
        ("biondi2024stationary",), frozenset({"pairs", "labels"}), "trained",
        {"share": 0.1}, "train", "bridge",
        claims=tuple(_labelled(
            f"{_FROZEN}; one upgrade instead of a sequence", "better compatibility than a fixed "
            "classifier alone when a model is replaced (abstract; no figure was checked)",
            "cores",
        )),
    ),
)  # fmt: skip
