"""Sounds by statistics of their log-mel spectrum: no weights."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from conjoin.encoders.base import CellError
from conjoin.encoders.media.media import read_sound
from conjoin.encoders.names import uri
from conjoin.encoders.options import Options
from conjoin.spaces import Frame
from conjoin.storage.digest import stable_hash

RATE = 16_000
WINDOW, HOP = 400, 160
BANDS, CEPSTRA, SEGMENTS = 64, 16, 8
#: Frames of 10 ms a patch spans (on either side of its middle) and the step between them.
REACH, STEP = 9, 3
#: Width of the kernel that compares patches, in units of liftered cepstra.
BANDWIDTH = 13.0
#: Frames this far below the loudest (in nepers of power) at either end are silence.
QUIET = 4.0 * np.log(10)


class LogMel:
    """What a sound is made of: which short patches of its spectrogram occur, and how it goes.

    Power spectra of 25 ms windows every 10 ms at 16 kHz pass 64 triangular mel filters; the
    logarithm ``[t, 64]`` is trimmed of silence at both ends and freed of its level. Its cosine
    transform (MFCC) is cut into patches of 190 ms around every second frame. Their random
    Fourier features, averaged over time, are a kernel mean: two sounds are near when the same
    patches occur in them, wherever and in whatever order, so words can be told by what they
    share. Beside it, at smaller weight, are the means of eight equal stretches, mean and
    deviation of every band and the logarithm of the duration.

    Options: ``seconds`` (30), read of a sound at most; ``features`` (1024), random frequencies.

    Source: Davis and Mermelstein 1980 (mel-frequency cepstra); the random features are those
    of Rahimi and Recht 2007, drawn from a fixed seed.
    """

    kind, batch_size, runtime = "audio", 16, "numpy"

    def __init__(self, seconds: float = 30.0, features: int = 1024, address: str = "builtin:audio"):
        self.uri, self.seconds, self.features = address, seconds, features
        dim = 2 * features + SEGMENTS * CEPSTRA + 2 * BANDS + 1
        recipe = {
            "method": "logmel 1", "rate": RATE, "window": WINDOW, "hop": HOP, "bands": BANDS,
            "cepstra": CEPSTRA, "segments": SEGMENTS, "patch": [REACH, STEP, BANDWIDTH],
            "features": features, "seconds": seconds, "quiet": QUIET,
        }  # fmt: skip
        self.frame = Frame.mint("encoder", "log-mel", dim, recipe)

    @classmethod
    def open(cls, rest: str, options: Mapping[str, str], cache: Path) -> "LogMel":
        """Open by URI."""
        given = Options("builtin:audio", options, ("seconds", "features"))
        seconds = given.number("seconds", 30.0, 0.1, 3600)
        features = given.whole("features", 1024, 16, 1 << 16)
        return cls(seconds, features, uri("builtin", "audio", options))

    @cached_property
    def _filters(self) -> np.ndarray:
        return mel_filters(RATE, 512, BANDS)

    @cached_property
    def _cosines(self) -> np.ndarray:
        from scipy.fft import dct

        lifter = np.arange(1, CEPSTRA + 1) ** 0.35
        return dct(np.eye(BANDS), type=2, norm="ortho", axis=0)[:CEPSTRA].T * lifter

    @cached_property
    def _frequencies(self) -> np.ndarray:
        rng = np.random.default_rng([0, stable_hash("log-mel patches")])
        taps = 2 * (REACH // STEP) + 1
        draws = rng.standard_normal((taps * CEPSTRA, self.features)) / (BANDWIDTH * np.sqrt(taps))
        return draws.astype(np.float32)

    def decode(self, cell: Any) -> np.ndarray:
        """Mono samples at 16 kHz."""
        samples = read_sound(cell, RATE, self.seconds)
        if len(samples) < WINDOW:
            raise CellError(f"{1000 * len(samples) / RATE:.0f} ms long, shorter than 25 ms")
        return samples

    def length(self, item: np.ndarray) -> int:
        """Samples."""
        return len(item)

    def forward(self, items: Sequence[np.ndarray]) -> np.ndarray:
        """Samples → ``[n, d]``."""
        out = np.empty((len(items), self.frame.dim), dtype=np.float32)
        for row, samples in enumerate(items):
            out[row] = self._describe(self.spectrogram(samples))
        return out

    def spectrogram(self, samples: np.ndarray) -> np.ndarray:
        """Log-mel power ``[t, bands]`` of 10 ms steps."""
        views = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP]
        spectrum = np.fft.rfft(views * np.hanning(WINDOW).astype(np.float32), 512, axis=1)
        power = spectrum.real**2 + spectrum.imag**2
        mel = power @ self._filters
        # The floor follows the loudest point, so a recording's gain changes nothing.
        return np.log(mel + max(1e-10, 1e-6 * float(mel.max())))

    def _describe(self, mel: np.ndarray) -> np.ndarray:
        mel = trim(mel)
        mel = mel - mel.mean()
        cepstra = mel @ self._cosines
        course = segment_means(cepstra, SEGMENTS).ravel()
        bands = np.concatenate([mel.mean(0), mel.std(0)])
        duration = np.log(len(mel) * HOP / RATE)
        # Weights bring what is not the kernel mean to a few percent of the variance.
        return np.concatenate(
            [self._texture(cepstra), 0.002 * course, 0.005 * bands, [0.03 * duration]]
        )

    def _texture(self, cepstra: np.ndarray) -> np.ndarray:
        """Mean over time of the random Fourier features of patches, ``[2 · features]``."""
        padded = np.pad(cepstra.astype(np.float32), ((REACH, REACH), (0, 0)), mode="edge")
        middles = np.arange(REACH, REACH + len(cepstra), 2)
        taps = np.arange(-REACH, REACH + 1, STEP)
        phases = padded[middles[:, None] + taps].reshape(len(middles), -1) @ self._frequencies
        mean = np.concatenate([np.cos(phases).mean(0), np.sin(phases).mean(0)])
        return mean * np.sqrt(1 / self.features)


def trim(mel: np.ndarray) -> np.ndarray:
    """Cut silence off both ends of a log spectrogram."""
    energy = mel.max(axis=1)
    active = np.flatnonzero(energy > energy.max() - QUIET)
    return mel[active[0] : active[-1] + 1] if len(active) else mel


def segment_means(values: np.ndarray, count: int) -> np.ndarray:
    """Means ``[count, d]`` over equal stretches of time; frames at a border are shared out."""
    total = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0)])
    edges = np.linspace(0, len(values), count + 1)
    low = np.minimum(edges.astype(int), len(values) - 1)
    at = total[low] + (edges - low)[:, None] * (total[low + 1] - total[low])
    return np.diff(at, axis=0) * (count / len(values))


def mel_filters(rate: int, size: int, bands: int, low: float = 50.0) -> np.ndarray:
    """Triangular filters ``[size // 2 + 1, bands]``, evenly spaced in mel = 1127 ln(1 + f/700)."""
    mels = np.linspace(1127 * np.log1p(low / 700), 1127 * np.log1p(rate / 2 / 700), bands + 2)
    edges = 700 * np.expm1(mels / 1127)
    frequencies = np.arange(size // 2 + 1) * rate / size
    rising = (frequencies[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - frequencies[:, None]) / (edges[2:] - edges[1:-1])
    weights = np.maximum(0, np.minimum(rising, falling))
    # Low filters may fall between two frequencies: give them their nearest one.
    for band in np.flatnonzero(weights.sum(0) == 0):
        weights[np.abs(frequencies - edges[band + 1]).argmin(), band] = 1
    return (weights / weights.sum(0)).astype(np.float32)
