"""``hf:``, any Hugging Face text, image, audio or CLIP-like model by name or folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import numpy as np

from conjoin.encoders import devices, probe
from conjoin.encoders.media import folders
from conjoin.encoders.names import named, uri
from conjoin.encoders.options import Options
from conjoin.encoders.pretrained import towers as hub_towers
from conjoin.errors import ConjoinError, optional
from conjoin.spaces import Frame, Tokens

OUTPUTS = ("pooled", "tokens", "layers")
POOLS = ("mean", "cls", "model")

_OPTIONS = ("tower", "output", "layer", "pool", "seconds", "device", "precision")
_BATCH = {"text": 32, "image": 16, "audio": 8}
_POOL = {"text": "mean", "image": "cls", "audio": "mean"}


@dataclass(frozen=True)
class Reading:
    """What is read of a network: which output, of which layers, pooled how.

    ``pooled`` is the last layer pooled (``model``: the model's own summary; of a CLIP-like model
    the projected vector its towers share), ``layers`` are the named layers, each pooled, side by
    side, and ``tokens`` keeps one layer's states as they are. Layer 0 is the embeddings, -1 the
    network's output. Of a sound at most ``seconds`` are read.
    """

    tower: str
    output: str
    layers: tuple[int, ...]
    pool: str
    seconds: float

    @property
    def inner(self) -> bool:
        """Whether states other than the network's output are needed."""
        return self.layers != (-1,)


@dataclass(frozen=True, eq=False)
class HubModel:
    """One tower of a transformers model.

    Options
    -------
    tower : ``text``, ``image`` or ``audio``; needed for CLIP-like models alone.
    output : ``pooled``, ``tokens`` or ``layers``.
    layer : for ``tokens`` and ``layers``: numbers between commas, or ``all``.
    pool : ``mean``, ``cls`` or ``model``. By default a CLIP-like model's own projection, the
        first state of a picture, the mean of a text or a sound.
    seconds : read of a sound at most; 30.
    device : ``auto`` (an accelerator where there is one), ``cpu``, ``cuda`` or ``mps``.
    precision : ``auto`` (bfloat16 on an accelerator where its probes agree), ``fast`` (also on a
        processor that has it) or ``float32``. Neither is part of the frame.

    The towers of one CLIP-like model share a frame at ``output=pooled``.
    """

    placeable: ClassVar[bool] = True
    uri: str
    kind: str
    frame: Frame
    model: Any
    processor: Any
    reading: Reading
    dual: bool
    batch_size: int
    sizes: devices.BatchSize
    runtime: str = "torch cpu float32"

    @classmethod
    def open(cls, rest: str, options: Mapping[str, str], cache: Path) -> "HubModel":
        """Load the model named or found at ``rest``; code that comes with a model never runs.

        Raises
        ------
        ConjoinError : unknown option, no such model, or weights missing from its files.
        """
        where = uri("hf", rest, named(options))
        given = Options(f"hf:{rest}", options, _OPTIONS)
        library = optional("transformers", "text")
        optional("torch", "train")
        device = devices.chosen(given.text("device", "auto", devices.DEVICES), where)
        precision = given.text("precision", "auto", devices.PRECISIONS)
        folder = folders.resolve("hf", rest)
        files = folders.recipe(folder)
        model = folders.shared(("hf", *files.values()), lambda: _load_model(library, folder, where))
        towers = hub_towers.towers_of(model)
        reading = _reading(f"hf:{rest}", given, towers, model)
        _check_missing(where, _LACKS[model], reading)
        processor = _load_processor(library, folder, reading.tower, where)
        bare = cls(
            where, reading.tower, Frame("encoder-unminted", 0), model, processor, reading,
            len(towers) > 1, _BATCH[reading.tower],
            devices.BatchSize(_BATCH[reading.tower], grows=device != "cpu"),
        )  # fmt: skip
        bare = bare._on(device, precision)
        frame = bare._mint(folder, files, bare.forward(bare._probes(1)))
        return replace(bare, frame=frame)

    def _on(self, device: str, precision: str) -> "HubModel":
        """The same on a device, where its probes agree."""

        def embedded(model: Any) -> np.ndarray:
            out = replace(self, model=model).forward(self._probes(8))
            return out.vectors if isinstance(out, Tokens) else out

        moved = devices.placed(self.model, device, precision, embedded)
        return replace(self, model=moved, runtime=devices.runtime_of(moved))

    @classmethod
    def towers(cls, rest: str, options: Mapping[str, str], cache: Path) -> dict[str, str]:
        """By kind, the URIs of the towers in this frame; read from the configuration alone."""
        given = Options(f"hf:{rest}", options, _OPTIONS)
        library = optional("transformers", "text")
        known = hub_towers.towers_by_config(library, folders.resolve("hf", rest), f"hf:{rest}")
        tower = given.text("tower", "")
        plain = (
            given.text("output", "pooled") == "pooled" and given.text("pool", "model") == "model"
        )
        if len(known) > 1 and plain:
            shared = {key: value for key, value in options.items() if key != "tower"}
            return {kind: uri("hf", rest, {**shared, "tower": kind}) for kind in known}
        kind = tower or (known[0] if known else "")
        return {kind: uri("hf", rest, options)} if kind else {}

    def _probes(self, count: int) -> list[Any]:
        raw = probe.inputs(self.kind, rate=int(getattr(self.processor, "sampling_rate", 16_000)))
        if self.kind == "text":
            return raw[:count]
        make = hub_towers.picture if self.kind == "image" else hub_towers.sound
        return [make(self.processor, each) for each in raw[:count]]

    def _mint(self, folder: Path, files: Mapping[str, str], out: np.ndarray | Tokens) -> Frame:
        dim = out.dim if isinstance(out, Tokens) else out.shape[1]
        read = self.reading
        facts: dict[str, Any] = {
            "family": "hf", **files, "precision": "float32",
            "output": read.output, "layers": list(read.layers), "pool": read.pool,
        }  # fmt: skip
        shared = self.dual and read.output == "pooled" and read.pool == "model"
        if not shared:
            facts |= {"tower": read.tower, "seconds": read.seconds}
        score = "maxsim" if read.output == "tokens" else "cosine"
        return Frame.mint("encoder", f"hf:{folder.name}", dim, facts, score=score)

    def decode(self, cell: Any) -> Any:
        """Text as it is; a picture or sound as its processor's arrays."""
        made = hub_towers.decode(self.kind, self.processor, cell, self.reading.seconds)
        if self.kind == "text":
            limit = hub_towers.text_limit(self.processor, self.model.config)
            hub_towers.tell_cut(self.processor, made, limit)
        return made

    def length(self, item: Any) -> int:
        """Characters of a text, numbers of another cell's largest array."""
        if self.kind == "text":
            return len(item)
        return max(value.size for value in item.values())

    def forward(self, items: Sequence[Any]) -> np.ndarray | Tokens:
        """Decoded cells → ``[n, d]`` float32, or token sets at ``output=tokens``."""
        if self.kind == "text":
            inputs = hub_towers.prepare_text(self.processor, items, self.model.config)
            batches = [(list(range(len(items))), inputs)]
        else:
            batches = hub_towers.stack(items)
        rows: list[Any] = [None] * len(items)
        for places, inputs in batches:
            for place, row in zip(places, self._rows(inputs), strict=True):
                rows[place] = row
        if self.reading.output != "tokens":
            return np.stack(rows)
        ends = np.cumsum([0, *(len(row) for row in rows)])
        return Tokens(np.concatenate(rows), ends)

    def _rows(self, inputs: Mapping[str, Any]) -> list[np.ndarray]:
        import torch

        read, inputs = self.reading, devices.beside(self.model, inputs)
        with torch.inference_mode():
            if self.dual and read.output == "pooled" and read.pool == "model":
                return list(hub_towers.project(self.model, self.kind, inputs).float().cpu().numpy())
            states = hub_towers.run(
                self.model, self.kind, inputs, dual=self.dual, layers=read.inner
            )
            chosen = [states.last if n == -1 else states.layers[n] for n in read.layers]
            if read.output == "tokens":
                kept = zip(chosen[0].float().cpu().numpy(), states.mask.cpu().numpy(), strict=True)
                return [row[mask] for row, mask in kept]
            pooled = [self._pool(layer, states) for layer in chosen]
            return list(torch.cat(pooled, dim=1).float().cpu().numpy())

    def _pool(self, layer: Any, states: hub_towers.States) -> Any:
        import torch

        if self.reading.pool == "model":
            if states.pooled is None:
                raise ConjoinError(self.uri, "has no summary of its own", "give pool=mean or cls")
            return states.pooled.flatten(1)
        mask = states.mask
        if mask.shape[1] != layer.shape[1]:
            mask = torch.ones(layer.shape[:2], dtype=torch.bool, device=layer.device)
        if self.reading.pool == "cls":
            return layer[torch.arange(len(layer), device=layer.device), mask.int().argmax(dim=1)]
        weight = mask.unsqueeze(-1).to(layer.dtype)
        return (layer * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1)


def _reading(where: str, given: Options, towers: tuple[str, ...], model: Any) -> Reading:
    if not towers:
        raise ConjoinError(where, "reads neither text, pictures nor sounds", "give another model")
    tower = given.text("tower", "" if len(towers) > 1 else towers[0])
    if not tower:
        raise ConjoinError(
            where, f"has towers {' and '.join(towers)}", f"add tower={towers[0]} to the URI"
        )
    tower = given.text("tower", tower, towers)
    output = given.text("output", "pooled", OUTPUTS)
    usual = "model" if len(towers) > 1 and output == "pooled" else _POOL[tower]
    pool = given.text("pool", usual, POOLS if output == "pooled" else POOLS[:2])
    if output == "tokens":
        if given.text("pool", ""):
            raise ConjoinError(f"{where} pool", "with output=tokens", "leave one of them out")
        pool = "none"
    text = given.text("layer", "-1")
    layers = _layers(where, text, hub_towers.depth_of(model, tower))
    if (output == "pooled" and layers != (-1,)) or (output == "tokens" and len(layers) > 1):
        raise ConjoinError(f"{where} layer", f"{text} with output={output}", "add output=layers")
    return Reading(tower, output, layers, pool, given.number("seconds", 30.0, 0.1, 3600))


def _layers(where: str, text: str, depth: int) -> tuple[int, ...]:
    if text == "all":
        return (*range(depth), -1)
    try:
        layers = tuple(int(part) for part in text.split(","))
    except ValueError:
        layers = (depth + 1,)
    if not all(-depth - 1 <= n <= depth for n in layers):
        raise ConjoinError(f"{where} layer", repr(text), f"give numbers from 0 to {depth}, or all")
    # One spelling for each layer, so that equal readings share a frame.
    folded = tuple(n + depth + 1 if n < 0 else n for n in layers)
    return tuple(-1 if n == depth else n for n in folded)


#: Names of the weights that the files of a loaded network lack.
_LACKS: WeakKeyDictionary[Any, list[str]] = WeakKeyDictionary()


def _load_model(library: Any, folder: Path, where: str) -> Any:
    _, safe = folders.weights(folder)
    try:
        with folders.quiet():
            model, facts = library.AutoModel.from_pretrained(
                str(folder),
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=safe,
                output_loading_info=True,
            )
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise ConjoinError(where, f"cannot be loaded: {_first_line(error)}", _GIVE) from error
    model = model.float().eval()
    _LACKS[model] = sorted(facts["missing_keys"])
    return model


_GIVE = "give a folder that transformers' save_pretrained wrote, with its tokenizer or processor"


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _check_missing(where: str, missing: list[str], reading: Reading) -> None:
    """Refuse a network with random weights in its path; an unused pooler may be absent."""
    pooler = [name for name in missing if "pooler" in name and "attention" not in name]
    wanted = [name for name in missing if name not in pooler or reading.pool == "model"]
    if wanted:
        raise ConjoinError(
            where,
            f"its files lack {len(wanted)} weights, {wanted[0]} the first",
            "give pool=mean" if wanted == pooler else "give the complete checkpoint",
        )


def _load_processor(library: Any, folder: Path, tower: str, where: str) -> Any:
    given: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        if tower == "text":
            tokenizer = library.AutoTokenizer.from_pretrained(str(folder), **given)
            if tokenizer.pad_token is None:
                tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
            return tokenizer
        if tower == "audio":
            return library.AutoFeatureExtractor.from_pretrained(str(folder), **given)
        # Pillow's path: torchvision's gives other vectors, and breaks beside the CPU torch.
        modern = int(library.__version__.split(".")[0]) >= 5
        path = {"backend": "pil"} if modern else {"use_fast": False}
        return library.AutoImageProcessor.from_pretrained(str(folder), **path, **given)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise ConjoinError(
            where, f"has no {tower} processor that loads: {_first_line(error)}", _GIVE
        ) from error
