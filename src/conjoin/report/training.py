"""Losses of a training run as a page: each beside the loss of the best constant answer."""

import html
from collections.abc import Sequence

import numpy as np

WIDE, HIGH, EDGE = 560, 170, 40
#: Points of a drawn line at most; more are averaged.
POINTS = 200


def training_page(
    title: str, labels: Sequence[str], loss: np.ndarray, floor: np.ndarray, done: int
) -> str:
    """A page of one plot a target.

    Parameters
    ----------
    loss, floor : ``[steps, targets]``, NaN where a target did not run.
    done : steps that are over.
    """
    plots = "\n".join(
        _plot(label, loss[:done, at], floor[:done, at], len(loss))
        for at, label in enumerate(labels)
    )
    said = html.escape(title)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{said}</title>'
        '<meta name="viewport" content="width=device-width">'
        '<meta http-equiv="refresh" content="20">'
        f"<body style='font:15px system-ui;max-width:42rem;margin:2rem auto;color:#222'><h1>{said}"
        f"</h1><p>{done} of {len(loss)} steps. Dashed: the loss of the best constant answer; a "
        f"target that stays there has learnt nothing.</p>{plots}</body></html>\n"
    )


def smoothed(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places and means of a line of at most :data:`POINTS` points, without what is NaN.

    >>> at, mean = smoothed(np.array([1.0, np.nan, 3.0]))
    >>> at.tolist(), mean.tolist()
    ([0.0, 2.0], [1.0, 3.0])
    """
    here = np.flatnonzero(~np.isnan(values))
    parts = np.array_split(here, min(POINTS, max(1, len(here))))
    parts = [part for part in parts if len(part)]
    return (
        np.array([part.mean() for part in parts]),
        np.array([values[part].mean() for part in parts]),
    )


def _plot(label: str, loss: np.ndarray, floor: np.ndarray, steps: int) -> str:
    at, mean = smoothed(loss)
    if not len(at):
        return f"<h2>{html.escape(label)}</h2><p>It has not run yet.</p>"
    _, flat = smoothed(floor)
    high = max(float(mean.max()), float(flat.max())) * 1.05 or 1.0

    def line(values: np.ndarray, style: str) -> str:
        x = EDGE + (WIDE - EDGE - 10) * at / max(1, steps - 1)
        y = 10 + (HIGH - 30) * (1 - values / high)
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
        return f'<polyline points="{points}" fill="none" {style}/>'

    name = html.escape(label)
    return (
        f'<h2>{name}</h2><svg viewBox="0 0 {WIDE} {HIGH}" role="img" width="100%" '
        f'font-size="12"><title>{name}: {mean[-1]:.3f}, constant answer {flat[-1]:.3f}</title>'
        f'<text x="2" y="18">{high:.2f}</text><text x="2" y="{HIGH - 18}">0</text>'
        + line(flat, 'stroke="#777" stroke-dasharray="5 4"')
        + line(mean, 'stroke="#0072b2" stroke-width="1.6"')
        + f'<text x="{WIDE - 220}" y="{HIGH - 4}">now {mean[-1]:.3f}, '
        f"constant {flat[-1]:.3f}</text>"
        "</svg>"
    )
