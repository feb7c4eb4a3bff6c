"""Catalogue rows of measures of results by condition."""

from conjoin.catalogue import Row

_HERE = "conjoin.metrics.outcomes"

OUTCOMES: tuple[Row, ...] = (
    Row("outcome-metric", "contrast-accuracy", f"{_HERE}.crossed:Contrast",
        "Share of true captions that score above their foils.",
        ("zhao2022vlchecklist", "wang2023snare"), cost="free"),
    Row("outcome-metric", "winoground", f"{_HERE}.crossed:Winoground",
        "Text, image and group scores over two pictures and two captions.",
        ("thrush2022winoground", "diwan2022winoground"), cost="free"),
    Row("outcome-metric", "modality-importance", f"{_HERE}.importance:ModalityImportance",
        "Mean result with a modality less that without it, over subsets of modalities.",
        ("park2024bias",), cost="free"),
    Row("outcome-metric", "ordered-pairs", f"{_HERE}.pairs:OrderedPairs",
        "Mean, consistency, disparity and imbalance of accuracy over ordered pairs of modalities.",
        ("wang2025xmodbench",), cost="free"),
    Row("outcome-metric", "gap-to-text", f"{_HERE}.pairs:GapToText",
        "Accuracy on text less that on the same items in another modality.",
        ("chen2024omnixr",), cost="free"),
    Row("outcome-metric", "normalised-gain", f"{_HERE}.transfer:NormalisedGain",
        "Share of what was wrong before a lesson that is right after it.",
        ("hu2025videommmu",), cost="free"),
    Row("outcome-metric", "known-transfer", f"{_HERE}.transfer:KnownTransfer",
        "Share of what is known in a source that is known in a target.",
        ("goldman2025eclektic",), cost="free"),
    Row("outcome-metric", "edit-rates", f"{_HERE}.transfer:EditRates",
        "Reliability, generality, locality and portability of edits.",
        ("huang2024vlkeb", "du2025mmke"), cost="free"),
    Row("outcome-metric", "wiscore", f"{_HERE}.transfer:WiScore",
        "A judge's grades of consistency, realism and aesthetics as one number.",
        ("niu2025wise",), cost="free"),
    Row("outcome-metric", "integration", f"{_HERE}.transfer:Integration",
        "Share of targets that a joint predictor predicts better than every rival.",
        ("subramaniam2024integration",), cost="free"),
)  # fmt: skip
