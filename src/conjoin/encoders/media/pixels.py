"""Pixels as encoders take them: eight bits, upright, on a ground, whatever the file holds."""

from collections.abc import Callable
from typing import Any

import numpy as np

from conjoin.encoders.base import CellError
from conjoin.encoders.remarks import remark

#: Values at which full brightness is written: bytes, and numbers of sixteen bits.
_FULL = (255.0, 65535.0)
#: Brightness, of 255, at and beyond which what is visible is laid on black.
_LIGHT = 128


def full_scale(top: float, first: float) -> float:
    """The value that stands for full brightness, of what is held and not of how wide it is stored.

    Where the largest value lies in the upper half of a usual scale (``first``, 255, 65535) it is
    that scale's end; below a quarter of it, it is the largest value itself, as in pictures of 10,
    12 or 14 bits; between them the line from the one to the other, so that no value makes a step.

    Examples
    --------
    >>> full_scale(200, 255.0), full_scale(4095, 255.0), full_scale(60000, 255.0)
    (255.0, 4095.0, 65535.0)
    >>> full_scale(0.8, 1.0), full_scale(256, 255.0), full_scale(1e6, 1.0)
    (1.0, 256.0, 1000000.0)
    """
    if top <= first:
        return first
    for full in _FULL:
        if full > first and top <= full:
            share = np.clip((top - full / 4) / (full / 4), 0, 1)
            return float(top if share == 0 else full / 4 + share * (full - full / 4))
    return float(top)


def to_bytes(values: np.ndarray, declared: float | None = None) -> np.ndarray:
    """Pixels of any kind of number as 8-bit ones.

    Floats up to 1 and integers up to 255 are taken as they are; of wider ones see
    :func:`full_scale`. Values below 0 move the whole up, so that the least is black.

    Parameters
    ----------
    declared : value of full brightness where the file says it.

    Raises
    ------
    CellError : it holds NaN or infinity, or no numbers.
    """
    if values.dtype == np.uint8:
        return values
    if values.dtype == np.bool_:
        return values.astype(np.uint8) * 255
    if values.dtype.kind not in "iuf":
        raise CellError(f"pixels of type {values.dtype}")
    wide = values.astype(np.float64)
    if not np.isfinite(wide).all():
        raise CellError("NaN or infinity in the picture")
    low, top = min(0.0, float(wide.min(initial=0))), float(wide.max(initial=0))
    full = declared if declared and declared >= top - low else full_scale(
        top - low, 1.0 if values.dtype.kind == "f" else 255.0
    )  # fmt: skip
    return np.clip(np.round((wide - low) * (255 / full)), 0, 255).astype(np.uint8)


def of_array(values: np.ndarray) -> Any:
    """``[h, w]``, ``[h, w, c]`` or ``[c, h, w]`` of 1 to 4 channels as a Pillow picture.

    Raises
    ------
    CellError : it has another shape, or is not finite.
    """
    from PIL import Image

    if values.ndim == 3 and min(values.shape[1:]) > 4 and values.shape[0] in (1, 3, 4):
        values = values.transpose(1, 2, 0)  # as torch has it
    if values.size == 0 or values.ndim not in (2, 3):
        raise CellError(f"an array of shape {values.shape} where [h, w, 3] was expected")
    if values.ndim == 2:
        return Image.fromarray(np.ascontiguousarray(to_bytes(values)))
    channels = values.shape[2]
    if channels > 4:
        raise CellError(f"{channels} channels where 1, 3 or 4 were expected")
    if channels in (2, 4):  # the last is opacity, on a scale of its own
        colours = [to_bytes(values[..., :-1]), to_bytes(values[..., -1:])]
        values = np.concatenate(colours, axis=2)
    else:
        values = to_bytes(values)
    values = values[..., 0] if channels == 1 else values
    return Image.fromarray(np.ascontiguousarray(values))


def declared_scale(picture: Any) -> float | None:
    """The value of full brightness that a file names: a TIFF's tag, or a PNM's own maximum."""
    if getattr(picture, "format", None) == "PPM":
        return 65535.0  # Pillow brings its maximum to this
    tags = getattr(picture, "tag_v2", None)
    for tag in (281, 341):  # MaxSampleValue, SMaxSampleValue
        value = tags.get(tag) if tags is not None else None
        value = value[0] if isinstance(value, tuple) and value else value
        if isinstance(value, int | float) and 0 < value < 65535:
            return float(value)
    return None


def deep(open_again: Callable[[], Any], picture: Any) -> Any:
    """A colour picture of sixteen bits a channel, of which Pillow keeps the upper eight.

    It is decoded twice, each time for another byte of every value: told that the bytes come in
    the other order, Pillow keeps the lower one. Any other picture is given back.
    """
    mark = _raw_mode(picture)
    turned = {";16B": ";16L", ";16L": ";16B", ";16N": ";16B"}.get(mark[-4:])
    if picture.mode not in ("RGB", "RGBA") or turned is None or not mark.startswith("RGB"):
        return picture
    halves = []
    for order in (mark, mark[:-4] + turned):
        with open_again() as half:
            half.tile = [_with_mode(tile, order) for tile in half.tile]
            half.load()
            halves.append(np.asarray(half, dtype=np.uint16))
    made = of_array(halves[0] * np.uint16(256) + halves[1])
    made.getexif()[0x0112] = picture.getexif().get(0x0112, 1)
    return made


def _raw_mode(picture: Any) -> str:
    """How the bytes of a picture lie in its file, as Pillow names it; nothing where that varies."""
    tiles = getattr(picture, "tile", None) or []
    modes = {tile[3] if isinstance(tile[3], str) else (tile[3] or ("",))[0] for tile in tiles}
    mode = modes.pop() if len(modes) == 1 else ""
    return mode if isinstance(mode, str) else ""


def _with_mode(tile: Any, mode: str) -> Any:
    args = mode if isinstance(tile[3], str) else (mode, *tile[3][1:])
    return tile._replace(args=args) if hasattr(tile, "_replace") else (*tile[:3], args)


def flat(picture: Any, declared: float | None = None) -> Any:
    """Any Pillow picture as RGB: wide pixels scaled, transparent ones laid on a ground.

    The ground is white, or black under what is itself light.

    Parameters
    ----------
    declared : :func:`declared_scale` of the file.
    """
    from PIL import Image

    if picture.mode.startswith("I") or picture.mode == "F":
        narrow = to_bytes(np.asarray(picture), declared)
        return Image.fromarray(narrow).convert("RGB")
    if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        layer = picture.convert("RGBA")
        return Image.alpha_composite(_ground(layer), layer).convert("RGB")
    return picture.convert("RGB")


def _ground(layer: Any) -> Any:
    from PIL import Image

    grey = np.asarray(layer.convert("L"), dtype=np.float64)
    alpha = np.asarray(layer.getchannel("A"), dtype=np.float64)
    seen = alpha.sum()
    light = seen > 0 and (grey * alpha).sum() / seen >= _LIGHT and bool((alpha < 255).any())
    level = 0 if light else 255
    return Image.new("RGBA", layer.size, (level, level, level, 255))


def remark_blank(picture: Any) -> None:
    """Say so where all pixels are the same."""
    if all(low == high for low, high in picture.getextrema()):
        remark("blank pictures")
