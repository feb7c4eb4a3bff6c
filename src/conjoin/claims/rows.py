"""Catalogue rows of data sets and tasks."""

from conjoin.catalogue import Row

_HERE = "conjoin.claims"

TASKS: tuple[Row, ...] = (
    Row("task", "retrieval", "conjoin.evaluation.retrieval:Retrieval",
        "Find each held-out row's partner in the other modality, both ways.", cost="free"),
    Row("task", "few-pairs", "conjoin.evaluation.retrieval:Retrieval",
        "The same from a few pairs.", cost="free", settings={"pairs": 100}),
    Row("task", "noisy-pairs", "conjoin.evaluation.retrieval:Retrieval",
        "The same where part of the training pairs is wrong.", cost="free",
        settings={"noise": 0.4}),
    Row("task", "bridged", "conjoin.claims.tasks.alignment.multi_view:Bridged",
        "Search between two views never paired, through a third.", cost="free"),
    Row("task", "added-later", "conjoin.claims.tasks.alignment.multi_view:AddedLater",
        "Add a view to a fitted binding; search between it and both others.", cost="free"),
    Row("task", "many-to-many", "conjoin.claims.tasks.alignment.multi_view:ManyToMany",
        "Find all partners of rows that have several.", cost="free"),
    Row("task", "kway", "conjoin.claims.tasks.alignment.kway:KWay",
        "Given two views of an item, find the third.", ("saporta2024symile",), cost="free"),
    Row("task", "zero-shot", "conjoin.claims.tasks.decision.zero_shot:ZeroShot",
        "Classify held-out rows by the nearest name of a class.", ("radford2021clip",),
        cost="free"),
    Row("task", "unseen-classes", "conjoin.claims.tasks.decision.zero_shot:ZeroShot",
        "The same with three classes in ten kept out of training, and only those asked.",
        ("radford2021clip",), cost="free", settings={"unseen": 0.3}),
    Row("task", "transfer", "conjoin.claims.tasks.decision.cross_modal_transfer:Transfer",
        "Train a classifier on one view, test it on another.", ("gu2023close", "zhang2024c3"),
        cost="free"),
    Row("task", "cross-lingual", "conjoin.claims.tasks.alignment.cross_lingual:CrossLingual",
        "Search one view from every language: how well, and how evenly.", ("nie2024onetok",),
        cost="free"),
    Row("task", "domain-shift", "conjoin.claims.tasks.alignment.domain_shift:DomainShift",
        "Train on one style of picture, search with another that the same encoder reads.",
        cost="free"),
    Row("task", "unpaired", "conjoin.claims.tasks.alignment.unpaired:Unpaired",
        "Bind two views from rows in unrelated orders, without pairs.", cost="free"),
    Row("task", "hubs", "conjoin.claims.tasks.search.hubness:Hubs",
        "Search both ways with corrected scores: how well, and how evenly items turn up.",
        ("radovanovic2010hubs",), cost="free"),
    Row("task", "tracking", "conjoin.claims.tasks.alignment.metric_tracking:Tracking",
        "Whether a measure orders bindings as their recall on unseen items does.", cost="free"),
)  # fmt: skip

#: Tasks that judge what stands between an index and a list of hits.
RANKED: tuple[Row, ...] = (
    Row("task", "hybrid", "conjoin.claims.tasks.search.hybrid_search:Hybrid",
        "Find items by a text, through vectors and through words of another text.",
        ("bruch2023fusion", "louis2025fuse"), cost="free", extra="search"),
    Row("task", "composed", "conjoin.claims.tasks.search.composed_retrieval:ComposedQueries",
        "From a reference picture and one word, find the picture that has the word instead.",
        ("baldrati2024combiner", "liu2023transagg"), cost="free"),
    Row("task", "parts", "conjoin.claims.tasks.search.multi_vector:Parts",
        "Find items that are known by several vectors, or by several encoders.", cost="free"),
    Row("task", "terms", "conjoin.claims.tasks.search.sparse_retrieval:Terms",
        "Find partners through weights of words in an inverted index.", cost="free"),
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
        "135 kinds of medical things by their place in a graph and by name.",
        ("kok2007predicate", "ali2021pykeen"), cost="free", extra="claims",
        settings={"graph": "umls"}),
    Row("data", "kinships", "conjoin.claims.datasets.graphs:Graph",
        "104 people by the kin terms they use and by those used of them.",
        ("kok2007predicate", "ali2021pykeen"), cost="free", extra="claims",
        settings={"graph": "kinships"}),
)  # fmt: skip

FUSING: tuple[Row, ...] = (
    Row("task", "fusing", "conjoin.claims.tasks.decision.fusion:Fusing",
        "Classify held-out items from whatever views they have.", ("swamy2023multimodn",),
        cost="free"),
    Row("data", "digit-views", "conjoin.claims.datasets.digits_views:DigitViews",
        "1,797 handwritten digits by five kinds of measures of them.", ("alpaydin1998digits",),
        cost="free"),
)  # fmt: skip

TRANSFER_TASKS: tuple[Row, ...] = (
    Row("task", "few-shot", "conjoin.claims.tasks.decision.few_shot:FewShot",
        "Classify held-out rows from a few labelled rows a class, and from names.",
        ("lin2023crossmodal",), cost="free"),
    Row("task", "distilling", "conjoin.claims.tasks.decision.distillation:Distilling",
        "Land where teachers put the same held-out items.", cost="free"),
)  # fmt: skip

#: Another encoder for one modality.
UPGRADES: tuple[Row, ...] = (
    Row("task", "upgrading", "conjoin.claims.tasks.upgrade.encoder_upgrade:Upgrading",
        "Ask by a new encoder, or in a bound space, through a bridge from the old one.",
        cost="free"),
    Row("task", "class-upgrading", "conjoin.claims.tasks.upgrade.class_upgrade:ClassUpgrading",
        "Ask by a new encoder for items of the same class in a gallery of the old one.",
        cost="free"),
    Row("data", "emoji-upgrade", "conjoin.claims.datasets.encoder_versions:EmojiUpgrade",
        "1,910 emoji whose text encoder changes from averaged vectors to MiniLM.",
        cost="free", extra="offline"),
)  # fmt: skip

#: Tasks that judge what looks data over.
LOOKING: tuple[Row, ...] = (
    Row("task", "detecting", "conjoin.claims.tasks.quality.noise_detection:Detecting",
        "Tell planted wrong pairs from right ones, by maps that have not seen them.",
        ("huang2021ncr", "bahri2020deepknn"), cost="free"),
)  # fmt: skip

#: Tasks that judge what is kept to train on.
KEPT: tuple[Row, ...] = (
    Row("task", "curating", "conjoin.claims.tasks.quality.curation:Curating",
        "Train on a share of the items, evened out, and classify held-out ones.",
        ("xu2024metaclip", "gu2025realsyn"), cost="free"),
)  # fmt: skip

#: Tasks that judge how an index finds, ends and goes on from its lists.
LISTED: tuple[Row, ...] = (
    Row("task", "stored", "conjoin.claims.tasks.search.ann_recall:Stored",
        "Find by a cheap first look what scoring every row would have found.",
        ("kusupati2022matryoshka",), cost="free"),
    Row("task", "cutting", "conjoin.claims.tasks.search.list_truncation:Cutting",
        "End lists where what is right ends, be it one item, thirty or none.",
        ("mortaheb2025reranking",), cost="free"),
    Row("task", "suggesting", "conjoin.claims.tasks.search.query_suggestion:Suggesting",
        "Ask for one cluster of the first hits by words put behind the query.",
        ("pacini2025croqs",), cost="free"),
)  # fmt: skip

ROWS = (*LOOKING, *KEPT, *UPGRADES, *TASKS, *RANKED, *LISTED, *DATA, *FUSING, *TRANSFER_TASKS)
