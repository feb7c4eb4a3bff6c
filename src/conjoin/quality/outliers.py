"""Rows that lie apart from all others, and encoders that tell nothing."""

from collections.abc import Iterator

import numpy as np

from conjoin.quality.finding import KINDS, Finding, precision_of
from conjoin.quality.inputs import FEWEST, Case, View
from conjoin.spaces import Tokens

#: Robust deviations at which a row is as likely an outlier as not.
FAR = 5.5
#: Share of the variance's effective directions, or of distinct rows, below which an encoder is
#: called collapsed.
FLAT, FEW = 0.02, 0.1


def outliers(case: Case, least: float) -> list[Finding]:
    """Rows far from their neighbours, of odd length or oddly placed, or not finite.

    Three logarithms are read: of the distance to the neighbours, of the vector's length, and of
    its distance to the mean of all. With ``z`` the largest deviation from the median over 1.4826
    times the median deviation (upwards for the first, either way for the others), confidence is
    ``1 / (1 + exp(FAR - z))``.
    """
    found: list[Finding] = []
    for view in case.views.values():
        found += _broken(view)
        if len(view.first) >= 4 * FEWEST:
            found += _far(view, least)
    return found


def _broken(view: View) -> Iterator[Finding]:
    for row in np.flatnonzero(~view.sound).tolist():
        vector = view.raw(slice(row, row + 1))
        why = "all zero" if np.isfinite(vector).all() else "NaN or infinity"
        yield Finding(
            "outlier", (str(view.space.ids[row]),), view.name, 1.0, None, {"because": why},
            KINDS["outlier"], (int(view.space.parts[row]),),
        )  # fmt: skip


def _far(view: View, least: float) -> Iterator[Finding]:
    length, apart = (np.abs(robust(np.log(np.maximum(each, 1e-12)))) for each in _lengths(view))
    told = {
        "far from its neighbours": robust(np.log(np.maximum(view.gaps[:, 5:].mean(axis=1), 1e-6))),
        "odd length": length[view.first],
        "oddly placed": apart[view.first],
    }
    every = np.stack(list(told.values()))
    worst = every.max(axis=0)
    sure = 1 / (1 + np.exp(np.minimum(FAR - worst, 50)))
    for place in np.flatnonzero(sure >= least).tolist():
        row = int(view.first[place])
        because = list(told)[int(every[:, place].argmax())]
        evidence = {"because": because, "deviations": round(float(worst[place]), 2)}
        yield Finding(
            "outlier", (str(view.space.ids[row]),), view.name, float(sure[place]),
            precision_of("outlier", float(sure[place])), evidence, KINDS["outlier"],
            (int(view.space.parts[row]),),
        )  # fmt: skip


def _lengths(view: View) -> np.ndarray:
    """``[2, n]`` length of each row, and its distance to the mean of all."""
    out = np.ones((2, len(view)))
    for start, block in view.space.blocks():
        part = slice(start, start + len(block))
        sound = np.where(view.sound[part, None], block, 0)
        out[0, part] = np.linalg.norm(sound, axis=1)
        out[1, part] = np.linalg.norm(sound - view.mean, axis=1)
    out[:, ~view.sound] = 1.0
    return out


def robust(values: np.ndarray, least: float = 1e-4) -> np.ndarray:
    """Deviations from the median, over a robust standard deviation of at least ``least``."""
    apart = values - np.median(values)
    return np.asarray(apart / max(1.4826 * float(np.median(np.abs(apart))), least))


def encoders(case: Case) -> tuple[list[Finding], dict[str, object]]:
    """Constant dimensions, collapsed spaces and few distinct vectors; the figures of each space.

    The effective rank is ``(Σ λ)² / Σ λ²`` over the eigenvalues of the covariance of the
    reduced rows.
    """
    found: list[Finding] = []
    facts: dict[str, object] = {}
    for name, view in case.views.items():
        rows = view.reduced[view.first]
        spectrum = np.linalg.eigvalsh(rows.T @ rows / max(len(rows), 1))
        rank = float(spectrum.sum() ** 2 / max((spectrum**2).sum(), 1e-30))
        distinct = _distinct(view)
        constant = _constant(view)
        told = {
            "rows": len(view), "dimensions": view.space.dim, "constant": constant,
            "distinct": distinct, "effective_rank": round(rank, 1),
            "tokens": isinstance(case.spaces[name].vectors, Tokens),
        }  # fmt: skip
        facts[name] = told
        possible = min(rows.shape[1], max(len(rows) - 1, 1))
        reasons = {
            "half of the dimensions are constant": constant > view.space.dim / 2,
            "few distinct vectors": len(view) >= 20 and distinct < FEW * len(view),
            "nearly all variance in one direction": rank < max(1.5, FLAT * possible),
        }
        for why in (why for why, true in reasons.items() if true):
            evidence = {"because": why, **told}
            found.append(Finding("encoder", (), name, 1.0, None, evidence, KINDS["encoder"]))
    return found, facts


def _distinct(view: View) -> int:
    """Rows that differ, to five digits of the reduced space."""
    rounded = np.round(view.reduced[view.sound], 5)
    return len({row.tobytes() for row in rounded + 0.0})


def _constant(view: View) -> int:
    low = np.full(view.space.dim, np.inf)
    high = np.full(view.space.dim, -np.inf)
    for start, block in view.space.blocks():
        good = block[view.sound[start : start + len(block)]]
        if len(good):
            low, high = np.minimum(low, good.min(axis=0)), np.maximum(high, good.max(axis=0))
    return int((high - low <= 1e-7 * np.maximum(np.abs(high), 1e-30)).sum())
