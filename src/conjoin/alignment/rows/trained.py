"""Catalogue rows of trained aligners and their maps, with what their papers say of them."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from conjoin.catalogue import Claim, Recovery, Row

_HEADS = "conjoin.alignment.trained.contrastive_heads:ContrastiveHeads"
_STAGED = "conjoin.alignment.trained.staged:StagedHeads"
_PAIRS = frozenset({"pairs"})
_USUAL = Recovery()

#: A head started at random and stopped on held-out pairs, without a closed form to fall back on.
FRESH: Mapping[str, Any] = {
    "start": "random", "rescue": False, "lam": 1.0, "power": 1.0, "noise": 0.0, "lr": 1e-3,
    "weight_decay": 0.1, "steps": 120, "width": 256, "batch": 512,
}  # fmt: skip

_FROZEN = (
    "one-hidden-layer residual heads on frozen vectors and some thousand pairs, where the paper "
    "trains whole encoders on millions"
)


_MIXED = (
    "one residual block a head and no more than 1,500 pairs, where the authors' code has four "
    "blocks, batches of 40,960 and millions of pairs; mixing as theirs, but each line "
    "takes part twice"
)


def _staged(reported: str, *differs: str) -> tuple[Claim, ...]:
    """Learning half after half: against going on as before, and against what keeps sums alone."""
    how = (
        *differs, "two halves of one set along its widest direction, asked together, in place of "
        "two or more sets; the closed form sees a row once too and forgets none", _FROZEN,
    )  # fmt: skip
    return tuple(
        Claim("retrieval", "emoji:image+text", "recall@10", baseline, "restated", "; ".join(how),
              reported)
        for baseline in ("staged-head", "cca")
    )  # fmt: skip


def _heads(
    name: str,
    summary: str,
    papers: tuple[str, ...],
    claims: tuple[Claim, ...] = (),
    settings: Mapping[str, Any] = MappingProxyType({}),
    engine: str = _HEADS,
    recovery: Recovery = _USUAL,
    simple: bool = False,
) -> Row:
    return Row(
        "aligner", name, engine, summary, papers, _PAIRS, "trained",
        settings={**FRESH, **settings}, extra="train", family="trained", claims=claims,
        shortlist=simple, simple=simple, recovery=recovery,
    )  # fmt: skip


TRAINED: tuple[Row, ...] = (
    Row("map", "standardise", "conjoin.maps.standardise:Standardise",
        "Zero mean and unit variance in every coordinate.", cost="free"),
    Row("map", "lorentz", "conjoin.alignment.trained.hyperbolic:LorentzMap",
        "Onto the hyperboloid (Lorentz model), time coordinate last.", cost="free"),
    Row("map", "token-map", "conjoin.alignment.trained.token_heads:TokenMap",
        "One map applied to every token of a set.", cost="free"),
    Row("map", "alignment-layer", "conjoin.alignment.trained.universal_projection:AlignmentLayer",
        "A small network, normalised, with its modality's token added.", cost="free"),
    Row(
        "map", "universal-projection",
        "conjoin.alignment.trained.universal_projection:UniversalProjection",
        "A transformer layer on one vector, shared by all modalities.", cost="free"),
    Row("map", "mix", "conjoin.maps.average:Mix",
        "A weighted mean of several maps.", cost="free"),
    _heads(
        "infonce-head",
        "One small network per view, randomly initialised, trained with InfoNCE.",
        ("radford2021clip", "rasheed2023vificlip", "segal2022bimodal", "bianchi2021clipitalian"),
        (
            *(
                Claim(
                    task, "emoji:image-tokens+text", metric, "locked-head", "restated",
                    f"sixteen places of a drawing in place of a film's frames; {_FROZEN}",
                    "both towers tuned on the mean of frames beat tuning one of them, and methods "
                    "made for films, on Kinetics-400 (abstract, in words)",
                )
                for task, metric in (("zero-shot", "accuracy"), ("retrieval", "recall@10"))
            ),
            *(
                Claim(
                    "domain-shift", "emoji:keywords+name+image", "recall@10", baseline, "idea",
                    "asked by names, after training on bags of keywords; the closed form sees the "
                    f"same bags; {_FROZEN}",
                    "bags of labels in place of captions do nearly as well as captions on VQAv2, "
                    "GQA and NLVR2, and no pairs at all some points worse (abstract, in words)",
                )
                for baseline in ("cca", "identity")
            ),
            Claim(
                "cross-lingual", "emoji:image+en+it", "recall@10", "borrowed-head", "restated",
                "the mean of both languages, hashed n-grams of characters reading both, where the "
                f"baseline trains on English pairs alone; {_FROZEN}",
                "a CLIP of Italian pairs beats multilingual CLIP in retrieval and zero-shot "
                "classification (abstract, in words)",
            ),
        ),
        simple=True,
    ),
    _heads(
        "locked-head",
        "LiT: the first view stays frozen (centred); the others are trained with InfoNCE.",
        ("zhai2022lit", "zhu2024languagebind", "xue2024ulip2"),
        (
            *(
                Claim(
                    task, "emoji:text+image+speech", "recall@10", "infonce-head", "restated",
                    f"the text stays as it is and the others are trained to it; {_FROZEN}",
                    "state of the art in zero-shot retrieval and classification of video, audio, "
                    "depth and infrared bound to a frozen language encoder (abstract, in words)",
                    condition=condition,
                )
                for task, condition in (
                    ("bridged", {"bridge": "text"}), ("added-later", {"to": "text"}),
                )
            ),
            Claim(
                "added-later", "emoji:image+text+speech", "recall@10", "one-partner", "restated",
                f"speech in place of point clouds, texts that people wrote; {_FROZEN}",
                "state of the art in zero-shot 3D classification by an encoder trained towards "
                "frozen pictures and texts (abstract, in words); two partners against one were "
                "not read",
                condition={"both": True},
            ),
        ),
        settings={"lock": True},
        recovery=Recovery(share=0.3, bridges=False),
    ),
    _heads(
        "one-partner",
        "LiT; a view added later is trained against one view alone.",
        ("zhai2022lit",),
        settings={"lock": True, "partners": "first"},
        recovery=Recovery(share=0.3, bridges=False),
    ),
    _heads(
        "borrowed-head",
        "Views of one encoder share the head trained on the first: zero-shot transfer to other "
        "languages.",
        ("radford2021clip",),
        settings={"borrow": True},
    ),
    _heads(
        "smoothed-head",
        "InfoNCE heads with label smoothing of 0.1.",
        ("jia2021align", "szegedy2016smoothing"),
        tuple(
            Claim(
                task, "emoji:image+text", "recall@10", "infonce-head", "restated",
                f"label smoothing of .1 is the one thing that differs; {_FROZEN}",
                "no figure for the smoothing alone; the model it belongs to beats CLIP in "
                "retrieval on Flickr30K and MSCOCO (abstract)", condition=condition,
            )
            for task, condition in (("retrieval", {}), ("noisy-pairs", {"noise": 0.4}))
        ),
        settings={"loss": "smoothed-infonce"},
        recovery=Recovery(share=0.5),
    ),
    _heads(
        "trusted-head",
        "InfoNCE heads, pairs weighted by agreement with maps fitted without them.",
        ("huang2021ncr", "duan2024pc2"),
        tuple(
            Claim(
                "noisy-pairs", data, "recall@10", baseline, "idea",
                "losses of CCA fitted to the other folds in place of two networks that teach each "
                f"other; no pseudo-captions, and the posterior is a weight; {_FROZEN}",
                "on Flickr30K with 40 % of the pairs wrong, retrieval far above training on them "
                "as they are (both abstracts, in words)", condition={"noise": 0.4},
            )
            for data in ("emoji:image+text", "emoji:text+speech")
            for baseline in ("infonce-head", "cca")
        ),
        settings={"trust": True},
    ),
    _heads(
        "aligned-head",
        "Heads trained with InfoNCE plus the alignment term.",
        ("chen2024transfer", "wang2020hypersphere"),
        (
            Claim(
                "retrieval", "emoji:image+text", "recall@10", "infonce-head", "idea",
                "the squared distance of partners, weight 1; the paper's own term pulls partners "
                f"nearer too, its exact form was not read; {_FROZEN}",
                "better zero-shot transfer than CLIP's loss (abstract, in words)",
            ),
            Claim(
                "zero-shot", "emoji:image+text", "accuracy", "infonce-head", "idea",
                "the squared distance of partners, weight 1; the paper's own term pulls partners "
                f"nearer too, its exact form was not read; {_FROZEN}",
                "better zero-shot transfer than CLIP's loss (abstract, in words)",
            ),
        ),
        settings={"loss": "infonce-aligned"},
    ),
    _heads(
        "rank-reduced-head",
        "Heads trained with InfoNCE plus a penalty on rank.",
        ("jung2024rank",),
        (
            Claim(
                "retrieval", "emoji:image+text", "recall@10", "infonce-head", "idea",
                f"the effective rank as a penalty, its form this project's; {_FROZEN}",
                "tuning by contrast is faster and steadier with a term that lowers the rank "
                "(abstract, in words)",
            ),
        ),
        settings={"loss": "rank-reduced"},
    ),
    _heads(
        "shared-text-head",
        "Texts of one encoder share a head; contrast between texts as well as with pictures.",
        ("koukounas2024jinaclip",),
        (
            Claim(
                "cross-lingual", "emoji:name+keywords+image", "recall@10", "infonce-head",
                "restated",
                f"names asked by keywords and by drawings, one loss over all couples; {_FROZEN}",
                "as good as text encoders on texts and as CLIP on pictures, in one model "
                "(abstract, in words)",
            ),
            Claim(
                "retrieval", "emoji:image+name+keywords", "recall@10", "infonce-head", "restated",
                f"every direction of three views, one loss over all couples; {_FROZEN}",
                "as good as text encoders on texts and as CLIP on pictures, in one model "
                "(abstract, in words)",
            ),
        ),
        settings={"tie": True},
    ),
    _heads(
        "fusemix",
        "InfoNCE heads trained on mixed pairs (FuseMix).",
        ("vouitsis2024fusemix",),
        (
            *(
                Claim(
                    task, "emoji:image+text", "recall@10", "infonce-head", "restated", _MIXED,
                    "beats CLIP on Flickr30K text-to-image retrieval with about 80 times fewer "
                    "pairs and 600 times fewer GPU days (abstract); no figure for the mixing "
                    "alone was checked", condition=condition,
                )
                for task, condition in (
                    ("few-pairs", {"pairs": 50}), ("few-pairs", {"pairs": 100}),
                    ("few-pairs", {"pairs": 300}), ("few-pairs", {"pairs": None}),
                    ("noisy-pairs", {"noise": 0.4}),
                )
            ),
        ),
        settings={"augment": "fusemix"},
    ),
    _heads(
        "cwcl",
        "The first view stays frozen; the others are trained with continuously weighted contrast.",
        ("srinivasa2023cwcl",),
        (
            Claim(
                "zero-shot", "emoji:image+text", "accuracy", "locked-head", "restated",
                f"the first view is locked at its mean taken off; {_FROZEN}",
                "5-8 points in zero-shot image classification over the state of the art, "
                "20-30 in speech to intent (abstract)",
            ),
            Claim(
                "transfer", "emoji:image+text", "accuracy", "locked-head", "restated",
                f"a classifier trained on one view is asked about the other; {_FROZEN}",
                "20-30 points in zero-shot speech-to-intent classification (abstract)",
            ),
        ),
        settings={"loss": "cwcl", "lock": True},
        recovery=Recovery(share=0.2, bridges=False),
    ),
    _heads(
        "matryoshka",
        "Heads trained so that prefixes of the vector are embeddings.",
        ("kusupati2022matryoshka",),
        (
            Claim(
                "retrieval", "emoji:image+text", "recall@10", "infonce-head", "restated",
                f"InfoNCE at each halving of the width, compared at 64 coordinates; {_FROZEN}",
                "embeddings up to 14 times smaller at equal accuracy on ImageNet-1K (abstract)",
                condition={"prefix": 64},
            ),
            Claim(
                "retrieval", "emoji:image+text", "recall@10", "cca", "restated",
                "the first 64 coordinates of either; the baseline's come in order of correlation "
                f"without being trained to; {_FROZEN}",
                "embeddings up to 14 times smaller at equal accuracy on ImageNet-1K (abstract)",
                condition={"prefix": 64},
            ),
        ),
        settings={"loss": "matryoshka"},
    ),
    _heads(
        "taught-head",
        "InfoNCE heads distilled from a closed form's cross-modal similarities.",
        ("vasu2024mobileclip",),
        (
            Claim(
                "retrieval", "emoji:image+text", "recall@10", "infonce-head", "idea",
                "the teacher is regularised CCA of the same pairs, where the paper stores an "
                f"ensemble of large models; {_FROZEN}",
                "an ablation gains by it in zero-shot retrieval and classification; no figure "
                "was checked",
            ),
        ),
        settings={"loss": "cross-affinity", "teacher": "cca"},
    ),
    _heads(
        "staged-head",
        "InfoNCE heads trained on one half of the pairs, then on the other (domain shift between "
        "them).",
        ("radford2021clip",),
        engine=_STAGED,
    ),
    _heads(
        "mod-x",
        "Staged heads; the second stage keeps the first's similarities on the rows it ranked "
        "right.",
        ("ni2023modx",),
        _staged(
            "beats tuning on one domain after another, and earlier continual methods, in "
            "retrieval on MSCOCO and Flickr30K (abstract, in words)",
        ),
        settings={"loss": "right-rows"},
        engine=_STAGED,
        recovery=Recovery(bridges=False),
    ),
    _heads(
        "ctp",
        "Staged heads; the second stage keeps the first's similarities across and within views.",
        ("zhu2023ctp",),
        _staged(
            "better than earlier continual methods on a million products of nine industries "
            "(abstract, in words)",
            "of its parts topology preservation alone, without momentum contrast, queue and "
            "masked words",
        ),
        settings={"loss": "topology"},
        engine=_STAGED,
    ),
    _heads(
        "rankclip",
        "Heads trained with InfoNCE plus list-wise ranking consistency.",
        ("zhang2024rankclip",),
        (
            Claim(
                "retrieval", "emoji:image+text", "recall@10", "infonce-head", "restated", _FROZEN,
                "significant gains in zero-shot classification over CLIP (abstract)",
            ),
        ),
        settings={"loss": "rankclip"},
    ),
    _heads(
        "gap-closing",
        "Heads trained with InfoNCE plus alignment and uniformity within and across views.",
        ("fahim2024gap",),
        (
            Claim(
                "retrieval", "emoji:image+text", "recall@10", "infonce-head", "restated", _FROZEN,
                "a smaller gap; better zero-shot classification and multi-modal arithmetic than "
                "CLIP's loss (abstract); of retrieval no gain is claimed there",
            ),
            Claim(
                "zero-shot", "emoji:image+text", "accuracy", "infonce-head", "restated", _FROZEN,
                "better zero-shot classification than CLIP's loss (abstract)",
            ),
        ),
        settings={"loss": "contrastive-gap"},
    ),
    _heads(
        "one-to-k",
        "InfoNCE heads in which all partners of an item share the target: one picture, K captions.",
        ("nie2024onetok",),
        (
            Claim(
                "many-to-many", "emoji:image+keywords", "recall@10", "infonce-head", "restated",
                "an item's lines come in one batch; both directions weigh alike, where the "
                f"authors' code counts text to image 1/K; {_FROZEN}",
                "state of the art in recall and mean rank variance on four sets of cross-lingual "
                "cross-modal retrieval with less pre-training data (abstract)",
            ),
            Claim(
                "cross-lingual", "emoji:image+de+fr+es", "rank-variance", "infonce-head",
                "restated", "languages of one encoder share a head; both directions weigh alike, "
                f"where the authors' code counts text to image 1/K; {_FROZEN}",
                "the lowest mean rank variance of the methods compared (abstract, in words)",
            ),
        ),
        settings={"loss": "one-to-k", "whole": True, "tie": True},
    ),
    _heads(
        "identity-head",
        "InfoNCE heads in which all pairs of one group are positives (one person, one object).",
        ("zuo2023plip", "nie2024onetok"),
        (
            Claim(
                "retrieval", "emoji:image+text", "recall@10", "infonce-head", "restated",
                "families of emoji in place of persons; of the three tasks of the paper the "
                f"contrast alone, without colouring and without attributes; {_FROZEN}",
                "better retrieval of persons by text than CLIP's pre-training on the same data "
                "(abstract, in words)",
            ),
        ),
        settings={"loss": "one-to-k", "identity": True},
    ),
    Row(
        "aligner", "symile", _HEADS,
        "Heads trained on the multilinear product of three or more views.",
        ("saporta2024symile",), frozenset({"pairs", "kway"}), "trained",
        {**FRESH, "loss": "symile", "together": True}, "train", "trained",
        claims=(
            Claim(
                "kway", "emoji:image+text+speech", "recall@10", "infonce-head", "restated",
                "a view is asked for with the product of the two others; the temperature starts as "
                f"the baseline's does and is searched as that is; {_FROZEN}",
                "beats pairwise CLIP in retrieving one modality from the two others, also with "
                "modalities missing in the data (abstract)",
            ),
        ),
    ),
    Row(
        "aligner", "meru", "conjoin.alignment.trained.hyperbolic:HyperbolicHeads",
        "Heads onto a hyperboloid of learned curvature, with entailment of the specific by the "
        "general.", ("desai2023meru",), _PAIRS, "trained", extra="train", family="hyperbolic",
        claims=(
            Claim(
                "retrieval", "emoji:image+text", "recall@10", "infonce-head", "restated",
                f"text is the general side; {_FROZEN}",
                "competitive with CLIP in classification and retrieval (abstract); a gain in "
                "retrieval is this claim's, at equal width",
            ),
        ),
        recovery=Recovery(bridges=False),
    ),
    Row(
        "aligner", "filip", "conjoin.alignment.trained.token_heads:TokenHeads",
        "Heads on tokens; two sets score by late interaction (MaxSim).",
        ("yao2022filip",), frozenset({"pairs", "tokens"}), "trained", extra="train",
        family="late-interaction",
        claims=(
            Claim(
                "retrieval", "emoji:image-tokens+text-tokens", "recall@10", "infonce-head",
                "restated", f"the baseline sees the means of the same tokens; {_FROZEN}",
                "state of the art in zero-shot classification and retrieval when pre-trained on "
                "300 million pairs (abstract)",
            ),
        ),
    ),
    Row(
        "aligner", "one-encoder", "conjoin.alignment.trained.universal_projection:OneEncoder",
        "One alignment layer per view before a shared projection; a view added later trains its "
        "layer alone.",
        ("faye2024oneencoder",), _PAIRS, "trained", extra="train", family="trained",
        claims=(
            Claim(
                "added-later", "emoji:image+text+speech", "recall@10", "infonce-head", "restated",
                "the projection sees one pooled vector, so that its attention is a matrix, and "
                "the modality token is a learned vector that is added; the authors give it "
                "sequences of frozen encoders",
                "often matches or surpasses methods that train large encoders, with fewer "
                "parameters and pairs (abstract, in words)",
            ),
        ),
        recovery=Recovery(bridges=False),
    ),
    Row(
        "aligner", "freebind", "conjoin.alignment.trained.space_bonding:SpaceBonds",
        "Whole embedding spaces projected onto one by ensembles, through the view they share.",
        ("wang2024freebind", "wang2023cmcr"), _PAIRS, "trained", extra="train", family="trained",
        claims=(
            Claim(
                "bridged", "emoji:image+text+speech", "recall@10", "infonce-head", "restated",
                "each space is first fitted to its own pairs of frozen vectors, where the authors "
                "join pre-trained multimodal spaces and use no pairs; a view of both spaces is "
                "mixed by one factor, fixed at the fit, as in their inference code; projectors "
                "differ by the draw of pseudo-pairs they see",
                "the joined spaces beat ImageBind on five audio-image-text tasks over nine data "
                "sets (abstract)",
            ),
        ),
    ),
)  # fmt: skip
