"""How a block of the gallery is scored: float32 in NumPy, int8 in torch, or faiss."""

import importlib.util
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from conjoin.errors import optional
from conjoin.spaces.space import BLOCK
from conjoin.spaces.stack import Stack

#: Standard deviations an int8 tile reaches before it clips.
REACH = 4.5
#: Rows from which the mean and the spread are taken.
SAMPLE = 32_768


@runtime_checkable
class Scorer(Protocol):
    """Scores of gallery rows ``[start, stop)`` against the queries it was made with.

    ``unit`` is ``[q]`` or 1: scores times it are inner products, but for a constant a query.
    """

    unit: Any

    def __call__(self, start: int, stop: int) -> np.ndarray:
        """``[stop - start, q]``, good until the next call."""
        ...


@cache
def have(module: str) -> bool:
    """Whether an optional accelerator is installed."""
    return importlib.util.find_spec(module) is not None


class Picked:
    """Some rows of a gallery, read where they lie."""

    def __init__(self, gallery: Any, rows: np.ndarray):
        self.gallery, self.rows = gallery, rows

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and width."""
        return len(self.rows), int(self.gallery.shape[1])

    def __getitem__(self, key: Any) -> np.ndarray:
        return self.gallery[self.rows[key]]


class Tiles:
    """A gallery and what fast backends derive from it, made once at first use.

    Parameters
    ----------
    gallery : ``[n, d]`` array, memory map or stack.
    """

    def __init__(self, gallery: np.ndarray | Stack | Picked):
        self.gallery = gallery
        self.asked = 0
        self._made: dict[str, Any] = {}

    def __len__(self) -> int:
        return len(self.gallery)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and width of the gallery."""
        return len(self.gallery), int(self.gallery.shape[1])

    def worth(self, name: str, queries: int) -> bool:
        """Whether that form is made already, or as many queries came as make it pay."""
        return name in self._made or self.asked >= queries

    def get(self, name: str, make: Any) -> Any:
        """What ``make(gallery)`` returned the first time."""
        if name not in self._made:
            self._made[name] = make(self.gallery)
        return self._made[name]


@dataclass
class FloatScorer:
    """Float32 scores by NumPy's GEMM."""

    queries: np.ndarray
    gallery: Any
    unit: Any = 1.0
    _buffer: np.ndarray = field(default_factory=lambda: np.empty((0, 0), np.float32))

    def __post_init__(self) -> None:
        self.queries = np.ascontiguousarray(self.queries.T)

    def __call__(self, start: int, stop: int) -> np.ndarray:
        """``[stop - start, q]`` float32."""
        rows = np.asarray(self.gallery[start:stop], dtype=np.float32)
        if len(self._buffer) < len(rows):
            self._buffer = np.empty((len(rows), self.queries.shape[1]), np.float32)
        return np.matmul(rows, self.queries, out=self._buffer[: len(rows)])


class Quantised(NamedTuple):
    """Int8 codes of rotated, centred rows: ``x ≈ mean + step · code @ turnᵀ``."""

    codes: Any
    turn: np.ndarray
    step: float


def quantise(gallery: Any) -> Quantised:
    """Codes ``[n, d]`` int8, as a torch tensor.

    A random rotation spreads every row evenly over the dimensions, so that one step serves all;
    taking the mean off changes no ranking and spends no levels on what all rows share.
    """
    torch = optional("torch", "train")
    n, d = gallery.shape
    rng = np.random.default_rng([0, 4])
    turn = np.linalg.qr(rng.standard_normal((d, d)))[0].astype(np.float32)
    sample = np.asarray(gallery[:: max(1, n // SAMPLE)], dtype=np.float32)
    mean = sample.mean(axis=0, dtype=np.float64).astype(np.float32)
    spread = np.sqrt(np.square(sample - mean).mean(dtype=np.float64))
    step = float(spread * REACH / 127) or 1.0
    codes = np.empty((n, d + -d % 8), dtype=np.int8)
    codes[:, d:] = 0
    scaled = turn / np.float32(step)
    for start in range(0, n, BLOCK):
        rows = np.asarray(gallery[start : start + BLOCK], dtype=np.float32) - mean
        levels = rows @ scaled
        np.clip(np.rint(levels, out=levels), -127, 127, out=levels)
        codes[start : start + BLOCK, :d] = levels
    return Quantised(torch.from_numpy(codes), turn, step)


class Int8Scorer:
    """Int8 scores by torch, in int32; ``unit`` turns them back into inner products."""

    def __init__(self, queries: np.ndarray, tiles: Tiles):
        self._torch = optional("torch", "train")
        codes, turn, step = tiles.get("int8", quantise)
        turned = queries @ turn
        reach = np.abs(turned).max(axis=1, keepdims=True)
        reach[reach == 0] = 1
        held = np.zeros((len(queries) + -len(queries) % 16, codes.shape[1]), dtype=np.int8)
        held[: len(queries), : turn.shape[1]] = np.rint(turned / reach * 127)
        self._codes = codes
        self._queries = self._torch.from_numpy(held).T
        self._count = len(queries)
        self._buffer = self._torch.empty((0, held.shape[0]), dtype=self._torch.int32)
        self.unit = (reach[:, 0] / 127 * step).astype(np.float32)

    def __call__(self, start: int, stop: int) -> np.ndarray:
        """``[stop - start, q]`` int32."""
        if len(self._buffer) < stop - start:
            self._buffer = self._queries.new_empty(
                (stop - start, self._queries.shape[1]), dtype=self._torch.int32
            )
        out = self._buffer[: stop - start]
        self._torch._int_mm(self._codes[start:stop], self._queries, out=out)
        return out.numpy()[:, : self._count]


class FaissTiles:
    """Half-precision rows scanned by faiss at the speed of memory."""

    def __init__(self, gallery: Any):
        self._faiss = optional("faiss", "accel")
        n, d = gallery.shape
        kind = self._faiss.ScalarQuantizer.QT_fp16
        self._index = self._faiss.IndexScalarQuantizer(d, kind, self._faiss.METRIC_INNER_PRODUCT)
        for start in range(0, n, BLOCK):
            self._index.add(np.ascontiguousarray(gallery[start : start + BLOCK], dtype=np.float32))

    @classmethod
    def of(cls, tiles: Tiles) -> "FaissTiles":
        """The one of this gallery."""
        return tiles.get("faiss", cls)

    def search(self, queries: np.ndarray, keep: int) -> np.ndarray:
        """Rows ``[q, keep]`` of the largest scores."""
        return self._index.search(queries, keep)[1]
