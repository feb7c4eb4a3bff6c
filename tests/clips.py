"""Tiny recordings that tests make: shots of pictures, and tones beside them."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

COLOURS = {"red": (220, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 220)}


def flat(colour: str, side: int = 64) -> np.ndarray:
    """A picture of one colour."""
    return np.full((side, side, 3), COLOURS[colour], np.uint8)


def colour_of(picture) -> str:
    """The colour nearest to that in a picture's middle."""
    values = np.asarray(picture, dtype=int)
    middle = values[values.shape[0] // 2, values.shape[1] // 2]
    return min(COLOURS, key=lambda name: int(np.abs(middle - COLOURS[name]).sum()))


def save(
    path: Path,
    frames: Sequence[np.ndarray],
    times: Sequence[float],
    tones: Sequence[tuple[float, float]] = (),
) -> Path:
    """A video of frames at times in seconds, the last time its end; tones are of Hz and seconds."""
    import av

    web = path.suffix == ".webm"
    with av.open(str(path), "w") as file:
        video = file.add_stream("libvpx" if web else "mpeg4", rate=10) if len(frames) else None
        audio = (
            file.add_stream("libopus" if web else "aac", rate=48_000, layout="mono")
            if tones
            else None
        )
        if video is not None:
            video.height, video.width = frames[0].shape[:2]
            video.pix_fmt, video.bit_rate = "yuv420p", 2_000_000
            video.codec_context.time_base = Fraction(1, 1000)
            for frame, time in zip(frames, times, strict=False):
                made = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
                made.pts, made.time_base = round(1000 * time), Fraction(1, 1000)
                file.mux(video.encode(made))
            file.mux(video.encode())
        if audio is not None:
            for at, block in enumerate(_blocks(tones)):
                made = av.AudioFrame.from_ndarray(block, format="fltp", layout="mono")
                made.sample_rate, made.pts, made.time_base = 48_000, 960 * at, Fraction(1, 48_000)
                file.mux(audio.encode(made))
            file.mux(audio.encode())
    return path


def shots(
    path: Path, parts: Sequence[tuple[str, float]], tones: Sequence[tuple[float, float]] = ()
) -> Path:
    """A video of five frames a second: a colour for so many seconds, then the next."""
    names = [colour for colour, seconds in parts for _ in range(round(5 * seconds))]
    return save(path, [flat(name) for name in names], [n / 5 for n in range(len(names))], tones)


def _blocks(tones: Sequence[tuple[float, float]]):
    wave = np.concatenate([
        0.3 * np.sin(2 * np.pi * pitch * np.arange(int(48_000 * seconds)) / 48_000)
        for pitch, seconds in tones
    ]).astype(np.float32)  # fmt: skip
    return (wave[None, start : start + 960] for start in range(0, len(wave), 960))
