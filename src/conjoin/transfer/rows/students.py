"""Catalogue rows of students, with what their papers say of them."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from conjoin.catalogue import Claim, Row

_TAUGHT = "distilled"

_FROZEN = (
    "a residual head on frozen vectors of some thousand items that starts as ridge regression, "
    "where the paper trains a network"
)


def _student(
    name: str,
    summary: str,
    papers: tuple[str, ...],
    settings: Mapping[str, Any],
    claims: tuple[Claim, ...] = (),
) -> Row:
    return Row(
        "student", name, "conjoin.transfer.students:TrainedStudent", summary, papers, frozenset(),
        "trained", settings=MappingProxyType(dict(settings)), extra="train", family=_TAUGHT,
        claims=claims,
    )  # fmt: skip


def _taught(
    baseline: str, reported: str, differs: str, fidelity: str = "restated",
    data: str = "emoji:characters+text",
) -> tuple[Claim, ...]:  # fmt: skip
    return (
        Claim("distilling", data, "recall@10", baseline, fidelity, f"{_FROZEN}; {differs}",
              reported),
    )  # fmt: skip


STUDENTS: tuple[Row, ...] = (
    Row("student", "ridge-student", "conjoin.transfer.students:RidgeStudent",
        "Ridge regression onto the teacher's vectors.",
        ("hoerl1970ridge",), frozenset(), family=_TAUGHT),
    _student(
        "cosine-student", "A residual network trained by cosine distance to the teacher's vectors.",
        (), {"loss": "alignment", "regress": 0.0, "weight": 1.0, "together": True},
    ),
    _student(
        "rkd", "A residual network trained to match the teacher's distances and angles (RKD).",
        ("park2019rkd",),
        {"loss": "relational", "regress": 1.0, "together": False, "batch": 64},
        _taught(
            "cosine-student", "a student by relations beats its teacher in metric learning and "
            "others by vectors (recall@1 on CUB-200, Cars 196)",
            "the loss is added to regression of the teacher's vectors, as it is asked in the "
            "teacher's space",
        )
        + _taught(
            "cosine-student", "no figure on digits",
            "sums of rows and columns learn from differences of neighbours",
            data="digit-views:rows+gradients",
        ),
    ),
    _student(
        "dcd", "A residual network trained by contrast with the teacher's vectors in both "
               "directions.",
        ("giakoumoglou2024dcd",), {"loss": "consistent-contrast", "weight": 1.0, "together": True},
        _taught(
            "cosine-student", "state of the art among contrastive distillation on CIFAR-100 and "
            "ImageNet", "no second projection, as the student is asked in the teacher's space",
        ),
    ),
    _student(
        "dynamic-dcd", "The same, restricted to rows the teacher finds hard and weighted by the "
                       "student's error.",
        ("rao2023dcd",), {"loss": "dynamic-contrast", "weight": 1.0, "together": True},
        _taught(
            "dcd", "retrieval 129 times faster at little loss with negatives picked by the "
            "teacher and rows weighed by difficulty", "weights as in a focal loss, not theirs",
            "idea",
        ),
    ),
    _student(
        "affinity-student", "A residual network trained to match the similarities of an ensemble "
                            "of teachers.",
        ("vasu2024mobileclip",), {"loss": "affinity", "regress": 1.0, "together": False},
        _taught(
            "cosine-student", "training 10 to 1,000 times more efficient with similarities of a "
            "stored ensemble", "similarities of rows with rows of one view, two teachers of unlike "
            "kinds, where the paper matches pictures with texts (taught-head does)", "idea",
            data="emoji:drawing+text+static",
        ),
    ),
    _student(
        "kl-partition", "Each row is distilled from the teacher or from the student's start, "
                        "whichever is more confident.",
        ("roth2024gains",), {"loss": "partitioned-affinity", "regress": 1.0, "together": False},
        _taught(
            "affinity-student", "transfer between any two models helps in 92.5 % of cases with "
            "partitioned data, where plain distillation often harms",
            "probabilities are those of being alike, as there is no classifier; that the "
            "teacher stands first in the divergence is not checked against a source",
        ),
    ),
    _student(
        "cat-distill", "A student of several normalised teachers, concatenated.",
        ("zhang2023rich",),
        {"loss": "alignment", "weight": 1.0, "regress": 0.0, "together": True, "hidden": 512},
        _taught(
            "ridge-student", "a student of concatenated networks keeps most of what they gain "
            "under shift over one network", "two teachers of unlike encoders, where theirs "
            "differ in their seeds", data="emoji:drawing+text+static",
        ),
    ),
)  # fmt: skip
