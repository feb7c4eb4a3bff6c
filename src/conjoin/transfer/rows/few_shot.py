"""Catalogue rows of heads that start from the names of classes or count evidence."""

from conjoin.catalogue import Row
from conjoin.transfer.rows.heads import shots_claim

_LABELS = frozenset({"labels"})
_NAMES = "conjoin.transfer.few_shot.names"

FEW_SHOT: tuple[Row, ...] = (
    Row("head", "taskres", f"{_NAMES}:ResidualNames",
        "The names, and a trained residual for each.",
        ("yu2023taskres",), _LABELS, "trained", extra="train", family="few-shot",
        claims=tuple(
            shots_claim(
                "cross-modal", "beats CLIP-Adapter and Tip-Adapter-F on the mean of 11 data sets "
                "at most numbers of shots (figure, in words)",
                "the baseline sees the same shots and names", "formula",
                condition={"shots": shots},
            )
            for shots in (4, 16)
        )),
    Row("head", "clip-adapter", f"{_NAMES}:FeatureAdapter",
        "The names, asked by rows that a small trained network changes.",
        ("gao2024clipadapter",), _LABELS, "trained", extra="train", family="few-shot",
        claims=tuple(
            shots_claim(
                "cross-modal", "better than a linear probe and CoOp at 1 to 16 shots on the mean "
                "of 11 data sets (figure, in words)",
                "the baseline sees the same shots and names", "formula",
                condition={"shots": shots},
            )
            for shots in (4, 16)
        )),
    Row("head", "tip-adapter-f", f"{_NAMES}:TrainedCache",
        "Names, and a cache of labelled rows whose keys are trained.",
        ("zhang2022tipadapter",), _LABELS, "trained", extra="train", family="few-shot",
        claims=tuple(
            shots_claim(
                baseline, "65.51 against 62.03 without training on ImageNet with 16 shots "
                "(recalled, not found on the pages looked through)",
                "settings of both arms by validation, where theirs are looked for on test features",
                "formula", condition={"shots": 16},
            )
            for baseline in ("tip-adapter", "cross-modal")
        )),
    Row("head", "lp-plus-plus", "conjoin.transfer.few_shot.blended_probe:BlendedProbe",
        "A linear probe whose weights blend rows and names, by steps that need no rate.",
        ("huang2024lpplus",), _LABELS, family="few-shot",
        claims=tuple(
            shots_claim(
                "cross-modal", "highest mean over 11 data sets among linear probes, prompts and "
                "adapters without a validation set (in words)",
                "no momentum and no turn chosen on validation rows", "restated",
                condition={"shots": shots},
            )
            for shots in (4, 16)
        )),
    Row("head", "evidential", "conjoin.transfer.few_shot.evidence:EvidentialHead",
        "Evidence for each class, and how much of it there is.",
        ("sensoy2018evidential", "huang2024crest"), _LABELS, "trained", extra="train",
        family="few-shot",
        claims=(
            shots_claim(
                "logistic", "no worse in accuracy than cross-entropy and more uncertain on what is "
                "out of the distribution (in words)",
                "a linear head on frozen vectors, where theirs trains a network", "idea",
                condition={"shots": 16},
            ),
        )),
)  # fmt: skip
