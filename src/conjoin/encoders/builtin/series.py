"""Time series by statistics of their values, changes and spectrum."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from conjoin.encoders.base import CellError
from conjoin.encoders.builtin.vectors import load_array
from conjoin.encoders.names import uri
from conjoin.encoders.options import Options
from conjoin.errors import ConjoinError
from conjoin.spaces import Frame

_QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
_LAGS = (1, 2, 3, 5, 8, 13, 21, 34)
_BANDS, _SHAPE = 12, 16
#: Level (2), shape of the distribution, changes, autocorrelation, spectrum, course.
WIDTH = 2 + 2 + len(_QUANTILES) + 4 + len(_LAGS) + _BANDS + 1 + _SHAPE
_UNSEEN = Frame("encoder-unprepared", 0)


class Series:
    """Each channel's level and spread, and what is left once they are taken off.

    Of a channel: arcsinh of mean and of deviation; of its z-scores: skewness and kurtosis
    (damped), quantiles, size and sign of changes, crossings of the mean, linear trend,
    autocorrelation at eight lags, share of spectral power in twelve octave bands from the Nyquist
    frequency down, the spectrum's centre, and the means of sixteen equal stretches. NaN inside a
    series is filled by linear interpolation. The channel count is that of the first readable cell.

    Source: after Lubba et al. 2019 (statistics of the kinds found to tell series apart).
    """

    kind, batch_size, runtime = "series", 64, "numpy"

    def __init__(self, channels: int = 0, address: str = "builtin:series"):
        self.uri, self._channels = address, channels
        recipe = {"method": "series 1", "channels": channels}
        dim = channels * WIDTH
        self.frame = Frame.mint("encoder", "series", dim, recipe) if channels else _UNSEEN

    @classmethod
    def open(cls, rest: str, options: Mapping[str, str], cache: Path) -> "Series":
        """Open by URI; ``channels`` may be given, else the first cell says."""
        given = Options("builtin:series", options, ("channels",))
        return cls(given.whole("channels", 0, 0, 4096), uri("builtin", "series", options))

    def prepare(self, cells: Iterable[Any]) -> "Series":
        """Take the channel count of the first readable cell."""
        for cell in cells:
            try:
                return Series(_channels(cell).shape[1], self.uri)
            except CellError:
                continue
        raise ConjoinError(
            self.uri, "no cell holds a series", "give lists of numbers, [t] or [t, c]"
        )

    def state(self) -> dict[str, Any]:
        """The channel count."""
        return {"channels": self._channels} if self._channels else {}

    def from_state(self, state: Mapping[str, Any]) -> "Series":
        """With the channel count seen earlier."""
        return Series(int(state["channels"]), self.uri)

    def decode(self, cell: Any) -> np.ndarray:
        """``[t, channels]`` finite numbers."""
        values = _channels(cell)
        if values.shape[1] != self._channels:
            raise CellError(f"{values.shape[1]} channels where the column has {self._channels}")
        return np.column_stack([_filled(values[:, c]) for c in range(self._channels)])

    def length(self, item: np.ndarray) -> int:
        """Points in time."""
        return len(item)

    def forward(self, items: Sequence[np.ndarray]) -> np.ndarray:
        """Series → ``[n, channels · WIDTH]``."""
        rows = [np.concatenate([describe(channel) for channel in item.T]) for item in items]
        return np.stack(rows).astype(np.float32)


def _channels(cell: Any) -> np.ndarray:
    values = load_array(cell).astype(np.float64)
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2 or 0 in values.shape:
        raise CellError(f"an array of shape {values.shape} where [t] or [t, c] was expected")
    return values


def _filled(values: np.ndarray) -> np.ndarray:
    good = np.isfinite(values)
    if good.all():
        return values
    if not good.any() or np.isinf(values).any():
        raise CellError("infinity in the series" if good.any() else "no number in a channel")
    places = np.arange(len(values))
    return np.interp(places, places[good], values[good])


def describe(values: np.ndarray) -> np.ndarray:
    """The :data:`WIDTH` statistics of one channel ``[t]``."""
    scale = float(np.abs(values).max()) or 1.0
    mean, spread = float((values / scale).mean()) * scale, float((values / scale).std()) * scale
    # A spread at rounding level is a constant series, not one to be blown up.
    z = (values - mean) / spread if spread > 1e-9 * scale else np.zeros_like(values)
    changes = np.diff(z) if len(z) > 1 else np.zeros(1)
    time = np.linspace(-1, 1, len(z))
    tail = [np.arcsinh((z**3).mean()), np.log1p((z**4).mean())]
    change = [
        np.abs(changes).mean(), np.sqrt((changes**2).mean()),
        np.mean(z[1:] * z[:-1] < 0) if len(z) > 1 else 0.0, (time * z).mean() * 3,
    ]  # fmt: skip
    level = [np.arcsinh(mean), np.arcsinh(spread)]
    return np.concatenate([
        level, tail, np.quantile(z, _QUANTILES), change, _autocorrelation(z), _spectrum(z),
        _stretches(z),
    ])  # fmt: skip


def _autocorrelation(z: np.ndarray) -> list[float]:
    power = float((z**2).sum()) or 1.0
    return [float((z[lag:] * z[:-lag]).sum()) / power if lag < len(z) else 0.0 for lag in _LAGS]


def _spectrum(z: np.ndarray) -> np.ndarray:
    power = np.abs(np.fft.rfft(z * np.hanning(len(z) + 2)[1:-1])) ** 2
    power[0] = 0
    frequency = np.arange(len(power)) / len(z)  # cycles a sample, up to 1/2
    band = np.clip(np.floor(-np.log2(np.maximum(2 * frequency, 1e-9))), 0, _BANDS - 1).astype(int)
    total = float(power.sum())
    if total < 1e-12:
        return np.zeros(_BANDS + 1)
    shares = np.bincount(band, power, minlength=_BANDS) / total
    return np.append(shares, 2 * float((frequency * power).sum()) / total)


def _stretches(z: np.ndarray) -> np.ndarray:
    total = np.concatenate([[0.0], np.cumsum(z)])
    edges = np.linspace(0, len(z), _SHAPE + 1)
    return np.diff(np.interp(edges, np.arange(len(z) + 1), total)) * (_SHAPE / len(z))
