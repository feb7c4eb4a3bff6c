"""Catalogue rows of heads, with what their papers say of them."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from conjoin.catalogue import Claim, Row

_LABELS = frozenset({"labels"})
_FEW = "few-shot"

_BOUND = (
    "on some thousand drawings and words bound by regularised CCA, where the paper has CLIP's own "
    "space; settings of both arms are chosen on held-out training groups"
)


def shots_claim(
    baseline: str, reported: str, differs: str, fidelity: str,
    data: str = "emoji-groups:image+text",
    condition: Mapping[str, Any] = MappingProxyType({}),
) -> Claim:  # fmt: skip
    """A claim of a head on the task ``few-shot``."""
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
            shots_claim(
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
            shots_claim(
                "logistic", "text as a shot gains 1 to 8 points over image shots alone at 1 to 16 "
                "shots over eleven data sets (figure, read off)",
                "the loss is followed to its minimum, where theirs stops early", "restated",
                condition={"shots": 4},
            ),
            shots_claim(
                "logistic", "no figure on digits; text as a shot gains 1 to 8 points over image "
                "shots alone (figure, read off)",
                "digits and their English words", "restated", data="digits:whole+name",
                condition={"shots": 1},
            ),
            shots_claim(
                "zero-shot-head", "as above; the names alone are the other thing that it knows",
                "digits and their English words", "restated", data="digits:whole+name",
                condition={"shots": 1},
            ),
        )),
    Row("head", "tip-adapter", "conjoin.transfer.cache_heads:CacheHead",
        "Zero-shot scores plus a key-value cache of the labelled rows, training-free.",
        ("zhang2022tipadapter",), _LABELS, "free", family=_FEW, settings={"gamma": 0.0},
        claims=(
            shots_claim(
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
            shots_claim(
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
            shots_claim(
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
            shots_claim(
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
            shots_claim(
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
            shots_claim(
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
            shots_claim(
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
