"""Catalogue rows of data sets and tasks."""

from conjoin.catalogue import Row

_HERE = "conjoin.claims"

TASKS: tuple[Row, ...] = (
    Row("task", "retrieval", "conjoin.evaluation.retrieval:Retrieval",
        "Cross-modal retrieval of each held-out row's partner, in both directions.", cost="free"),
    Row("task", "few-pairs", "conjoin.evaluation.retrieval:Retrieval",
        "Cross-modal retrieval after training on few pairs.", cost="free", settings={"pairs": 100}),
    Row("task", "noisy-pairs", "conjoin.evaluation.retrieval:Retrieval",
        "Cross-modal retrieval after training on partly mismatched pairs.", cost="free",
        settings={"noise": 0.4}),
    Row("task", "bridged", "conjoin.claims.tasks.alignment.multi_view:Bridged",
        "Retrieval between two views never paired, through a third.", cost="free"),
    Row("task", "added-later", "conjoin.claims.tasks.alignment.multi_view:AddedLater",
        "Add a view to a fitted binding; retrieve between it and both others.", cost="free"),
    Row("task", "many-to-many", "conjoin.claims.tasks.alignment.multi_view:ManyToMany",
        "Retrieve all partners of rows that have several.", cost="free"),
    Row("task", "kway", "conjoin.claims.tasks.alignment.kway:KWay",
        "Retrieve the third view of an item given two.", ("saporta2024symile",), cost="free"),
    Row("task", "zero-shot", "conjoin.claims.tasks.decision.zero_shot:ZeroShot",
        "Zero-shot classification of held-out rows by class names.", ("radford2021clip",),
        cost="free"),
    Row("task", "unseen-classes", "conjoin.claims.tasks.decision.zero_shot:ZeroShot",
        "Zero-shot classification with three classes in ten held out of training, and only those "
        "asked.",
        ("radford2021clip",), cost="free", settings={"unseen": 0.3}),
    Row("task", "transfer", "conjoin.claims.tasks.decision.cross_modal_transfer:Transfer",
        "Train a classifier on one view, test it on another.", ("gu2023close", "zhang2024c3"),
        cost="free"),
    Row("task", "cross-lingual", "conjoin.claims.tasks.alignment.cross_lingual:CrossLingual",
        "Retrieval from every language: mean, and evenness over languages.", ("nie2024onetok",),
        cost="free"),
    Row("task", "domain-shift", "conjoin.claims.tasks.alignment.domain_shift:DomainShift",
        "Train on one style of picture, query with another that the same encoder reads.",
        cost="free"),
    Row("task", "unpaired", "conjoin.claims.tasks.alignment.unpaired:Unpaired",
        "Align two views from rows in unrelated orders, without pairs.", cost="free"),
    Row("task", "hubs", "conjoin.claims.tasks.search.hubness:Hubs",
        "Retrieval with hubness correction: recall, and evenness of k-occurrence.",
        ("radovanovic2010hubs",), cost="free"),
    Row("task", "tracking", "conjoin.claims.tasks.alignment.metric_tracking:Tracking",
        "Whether a metric ranks bindings as their recall on unseen items does.", cost="free"),
)  # fmt: skip

#: Tasks that judge what stands between an index and a list of hits.
RANKED: tuple[Row, ...] = (
    Row("task", "hybrid", "conjoin.claims.tasks.search.hybrid_search:Hybrid",
        "Find items by text through vectors and lexical scores.",
        ("bruch2023fusion", "louis2025fuse"), cost="free", extra="search"),
    Row("task", "composed", "conjoin.claims.tasks.search.composed_retrieval:ComposedQueries",
        "Composed retrieval: a reference picture and one word that changes.",
        ("baldrati2024combiner", "liu2023transagg"), cost="free"),
    Row("task", "parts", "conjoin.claims.tasks.search.multi_vector:Parts",
        "Retrieve items represented by several vectors, or by several encoders.", cost="free"),
    Row("task", "terms", "conjoin.claims.tasks.search.sparse_retrieval:Terms",
        "Cross-modal retrieval by sparse term weights in an inverted index.", cost="free"),
)  # fmt: skip

DATA: tuple[Row, ...] = (
    Row("data", "emoji", "conjoin.claims.datasets.emoji:Emoji",
        "1,910 emoji in pictures of two styles, words, speech and 27 other languages; 99 classes.",
        cost="free", extra="offline"),
    Row("data", "emoji-groups", "conjoin.claims.datasets.emoji:Emoji",
        "The same emoji in ten classes.", cost="free", extra="offline",
        settings={"labels": "group"}),
    Row("data", "digits", "conjoin.claims.datasets.small:Digits",
        "1,797 handwritten digits cut into a left and a right half.",
        ("alpaydin1998digits",), cost="free"),
    Row("data", "wine", "conjoin.claims.datasets.small:Wine",
        "178 wines by their acids and by their colours, of three cultivars.",
        ("aeberhard1992wine",), cost="free"),
    Row("data", "motions", "conjoin.claims.datasets.small:Motions",
        "80 recordings of a smart watch by acceleration and by rotation, of four activities.",
        ("bagnall2018uea",), cost="free", extra="claims"),
    Row("data", "umls", "conjoin.claims.datasets.graphs:Graph",
        "135 medical concepts by their place in a graph and by name.",
        ("kok2007predicate", "ali2021pykeen"), cost="free", extra="claims",
        settings={"graph": "umls"}),
    Row("data", "kinships", "conjoin.claims.datasets.graphs:Graph",
        "104 people by the kin terms they use and by those used of them.",
        ("kok2007predicate", "ali2021pykeen"), cost="free", extra="claims",
        settings={"graph": "kinships"}),
    Row("data", "easy-vqa", "conjoin.claims.datasets.easy_vqa:EasyVqa",
        "Questions about 800 drawn pictures of one shape each; thirteen answers.",
        cost="free", extra="claims"),
)  # fmt: skip

FUSING: tuple[Row, ...] = (
    Row("task", "fusing", "conjoin.claims.tasks.decision.fusion:Fusing",
        "Classify held-out items from the views present.", ("swamy2023multimodn",),
        cost="free"),
    Row("data", "digit-views", "conjoin.claims.datasets.digits_views:DigitViews",
        "1,797 handwritten digits by five kinds of features.", ("alpaydin1998digits",),
        cost="free"),
)  # fmt: skip

TRANSFER_TASKS: tuple[Row, ...] = (
    Row("task", "few-shot", "conjoin.claims.tasks.decision.few_shot:FewShot",
        "Classify held-out rows from a few labels per class, and from class names.",
        ("lin2023crossmodal",), cost="free"),
    Row("task", "adapting", "conjoin.claims.tasks.decision.adaptation:Adapting",
        "Classify rows of another domain, whose training rows have no labels.",
        ("lalou2024skada",), cost="free"),
    Row("task", "merging", "conjoin.claims.tasks.decision.merging:Merging",
        "Merge networks trained from one base on other classes each; ask all classes.",
        ("ilharco2023arithmetic",), cost="free"),
    Row("task", "distilling", "conjoin.claims.tasks.decision.distillation:Distilling",
        "Match the teachers' vectors on held-out items.", cost="free"),
)  # fmt: skip

#: Another encoder for one modality.
UPGRADES: tuple[Row, ...] = (
    Row("task", "upgrading", "conjoin.claims.tasks.upgrade.encoder_upgrade:Upgrading",
        "Query with a new encoder, or in a bound space, through a bridge from the old one.",
        cost="free"),
    Row("task", "class-upgrading", "conjoin.claims.tasks.upgrade.class_upgrade:ClassUpgrading",
        "Query with a new encoder for items of the same class in a gallery of the old one.",
        cost="free"),
    Row("data", "emoji-upgrade", "conjoin.claims.datasets.encoder_versions:EmojiUpgrade",
        "1,910 emoji whose text encoder changes from averaged vectors to MiniLM.",
        cost="free", extra="offline"),
)  # fmt: skip

#: Tasks that judge what looks data over.
LOOKING: tuple[Row, ...] = (
    Row("task", "detecting", "conjoin.claims.tasks.quality.noise_detection:Detecting",
        "Detect planted mismatched pairs with cross-fitted maps.",
        ("huang2021ncr", "bahri2020deepknn"), cost="free"),
)  # fmt: skip

#: Tasks that judge what is kept to train on.
KEPT: tuple[Row, ...] = (
    Row("task", "curating", "conjoin.claims.tasks.quality.curation:Curating",
        "Train on a balanced subset of the items, and classify held-out ones.",
        ("xu2024metaclip", "gu2025realsyn"), cost="free"),
)  # fmt: skip

#: Tasks that judge how an index finds, ends and goes on from its lists.
LISTED: tuple[Row, ...] = (
    Row("task", "stored", "conjoin.claims.tasks.search.ann_recall:Stored",
        "Recall of a compressed or two-stage search against the exact one.",
        ("kusupati2022matryoshka",), cost="free"),
    Row("task", "cutting", "conjoin.claims.tasks.search.list_truncation:Cutting",
        "Truncate result lists where relevance ends, at one item, thirty or none.",
        ("mortaheb2025reranking",), cost="free"),
    Row("task", "selecting", "conjoin.claims.tasks.search.evidence:Selecting",
        "Choose at most five pieces of evidence for each question.",
        ("mortaheb2025reranking",), cost="free"),
    Row("task", "suggesting", "conjoin.claims.tasks.search.query_suggestion:Suggesting",
        "Retrieve one cluster of the first hits by expanding the query.",
        ("pacini2025croqs",), cost="free"),
)  # fmt: skip

ROWS = (*LOOKING, *KEPT, *UPGRADES, *TASKS, *RANKED, *LISTED, *DATA, *FUSING, *TRANSFER_TASKS)
