"""Catalogue rows of heads and students, with what their papers say of them."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from conjoin.catalogue import Claim, Row

_HERE = "conjoin.transfer"
_LABELS = frozenset({"labels"})
_FEW, _TAUGHT = "few-shot", "distilled"

_BOUND = (
    "on some thousand drawings and words bound by regularised CCA, where the paper has CLIP's own "
    "space; settings of both arms are chosen on held-out training groups"
)


def _shots(
    baseline: str, reported: str, differs: str, fidelity: str,
    data: str = "emoji-groups:image+text",
    condition: Mapping[str, Any] = MappingProxyType({}),
) -> Claim:  # fmt: skip
    return Claim(
        "few-shot", data, "accuracy", baseline, fidelity, f"{differs}; {_BOUND}", reported,
        condition=dict(condition),
    )  # fmt: skip


SIMPLE: tuple[Row, ...] = (
    Row("head", "majority", "conjoin.transfer.linear_heads:Majority",
        "The most frequent class, whatever the row.", (), _LABELS, "free", family=_FEW,
        simple=True),
    Row("head", "zero-shot-head", "conjoin.transfer.linear_heads:ZeroShot",
        "The class whose name's embedding is nearest.",
        ("radford2021clip",), frozenset(), "free", family=_FEW, simple=True),
    Row("head", "nearest-mean", "conjoin.transfer.linear_heads:NearestMean",
        "The class whose centroid is nearest.",
        ("arora2019curl",), _LABELS, family=_FEW, simple=True,
        claims=tuple(
            _shots(
                "logistic", "the classifier of class means does about as well as a trained linear "
                "one on contrastive representations of CIFAR-100 and text (section 8, in words)",
                "vectors of heads trained by contrast of a drawing and its text, where theirs "
                "contrast pictures, or sentences, of one class", "restated",
                condition={"shots": shots, "aligner": "infonce-head"},
            )
            for shots in (1, 4, 16)
        )),
    Row("head", "ridge-classifier", "conjoin.transfer.linear_heads:RidgeClassifier",
        "Ridge regression on class indicators.", ("hoerl1970ridge",), _LABELS, family=_FEW,
        simple=True),
    Row("head", "ridge-regressor", "conjoin.transfer.linear_heads:RidgeRegressor",
        "Ridge regression on numbers.", ("hoerl1970ridge",), _LABELS, family=_FEW),
    Row("head", "logistic", "conjoin.transfer.logistic:Logistic",
        "Multinomial logistic regression.", (), _LABELS, family=_FEW, simple=True,
        settings={"share": 0.0, "blend": 0.0, "toward": "zero", "scale": 10.0}),
)  # fmt: skip

HEADS: tuple[Row, ...] = (
    Row("head", "cross-modal", "conjoin.transfer.logistic:Logistic",
        "Logistic regression that counts class names as additional shots.",
        ("lin2023crossmodal",), _LABELS, family=_FEW,
        settings={"share": 0.5, "blend": 0.0},
        claims=(
            _shots(
                "logistic", "text as a shot gains 1 to 8 points over image shots alone at 1 to 16 "
                "shots over eleven data sets (figure, read off)",
                "the loss is followed to its minimum, where theirs stops early", "restated",
                condition={"shots": 4},
            ),
            _shots(
                "logistic", "no figure on digits; text as a shot gains 1 to 8 points over image "
                "shots alone (figure, read off)",
                "digits and their English words", "restated", data="digits:whole+name",
                condition={"shots": 1},
            ),
            _shots(
                "zero-shot-head", "as above; the names alone are the other thing that it knows",
                "digits and their English words", "restated", data="digits:whole+name",
                condition={"shots": 1},
            ),
        )),
    Row("head", "tip-adapter", "conjoin.transfer.cache_heads:CacheHead",
        "Zero-shot scores plus a key-value cache of the labelled rows, training-free.",
        ("zhang2022tipadapter",), _LABELS, "free", family=_FEW, settings={"gamma": 0.0},
        claims=(
            _shots(
                "logistic", "62.03 against 60.33 without shots on ImageNet with 16 shots (table 3, "
                "of a transcript)",
                "the cache as theirs; the baseline sees the same shots", "formula",
                condition={"shots": 16},
            ),
        )),
    Row("head", "tip-x", "conjoin.transfer.cache_heads:CacheHead",
        "Tip-Adapter with agreement of class-name distributions (KL) as affinity.",
        ("udandarao2023susx",), _LABELS, "free", family=_FEW, settings={"gamma": 5.0},
        claims=(
            _shots(
                "tip-adapter", "a mean gain of 0.9 points over Tip-Adapter on eleven data sets "
                "(recalled, not found on the pages looked through)",
                "the range of divergences is taken from the cache, where theirs looks at the test "
                "rows", "restated", condition={"shots": 4},
            ),
        )),
    Row("head", "x-more", "conjoin.transfer.cache_heads:RetrievalHead",
        "Zero-shot scores of a row and of the texts it retrieves, weighted by confidence.",
        ("eom2023xmore",), frozenset({"unpaired"}), "free", family=_FEW,
        claims=(
            _shots(
                "zero-shot-head", "the mean accuracy over ten data sets rises by some points with "
                "texts retrieved from LAION-400M (not read off exactly)",
                "texts come from the training items, a thousand where theirs are 400 million, and "
                "are weighed against the mean of the whole pool, where theirs is a running mean",
                "restated", condition={"source": "text", "target": "image"},
            ),
        )),
    Row("head", "nmtune", "conjoin.transfer.nmtune:NMTune",
        "A small network that regularises the spectrum of the vectors, and a linear head on it.",
        ("chen2024nmtune",), _LABELS, "trained", extra="train", family=_FEW,
        claims=(
            _shots(
                "logistic", "about one point over a linear probe on encoders trained on noisy "
                "pairs, in and out of the domain (over 14 data sets, not read off exactly)",
                "one frozen vector a row, where theirs sees two augmentations, and encoders that "
                "were not made noisy on purpose", "restated", condition={"shots": 16},
            ),
        )),
    Row("head", "cones", "conjoin.transfer.logistic:Logistic",
        "One vector per class, trained from its name's embedding and kept near it.",
        ("yi2023cones",), _LABELS, family=_FEW,
        settings={"share": 0.0, "blend": 0.0, "toward": "names"},
        claims=tuple(
            _shots(
                baseline, "beats prompt tuning and textual inversion in detection, segmentation "
                "and generation (abstract, in words)",
                "a classifier's class vectors, where theirs are what a detector, a segmenter or a "
                "generator reads; the text encoder is read once, for the start", "idea",
                condition={"shots": 4},
            )
            for baseline in ("zero-shot-head", "logistic")
        )),
    Row("head", "linear-svm", "conjoin.transfer.svm:LinearMargin",
        "A linear support vector machine on normalised vectors.",
        ("razavian2014offtheshelf", "fan2008liblinear"), _LABELS, family=_FEW,
        claims=tuple(
            _shots(
                "nearest-mean", "better than tuned systems of the time in classification and "
                "retrieval on most sets tried (abstract, in words)",
                "vectors of an EfficientNet and of halves of digits bound by CCA, no augmentation",
                "restated", data=data, condition={"shots": 16},
            )
            for data in ("emoji-groups:image+text", "digits:whole+name")
        )),
    Row("head", "sus-x", "conjoin.transfer.retrieved_support:SupportHead",
        "Name-retrieved rows serve as the support set; no label is read.",
        ("udandarao2023susx",), frozenset({"unpaired"}), "free", family=_FEW,
        claims=tuple(
            _shots(
                baseline, "state of the art in zero-shot classification on 19 data sets with "
                "generated or retrieved support sets (abstract, in words)",
                "the support set is retrieved from some thousand training rows, where theirs comes "
                "from LAION-5B or a diffusion model", "restated",
            )
            for baseline in ("zero-shot-head", "x-more")
        )),
    Row("head", "attributes", "conjoin.transfer.linear_heads:AttributeHead",
        "Rows predict attributes, initialised from their words; a class is a set of attributes.",
        (), _LABELS, family=_FEW),
)  # fmt: skip

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

ROWS: tuple[Row, ...] = (*SIMPLE, *HEADS, *STUDENTS)
