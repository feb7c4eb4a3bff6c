"""Catalogue rows of measures that read vectors, with what their papers say of them."""

from conjoin.catalogue import Claim, Row

_HERE = "conjoin.metrics"

#: Views of six encoders or inputs, of which every couple is measured and bound.
_ENCODERS = "emoji:image+drawing+text+static+characters+speech"


def _tracks(
    reported: str, *, over: str = "bindings", baseline: str = "identity", fidelity: str = "idea"
) -> tuple[Claim, ...]:
    """The measure orders bindings (or encoders) as their recall on held-out items does."""
    data = _ENCODERS if over == "encoders" else "emoji:image+text"
    return (
        Claim(
            "tracking", data, "spearman", baseline, fidelity,
            "Frozen vectors of small encoders; recall on held-out pairs is what is followed.",
            reported, smallest=0.1, condition={"over": over},
        ),
    )  # fmt: skip


def _row(
    name: str, engine: str, summary: str, papers: tuple[str, ...], family: str,
    claims: tuple[Claim, ...] = (),
) -> Row:  # fmt: skip
    return Row(
        "metric", name, engine, summary, papers, cost="free", family=family,
        claims=claims,
    )  # fmt: skip


GEOMETRY: tuple[Row, ...] = (
    _row("mutual-knn", "conjoin.metrics.similarity.mutual_knn:MutualKNN",
         "Share of each row's nearest neighbours that two spaces have in common.",
         ("huh2024platonic",), "alignment",
         _tracks("The paper's main measure of alignment, which rises with models' performance; "
                 "no figure on retrieval. The authors' code clips rows far out.",
                 over="encoders", baseline="cka")),
    _row("cknna", "conjoin.metrics.similarity.mutual_knn:CKNNA",
         "Kernel alignment over the neighbours that two spaces share.",
         ("huh2024platonic", "song2012feature"), "alignment",
         _tracks("Offered beside mutual-knn in the authors' code, which clips rows far out; no "
                 "figure on retrieval.",
                 over="encoders", baseline="cka")),
    _row("cka", "conjoin.metrics.similarity.cka:CKA",
         "Linear centred kernel alignment of two spaces.",
         ("kornblith2019similarity",), "alignment",
         _tracks("The paper finds corresponding layers of networks trained from different starts; "
                 "it says nothing of retrieval.", over="encoders")),
    _row("unbiased-cka", "conjoin.metrics.similarity.cka:UnbiasedCKA",
         "Linear CKA that is 0 on average for unrelated spaces.",
         ("song2012feature", "nguyen2021wide"), "alignment",
         _tracks("The estimator's bias vanishes; no figure on retrieval.",
                 over="encoders", baseline="cka")),
    _row("svcca", "conjoin.metrics.similarity.cka:SVCCA",
         "Mean canonical correlation of the leading directions of two spaces.",
         ("raghu2017svcca", "huh2024platonic"), "alignment",
         _tracks("The papers compare layers and models with it; no figure on retrieval.",
                 over="encoders", baseline="cka")),
    _row("best-layers", "conjoin.metrics.similarity.cka:BestLayers",
         "Best value of a pairwise measure over the layers of two encoders.",
         ("huh2024platonic",), "alignment"),
    _row("rsa", "conjoin.metrics.similarity.rsa:RSA",
         "Rank correlation of the dissimilarities within two spaces.",
         ("kriegeskorte2008rsa", "ogg2024turing"), "alignment",
         _tracks("Compares people's and models' similarity ratings; no figure on retrieval.",
                 over="encoders", baseline="cka")),
    _row("noise-ceiling", "conjoin.metrics.similarity.rsa:RaterAgreement",
         "What several spaces themselves agree on: a bound for comparisons with them.",
         ("nili2014toolbox",), "alignment"),
    _row("centroid-distance", "conjoin.metrics.geometry.modality_gap:CentroidDistance",
         "Distance between the means of two modalities in one frame.",
         ("liang2022gap", "fahim2024gap"), "geometry",
         _tracks("Losses that shrink the gap keep retrieval and better zero-shot transfer, says "
                 "the abstract: the gap alone is not said to decide recall.")),
    _row("linear-separability", "conjoin.metrics.geometry.modality_gap:LinearSeparability",
         "Accuracy of a linear classifier that tells two modalities apart.",
         ("fahim2024gap",), "geometry",
         _tracks("Used beside the centroid distance to show the gap; no figure on retrieval.")),
    _row("alignment", "conjoin.metrics.geometry.modality_gap:Alignment",
         "Mean power of the distance between partners on the sphere.",
         ("wang2020hypersphere",), "geometry",
         _tracks("The abstract says that both quantities agree strongly with downstream "
                 "performance.", fidelity="restated")),
    _row("uniformity", "conjoin.metrics.geometry.modality_gap:Uniformity",
         "How evenly the rows of a space are spread over the sphere.",
         ("wang2020hypersphere",), "geometry",
         _tracks("The abstract says that both quantities agree strongly with downstream "
                 "performance.", fidelity="restated")),
    _row("effective-dimension", "conjoin.metrics.geometry.rank:EffectiveDimension",
         "Principal components that hold a share of the variance.",
         ("fahim2024gap",), "geometry",
         _tracks("Read beside the gap to show how much of the space a loss puts to use; no figure "
                 "on retrieval.")),
    _row("effective-rank", "conjoin.metrics.geometry.rank:EffectiveRank",
         "Exponential of the entropy of the singular values.",
         ("roy2007effective", "jung2024rank"), "geometry",
         _tracks("The abstract reports findings on how performance goes with rank while sentence "
                 "embeddings are tuned; its figures were not read.")
         + tuple(
             claim
             for baseline in ("alignment", "stable-rank")
             for claim in _tracks(
                 "The title and abstract follow the rank of sentence embeddings through their "
                 "tuning by contrast; no correlation was read.",
                 over="training", baseline=baseline)
         )),
    _row("rankme", "conjoin.metrics.geometry.rank:RankMe",
         "Effective rank as used to choose encoders without labels.",
         ("garrido2023rankme",), "geometry",
         _tracks("The title claims that rank assesses downstream performance; its figures were "
                 "not read.", over="encoders", baseline="stable-rank")),
    _row("stable-rank", "conjoin.metrics.geometry.rank:StableRank",
         "Energy of all directions over that of the strongest.",
         ("rudelson2007sampling",), "geometry",
         _tracks("A quantity of matrix sampling; said of embeddings by later work, and nothing on "
                 "retrieval.", baseline="effective-rank")),
    _row("mir", "conjoin.metrics.geometry.mir:MIR",
         "Log Fréchet distance between the vectors of two modalities, summed over layers.",
         ("huang2024mir",), "geometry",
         _tracks("The abstract claims that it indicates benchmark results after tuning.",
                 baseline="centroid-distance")),
    _row("mean-rank-variance", "conjoin.metrics.geometry.rank_variance:MeanRankVariance",
         "Variance across languages of the rank at which each item is found.",
         ("nie2024onetok",), "geometry"),
    _row("hub-skewness", "conjoin.metrics.geometry.hubness:HubSkewness",
         "Skewness of the k-occurrence of gallery items.",
         ("radovanovic2010hubs",), "hubness",
         _tracks("The paper ties skewed occurrences to dimension and to worse neighbours; no "
                 "figure on retrieval between modalities.")),
    _row("anti-hubs", "conjoin.metrics.geometry.hubness:AntiHubs",
         "Share of gallery items that are in no query's hits.",
         ("radovanovic2010hubs",), "hubness",
         _tracks("Defined in the paper; no figure on retrieval between modalities.",
                 baseline="hub-skewness")),
    _row("largest-hub", "conjoin.metrics.geometry.hubness:LargestHub",
         "Share of queries whose hits contain the most frequent item.",
         ("radovanovic2010hubs",), "hubness",
         _tracks("The paper describes the extreme hubs; no figure on retrieval between "
                 "modalities.", baseline="hub-skewness")),
)  # fmt: skip
