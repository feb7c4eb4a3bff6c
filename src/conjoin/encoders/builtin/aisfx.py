"""``builtin:aisfx``, sound effects by the network of Ma and Lerch (2022).

A mono wave at 44.1 kHz becomes log-mel frames (96 bands, hop 1024), cut into blocks of 100 frames
that overlap by half; eight convolutions give 512 numbers a block, whose mean is the sound's vector.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache as remember
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from conjoin.encoders.media import folders
from conjoin.encoders.media.media import read_sound
from conjoin.encoders.names import uri
from conjoin.encoders.options import Options
from conjoin.errors import ConjoinError, optional
from conjoin.spaces import Frame
from conjoin.storage.files import map_arrays

RATE = 44_100
WINDOW, HOP, BANDS = 2048, 1024, 96

#: Frames of a block, and from one block to the next.
BLOCK, STEP = 100, 50

#: The largest log-mel value of the authors' training sounds, which they divide by.
_LARGEST = 9.457798957824707

#: Blocks that go through the network together; more would only cost memory.
_TOGETHER = 16

STAGES = 4

#: Where `conjoin weights add aisfx` puts the network, under the cache.
FILE = Path("weights") / "aisfx.safetensors"


@dataclass(frozen=True, eq=False)
class SoundEffects:
    """The embedding network, its batch normalisations folded into the convolutions.

    Options: ``seconds`` (30), read of a sound at most.

    Source: Ma and Lerch 2022.
    """

    runtime: ClassVar[str] = "torch"
    uri: str
    kind: str
    frame: Frame
    layers: tuple[tuple[Any, Any], ...]
    seconds: float
    batch_size: int = 8

    @classmethod
    def open(cls, rest: str, options: Mapping[str, str], cache: Path) -> "SoundEffects":
        """Read the converted weights from the cache.

        Raises
        ------
        ConjoinError : the weights are not there yet.
        """
        given = Options("builtin:aisfx", options, ("seconds",))
        seconds = given.number("seconds", 30.0, 0.1, 3600)
        path = cache / FILE
        if not path.is_file():
            raise ConjoinError(
                "builtin:aisfx", "its weights are not there yet", "run: conjoin weights add aisfx"
            )
        optional("torch", "offline")
        tensors, _ = map_arrays(path)
        layers = _fold(tensors)
        facts = {
            "family": "aisfx", "weights": folders.hash_file(path), "precision": "float32",
            "pool": "mean of blocks", "seconds": seconds,
        }  # fmt: skip
        frame = Frame.mint("encoder", "builtin:aisfx", len(layers[-1][1]), facts)
        return cls(uri("builtin", "aisfx", options), "audio", frame, layers, seconds)

    def decode(self, cell: Any) -> np.ndarray:
        """A sound's blocks ``[b, 100, 96]``."""
        wave = read_sound(cell, RATE, self.seconds)
        return blocks(log_mel(wave) / np.float32(_LARGEST))

    def length(self, item: np.ndarray) -> int:
        """Blocks of the sound."""
        return len(item)

    def forward(self, items: Sequence[np.ndarray]) -> np.ndarray:
        """Sounds → ``[n, 512]`` float32."""
        import torch

        together = torch.from_numpy(np.concatenate(items))
        with torch.inference_mode():
            parts = [self._network(part) for part in together.split(_TOGETHER)]
        ends = np.cumsum([len(item) for item in items])
        rows = np.split(torch.cat(parts).numpy(), ends[:-1])
        return np.stack([row.mean(axis=0, dtype=np.float32) for row in rows])

    def _network(self, x: Any) -> Any:
        import torch.nn.functional as nn

        x = x.unsqueeze(1)
        for place, (weight, bias) in enumerate(self.layers):
            x = nn.conv2d(x, weight, bias, padding=1).relu_()
            if place % 2 and place // 2 < STAGES - 1:
                x = nn.max_pool2d(x, 2)
        return x.mean(dim=3).amax(dim=2)


def _fold(tensors: Mapping[str, np.ndarray]) -> tuple[tuple[Any, Any], ...]:
    """Convolutions with the normalisation after each folded in, as ``(weight, bias)``."""
    import torch

    layers = []
    for stage in range(1, STAGES + 1):
        for place in (1, 2):
            norm = f"conv_block{stage}.bn{place}"
            variance = tensors[f"{norm}.running_var"].astype(np.float64)
            scale = tensors[f"{norm}.weight"] / np.sqrt(variance + 1e-5)
            weight = tensors[f"conv_block{stage}.conv{place}.weight"] * scale[:, None, None, None]
            bias = tensors[f"{norm}.bias"] - tensors[f"{norm}.running_mean"] * scale
            layers.append((torch.tensor(weight).float(), torch.tensor(bias).float()))
    return tuple(layers)


@remember
def _bank() -> np.ndarray:
    """Triangles on the mel scale ``[96, 1025]``, each summing to 1."""

    def mel(hertz: Any) -> Any:
        return 1127.01048 * np.log1p(hertz / 700)

    edges = np.linspace(0, mel(RATE / 2), BANDS + 2)[:, None]
    place = mel(np.linspace(0, RATE / 2, WINDOW // 2 + 1))[None]
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    rise, fall = (place - low) / (middle - low), (high - place) / (high - middle)
    bank = np.maximum(0, np.minimum(rise, fall))
    return bank / bank.sum(axis=1, keepdims=True)


def log_mel(wave: np.ndarray) -> np.ndarray:
    """Frames ``[t, 96]`` of ``log10(1 + 10⁴ · mel power)``, the first centred on the first sample.

    The authors computed these with Essentia; this agrees with it to 5e-5.
    """
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / (WINDOW - 1))
    count = max(1, -(-(len(wave) + WINDOW // 2) // HOP))
    padded = np.zeros((count - 1) * HOP + WINDOW)
    padded[WINDOW // 2 : WINDOW // 2 + len(wave)] = wave[: len(padded) - WINDOW // 2]
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
    power = np.abs(np.fft.rfft(frames * window)) ** 2
    return np.log10(1 + 1e4 * power @ _bank().T).astype(np.float32)


def blocks(spectrum: np.ndarray) -> np.ndarray:
    """Frames cut into blocks ``[b, 100, 96]``; a short sound is one block, filled with zeros."""
    count = max(1, (len(spectrum) - BLOCK) // STEP + 1)
    if len(spectrum) < BLOCK:
        spectrum = np.pad(spectrum, ((0, BLOCK - len(spectrum)), (0, 0)))
    return np.stack([spectrum[i * STEP : i * STEP + BLOCK] for i in range(count)])
