"""Catalogue rows of published benchmark formats."""

from conjoin.catalogue import Row

_HERE = "conjoin.evaluation.formats"
_FOILS = "conjoin.evaluation.foils"

FOILS: tuple[Row, ...] = (
    Row("foil", "shuffle", f"{_FOILS}.rules:Shuffle",
        "The words of a text in another order.", ("wang2023snare",), cost="free"),
    Row("foil", "negate", f"{_FOILS}.rules:Negate",
        "What a text says denied, or no longer denied.", ("wang2023snare",), cost="free"),
    Row("foil", "swap-attributes", f"{_FOILS}.rules:SwapAttributes",
        "Two colours, sizes, states or shapes of a text change places.",
        ("wang2023snare", "zhao2022vlchecklist"), cost="free"),
    Row("foil", "replace-object", f"{_FOILS}.rules:ReplaceObject",
        "A thing that a text names replaced by one of another text.",
        ("zhao2022vlchecklist",), cost="free"),
    Row("foil", "swap-relation", f"{_FOILS}.rules:SwapRelation",
        "The two sides of a relation change places.",
        ("wang2023snare", "zhao2022vlchecklist"), cost="free"),
    *(
        Row("foil", f"inconsistent-{kind}", f"{_FOILS}.inconsistency:Inconsistency", summary,
            ("yan2025mmir",), cost="free", settings={"kind": kind})
        for kind, summary in (
            ("factual", "A text that denies what it said."),
            ("identity", "A text that names the thing of another text."),
            ("context", "The whole text of another item."),
            ("quantity", "A text with another number."),
            ("order", "A text with the opposite word of place or time."),
        )
    ),
)  # fmt: skip

ROWS: tuple[Row, ...] = (
    *FOILS,
    Row("format", "beir", f"{_HERE}.beir:Beir",
        "Corpus and queries as JSON lines, judgements by split.",
        ("thakur2021beir",), cost="free"),
    Row("format", "mteb", f"{_HERE}.mteb_folder:MtebFolder",
        "Corpus, queries and judgements in Parquet; texts, pictures or sounds.",
        ("muennighoff2023mteb",), cost="free"),
    Row("format", "trec", f"{_HERE}.trec:Trec",
        "Judgements, and runs of systems that are scored as they are.",
        ("voorhees1999trec8",), cost="free"),
    Row("format", "coco-captions", f"{_HERE}.coco:CocoCaptions",
        "Captions to pictures, or captioners' results beside references.",
        ("chen2015cococaptions",), cost="free"),
    Row("format", "vl-checklist", f"{_HERE}.vl_checklist:VlChecklist",
        "Captions against foils of the same picture, by leaf of a taxonomy.",
        ("zhao2022vlchecklist",), cost="free"),
    Row("format", "winoground", f"{_HERE}.winoground:WinogroundFolder",
        "Two pictures and two captions of the same words.",
        ("thrush2022winoground",), cost="free"),
    Row("format", "xmodbench", f"{_HERE}.xmodbench:XModBench",
        "Questions with options in every direction between text, pictures and sounds.",
        ("wang2025xmodbench",), cost="free"),
    Row("format", "redcaps", f"{_HERE}.redcaps:RedCaps",
        "Captions and pictures by topic, a caption asking for its picture.",
        ("desai2021redcaps",), cost="free"),
    Row("format", "text-editing", f"{_HERE}.text_editing:TextEditing",
        "Rewritten texts of systems beside their sources and targets.",
        ("malmi2019lasertagger", "geva2019discofuse"), cost="free"),
    Row("format", "class-folders", f"{_HERE}.image_folder:ImageFolder",
        "Folders of classes to train a linear classifier on and to test it on.",
        ("zhai2019vtab",), cost="free"),
)  # fmt: skip
