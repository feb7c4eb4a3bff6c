"""What an aligner promises."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from conjoin.maps.base import Map
from conjoin.spaces import Pairs, Rows


@runtime_checkable
class Aligner(Protocol):
    """A frozen dataclass whose fields are hyper-parameters, fitted to views and pairs.

    The first view is the hub: a directed method (ridge, Procrustes) leaves it as it is and maps
    the others to it. Views named in ``frozen`` come back untouched and the others are fitted to
    where those already lie. ``frames`` names the source frame of each view (one of its own where
    absent); views of one frame may share a map. All maps lead into one frame, scored by cosine
    unless the method has an attribute ``score`` that says otherwise.
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
        """One map a view, all into one frame.

        Raises
        ------
        ConjoinError : a view has no pairs, too few of them, or rows that are not finite.
        """
        ...
