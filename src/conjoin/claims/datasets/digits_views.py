"""One table as many views: digits by what is measured of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from conjoin.claims.datasets.registry import given, joined, require_views
from conjoin.evaluation.benchmark import Bench

#: What each view holds of an 8 × 8 picture.
VIEWS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "left": lambda x: x[:, :, :4],
    "right": lambda x: x[:, :, 4:],
    "rows": lambda x: np.concatenate([x.sum(axis=1), x.sum(axis=2)], axis=1),
    "gradients": lambda x: np.concatenate(
        [np.diff(x, axis=1).reshape(len(x), -1), np.diff(x, axis=2).reshape(len(x), -1)], axis=1
    ),
    "fourier": lambda x: np.abs(np.fft.rfft2(x))[:, :5, :5],
}


@dataclass(frozen=True)
class DigitViews:
    """1,797 handwritten digits of 8 × 8 pixels by five kinds of measures of them.

    A group is one drawing; the class is the digit. Source: as of
    :class:`~conjoin.claims.datasets.small.Digits`.

    What it cannot show: all views are measures of one small picture, so each knows nearly all
    that the others do, and what is gained by several is less than from several sensors.

    Views
    -----
    left : the left four columns of pixels (32).
    right : the right four (32).
    rows : sums of columns and of rows (16).
    gradients : differences of neighbours, down and across (112).
    fourier : sizes of the low Fourier coefficients (25); the place of the drawing is lost.
    """

    views: ClassVar[tuple[str, ...]] = tuple(VIEWS)

    def load(self, views: Sequence[str]) -> Bench:
        """Read the package's own file."""
        from sklearn.datasets import load_digits

        require_views("digit-views", self.views, views)
        found = load_digits()
        ids = [str(row) for row in range(len(found.target))]
        spaces = {
            view: given(VIEWS[view](found.images).reshape(len(ids), -1), ids, f"digit-views {view}")
            for view in views
        }
        labels = {item: str(digit) for item, digit in zip(ids, found.target, strict=True)}
        return joined("digit-views", spaces, labels=labels)
