"""What a cell is cut into: letters, subwords, patches, frames, windows, tokens of an encoder.

Each is shaped like an encoder of token sets, so that cells are read, counted when they fail and
kept on disk by the one driver that embeds.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from conjoin import catalogue
from conjoin.encoders.builtin.logmel import BANDS, RATE, LogMel, trim
from conjoin.encoders.media.media import read_picture, read_text
from conjoin.encoders.open import kind_of, open_encoder
from conjoin.errors import CellError, ConjoinError, optional
from conjoin.spaces import Frame, Tokens


@runtime_checkable
class Cells(Protocol):
    """A tokeniser: an encoder whose vectors are ids ``[t, 1]`` or float tokens ``[t, d]``."""

    uri: str
    kind: str
    frame: Frame
    batch_size: int
    vocabulary: int

    def decode(self, cell: Any) -> Any:
        """One cell → what ``forward`` takes."""
        ...

    def length(self, item: Any) -> int:
        """Cost of a decoded cell."""
        ...

    def forward(self, items: Sequence[Any]) -> Tokens:
        """Decoded cells → token sets, in order."""
        ...

    def state(self) -> dict[str, Any]:
        """What it saw of its data, as JSON."""
        ...


def token_sets(sets: Sequence[np.ndarray], dim: int) -> Tokens:
    """Arrays ``[t, d]`` as token sets."""
    ends = np.concatenate([[0], np.cumsum([len(one) for one in sets], dtype=np.int64)])
    flat = np.concatenate([*sets, np.empty((0, dim))]).astype(np.float32)
    return Tokens(flat, ends.astype(np.int64))


@dataclass(frozen=True, eq=False)
class Letters:
    """Texts as lower-case letters, by the alphabet of the training cells; others are left out.

    Parameters
    ----------
    alphabet : its letters in order; those of the column by default, at most 500 by count.
    """

    alphabet: str = ""
    kind: ClassVar[str] = "text"
    batch_size: ClassVar[int] = 1024

    @property
    def uri(self) -> str:
        """Its name."""
        return "cells:letters"

    @property
    def vocabulary(self) -> int:
        """Letters there are."""
        return len(self.alphabet)

    @cached_property
    def frame(self) -> Frame:
        """Minted from the alphabet."""
        return Frame.mint("cells", "letters", 1, self.state(), score="maxsim")

    def prepare(self, cells: Iterable[Any]) -> "Letters":
        """The letters of a column."""
        from collections import Counter

        counts: Counter[str] = Counter()
        for cell in cells:
            counts.update(folded(cell))
        if not counts:
            raise ConjoinError("letters", "the column has no text", "name a column of texts")
        return Letters("".join(sorted(letter for letter, _ in counts.most_common(500))))

    def state(self) -> dict[str, Any]:
        """The alphabet."""
        return {"alphabet": self.alphabet}

    def decode(self, cell: Any) -> np.ndarray:
        """Ids."""
        return self.ids(folded(cell))

    def ids(self, text: str) -> np.ndarray:
        """Ids ``[t, 1]`` of a text."""
        place = {letter: at for at, letter in enumerate(self.alphabet)}
        found = [place[letter] for letter in text if letter in place]
        return np.array(found, dtype=np.float32).reshape(-1, 1)

    def text(self, ids: Iterable[Any]) -> str:
        """The text that ids spell."""
        return "".join(self.alphabet[int(one)] for one in ids)

    def length(self, item: np.ndarray) -> int:
        """Letters."""
        return len(item)

    def forward(self, items: Sequence[np.ndarray]) -> Tokens:
        """As token sets."""
        return token_sets(items, 1)


def folded(cell: Any) -> str:
    """A cell's text in lower case, spaces made one."""
    return " ".join(read_text(cell).lower().split())


@dataclass(frozen=True, eq=False)
class Subwords:
    """Texts as ids of byte pairs, learnt from the column (byte-level, so every text has ids).

    Parameters
    ----------
    size : ids there are at most.
    model : the tokenizer as JSON; learnt by :meth:`prepare`.

    References
    ----------
    Sennrich et al. 2016 (sennrich2016bpe), by the tokenizers package.
    """

    size: int = 1000
    model: str = ""
    kind: ClassVar[str] = "text"
    batch_size: ClassVar[int] = 1024

    @property
    def uri(self) -> str:
        """Its name."""
        return f"cells:subwords:{self.size}"

    @property
    def vocabulary(self) -> int:
        """Ids there are."""
        return int(self._tokenizer.get_vocab_size())

    @cached_property
    def frame(self) -> Frame:
        """Minted from the learnt pairs."""
        return Frame.mint("cells", "subwords", 1, self.state(), score="maxsim")

    @cached_property
    def _tokenizer(self) -> Any:
        return optional("tokenizers", "text").Tokenizer.from_str(self.model)

    def prepare(self, cells: Iterable[Any]) -> "Subwords":
        """Learn the pairs of a column."""
        library = optional("tokenizers", "text")
        made = library.Tokenizer(library.models.BPE())
        blank = library.normalizers.Replace(library.Regex(r"\s+"), " ")
        lower = library.normalizers.Lowercase()
        made.normalizer = library.normalizers.Sequence([lower, blank, library.normalizers.Strip()])
        made.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=True)
        trainer = library.trainers.BpeTrainer(
            vocab_size=self.size, show_progress=False, special_tokens=["[PAD]"],
            initial_alphabet=library.pre_tokenizers.ByteLevel.alphabet(),
        )  # fmt: skip
        made.train_from_iterator((read_text(cell) for cell in cells), trainer)
        return Subwords(self.size, made.to_str())

    def state(self) -> dict[str, Any]:
        """The learnt pairs."""
        return {"size": self.size, "model": self.model}

    def decode(self, cell: Any) -> np.ndarray:
        """Ids."""
        found = self._tokenizer.encode(read_text(cell)).ids
        return np.array(found, dtype=np.float32).reshape(-1, 1)

    @property
    def tokenizer_json(self) -> str:
        """The tokenizer as a ``tokenizer.json``."""
        return self.model

    def length(self, item: np.ndarray) -> int:
        """Ids."""
        return len(item)

    def forward(self, items: Sequence[np.ndarray]) -> Tokens:
        """As token sets."""
        return token_sets(items, 1)


def of_folder(folder: str) -> Subwords:
    """The tokenizer of a folder that transformers wrote, as it is.

    Raises
    ------
    ConjoinError : it has no ``tokenizer.json``.
    """
    path = Path(folder) / "tokenizer.json"
    if not path.is_file():
        raise ConjoinError(str(path), "is missing", "give a folder with a tokenizer.json")
    made = optional("tokenizers", "text").Tokenizer.from_file(str(path))
    made.no_padding()
    return Subwords(int(made.get_vocab_size()), made.to_str())


@dataclass(frozen=True, eq=False)
class Frames:
    """Sounds as log-mel frames of 10 ms, ``stack`` of them a token, freed of silence and level.

    Parameters
    ----------
    stack : frames a token.
    """

    stack: int = 4
    kind: ClassVar[str] = "audio"
    batch_size: ClassVar[int] = 16
    vocabulary: ClassVar[int] = 0

    @property
    def uri(self) -> str:
        """Its name."""
        return f"cells:frames:{self.stack}"

    @cached_property
    def frame(self) -> Frame:
        """Minted from rate, bands and stack."""
        return Frame.mint("cells", "frames", BANDS * self.stack, self.state(), score="maxsim")

    @cached_property
    def _mel(self) -> LogMel:
        return LogMel()

    def state(self) -> dict[str, Any]:
        """The numbers that decide a frame."""
        return {"rate": RATE, "bands": BANDS, "stack": self.stack}

    def decode(self, cell: Any) -> np.ndarray:
        """Tokens ``[t, 64 · stack]``."""
        mel = trim(self._mel.spectrogram(self._mel.decode(cell)))
        mel = mel - mel.mean()
        count = max(1, len(mel) // self.stack)
        mel = np.pad(mel, ((0, max(0, count * self.stack - len(mel))), (0, 0)))
        return mel[: count * self.stack].reshape(count, -1).astype(np.float32)

    def length(self, item: np.ndarray) -> int:
        """Tokens."""
        return len(item)

    def forward(self, items: Sequence[np.ndarray]) -> Tokens:
        """As token sets."""
        return token_sets(items, BANDS * self.stack)


@dataclass(frozen=True, eq=False)
class Patches:
    """Pictures as square patches of pixels, 0 to 1.

    Parameters
    ----------
    side : pixels of a patch's side.
    grid : patches a row.
    """

    side: int = 8
    grid: int = 4
    kind: ClassVar[str] = "image"
    batch_size: ClassVar[int] = 64
    vocabulary: ClassVar[int] = 0

    @property
    def uri(self) -> str:
        """Its name."""
        return f"cells:patches:{self.side}:{self.grid}"

    @cached_property
    def frame(self) -> Frame:
        """Minted from the sizes."""
        return Frame.mint("cells", "patches", 3 * self.side**2, self.state(), score="maxsim")

    def state(self) -> dict[str, Any]:
        """The sizes."""
        return {"side": self.side, "grid": self.grid}

    def decode(self, cell: Any) -> np.ndarray:
        """Patches ``[grid², 3 · side²]``, row by row."""
        from PIL import Image, ImageOps

        wide = self.side * self.grid
        white = (255, 255, 255)
        picture = ImageOps.pad(
            read_picture(cell), (wide, wide), Image.Resampling.BILINEAR, color=white
        )
        pixels = np.asarray(picture, dtype=np.float32) / 255
        cut = pixels.reshape(self.grid, self.side, self.grid, self.side, 3)
        return cut.transpose(0, 2, 4, 1, 3).reshape(self.grid**2, -1)

    def length(self, item: np.ndarray) -> int:
        """All pictures cost the same."""
        return 1

    def forward(self, items: Sequence[np.ndarray]) -> Tokens:
        """As token sets."""
        return token_sets(items, 3 * self.side**2)


@dataclass(frozen=True, eq=False)
class Windows:
    """Series as windows of so many points, all channels of a window in one token.

    Parameters
    ----------
    size : points a window.
    channels : of the column; learnt by :meth:`prepare`.
    """

    size: int = 8
    channels: int = 0
    kind: ClassVar[str] = "series"
    batch_size: ClassVar[int] = 256
    vocabulary: ClassVar[int] = 0

    @property
    def uri(self) -> str:
        """Its name."""
        return f"cells:windows:{self.size}"

    @cached_property
    def frame(self) -> Frame:
        """Minted from the sizes."""
        dim = self.size * max(1, self.channels)
        return Frame.mint("cells", "windows", dim, self.state(), score="maxsim")

    def state(self) -> dict[str, Any]:
        """The sizes."""
        return {"size": self.size, "channels": self.channels}

    def prepare(self, cells: Iterable[Any]) -> "Windows":
        """How many channels the column has."""
        first = next(iter(cells))
        return Windows(
            self.size, np.asarray(first, dtype=np.float32).reshape(len(first), -1).shape[1]
        )

    def decode(self, cell: Any) -> np.ndarray:
        """Windows ``[t, size · channels]``; points that are no numbers count 0."""
        values = np.nan_to_num(np.asarray(cell, dtype=np.float32))
        values = values.reshape(len(values), -1)
        if values.shape[1] != self.channels:
            raise CellError(f"{values.shape[1]} channels where the column has {self.channels}")
        count = max(1, len(values) // self.size)
        short = max(0, count * self.size - len(values))
        return np.pad(values, ((0, short), (0, 0)))[: count * self.size].reshape(count, -1)

    def length(self, item: np.ndarray) -> int:
        """Windows."""
        return len(item)

    def forward(self, items: Sequence[np.ndarray]) -> Tokens:
        """As token sets."""
        return token_sets(items, self.size * self.channels)


class Frozen:
    """The token sets of a frozen encoder; of one that gives vectors, one token a cell.

    Parameters
    ----------
    inner : the encoder.
    """

    def __init__(self, inner: Any):
        self.inner = inner
        self.kind, self.batch_size, self.vocabulary = inner.kind, inner.batch_size, 0
        self.uri = f"cells:frozen:{inner.uri}"
        recipe = {"of": inner.frame.id}
        self.frame = Frame.mint("cells", inner.frame.label, inner.frame.dim, recipe, score="maxsim")

    def state(self) -> dict[str, Any]:
        """The encoder's address and, of one that looked at its column, what it saw."""
        from conjoin.encoders.open import state_of

        return {"inner": self.inner.uri, "seen": state_of(self.inner)}

    def decode(self, cell: Any) -> Any:
        """As the encoder reads it."""
        return self.inner.decode(cell)

    def length(self, item: Any) -> int:
        """As the encoder counts it."""
        return int(self.inner.length(item))

    def forward(self, items: Sequence[Any]) -> Tokens:
        """The encoder's token sets, or one token for each of its vectors."""
        found = self.inner.forward(items)
        if isinstance(found, Tokens):
            return found
        return Tokens(np.asarray(found, np.float32), np.arange(len(items) + 1))


#: What kinds of cell each sort reads.
READS: Mapping[str, str] = {
    "letters": "text", "subwords": "text", "frames": "audio", "patches": "image",
    "windows": "series", "tokenizer": "text",
}  # fmt: skip


def open_cells(
    spec: str, uri: str = "", *, column: Callable[[], Iterable[Any]] | None = None,
    state: Mapping[str, Any] | None = None,
) -> Any:  # fmt: skip
    """What cuts a column's cells, as recipes write it: ``frozen``, ``letters``, ``patches:8``….

    Parameters
    ----------
    uri : the encoder of a ``frozen`` view.
    column : gives the cells to those that learn from them.
    state : what it saw before, in place of ``column``.

    Raises
    ------
    ConjoinError : no such cells, or numbers behind the colons that it does not take.

    Examples
    --------
    >>> open_cells("patches:4:8").frame.dim
    48
    """
    import dataclasses

    name, *given = spec.split(":")
    if name == "tokenizer":
        return of_folder(spec.partition(":")[2]) if state is None else Subwords(**state)
    if name == "frozen":
        return frozen_tokens(uri, column, state)
    row = catalogue.find("cells", name)
    engine = row.load()
    fields = [entry.name for entry in dataclasses.fields(engine)]
    if state is not None:
        return engine(**{k: v for k, v in state.items() if k in fields})
    try:
        values = {k: int(v) for k, v in zip(fields, given, strict=False)}
    except ValueError:
        raise ConjoinError(f"cells {spec!r}", "holds no number", f"write {name}:8") from None
    made = engine(**values)
    if hasattr(made, "prepare"):
        if column is None:
            raise ConjoinError(f"cells {spec}", "must look at its column first", "give column=")
        return made.prepare(column())
    return made


def frozen_tokens(
    uri: str, column: Callable[[], Iterable[Any]] | None, state: Mapping[str, Any] | None
) -> Frozen:
    """An encoder's tokens where it gives any, else its vectors, one token each."""
    from conjoin.encoders.open import restore

    if state is not None:
        return Frozen(restore(str(state["inner"]), state.get("seen", {})))
    joint = "&" if "?" in uri else "?"
    asked = uri if "output=" in uri else f"{uri}{joint}output=tokens"
    try:
        return Frozen(open_encoder(asked, cells=column))
    except ConjoinError:
        return Frozen(open_encoder(uri, cells=column))


def cells_kind(spec: str, uri: str) -> str:
    """The kind of cell that a recipe's ``cells`` reads."""
    name = spec.partition(":")[0]
    return kind_of(uri) if name == "frozen" else READS[name]
