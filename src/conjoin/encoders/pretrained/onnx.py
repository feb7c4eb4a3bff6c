"""``onnx:``, an ONNX file with one kind of input and one output."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from conjoin.encoders import devices, probe
from conjoin.encoders.base import CellError
from conjoin.encoders.media import folders
from conjoin.encoders.media.media import read_picture, read_sound, read_text
from conjoin.encoders.names import named, uri
from conjoin.encoders.options import Options
from conjoin.encoders.remarks import remark
from conjoin.errors import ConjoinError, FrameError, optional
from conjoin.spaces import Frame
from conjoin.storage.digest import digest
from conjoin.storage.files import expanded

KINDS = ("text", "image", "audio", "vector")

_READS = {
    "text": ("tokenizer", "length"),
    "image": ("size", "mean", "std"),
    "audio": ("rate", "seconds"),
    "vector": (),
}
_TYPES = {"tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(float16)": np.float16}


#: What ONNX Runtime calls the devices.
PROVIDERS = {
    "cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider",
    "mps": "CoreMLExecutionProvider",
}  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """How cells become the graph's input, and its output a vector."""

    length: int
    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    rate: int
    seconds: float
    pool: str


@dataclass(frozen=True, eq=False)
class OnnxModel:
    """A session of ONNX Runtime.

    Options
    -------
    kind : ``text``, ``image``, ``audio`` or ``vector``.
    tokenizer : a ``tokenizer.json``, by default the one beside the file.
    length : most tokens of a text; 512.
    size, mean, std : side of the picture (224), and what its channels (0 to 1) lose and are
        divided by, one number or three; ImageNet's.
    rate, seconds : samples a second of a sound (16000), and how much of each is read (30).
    input, output : names in the graph, by default the first; text feeds ``input_ids``,
        ``attention_mask`` and ``token_type_ids`` by those names.
    pool : ``mean`` or ``cls`` of an output ``[n, t, d]``.
    device : ``auto`` (an accelerator where the installed runtime has one), ``cpu``, ``cuda`` or
        ``mps`` (CoreML); no part of the frame.
    """

    placeable: ClassVar[bool] = True
    uri: str
    kind: str
    frame: Frame
    session: Any
    tokenizer: Any
    settings: Settings
    input: str
    output: str
    batch_size: int = 32
    sizes: devices.BatchSize | None = None
    runtime: str = "onnxruntime"

    @classmethod
    def open(cls, rest: str, options: Mapping[str, str], cache: Path) -> "OnnxModel":
        """Open the file at ``rest``.

        Raises
        ------
        ConjoinError : unknown option, no such file, not ONNX, or a name the graph does not have.
        """
        where = uri("onnx", rest, named(options))
        kind = Options("onnx", {k: v for k, v in options.items() if k == "kind"}, ("kind",)).text(
            "kind", "text", KINDS
        )
        known = ("kind", "input", "output", "pool", "device", *_READS[kind])
        given = Options(f"onnx:{rest}", options, known)
        settings = _settings(given, f"onnx:{rest}")
        device = given.text("device", "auto", devices.DEVICES)
        device = devices.chosen(device, where, _accelerators, "the installed onnxruntime")
        path = expanded(rest)
        if not path.is_file():
            raise ConjoinError(where, "there is no such file", "check the path")
        session = _session(path, where)
        inputs, outputs = ([e.name for e in side()] for side in
                           (session.get_inputs, session.get_outputs))  # fmt: skip
        source = given.text("input", inputs[0] if inputs else "", inputs)
        output = given.text("output", outputs[0], outputs)
        place = expanded(given.text("tokenizer", str(path.parent)))
        place = place / "tokenizer.json" if place.is_dir() else place
        tokenizer = _tokenizer(place, where, settings.length) if kind == "text" else None
        bare = cls(
            where, kind, Frame("encoder-unminted", 0), session, tokenizer, settings, source, output
        )
        dim = bare.forward(bare._probes(1)).shape[1]
        facts = {
            "family": "onnx", "weights": _weights(path), "precision": "float32", "kind": kind,
            "tokenizer": folders.hash_file(place) if kind == "text" else None,
            "settings": asdict(settings), "input": source, "output": output,
        }  # fmt: skip
        frame = Frame.mint("encoder", f"onnx:{path.name}", dim, facts)
        return replace(bare, frame=frame)._on(device, path)

    def _on(self, device: str, path: Path) -> "OnnxModel":
        """The same on a device, where its probes agree with those on the processor."""
        if device == "cpu":
            return self
        session = _session(path, self.uri, device)
        if PROVIDERS[device] not in session.get_providers():  # its driver could not be loaded
            return self
        moved = replace(
            self, session=session, sizes=devices.BatchSize(self.batch_size, grows=True),
            runtime=f"onnxruntime {device}",
        )  # fmt: skip
        try:
            wanted, found = (each.forward(self._probes(8)) for each in (self, moved))
            probe.check_drift("device", wanted, found)
        except (FrameError, ConjoinError, MemoryError):
            # Moved too far, or an operation the device does not have.
            return self
        return moved

    def _entry(self) -> Any:
        return next(e for e in self.session.get_inputs() if e.name == self.input)

    def _probes(self, count: int) -> list[Any]:
        width = self._entry().shape[-1]
        width = width if isinstance(width, int) else None
        if self.kind == "audio" and width is not None:
            return [np.zeros(width, np.float32)]
        raw = probe.inputs(self.kind, rate=self.settings.rate, width=width or 8)[:count]
        return [self._picture(each) if self.kind == "image" else each for each in raw]

    def decode(self, cell: Any) -> Any:
        """Text as it is; the array of a picture, sound or vector."""
        if self.kind == "text":
            text = read_text(cell)
            # A token stands for a byte or more, but for the few that mark the ends.
            if len(text.encode()) + 8 > self.settings.length:
                self._remark_cut(text)
            return text
        if self.kind == "image":
            return self._picture(read_picture(cell))
        if self.kind == "audio":
            return read_sound(cell, self.settings.rate, self.settings.seconds)
        return _vector(cell)

    def _picture(self, image: Any) -> np.ndarray:
        from PIL import Image

        size = self.settings.size
        scale = size / min(image.size)
        sides = [max(size, round(side * scale)) for side in image.size]
        image = image.resize(sides, Image.Resampling.BICUBIC)
        left, top = ((side - size) // 2 for side in sides)
        image = image.crop((left, top, left + size, top + size))
        values = np.asarray(image, dtype=np.float32) / 255
        values = (values - self.settings.mean) / self.settings.std
        last = self._entry().shape[-1] == 3  # channels last, as TensorFlow exports them
        return (values if last else values.transpose(2, 0, 1)).astype(np.float32)

    def length(self, item: Any) -> int:
        """Characters of a text, numbers in another cell."""
        return len(item) if self.kind == "text" else int(item.size)

    def forward(self, items: Sequence[Any]) -> np.ndarray:
        """Decoded cells → ``[n, d]`` float32."""
        if self.kind == "text":
            return self._run(self._tokens(items))
        rows: list[Any] = [None] * len(items)
        groups: dict[tuple[int, ...], list[int]] = {}
        for place, item in enumerate(items):
            groups.setdefault(item.shape, []).append(place)
        for places in groups.values():
            feed = np.stack([items[place] for place in places])
            if self.kind == "audio" and len(self._entry().shape) == 3:
                feed = feed[:, None]
            for place, row in zip(places, self._run({self.input: feed}), strict=True):
                rows[place] = row
        return np.stack(rows)

    def _remark_cut(self, text: str) -> None:
        if self.tokenizer.encode(text).overflowing:
            remark(f"cut at {self.settings.length} tokens")

    def _tokens(self, items: Sequence[str]) -> dict[str, np.ndarray]:
        encoded = self.tokenizer.encode_batch(list(items))
        fixed = self._entry().shape[-1]
        length = fixed if isinstance(fixed, int) else max(len(entry.ids) for entry in encoded)
        ids, mask, kinds = np.zeros((3, len(items), length), dtype=np.int64)
        for row, entry in enumerate(encoded):
            n = min(len(entry.ids), length)
            ids[row, :n] = entry.ids[:n]
            mask[row, :n] = entry.attention_mask[:n]
            kinds[row, :n] = entry.type_ids[:n]
        return {"input_ids": ids, "attention_mask": mask, "token_type_ids": kinds}

    def _run(self, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
        entries = {entry.name: entry for entry in self.session.get_inputs()}
        if self.kind == "text":
            feeds = {**feeds, self.input: feeds.get(self.input, feeds["input_ids"])}
        cast = {
            name: value.astype(_TYPES.get(entries[name].type, np.float32))
            for name, value in feeds.items()
            if name in entries
        }
        n = len(next(iter(feeds.values())))
        fixed = entries[self.input].shape[0]
        step = fixed if isinstance(fixed, int) and fixed > 0 else n
        parts = [self._piece(cast, start, step) for start in range(0, n, step)]
        out = np.concatenate(parts)[:n].astype(np.float32)
        return self._pool(out, feeds.get("attention_mask"))

    def _piece(self, feeds: Mapping[str, np.ndarray], start: int, step: int) -> np.ndarray:
        cut = {name: value[start : start + step] for name, value in feeds.items()}
        short = step - len(next(iter(cut.values())))
        if short:
            # A graph of fixed batch size gets its last row again; the copies are cut off.
            cut = {n: np.concatenate([v, np.repeat(v[-1:], short, axis=0)]) for n, v in cut.items()}
        try:
            return np.asarray(self.session.run([self.output], cut)[0])
        except Exception as error:
            # ONNX Runtime's own classes, which differ by version.
            if devices.out_of_memory(RuntimeError(str(error))):
                raise MemoryError(_first_line(error)) from error
            raise ConjoinError(
                self.uri, f"the graph refused its input: {_first_line(error)}",
                "check kind, size, input and output against the graph",
            ) from error  # fmt: skip

    def _pool(self, out: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
        if out.ndim == 4:
            out = out.reshape(*out.shape[:2], -1).transpose(0, 2, 1)
        if out.ndim == 3:
            if self.settings.pool == "cls":
                return out[:, 0]
            if mask is None or mask.shape[1] != out.shape[1]:
                return out.mean(axis=1)
            weight = mask[..., None].astype(np.float32)
            return (out * weight).sum(axis=1) / np.maximum(weight.sum(axis=1), 1)
        if out.ndim != 2:
            raise ConjoinError(
                self.uri, f"output {self.output} has shape {out.shape}", "name another output"
            )
        return out


def _accelerators() -> list[str]:
    there = optional("onnxruntime", "onnx").get_available_providers()
    return [name for name in ("cuda", "mps") if PROVIDERS[name] in there]


def _session(path: Path, where: str, device: str = "cpu") -> Any:
    runtime = optional("onnxruntime", "onnx")
    settings = runtime.SessionOptions()
    settings.log_severity_level = 4
    try:
        return runtime.InferenceSession(
            str(path),
            sess_options=settings,
            providers=list(dict.fromkeys([PROVIDERS[device], PROVIDERS["cpu"]])),
        )
    except Exception as error:
        # ONNX Runtime's own classes, which differ by version.
        raise ConjoinError(
            where, f"is not an ONNX graph: {_first_line(error)}", "export it again"
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _settings(given: Options, where: str) -> Settings:
    return Settings(
        given.whole("length", 512, 1, 1 << 20),
        given.whole("size", 224, 1, 1 << 14),
        _channels(where, "mean", given.text("mean", "0.485,0.456,0.406")),
        _channels(where, "std", given.text("std", "0.229,0.224,0.225")),
        given.whole("rate", 16_000, 1, 1_000_000),
        given.number("seconds", 30.0, 0.1, 3600),
        given.text("pool", "mean", ("mean", "cls")),
    )


def _channels(where: str, name: str, text: str) -> tuple[float, ...]:
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) not in (1, 3) or (name == "std" and not all(values)):
        raise ConjoinError(f"{where}?{name}", repr(text), "give one number or three with commas")
    return values


def _tokenizer(path: Path, where: str, length: int) -> Any:
    library = optional("tokenizers", "text")
    if not path.is_file():
        raise ConjoinError(
            where, f"there is no tokenizer at {path}", "add tokenizer=FILE (a tokenizer.json)"
        )
    try:
        tokenizer = library.Tokenizer.from_file(str(path))
    except Exception as error:
        # The library raises bare Exception.
        raise ConjoinError(
            str(path), f"is not a tokenizer: {_first_line(error)}", "give a tokenizer.json"
        ) from error
    tokenizer.no_padding()
    tokenizer.enable_truncation(length)
    return tokenizer


def _weights(path: Path) -> str:
    """Hash of the graph and of the tensor files exported beside it."""
    beside = sorted(p for p in path.parent.glob(f"{path.name}?data*") if p.is_file())
    return digest([folders.hash_file(file) for file in (path, *beside)])


def _vector(cell: Any) -> np.ndarray:
    try:
        vector = np.asarray(cell, dtype=np.float32)
    except (TypeError, ValueError):
        raise CellError("is not a list of numbers") from None
    if vector.ndim != 1 or not len(vector) or not np.isfinite(vector).all():
        raise CellError("is not one row of finite numbers")
    return vector
