"""Catalogue rows of published closed forms and their maps, with what their papers say of them."""

from conjoin.catalogue import Claim, Recovery, Row

_WHITEN = "conjoin.alignment.closed_form.whitening"
_RELATIVE = "conjoin.alignment.closed_form.relative"
_COLLAPSE = "conjoin.alignment.closed_form.collapse:Collapse"
_PAIRS = frozenset({"pairs"})

_STS = (
    "retrieval between two views of one encoder instead of sentence similarity; each view loses "
    "its own mean, where the paper's two sides share one; one layer's vectors, where a paper takes "
    "the mean of the first and the last; the pull λ towards no whitening is this project's"
)
_NO_CLIP = (
    "images of one encoder onto names of another, from pairs, where the paper maps images onto "
    "CLIP's images and compares with CLIP's words; least squares solved, where the authors' code "
    "takes six epochs of descent with weight decay 5e-4, which is λ = 0.028 here"
)
_CAVE = (
    "images and words instead of 3D shapes and words; CCA followed by least squares is the method "
    "as summarised elsewhere: of the paper only the abstract could be checked"
)
_STITCH = (
    "retrieval by the cosine of relative coordinates instead of a decoder stitched to another "
    "encoder; one coordinate an anchor and kind, standardised and set side by side, where the "
    "paper also learns how to join them"
)
_FEW_ANCHORS = (
    "retrieval between two text encoders instead of stitching networks; up to 1,024 anchors from "
    "the training pairs"
)
_TEXT_ONLY = (
    "a linear classifier instead of a caption decoder, on heads trained on some thousand pairs "
    "instead of CLIP"
)


def _relative(
    baseline: str, task: str, data: str, metric: str = "recall@10", pairs: int | None = None
) -> Claim:
    return Claim(
        task, data, metric, baseline, "restated", _STITCH,
        "joined kinds equal or pass the best single one in zero-shot stitching (abstract and "
        "project page: consistent gains; no figure was checked)",
        condition={} if pairs is None else {"pairs": pairs},
    )  # fmt: skip


CLOSED: tuple[Row, ...] = (
    Row("map", "relative", f"{_RELATIVE}:RelativeMap",
        "Similarities of a row to anchors, of one or several kinds.", cost="free"),
    Row(
        "aligner", "whitening", f"{_WHITEN}:Whitening",
        "One whitening, shared by all views: unit variance in every direction.",
        ("huang2021whitening", "su2021whitening"), _PAIRS, settings={"then": "nothing"},
        family="closed",
        claims=(
            Claim(
                "retrieval", "emoji:image+drawing", "recall@10", "mean-centering", "restated", _STS,
                "consistently better on seven sentence-similarity sets (abstract)",
            ),
            Claim(
                "cross-lingual", "emoji:en+de+es", "recall@10", "mean-centering", "restated",
                f"names in two languages under one encoder; {_STS}",
                "consistently better on seven sentence-similarity sets (abstract)",
            ),
        ),
        recovery=Recovery("shift"),
    ),
    Row(
        "aligner", "whitened-procrustes", f"{_WHITEN}:Whitening",
        "Each view whitened by its own covariance, then orthogonal Procrustes.",
        ("huang2021whitening", "schonemann1966procrustes"), _PAIRS,
        settings={"then": "procrustes"}, family="closed",
        claims=(
            Claim(
                "retrieval", "emoji:static+text", "recall@10", "procrustes", "idea",
                "whitening as the step before a rotation between two text encoders, where the "
                "paper whitens one encoder and compares it with itself",
                "consistently better on seven sentence-similarity sets (abstract)",
            ),
            Claim(
                "retrieval", "emoji:static+text", "recall@10", "cca", "idea",
                "the same, against CCA, which also weighs directions by how much they agree",
                "no such comparison is in the paper",
            ),
        ),
    ),
    Row(
        "aligner", "text-to-concept", "conjoin.alignment.closed_form.linear:Ridge",
        "Least squares from one image encoder's space onto another in which classes have names.",
        ("moayeri2023concept",), _PAIRS, settings={"lam": 0.028}, family="closed",
        claims=(
            Claim(
                "zero-shot", "emoji:image+text", "accuracy", "procrustes", "restated", _NO_CLIP,
                "a linear map makes off-the-shelf vision encoders zero-shot classifiers, at times "
                "more accurate than CLIP (abstract); rotations are not compared there",
            ),
            Claim(
                "zero-shot", "emoji:image+text", "accuracy", "cca", "restated", _NO_CLIP,
                "as above; CCA is not compared there",
            ),
        ),
    ),
    Row(
        "aligner", "subspace", f"{_WHITEN}:Subspace",
        "Least squares inside the leading shared directions.",
        ("hadgi2025cave",), _PAIRS, family="closed",
        claims=(
            Claim(
                "few-pairs", "emoji:image+text", "recall@10", "ridge", "idea", _CAVE,
                "aligning whole spaces does poorly, aligning well-chosen subspaces of lower "
                "dimension significantly better (abstract)", condition={"pairs": 300},
            ),
            Claim(
                "few-pairs", "emoji:image+text", "recall@10", "cca", "idea", _CAVE,
                "as above; regularised CCA alone is not compared in the abstract",
                condition={"pairs": 300},
            ),
        ),
    ),
    Row(
        "aligner", "relative", f"{_RELATIVE}:Relative",
        "Relative representations: each row by its cosines with shared anchors.",
        ("moschella2023relative",), _PAIRS,
        settings={"similarity": "cosine", "standard": False, "aggregate": "concat"},
        family="relative",
        claims=(
            Claim(
                "retrieval", "emoji:static+text", "recall@10", "procrustes", "restated",
                _FEW_ANCHORS,
                "stitching without training across languages, architectures and seeds, where "
                "absolute coordinates do not meet; rotations fitted to the anchors are not "
                "compared there (abstract)",
            ),
        ),
        recovery=Recovery("rotation"),
    ),
    Row(
        "aligner", "relative-product", f"{_RELATIVE}:Relative",
        "Relative representations by cosine, Euclidean, L1 and L∞ similarity at once.",
        ("cannistraci2024bricks", "moschella2023relative"), _PAIRS,
        settings={"similarity": "product", "standard": True}, family="relative",
        claims=(
            _relative("relative", "retrieval", "emoji:image+text"),
            _relative("relative", "few-pairs", "emoji:image+text", pairs=300),
            _relative("relative", "retrieval", "digits:left+right"),
            _relative("procrustes", "retrieval", "emoji:image+text"),
            _relative("cca", "few-pairs", "emoji:image+text", pairs=300),
        ),
        recovery=Recovery("turn"),
    ),
    Row(
        "aligner", "c3", _COLLAPSE,
        "A contrastive joint space with each view's mean removed, trained with noise.",
        ("zhang2024c3",), _PAIRS, "trained", {"of": "infonce-head", "to": "zero"}, "train",
        "closed",
        claims=(
            Claim(
                "transfer", "emoji:image+text", "accuracy", "infonce-head", "restated",
                _TEXT_ONLY,
                "state of the art in captioning images, audio and video from text alone "
                "(abstract)", arm="c3+c3",
            ),
            Claim(
                "transfer", "emoji:image+text", "accuracy", "infonce-head", "restated",
                f"the shift alone, without noise; {_TEXT_ONLY}",
                "as above; no figure of the shift alone was checked",
            ),
        ),
        recovery=Recovery(share=1.0),
    ),
    Row(
        "aligner", "close-shift", _COLLAPSE,
        "A contrastive joint space, the other views shifted onto the mean of the first.",
        ("gu2023close",), _PAIRS, "trained", {"of": "infonce-head", "to": "hub"}, "train",
        "closed",
        claims=(
            Claim(
                "transfer", "emoji:image+text", "accuracy", "infonce-head", "restated",
                f"noise alone, as the paper's main method; {_TEXT_ONLY}",
                "over 9 points above earlier text-only captioning and entailment, over 30 on "
                "visual news (abstract)", arm="infonce-head+noise",
            ),
            Claim(
                "transfer", "emoji:image+text", "accuracy", "infonce-head", "restated",
                f"shift and noise, as the authors' mean-shift adapter; {_TEXT_ONLY}",
                "an adapter among others in the authors' code; no figure was checked",
                arm="close-shift+noise",
            ),
        ),
        recovery=Recovery(share=1.0),
    ),
)  # fmt: skip
