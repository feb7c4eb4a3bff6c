"""Inverse graph convolution: gallery rows pushed away from what they are like."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, ClassVar

import numpy as np

from conjoin.catalogue import Search
from conjoin.errors import ConjoinError
from conjoin.maps.base import Composable, as_array, identity
from conjoin.retrieval.engines.exact import top_k
from conjoin.retrieval.hubness.csls import Correction
from conjoin.retrieval.hubness.query_bank import bank_rows
from conjoin.spaces import Frame, Rows, Tokens, unit
from conjoin.storage.digest import digest

#: Rows moved at a time.
STEP = 2048

Rate = Annotated[float, Search(0.0, 20.0)]


@dataclass(frozen=True, eq=False)
class PushedAway(Composable):
    """``y = n(½ n(x − r₁ A₁(x)) + ½ n(x − r₂ A₂(x)))``, ``n`` scaling to length 1.

    ``A(x)`` is the mean of a bank's rows weighed by their centred similarity to ``x``: an affine
    map, ``x C − e``. With ``keep`` it is the mean of the ``keep`` nearest rows weighed by their
    similarity.

    Parameters
    ----------
    rates : ``r`` of each bank.
    keep : nearest rows of each bank; empty for all.
    arrays : ``C0, e0, C1, e1``, or the banks ``b0, b1``.
    """

    rates: tuple[float, ...]
    keep: tuple[int, ...]
    arrays: Mapping[str, np.ndarray]
    source: Frame | None = None
    target: Frame | None = None
    name = "pushed-away"

    def apply(self, x: Any) -> np.ndarray:
        """Map ``[..., d]`` → ``[..., d]``, a block at a time."""
        x = as_array(x)
        flat = x.reshape(-1, x.shape[-1])
        out = np.empty(flat.shape, dtype=flat.dtype)
        for start in range(0, len(flat), STEP):
            rows = unit(flat[start : start + STEP])
            moved = sum(unit(rows - r * self._away(rows, i)) for i, r in enumerate(self.rates))
            out[start : start + STEP] = unit(np.asarray(moved))
        return out.reshape(x.shape)

    def _away(self, rows: np.ndarray, side: int) -> np.ndarray:
        if not self.keep:
            turn, shift = (np.asarray(self.arrays[f"{c}{side}"], rows.dtype) for c in "Ce")
            return rows @ turn - shift
        bank = np.asarray(self.arrays[f"b{side}"])
        scores, near = top_k(rows, bank, self.keep[side], backend="numpy")
        out = np.empty_like(rows)
        for start in range(0, len(rows), 64):
            part = slice(start, start + 64)
            weighed = np.einsum("nk,nkd->nd", scores[part], bank[near[part]])
            out[part] = weighed / scores.shape[1]
        return out

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Rates and neighbours as fields, moments or banks as arrays."""
        return {"rates": list(self.rates), "keep": list(self.keep)}, dict(self.arrays)

    @classmethod
    def from_state(
        cls, fields: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
    ) -> "PushedAway":
        """Make a map from :meth:`state`."""
        return cls(tuple(fields["rates"]), tuple(fields["keep"]), dict(arrays))


@dataclass(frozen=True)
class InvGC:
    """The gallery moves away from the rows of two banks it is like; queries stay.

    ``x' = x − (r/m) Σ_j (cos(x, b_j) − c) b_j``, ``c`` the mean similarity, for a bank of queries
    and one of gallery items apart; the two results are scaled to length 1 and averaged.
    ``local`` keeps only the nearest share ``p`` of each bank, without ``c``:
    ``x' = x − (r/pm) Σ_near cos(x, b_j) b_j`` (LocalAdj).

    ``c`` is taken over the gallery bank in place of the gallery, as whose sample it stands, so
    that rows added later leave the others where they are. The authors' code takes it over the
    gallery of the moment.

    Parameters
    ----------
    rate_gallery : ``r`` of the gallery bank.
    rate_query : ``r`` of the query bank.
    local : only the nearest rows of each bank.
    share : ``p``, the share of a bank that is nearest.

    References
    ----------
    Jian and Wang 2023 (jian2023invgc), with the authors' code.
    """

    rate_gallery: Rate = 0.3
    rate_query: Rate = 0.3
    local: bool = False
    share: Annotated[float, Search(0.001, 1.0, log=True)] = 0.01
    tries: ClassVar[tuple[Mapping[str, Any], ...]] = ({},)

    @property
    def name(self) -> str:
        """The row's name."""
        return "invgc-local" if self.local else "invgc"

    def fit(self, gallery: Rows, query_bank: Rows, gallery_bank: Rows | None = None) -> Correction:
        """Fit; only the banks decide where rows go."""
        items = bank_rows(gallery_bank, "gallery", self.name)
        banks = [items, bank_rows(query_bank, "query", self.name)]
        if isinstance(gallery, Tokens):
            raise ConjoinError(self.name, "the gallery holds token sets", "pool them first")
        arrays: dict[str, np.ndarray] = {}
        keep: tuple[int, ...] = ()
        if self.local:
            keep = tuple(max(1, int(self.share * len(bank))) for bank in banks)
            arrays = {f"b{side}": bank for side, bank in enumerate(banks)}
        else:
            middle = items.mean(axis=0, dtype=np.float64)
            for side, bank in enumerate(banks):
                mean = bank.mean(axis=0, dtype=np.float64)
                arrays[f"C{side}"] = (bank.T @ bank) / np.float32(len(bank))
                arrays[f"e{side}"] = ((middle @ mean) * mean).astype(np.float32)
        dim = banks[0].shape[1]
        moved = PushedAway((self.rate_gallery, self.rate_query), keep, arrays)
        recipe = {"fields": asdict(self), "banks": [digest(bank.tobytes()) for bank in banks]}
        frame = Frame.mint("correction", f"a gallery moved by {self.name}", dim, recipe)
        zero = np.zeros((len(gallery), 1), dtype=np.float32)
        return Correction(
            self.name, 1.0, zero, None, identity(dim).between(None, frame),
            moved.between(None, frame), asdict(self),
        )  # fmt: skip

    def extend(self, fitted: Correction, new: Rows) -> Correction:
        """New rows are moved by the same map."""
        zero = np.zeros((len(fitted) + len(new), 1), dtype=np.float32)
        return replace(fitted, offset=zero)
