"""Catalogue rows of merges."""

from conjoin.catalogue import Claim, Row

_VECTORS = "conjoin.models.merging.vectors:TaskVector"
_ANGLES = "conjoin.models.merging.angles"

_DIFFERS = (
    "networks of one hidden layer on frozen vectors, two experts with half of the classes each and "
    "all classes asked at once, where the paper merges transformers over their tasks"
)


def _claims(baseline: str, reported: str) -> tuple[Claim, ...]:
    """The same claim on digits and on pictures; scale and settings are tuned in both arms."""
    return tuple(
        Claim("merging", data, "accuracy", baseline, "restated", _DIFFERS, reported, smallest=0.01)
        for data in ("digits:whole+left", "emoji-groups:image+text")
    )


TENSORS: tuple[Row, ...] = (
    Row("tensor-merge", "average", _VECTORS,
        "The mean of the experts: a uniform soup; scaled towards the base it interpolates.",
        ("wortsman2022soups", "wortsman2022wise"),
        settings={"trim": "none", "combine": "mean"}, family="merge",
        claims=_claims("identity", "no figure read: soups gain"),
        simple=True),
    Row("tensor-merge", "task-arithmetic", _VECTORS,
        "The base plus the scaled sum of what each expert added.",
        ("ilharco2023arithmetic",),
        settings={"trim": "none", "combine": "sum"}, family="merge",
        claims=_claims("identity", "no figure read: gains on all tasks"),
        simple=True),
    Row("tensor-merge", "negation", _VECTORS,
        "The base minus what an expert added: forget what it learned.",
        ("ilharco2023arithmetic",), settings={"trim": "none", "combine": "minus"}, family="merge"),
    Row("tensor-merge", "ties", _VECTORS,
        "Trim small changes over the whole model, elect a sign for each number, average agreers.",
        ("yadav2023ties",),
        settings={"trim": "magnitude", "density": 0.2, "scope": "model", "combine": "sign-mean"},
        family="merge",
        claims=_claims("task-arithmetic", "no figure read: a higher mean accuracy"),
        shortlist=True),
    Row("tensor-merge", "ties-tensor", _VECTORS,
        "The same with changes trimmed tensor by tensor.",
        ("yadav2023ties",),
        settings={"trim": "magnitude", "density": 0.2, "scope": "tensor", "combine": "sign-mean"},
        family="merge",
        claims=_claims("task-arithmetic", "no figure: a variant of merging tools")),
    Row("tensor-merge", "dare", _VECTORS,
        "Drop changes at random, enlarge the rest by what was dropped, add.",
        ("yu2024dare",),
        settings={"trim": "random", "density": 0.5, "combine": "sum"},
        family="merge",
        claims=_claims("task-arithmetic", "no figure read: dropping most changes costs nothing")),
    Row("tensor-merge", "dare-ties", _VECTORS,
        "Drop changes at random, enlarge the rest, elect signs and average agreers.",
        ("yu2024dare", "yadav2023ties"),
        settings={"trim": "random", "density": 0.5, "combine": "sign-mean"}, family="merge",
        claims=_claims("ties", "no figure read: on a par with or above TIES")),
    Row("tensor-merge", "della", _VECTORS,
        "Drop small changes of a row more often than large ones, elect signs and average agreers.",
        ("deep2024della",),
        settings={"trim": "rank-random", "density": 0.5, "combine": "sign-mean"}, family="merge",
        claims=_claims("dare-ties", "no figure read: above DARE and TIES")),
    Row("tensor-merge", "breadcrumbs", _VECTORS,
        "Leave out the largest and the smallest changes of each tensor, and add.",
        ("davari2024breadcrumbs",),
        settings={"trim": "outliers", "density": 0.85, "outliers": 0.01, "combine": "sum"},
        family="merge",
        claims=_claims("task-arithmetic", "no figure read: above it")),
    Row("tensor-merge", "magmax", _VECTORS,
        "For each number the largest change of all experts.",
        ("marczak2024magmax",), settings={"trim": "none", "combine": "largest"}, family="merge",
        claims=_claims("average", "no figure read: above averaging in continual learning")),
    Row("tensor-merge", "emr", _VECTORS,
        "For each number the elected sign and the largest change that has it.",
        ("huang2024emr",), settings={"trim": "none", "combine": "elect-max"}, family="merge",
        claims=_claims("ties", "its unified vector alone is not judged in the paper")),
    Row("tensor-merge", "sce", f"{_ANGLES}:SelectCalculateErase",
        "Keep places where experts differ, weigh experts by energy there, erase minority signs.",
        ("wan2024fusechat",), family="merge",
        claims=_claims("task-arithmetic", "no figure read: above other merges of chat models")),
    Row("tensor-merge", "slerp", f"{_ANGLES}:Slerp",
        "On the great circle between two experts, tensor by tensor.",
        ("shoemake1985slerp",), family="merge",
        claims=_claims("average", "no figure: used by merging tools")),
    Row("tensor-merge", "multi-slerp", f"{_ANGLES}:Karcher",
        "One step from the mean direction towards the spherical mean of the experts.",
        ("karcher1977mean",), settings={"steps": 1}, family="merge"),
    Row("tensor-merge", "karcher", f"{_ANGLES}:Karcher",
        "The spherical mean of the experts, at their mean norm.",
        ("karcher1977mean",), family="merge",
        claims=_claims("average", "no figure: used by merging tools")),
    Row("tensor-merge", "stock", f"{_ANGLES}:Stock",
        "Between base and mean, as near to the mean as the experts' changes agree in angle.",
        ("jang2024stock",), family="merge",
        claims=_claims("average", "no figure read: between base and mean beats the mean")),
    Row("tensor-merge", "tsv", "conjoin.models.merging.subspace:Subspace",
        "The first singular directions of each change, made orthonormal to each other, and added.",
        ("gargiulo2025tsv",), settings={"rule": "disjoint"}, family="merge",
        claims=_claims("task-arithmetic", "no figure read: well above task arithmetic")),
    Row("tensor-merge", "iso", "conjoin.models.merging.subspace:Subspace",
        "The sum of the changes with all its singular values made equal.",
        ("marczak2025iso",), settings={"rule": "isotropic"}, family="merge",
        claims=_claims("task-arithmetic", "no figure read: well above task arithmetic")),
    Row("tensor-merge", "consensus", "conjoin.models.merging.agreement:Consensus",
        "The sum of the changes where two experts or more have a large one.",
        ("wang2024tall",), family="merge",
        claims=_claims("task-arithmetic", "no figure read: above task arithmetic")),
    Row("tensor-merge", "k-lora", "conjoin.models.merging.agreement:Selected",
        "Every tensor whole from the expert whose largest changes of it weigh most.",
        ("ouyang2025klora",), family="merge",
        claims=_claims("average", "no figure read: above averaging in generated pictures")),
)  # fmt: skip

STORES: tuple[Row, ...] = (
    Row("expert-store", "shared-vector", "conjoin.models.merging.store:SharedVector",
        "The sum of all changes once, and for each expert a bit for each number: its own or none.",
        ("wang2024tall",), family="merge"),
    Row("expert-store", "sign-bits", "conjoin.models.merging.store:SignBits",
        "Of each expert the signs of its changes and one size for each tensor.",
        ("liu2024bitdelta",), family="merge"),
)  # fmt: skip

ROWS = (*TENSORS, *STORES)
