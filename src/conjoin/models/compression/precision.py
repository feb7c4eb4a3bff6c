"""Encoders of texts as one ONNX graph, in single precision or with weights of eight bits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

from conjoin.catalogue import Choice
from conjoin.errors import ConjoinError, optional
from conjoin.models.tuning.text_model import TextModel


@dataclass(frozen=True)
class Precision:
    """The whole encoder, pooling included, as one graph of ONNX Runtime.

    ``float32`` changes the runtime alone. ``int8`` writes each weight matrix as
    ``W ≈ s (Q − z)`` with Q of eight bits and one s for each output column; activations are
    quantised as they come (dynamic). Faster only where the processor multiplies bytes in hardware.

    Parameters
    ----------
    numbers : ``float32`` or ``int8``.

    Errors
    ------
    ConjoinError : the model cannot be traced.
    MissingDependency : the packages of the extra ``onnx`` are not installed.

    Examples
    --------
    >>> Precision("int8").numbers
    'int8'

    References
    ----------
    Zafrir et al. 2019 (zafrir2019q8bert); the arithmetic is ONNX Runtime's.
    """

    numbers: Annotated[str, Choice(("float32", "int8"))] = "float32"
    arithmetic: ClassVar[int] = 1
    kinds: ClassVar[tuple[str, ...]] = ("text",)
    tries: ClassVar[tuple[Mapping[str, Any], ...]] = ({},)
    whole: ClassVar[Mapping[str, Any] | None] = {"numbers": "float32"}

    def write(self, uri: str, sample: Sequence[Any], folder: Path, *, seed: int = 0) -> str:
        """As :meth:`~conjoin.models.compression.base.Compression.write`; opens as ``onnx:``."""
        optional("onnxscript", "onnx")
        optional("onnxruntime", "onnx")
        from conjoin.encoders.pretrained.onnx_export import write_graph

        model = TextModel.open(uri)
        folder.mkdir(parents=True, exist_ok=True)
        tokenizer = getattr(model.pipeline.tokenizer, "backend_tokenizer", None)
        if tokenizer is None:
            raise ConjoinError(uri, "has no fast tokenizer", "take fewer-layers")
        bare = type(tokenizer).from_str(tokenizer.to_str())
        bare.no_padding()
        bare.no_truncation()
        bare.save(str(folder / "tokenizer.json"))
        module, example = _whole(model)
        path = folder / "model.onnx"
        axes = {name: ("batch", "tokens") for name in ("input_ids", "attention_mask")}
        write_graph(path, module, example, axes)
        if self.numbers == "int8":
            _quantise(path)
        length = int(getattr(model.pipeline, "max_seq_length", None) or 512)
        return f"onnx:{path}?length={length}"


def _whole(model: TextModel) -> tuple[Any, tuple[Any, ...]]:
    """Token numbers and mask → vectors, as a module, and an example of its inputs."""
    import torch

    parts = list(model.pipeline)

    class Whole(torch.nn.Module):
        """The pipeline without its tokenizer."""

        def __init__(self) -> None:
            super().__init__()
            self.parts = torch.nn.ModuleList(parts)

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            features = {"input_ids": input_ids, "attention_mask": attention_mask}
            for part in self.parts:
                features = part(features)
            return features["sentence_embedding"]

    ids = torch.full((3, 7), 5, dtype=torch.int64)
    return Whole().eval(), (ids, torch.ones_like(ids))


def _quantise(path: Path) -> None:
    """Weights of a graph in eight bits, in the file's place."""
    import logging

    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process

    ready, made = path.with_name("ready.onnx"), path.with_name("int8.onnx")
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        quant_pre_process(str(path), str(ready), skip_symbolic_shape=True)
        quantize_dynamic(str(ready), str(made), weight_type=QuantType.QInt8, per_channel=True)
        made.replace(path)
    finally:
        logging.disable(before)
        ready.unlink(missing_ok=True)
        made.unlink(missing_ok=True)
