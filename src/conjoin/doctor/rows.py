"""The catalogue rows of this room."""

from conjoin.catalogue import Row

ROWS = (
    Row(
        "detector", "partner-rank", "conjoin.doctor.detectors:PartnerRank",
        "A pair is suspect where wrong answers rank above the partner, by maps that have not "
        "seen the pair.",
        needs=frozenset({"pairs"}), family="doctor",
    ),
    Row(
        "detector", "contrastive-loss", "conjoin.doctor.detectors:ContrastiveLoss",
        "A pair is suspect where its contrastive loss is large, by maps that have not seen it.",
        papers=("oord2018cpc",), needs=frozenset({"pairs"}), family="doctor",
    ),
    Row(
        "detector", "loss-mixture", "conjoin.doctor.detectors:LossMixture",
        "A pair is suspect where its loss belongs to the upper of two Gaussians.",
        papers=("huang2021ncr", "duan2024pc2"), needs=frozenset({"pairs"}), family="doctor",
    ),
    Row(
        "detector", "loss-mixture-beta", "conjoin.doctor.detectors:LossMixture",
        "A pair is suspect where its loss belongs to the upper of two beta distributions.",
        papers=("arazo2019unsupervised",), needs=frozenset({"pairs"}),
        settings={"mixture": "beta"}, family="doctor",
    ),
    Row(
        "detector", "neighbour-vote", "conjoin.doctor.detectors:NeighbourVote",
        "A pair is suspect where the partners of its neighbours lie elsewhere.",
        papers=("bahri2020deepknn",), needs=frozenset({"pairs"}), family="doctor",
    ),
    Row(
        "curation", "entry-cap", "conjoin.doctor.curation:EntryCap",
        "Keeps an item by chance, so that no entry of a list is expected more than t times for "
        "its own sake.",
        papers=("xu2024metaclip",), cost="free", family="doctor",
    ),
    Row(
        "curation", "cluster-cap", "conjoin.doctor.curation:ClusterCap",
        "Keeps t items, drawn at random, of each cluster that has more.",
        papers=("gu2025realsyn",), cost="free", family="doctor",
    ),
)  # fmt: skip
