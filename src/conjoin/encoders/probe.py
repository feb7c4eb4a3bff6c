"""Eight fixed inputs that stand for an encoder whose weights cannot be hashed.

Their vectors are kept beside the space. Opening the encoder again embeds them again: vectors
within tolerance mean the encoder is still the one that filled the space.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar, runtime_checkable

import numpy as np

from conjoin.errors import ConjoinError, FrameError
from conjoin.spaces.frame import Frame
from conjoin.storage.digest import digest
from conjoin.storage.files import map_arrays, write_arrays

#: Kinds of cell that have probes.
KINDS = ("text", "image", "audio", "vector", "series")

#: Cosine may fall this far below 1, and length change accordingly.
TOLERANCE = 1e-4

_TEXTS = (
    "a red apple on a wooden table",
    "the train leaves at half past seven",
    "Who wrote this letter, and when?",
    "3.14159, 2.71828 and 1.41421",
    "zwei kleine Vögel sitzen auf dem Dach",
    "雨が降っています",
    "def add(a, b): return a + b",
    "quiet",
)


@runtime_checkable
class Probed(Protocol):
    """An encoder, a dataclass, that carries the vectors of its probes."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def uri(self) -> str:
        """What names it."""
        ...

    @property
    def frame(self) -> Frame:
        """Minted from its name and probes."""
        ...

    @property
    def probes(self) -> np.ndarray:
        """Vectors of the eight probes."""
        ...


@runtime_checkable
class Joined(Protocol):
    """An encoder of an endpoint that reads several kinds of cell into one space.

    ``shared`` are the vectors of probes that every tower embeds, so that two of them can be told
    to be of one model.
    """

    @property
    def shared(self) -> np.ndarray:
        """``[n, d]``, empty where there are none."""
        ...


P = TypeVar("P", bound=Probed)


def kin(encoder: Any, other: Any) -> Any:
    """A tower in the frame of another of the same model; others as they are.

    Raises
    ------
    FrameError : the probes that both embed differ: the model behind the endpoint changed.
    """
    if not isinstance(encoder, Joined) or not isinstance(other, Joined):
        return encoder
    if not len(encoder.shared) or not len(other.shared):
        return encoder
    check_drift(getattr(encoder, "uri", ""), other.shared, encoder.shared)
    return replace(encoder, frame=other.frame)  # type: ignore[type-var,attr-defined]


def inputs(kind: str, *, rate: int = 16_000, width: int | None = None) -> list[Any]:
    """The eight probes of a kind, decoded: the same on every machine.

    Parameters
    ----------
    kind : one of :data:`KINDS`.
    rate : of the sounds, one second each, in samples a second.
    width : numbers in a vector; needed for ``vector`` alone.
    """
    if kind == "text":
        return list(_TEXTS)
    if kind == "image":
        return [_picture(i) for i in range(8)]
    if kind == "audio":
        return [_sound(i, rate) for i in range(8)]
    if kind == "series":
        return [_sound(i, 64) for i in range(8)]
    if kind == "vector" and width is not None:
        # Sines, not random draws: the same bytes whatever the library's generator does.
        grid = np.outer(np.arange(1, 9), np.arange(1, width + 1))
        return list(np.sin(grid * 1.7).astype(np.float32))
    raise ConjoinError("kind", f"{kind!r} has no probes", f"give one of {', '.join(KINDS)}")


def _picture(i: int) -> Any:
    from PIL import Image

    y, x = np.mgrid[0:64, 0:64] / 63
    shift = np.arange(3) * 0.5
    waves = np.sin((i + 1) * (x[..., None] * (1 + shift) + y[..., None] * (2 - shift)) + i)
    return Image.fromarray(np.rint(127.5 + 127 * waves).astype(np.uint8), "RGB")


def _sound(i: int, rate: int) -> np.ndarray:
    time = np.arange(rate) / rate
    sweep = np.sin(2 * np.pi * (3 + i * rate / 50 * time) * time)
    return (0.5 * sweep * np.exp(-i * time / 2)).astype(np.float32)


def fingerprint(vectors: np.ndarray) -> str:
    """Hash of probe vectors, to mint a frame from at the first opening."""
    return digest(np.ascontiguousarray(vectors, dtype="<f4").tobytes())


def check_drift(
    where: str, stored: np.ndarray, now: np.ndarray, tolerance: float = TOLERANCE
) -> None:
    """Refuse an encoder whose probe vectors moved.

    Each probe must satisfy ``‖now − stored‖ ≤ √(2·tolerance)·‖stored‖``: for vectors of length 1
    that is a cosine of at least ``1 − tolerance``, and it sees changes of length too.

    Raises
    ------
    FrameError : a probe moved further, or the width changed.
    """
    remedy = (
        "embed again with `conjoin embed`, bridge the old frame to the new one, "
        "or restore the encoder as it was"
    )
    if stored.shape != now.shape:
        raise FrameError(
            where, f"gives {now.shape[1]} dimensions, stored are {stored.shape[1]}", remedy
        )
    old, new = stored.astype(np.float64), now.astype(np.float64)
    length = np.maximum(np.linalg.norm(old, axis=1), np.finfo(np.float32).tiny)
    moved = np.linalg.norm(new - old, axis=1) / length
    if not np.all(moved <= np.sqrt(2 * tolerance)):
        count = int(np.sum(~(moved <= np.sqrt(2 * tolerance))))
        raise FrameError(
            where,
            f"drifted: {count} of {len(moved)} probes moved, by up to {moved.max():.3g} "
            "of their length",
            remedy,
        )


def reopen(encoder: P, frame: Frame, probes: np.ndarray, tolerance: float = TOLERANCE) -> P:
    """The encoder in the frame of a stored space, if its probes still agree.

    The last bits of a probe vary between machines, so a frame minted today would have another
    id: an encoder within tolerance takes the stored frame instead.

    Raises
    ------
    FrameError : it drifted; the remedies are named.
    """
    check_drift(encoder.uri, probes, encoder.probes, tolerance)
    return replace(encoder, frame=frame, probes=np.array(probes))


def state(encoder: Probed) -> dict[str, Any]:
    """Frame and probe vectors as JSON-able fields, for a workspace to keep."""
    return {"frame": encoder.frame.to_json(), "probes": encoder.probes.tolist()}


def restore(encoder: P, kept: Mapping[str, Any]) -> P:
    """:func:`reopen` with what :func:`state` gave.

    Raises
    ------
    FrameError : it drifted.
    """
    probes = np.asarray(kept["probes"], dtype=np.float32)
    return reopen(encoder, Frame.from_json(kept["frame"]), probes)


def save_probes(path: Path, encoder: Probed) -> None:
    """Write an encoder's frame and probe vectors beside its space."""
    write_arrays(
        path,
        {"probes": np.asarray(encoder.probes, dtype=np.float32)},
        {"frame": encoder.frame.to_json(), "uri": encoder.uri},
    )


def load_probes(path: Path) -> tuple[Frame, np.ndarray]:
    """The frame and probe vectors that :func:`save_probes` wrote."""
    arrays, meta = map_arrays(path)
    return Frame.from_json(meta["frame"]), np.array(arrays["probes"])
