"""The catalogue rows of this room."""

from conjoin.catalogue import Claim, Row

#: How every claim about a detector differs from its paper.
_FROZEN = (
    "A fifth of the pairs is planted wrong; frozen encoders, CCA fitted to the other folds with "
    "their wrong pairs in place of a network in training, "
)


def _claims(baseline: str, fidelity: str, differs: str, reported: str) -> tuple[Claim, ...]:
    """The same claim on pictures and on speech: wrong pairs found, over a baseline."""
    return tuple(
        Claim("detecting", data, "found", baseline, fidelity, _FROZEN + differs, reported)
        for data in ("emoji:image+text", "emoji:text+speech")
    )


#: How claims about curation differ from their papers.
_POOL = (
    "A logistic head on some thousand frozen vectors of drawings, a third of them kept, where the "
    "paper trains CLIP on millions of pairs or more; "
)


def _kept(by: str, baseline: str, differs: str, reported: str) -> tuple[Claim, ...]:
    """The same claim on ten classes and on ninety-nine: classes told apart, over a baseline."""
    return tuple(
        Claim("curating", data, "balanced", baseline, "restated", _POOL + differs, reported,
              condition={"by": by})
        for data in ("emoji-groups:image+text", "emoji:image+text")
    )  # fmt: skip


ROWS = (
    Row(
        "detector", "partner-rank", "conjoin.quality.detectors:PartnerRank",
        "Suspects pairs whose partner ranks low under cross-fitted maps.",
        needs=frozenset({"pairs"}), family="doctor",
    ),
    Row(
        "detector", "contrastive-loss", "conjoin.quality.detectors:ContrastiveLoss",
        "Suspects pairs with a large contrastive loss under cross-fitted maps.",
        papers=("oord2018cpc",), needs=frozenset({"pairs"}), family="doctor",
        claims=_claims(
            "partner-rank", "idea", "and its loss read off once.",
            "The paper trains by this loss and does not sort data by it; that pairs of large loss "
            "are suspect is common use.",
        ),
    ),
    Row(
        "detector", "loss-mixture", "conjoin.quality.detectors:LossMixture",
        "Suspects pairs in the upper of two Gaussians fitted to the losses.",
        papers=("huang2021ncr", "duan2024pc2"), needs=frozenset({"pairs"}), family="doctor",
        claims=_claims(
            "partner-rank", "restated", "and the mixture fitted once.",
            "Both papers divide training pairs by it and report the retrieval that follows, not "
            "how many of the pairs set aside were wrong.",
        ),
    ),
    Row(
        "detector", "loss-mixture-beta", "conjoin.quality.detectors:LossMixture",
        "Suspects pairs in the upper of two beta distributions fitted to the losses.",
        papers=("arazo2019unsupervised",), needs=frozenset({"pairs"}),
        settings={"mixture": "beta"}, family="doctor",
        claims=_claims(
            "partner-rank", "idea", "pairs in place of class labels, and the mixture fitted once; "
            "against loss-mixture nothing could be told, as both order pairs by their loss.",
            "On CIFAR's classes with planted noise, beta distributions fit skewed losses where "
            "Gaussians do not, and tell clean from noisy ones better.",
        ),
    ),
    Row(
        "detector", "neighbour-vote", "conjoin.quality.detectors:NeighbourVote",
        "Suspects pairs whose neighbours' partners lie elsewhere.",
        papers=("bahri2020deepknn",), needs=frozenset({"pairs"}), family="doctor",
        claims=_claims(
            "contrastive-loss", "idea",
            "neighbours in the encoders' spaces, pairs in place of class labels.",
            "Filtering classes by the labels of neighbours is as good as other ways with noisy "
            "labels or better.",
        ),
    ),
    Row(
        "curation", "entry-cap", "conjoin.quality.curation:EntryCap",
        "Subsample so that each metadata entry is expected at most t times (MetaCLIP balancing).",
        papers=("xu2024metaclip",), cost="free", family="doctor",
        claims=_kept(
            "labels", "identity", "entries are the classes asked for, one an item.",
            "Data balanced by metadata train a better CLIP than CLIP's own data do, at 400 million "
            "pairs (abstract, in words).",
        ),
    ),
    Row(
        "curation", "cluster-cap", "conjoin.quality.curation:ClusterCap",
        "Keep at most t random items per cluster.",
        papers=("gu2025realsyn",), cost="free", family="doctor",
        claims=_kept(
            "clusters", "identity", "k-means of the pool, no text is retrieved or written.",
            "A semantically balanced sample serves long-tail concepts better than a random one "
            "(abstract, in words).",
        )
        + _kept(
            "clusters", "entry-cap", "k-means of the pool, no text is retrieved or written.",
            "No comparison with a cap by chance is given.",
        ),
    ),
)  # fmt: skip
