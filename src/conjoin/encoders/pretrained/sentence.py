"""``st:``, any sentence-transformers model by name or folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from conjoin.encoders import devices, probe
from conjoin.encoders.media import folders
from conjoin.encoders.media.media import read_picture, read_sound, read_text
from conjoin.encoders.names import named, uri
from conjoin.encoders.options import Options
from conjoin.encoders.pretrained.towers import tell_cut
from conjoin.errors import ConjoinError, one_line, optional
from conjoin.spaces import Frame

_OPTIONS = ("kind", "prompt", "truncate", "seconds", "device", "precision")
KINDS = ("text", "image", "audio")
#: Samples a second of a sound whose model does not say.
RATE = 16_000


@dataclass(frozen=True, eq=False)
class SentenceModel:
    """A sentence-transformers model; its own pooling, prompts and normalisation are kept.

    Options
    -------
    kind : ``text``, ``image`` or ``audio``, of those the model reads (CLIP and its like).
    prompt : text put before each cell, or the name of a prompt the model defines; by default
        the model's own, if it has one. Texts alone have one.
    truncate : first dimensions kept, for models trained to be cut.
    seconds : read of a sound at most; 30.
    device, precision : as of ``hf:``.

    What one model makes of texts, pictures and sounds shares a frame.
    """

    placeable: ClassVar[bool] = True
    uri: str
    kind: str
    frame: Frame
    model: Any
    prompt: str
    seconds: float
    sizes: devices.BatchSize
    runtime: str = "torch cpu float32"
    batch_size: int = 32

    @classmethod
    def open(cls, rest: str, options: Mapping[str, str], cache: Path) -> "SentenceModel":
        """Load the model named or found at ``rest``.

        Raises
        ------
        ConjoinError : unknown option, no such model, not one of sentence-transformers, or it does
            not read that kind.
        """
        where = uri("st", rest, named(options))
        given = Options(f"st:{rest}", options, _OPTIONS)
        kind = given.text("kind", "text", KINDS)
        truncate = given.whole("truncate", 0, 1, 1 << 20) or None
        device = devices.chosen(given.text("device", "auto", devices.DEVICES), where)
        precision = given.text("precision", "auto", devices.PRECISIONS)
        optional("sentence_transformers", "text")  # named before a hub is asked
        folder = folders.resolve("st", rest)
        files = folders.recipe(folder)
        model = _shared(folder, files, where, truncate)
        known = kinds_of(model)
        if kind not in known:
            raise ConjoinError(
                where, f"reads {' and '.join(known)}, not {kind}", f"give kind={known[0]}"
            )
        # Pictures and sounds take no prompt; their frame is that of texts as the model reads them.
        prompt = _prompt(model, options.get("prompt"))
        bare = cls(
            where, kind, Frame("encoder-unminted", 0), model, prompt if kind == "text" else "",
            given.number("seconds", 30.0, 0.1, 3600),
            devices.BatchSize(cls.batch_size, grows=device != "cpu"),
        )  # fmt: skip
        moved = devices.placed(
            model, device, precision, lambda m: replace(bare, model=m)._probed(8)
        )
        bare = replace(bare, model=moved, runtime=devices.runtime_of(moved))
        facts = {
            "family": "st", **files, "prompt": prompt, "truncate": truncate,
            "precision": "float32",
        }  # fmt: skip
        frame = Frame.mint("encoder", f"st:{Path(rest).name}", bare._probed(1).shape[1], facts)
        return replace(bare, frame=frame)

    @classmethod
    def towers(cls, rest: str, options: Mapping[str, str], cache: Path) -> dict[str, str]:
        """By kind, the URIs that share this frame."""
        where = uri("st", rest, named(options))
        given = Options(f"st:{rest}", options, _OPTIONS)
        truncate = given.whole("truncate", 0, 1, 1 << 20) or None
        optional("sentence_transformers", "text")  # named before a hub is asked
        folder = folders.resolve("st", rest)
        model = _shared(folder, folders.recipe(folder), where, truncate)
        shared = {key: value for key, value in options.items() if key != "kind"}
        return {
            kind: uri("st", rest, {**shared, "kind": kind} if kind != "text" else shared)
            for kind in kinds_of(model)
        }

    def _probed(self, count: int) -> np.ndarray:
        return self.forward(probe.inputs(self.kind, rate=self._rate)[:count])

    @property
    def _rate(self) -> int:
        first = self.model[0]
        extractor = getattr(getattr(first, "processor", None), "feature_extractor", None)
        return int(getattr(extractor, "sampling_rate", None) or RATE)

    def decode(self, cell: Any) -> Any:
        """Text as it is; a picture as an RGB image; a sound as its mono wave."""
        if self.kind == "text":
            made = read_text(cell)
            tokenizer, limit = self.model.tokenizer, getattr(self.model, "max_seq_length", None)
            if callable(tokenizer):
                tell_cut(tokenizer, self.prompt + made, limit)
            return made
        if self.kind == "image":
            return read_picture(cell)
        return read_sound(cell, self._rate, self.seconds)

    def length(self, item: Any) -> int:
        """Characters of a text, samples of a sound; 1 for a picture."""
        return 1 if self.kind == "image" else len(item)

    def forward(self, items: Sequence[Any]) -> np.ndarray:
        """Texts, pictures or sounds → ``[n, d]`` float32."""
        given = list(items)
        if self.kind == "audio":
            given = [{"array": item, "sampling_rate": self._rate} for item in given]
        vectors = self.model.encode(
            given, prompt=self.prompt, batch_size=len(given) or 1, show_progress_bar=False
        )
        return np.asarray(vectors, dtype=np.float32)


def kinds_of(model: Any) -> tuple[str, ...]:
    """Kinds of cell a sentence-transformers model reads."""
    if hasattr(model, "modalities"):
        return tuple(kind for kind in KINDS if kind in model.modalities)
    # Before version 5.4 models do not tell; those of pictures hold a CLIP.
    clip = type(model[0]).__name__ == "CLIPModel"
    return ("text", "image") if clip else ("text",)


def _shared(folder: Path, files: Mapping[str, str], where: str, truncate: int | None) -> Any:
    library = optional("sentence_transformers", "text")
    key = ("st", *files.values(), str(truncate))
    return folders.shared(key, lambda: _load(library, folder, where, truncate))


def _load(library: Any, folder: Path, where: str, truncate: int | None) -> Any:
    _, safe = folders.weights(folder)
    try:
        with folders.quiet():
            return library.SentenceTransformer(
                str(folder),
                device="cpu",
                trust_remote_code=False,
                local_files_only=True,
                truncate_dim=truncate,
                model_kwargs={"use_safetensors": safe},
            ).float()
    except Exception as error:  # whatever a damaged file makes of the libraries
        first = one_line(error) or type(error).__name__
        raise ConjoinError(
            where, f"cannot be loaded: {first}", "give a sentence-transformers model"
        ) from error


def _prompt(model: Any, given: str | None) -> str:
    if given is None:
        return str(model.prompts.get(model.default_prompt_name) or "")
    return str(model.prompts.get(given, given))
