"""What a search scans instead of every float32 row: smaller codes, prefixes, or both.

Whatever is scanned only finds candidates; they are ranked by the float32 rows, which stay on disk
and are read where needed. What a choice loses is measured, see
:func:`conjoin.retrieval.index.recall.storage_losses`.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from conjoin.errors import ConjoinError, StateError, nearest, optional
from conjoin.retrieval.engines.exact import Penalty, rescore, sweep, top_k
from conjoin.retrieval.engines.kernels import (
    REACH,
    SAMPLE,
    FloatScorer,
    Int8Scorer,
    Picked,
    Quantised,
    Tiles,
    have,
)
from conjoin.spaces import unit
from conjoin.spaces.space import BLOCK
from conjoin.storage.digest import digest
from conjoin.storage.files import map_arrays, write_arrays

KINDS = ("float32", "float16", "int8", "binary")
#: Candidates kept for each of the k, by kind: coarse codes need more.
WIDE = {"float32": 3, "float16": 3, "int8": 4, "binary": 20}
#: Candidates kept for each of the k where a prefix is scanned.
WIDE_PREFIX = 20
#: Rows scored in a block.
TILE = 4096


@dataclass(frozen=True)
class Storage:
    """What is scanned.

    Parameters
    ----------
    kind : one of :data:`KINDS`.
    prefix : the first so many dimensions, scaled to length 1 where the frame scores by cosine;
        0 is all of them.
    funnel : candidates of a prefix pass through prefixes of twice the width each, half of them
        kept at each step; without it they go straight to the whole vector.

    References
    ----------
    Kusupati et al., Matryoshka Representation Learning, NeurIPS 2022: adaptive and funnel
    retrieval.
    """

    kind: str = "float32"
    prefix: int = 0
    funnel: bool = False

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConjoinError("[index] storage", repr(self.kind), nearest(self.kind, KINDS))
        if self.prefix < 0 or (self.funnel and not self.prefix):
            raise ConjoinError(
                "[index] prefix", f"{self.prefix} with funnel {self.funnel}", "give 1 or more"
            )

    def __str__(self) -> str:
        first = f", first {self.prefix} dimensions" if self.prefix else ""
        return f"{self.kind}{first}{', funnel' if self.funnel else ''}"

    @property
    def wide(self) -> int:
        """Candidates for each of the k."""
        return max(WIDE[self.kind], WIDE_PREFIX if self.prefix else 0)

    def bytes(self, dim: int) -> int:
        """Bytes of a row that are scanned."""
        width = min(self.prefix or dim, dim)
        eight = width + -width % 8
        return {"float32": 4 * width, "float16": 2 * width, "int8": eight, "binary": eight // 8}[
            self.kind
        ]


@dataclass(frozen=True, eq=False)
class Coder:
    """How rows become codes: ``code(turn · (x − mean) / step)``, fitted once to a sample.

    A random rotation spreads a row evenly over its dimensions, so one step serves all of them.
    """

    storage: Storage
    cosine: bool
    mean: np.ndarray
    turn: np.ndarray
    step: float

    @classmethod
    def fit(cls, storage: Storage, gallery: Any, *, cosine: bool) -> "Coder":
        """Mean, rotation and step from up to ``SAMPLE`` rows."""
        n, d = gallery.shape
        width = min(storage.prefix or d, d)
        blank = cls(storage, cosine, np.zeros(width, np.float32), np.zeros((0, 0)), 1.0)
        if storage.kind in ("float32", "float16"):
            return blank
        sample = blank.cut(np.asarray(gallery[:: max(1, n // SAMPLE)], dtype=np.float32))
        mean = sample.mean(axis=0, dtype=np.float64).astype(np.float32)
        spread = np.sqrt(np.square(sample - mean).mean(dtype=np.float64))
        rng = np.random.default_rng([0, 4])
        turn = np.linalg.qr(rng.standard_normal((width, width)))[0].astype(np.float32)
        step = float(spread * REACH / 127) or 1.0
        if storage.kind == "binary":  # the mean size of a coordinate is what its sign stands for
            step = float(np.abs((sample - mean) @ turn).mean(dtype=np.float64)) or 1.0
        return cls(storage, cosine, mean, turn, step)

    @property
    def width(self) -> int:
        """Dimensions that are coded."""
        return len(self.mean)

    def cut(self, rows: np.ndarray) -> np.ndarray:
        """The prefix of vectors."""
        if rows.shape[1] == len(self.mean):
            return rows
        part = rows[:, : len(self.mean)]
        return unit(part) if self.cosine else part

    def encode(self, rows: np.ndarray) -> np.ndarray:
        """Codes of float32 rows, a line each."""
        part = self.cut(rows)
        if self.storage.kind in ("float32", "float16"):
            return part.astype(self.storage.kind)
        turned = (part - self.mean) @ self.turn
        if self.storage.kind == "binary":
            return np.packbits(turned > 0, axis=1)
        codes = np.zeros((len(rows), self.width + -self.width % 8), dtype=np.int8)
        codes[:, : self.width] = np.clip(np.rint(turned / self.step), -127, 127)
        return codes

    def scorer(self, q: np.ndarray, codes: Any) -> Any:
        """Scores of blocks of codes against queries."""
        part = np.ascontiguousarray(self.cut(np.asarray(q, dtype=np.float32)))
        kind = self.storage.kind
        if kind in ("float32", "float16"):
            return FloatScorer(part, codes)
        if kind == "int8" and len(q) >= 8 and have("torch"):
            tiles = Tiles(np.empty((0, self.width), np.float32))
            tiles.get("int8", lambda _: Quantised(_Torch(codes), self.turn, self.step))
            return Int8Scorer(part, tiles)
        turned = part @ self.turn * np.float32(self.step)
        held = np.zeros((len(q), codes.shape[1] * (8 if kind == "binary" else 1)), np.float32)
        held[:, : self.width] = turned
        return FloatScorer(held, _Signs(codes) if kind == "binary" else codes)


class _Torch:
    """Blocks of codes as torch tensors over the same memory."""

    def __init__(self, codes: Any):
        self._codes, self._torch = codes, optional("torch", "train")
        self.shape = codes.shape

    def __getitem__(self, key: slice) -> Any:
        with warnings.catch_warnings():  # the map is read-only, and only read
            warnings.simplefilter("ignore")
            return self._torch.from_numpy(np.ascontiguousarray(self._codes[key]))


class _Signs:
    """Packed bits read as −1 and 1."""

    def __init__(self, codes: Any):
        self._codes = codes
        self.shape = (len(codes), codes.shape[1] * 8)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: slice) -> np.ndarray:
        bits = np.unpackbits(np.asarray(self._codes[key]), axis=1).astype(np.float32)
        return bits * 2 - 1


class Codes:
    """An engine that scans codes; see :class:`~conjoin.retrieval.engines.scan.Engine`.

    Parameters
    ----------
    coder : how the codes were made.
    codes : ``[n, ·]`` array or stack, a line a gallery row.
    gallery : the float32 rows, for the steps of a funnel.
    """

    def __init__(self, coder: Coder, codes: Any, gallery: Any):
        self.coder, self.codes, self.gallery = coder, codes, gallery
        self.wide = coder.storage.wide

    @classmethod
    def of(cls, storage: Storage, gallery: Any, *, cosine: bool = True) -> "Codes":
        """Codes of a gallery, in memory."""
        coder = Coder.fit(storage, gallery, cosine=cosine)
        return cls(coder, np.concatenate(list(encoded(coder, gallery))), gallery)

    def candidates(
        self, q: np.ndarray, keep: int, penalty: Penalty | None, allowed: np.ndarray | None
    ) -> np.ndarray:
        """Rows ``[q, keep]`` by codes, through the funnel where there is one."""
        codes, gallery = self.codes, self.gallery
        if allowed is not None:
            codes, gallery = Picked(codes, allowed), Picked(gallery, allowed)
            penalty = None if penalty is None else Penalty(penalty.offset[allowed], penalty.gate)
        scorer = self.coder.scorer(q, codes)
        rows = sweep(scorer, len(q), len(codes), keep, penalty, TILE)
        if self.coder.storage.funnel and keep < len(codes):  # else there is nothing to leave out
            rows = self._through(q, gallery, rows, penalty)
        return rows if allowed is None else allowed[rows]

    def _through(
        self, q: np.ndarray, gallery: Any, rows: np.ndarray, penalty: Penalty | None
    ) -> np.ndarray:
        """Halve the candidates at each doubling of the width, to a quarter of what came in."""
        width, least = 2 * self.coder.width, max(1, rows.shape[1] // 4)
        while width < gallery.shape[1] and rows.shape[1] > least:
            step = Coder(Storage(), self.coder.cosine, np.zeros(width), np.zeros((0, 0)), 1.0)
            cut = _Cut(gallery, step)
            rows = rescore(step.cut(q), cut, rows, max(least, rows.shape[1] // 2), penalty)[1]
            width *= 2
        return rows


class _Cut:
    """A gallery's prefix, cut where it is read."""

    def __init__(self, gallery: Any, coder: Coder):
        self._gallery, self._coder = gallery, coder
        self.shape = (gallery.shape[0], coder.width)

    def __getitem__(self, key: Any) -> np.ndarray:
        return self._coder.cut(np.asarray(self._gallery[key], dtype=np.float32))


def encoded(coder: Coder, gallery: Any) -> Iterator[np.ndarray]:
    """Codes of a gallery, block by block."""
    for start in range(0, len(gallery), BLOCK):
        yield coder.encode(np.asarray(gallery[start : start + BLOCK], dtype=np.float32))


def stored_codes(
    folder: Path, storage: Storage, gallery: Any, segments: list[tuple[Path, np.ndarray]],
    stacked: Any, *, cosine: bool,
) -> Codes:  # fmt: skip
    """Codes that lie on disk, a file a segment; made where they are missing.

    Parameters
    ----------
    segments : path and rows of each segment.
    stacked : joins pieces as long as the segments into the live rows.
    """
    key = digest([storage.kind, storage.prefix])
    path = folder / f"coder-{key}.safetensors"
    if not _whole(path):
        made = Coder.fit(storage, gallery, cosine=cosine)
        write_arrays(path, {"mean": made.mean, "turn": made.turn}, {"step": made.step})
    arrays, meta = map_arrays(path)
    coder = Coder(storage, cosine, arrays["mean"], arrays["turn"], float(meta["step"]))
    mark = digest([coder.step, float(arrays["mean"].sum()), key])
    pieces = []
    for rows_path, rows in segments:
        piece = rows_path.with_name(f"codes-{mark}-{rows_path.name}")
        if not _whole(piece):
            whole = np.concatenate(list(encoded(coder, rows)))
            write_arrays(piece, {"codes": whole}, {})
        pieces.append(map_arrays(piece)[0]["codes"])
    return Codes(coder, stacked(pieces), gallery)


def _whole(path: Path) -> bool:
    """Whether a derived file is there as it was written."""
    try:
        map_arrays(path)
    except StateError:
        return False
    return True


def adaptive(
    q: np.ndarray, gallery: Any, k: int, *, prefix: int, shortlist: int, cosine: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Scores and rows of the k best of the ``shortlist`` rows whose prefix is nearest.

    The prefix of every row is scanned, the shortlist is scored by whole vectors. At full width, or
    with a shortlist of every row, it is the exact search.
    """
    return _staged(q, gallery, k, Storage(prefix=prefix), shortlist, cosine)


def funnel(
    q: np.ndarray, gallery: Any, k: int, *, prefix: int, shortlist: int, cosine: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """:func:`adaptive`, the shortlist halved at each doubling of the prefix on the way."""
    return _staged(q, gallery, k, Storage(prefix=prefix, funnel=True), shortlist, cosine)


def _staged(
    q: np.ndarray, gallery: Any, k: int, storage: Storage, shortlist: int, cosine: bool
) -> tuple[np.ndarray, np.ndarray]:
    q = np.ascontiguousarray(q, dtype=np.float32)
    if shortlist < k:
        raise ConjoinError("shortlist", f"{shortlist} for {k} hits", "give k or more")
    if shortlist >= len(gallery):
        return top_k(q, gallery, k)
    rows = Codes.of(storage, gallery, cosine=cosine).candidates(q, shortlist, None, None)
    return rescore(q, gallery, rows, min(k, len(gallery)), None)
