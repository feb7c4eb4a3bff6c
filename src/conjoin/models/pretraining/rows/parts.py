"""Catalogue rows of what models are assembled from."""

from conjoin.catalogue import Row

_HERE = "conjoin.models.pretraining"
_TARGETS = f"{_HERE}.targets"

MASKS: tuple[Row, ...] = (
    Row("mask", "token", f"{_HERE}.masks:TokenMask",
        "Hide a share of the tokens at random.", ("devlin2019bert",), cost="free"),
    Row("mask", "span", f"{_HERE}.masks:SpanMask",
        "Hide spans of geometric length up to a share.", ("joshi2020spanbert",), cost="free"),
    Row("mask", "view", f"{_HERE}.masks:ViewMask",
        "Hide a whole view now and then, else a share of its tokens.", ("xu2021vlm",),
        cost="free"),
    Row("mask", "dirichlet", f"{_HERE}.masks:DirichletMask",
        "Show a budget of tokens, shared among views by a Dirichlet draw.",
        ("bachmann2022multimae", "mizrahi20234m"), cost="free"),
)  # fmt: skip

TARGETS: tuple[Row, ...] = (
    Row("target", "contrast", f"{_TARGETS}.contrast:Contrast",
        "Any loss of the catalogue over one vector a view: find the partner in the batch.",
        ("radford2021clip", "li2021albef"), frozenset({"pairs"}), "trained", extra="train"),
    Row("target", "token-contrast", f"{_TARGETS}.contrast:TokenContrast",
        "Find the partner by weighted best matches of tokens.",
        ("yao2022filip", "chen2023valor"), frozenset({"pairs", "tokens"}), "trained",
        extra="train"),
    Row("target", "matching", f"{_TARGETS}.matching:Matching",
        "Tell true pairs from hard false ones where views meet.",
        ("li2021albef", "bao2022vlmo"), frozenset({"pairs"}), "trained", extra="train"),
    Row("target", "masked-ids", f"{_TARGETS}.masked:MaskedIds",
        "Name hidden words, letters or codes from what is shown.",
        ("devlin2019bert", "chen2020uniter"), frozenset({"tokens"}), "trained", extra="train"),
    Row("target", "masked-features", f"{_TARGETS}.masked:MaskedFeatures",
        "Give back hidden float tokens: patches, frames, frozen features.",
        ("he2022mae", "chen2020uniter", "fang2023eva"), frozenset({"tokens"}), "trained",
        extra="train"),
    Row("target", "write", f"{_TARGETS}.language:Write",
        "Write one view token by token from the others.",
        ("vaswani2017attention", "li2023blip2"), frozenset({"pairs", "tokens"}), "trained",
        extra="train"),
    Row("target", "next-id", f"{_TARGETS}.language:NextId",
        "Tell each next id from those before, beside other views.", ("radford2019gpt2",),
        frozenset({"tokens"}), "trained", extra="train"),
    Row("target", "token-transport", f"{_TARGETS}.fine:TokenTransport",
        "Carry one view's tokens onto its partner's at less cost than onto another's.",
        ("chen2020uniter",), frozenset({"pairs", "tokens"}), "trained", extra="train"),
    Row("target", "named-tokens", f"{_TARGETS}.fine:NamedTokens",
        "Name each hidden token among all tokens of the batch as the unhidden pass has them.",
        ("wang2023onepeace",), frozenset({"tokens"}), "trained", extra="train"),
    Row("target", "random-projections", f"{_TARGETS}.fine:RandomProjections",
        "Agree with random networks of the input, line by line of the batch.",
        ("sui2023lfr",), cost="trained", extra="train"),
    Row("target", "transcribe", f"{_TARGETS}.language:Transcribe",
        "Letters of a signal without their places (connectionist temporal classification).",
        ("graves2006ctc",), frozenset({"pairs", "tokens"}), "trained", extra="train"),
)  # fmt: skip

#: What cells are cut into; ``frozen`` is any encoder's tokens and needs no row.
CELLS: tuple[Row, ...] = (
    Row("cells", "letters", f"{_HERE}.cells:Letters",
        "Texts as lower-case letters of the column's own alphabet.", cost="free"),
    Row("cells", "subwords", f"{_HERE}.cells:Subwords",
        "Texts as byte pairs learnt from the column.", ("sennrich2016bpe",), cost="free",
        extra="text"),
    Row("cells", "frames", f"{_HERE}.cells:Frames",
        "Sounds as stacked log-mel frames.", ("davis1980mfcc",), cost="free", extra="audio"),
    Row("cells", "patches", f"{_HERE}.cells:Patches",
        "Pictures as square patches of pixels.", ("dosovitskiy2021vit",), cost="free"),
    Row("cells", "windows", f"{_HERE}.cells:Windows",
        "Series as windows of points.", cost="free"),
)  # fmt: skip

ENCODERS: tuple[Row, ...] = (
    Row("encoder", "pretrained", f"{_HERE}.encoder:Pretrained",
        "A view of a model that conjoin model pretrain trained, by its folder.", cost="free",
        extra="train"),
)  # fmt: skip

ROWS = (*ENCODERS, *CELLS, *MASKS, *TARGETS)
