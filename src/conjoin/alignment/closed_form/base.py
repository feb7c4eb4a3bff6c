"""What methods that are solved from moments alone share."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from conjoin.alignment.closed_form.covariance import Joint
from conjoin.maps.base import Map
from conjoin.spaces import Pairs, Rows


class ClosedForm(ABC):
    """A method whose maps follow from the moments of its views: an engine writes ``solve``.

    A driver that tries many methods, fields and folds makes the moments once and calls
    :meth:`solve` itself.
    """

    def fit(
        self,
        views: Mapping[str, Rows],
        pairs: Pairs,
        *,
        frames: Mapping[str, str] = {},
        frozen: Mapping[str, Any] = {},
        seed: int = 0,
    ) -> dict[str, Map]:
        """One map a view, all into one frame; ``frames`` and ``seed`` change nothing.

        Raises
        ------
        ConjoinError : a view has no pairs, too few of them, rows that are not finite, or a width
            that the method cannot take.
        """
        return self.solve(Joint.of(views, pairs, frozen), frozen)

    @abstractmethod
    def solve(self, joint: Joint, frozen: Mapping[str, Any] = {}) -> dict[str, Map]:
        """The maps from the moments of all views."""
