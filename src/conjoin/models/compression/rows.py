"""Catalogue rows of ways to make an encoder cheaper."""

from collections.abc import Mapping
from typing import Any

from conjoin.catalogue import Row

_HERE = "conjoin.models.compression"


def _row(
    name: str, target: str, summary: str, papers: tuple[str, ...] = (),
    settings: Mapping[str, Any] | None = None, extra: str = "shrink",
) -> Row:  # fmt: skip
    return Row(
        "compression", name, f"{_HERE}.{target}", summary, papers, frozenset(), "closed",
        settings or {}, extra, "efficient",
    )  # fmt: skip


ROWS: tuple[Row, ...] = (
    _row("onnx-float32", "precision:Precision", "The same numbers, run by ONNX Runtime.",
         (), {"numbers": "float32"}),
    _row("onnx-int8", "precision:Precision", "Weights of eight bits, run by ONNX Runtime.",
         ("zafrir2019q8bert",), {"numbers": "int8"}),
    _row("fewer-layers", "layers:Layers",
         "The first layers of a transformer, with a ridge map onto the vectors of all.",
         ("sajjad2023dropping",)),
    _row("fewer-units", "layers:Neurons",
         "The heaviest units of each feed-forward block, the rest restituted by least squares.",
         ("sun2024wanda", "hassibi1993surgeon")),
    _row("trim-vocabulary", "tokens:Vocabulary", "Only the tokens that the texts need.",
         ("ushio2023trimming",)),
    _row("token-table", "tokens:TokenTable",
         "A weighted mean of tokens' vectors, with a ridge map onto the original's.",
         ("arora2017sif", "tulkens2024model2vec")),
    _row("smaller-input", "pictures:SmallerInput", "Pictures of a shorter side.",
         ("touvron2019resolution",), extra="offline"),
)  # fmt: skip
