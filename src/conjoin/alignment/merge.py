"""Two bindings become one through items that both hold."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from conjoin.alignment import guards
from conjoin.alignment.binding import FEWEST, Binding, finished
from conjoin.catalogue import find
from conjoin.errors import ConjoinError
from conjoin.maps.base import Map, identity
from conjoin.spaces import Pairs, Space, require_same
from conjoin.spaces.frame import unit

#: One part in so many of the anchors is asked whether the bridge leads where it should.
HELD = 4


@dataclass(frozen=True, eq=False)
class Merged:
    """What merging gave.

    Parameters
    ----------
    binding : of both; the frame is the first one's.
    bridge : from the second frame to the first.
    names : what each modality of the second is called now.
    found : share of held-out anchors whose own place is the nearest after the bridge.
    """

    binding: Binding
    bridge: Map
    names: Mapping[str, str]
    found: float

    def move(self, name: str, bound: Space) -> Space:
        """Rows of a modality of the second binding, in the frame of both.

        Parameters
        ----------
        name : as the second binding calls it.
        bound : in the second binding's frame.
        """
        require_same(bound.frame, _source(self.bridge), f"modality {name}")
        vectors = np.asarray(self.bridge.apply(np.asarray(bound.vectors, np.float32)))
        said = (*bound.provenance, f"moved to {self.binding.frame.id}")
        return replace(
            bound, vectors=vectors.astype(np.float32), frame=self.binding.frame, provenance=said
        )


def _source(bridge: Map) -> Any:
    return bridge.source


def anchored(bound: Mapping[str, Space], key: Mapping[str, str]) -> tuple[list[str], np.ndarray]:
    """Anchors in order, and the mean direction of all rows of each.

    Parameters
    ----------
    bound : vectors of one frame by modality.
    key : anchor of each item id that is one.
    """
    sums: dict[str, np.ndarray] = {}
    for space in bound.values():
        rows = unit(np.asarray(space.vectors, np.float32))
        for item, row in zip(space.ids.tolist(), rows, strict=True):
            if item in key:
                sums[key[item]] = sums.get(key[item], 0) + row
    names = sorted(sums)
    return names, unit(np.stack([sums[n] for n in names])) if names else np.empty((0, 0))


def merge(
    a: Binding,
    b: Binding,
    anchors: tuple[np.ndarray, np.ndarray],
    *,
    method: str = "ridge",
    label: str = "other",
    seed: int = 0,
) -> Merged:
    """Join ``b`` to ``a``: its maps are followed by a bridge, ``a``'s stay as they are.

    Parameters
    ----------
    anchors : ``[n, d_a]`` and ``[n, d_b]``, the same items in either frame, row by row.
    method : the aligner that fits the bridge.
    label : put before names of ``b`` that ``a`` has as well.

    Raises
    ------
    ConjoinError : too few anchors, or the bridge does not find held-out ones back: then the
        anchors are not the same items.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(60, 4))
    >>> def two(*names):
    ...     return Binding.fit({n: Space.of(x, name=n) for n in names}, method="ridge")
    >>> a, b = two("text", "image"), two("text", "sound")
    >>> rows = tuple(np.asarray(m.bind("text", Space.of(x, name="text")).vectors) for m in (a, b))
    >>> sorted(merge(a, b, rows).binding.maps)
    ['image', 'other.text', 'sound', 'text']
    """
    target, x = (np.asarray(part, np.float32) for part in anchors)
    if len(x) != len(target):
        raise ConjoinError("anchors", f"{len(target)} and {len(x)} rows", "give them row by row")
    if len(x) < max(4 * FEWEST, guards.FEWEST):
        raise ConjoinError("anchors", f"{len(x)} items in both", f"share {guards.FEWEST} or more")
    for binding, rows in ((a, target), (b, x)):
        if rows.shape[1] != binding.frame.dim:
            raise ConjoinError(
                "anchors", f"of {rows.shape[1]} dimensions for a frame of {binding.frame.dim}",
                "bind them first",
            )  # fmt: skip
    order = np.random.default_rng([seed, 3]).permutation(len(x))
    held, learn = np.sort(order[: len(x) // HELD]), np.sort(order[len(x) // HELD :])
    found = guards.check_direction(_bridge(a, x[learn], target[learn], method, seed), x[held],
                                   target[held])  # fmt: skip
    bridge = _bridge(a, x, target, method, seed).between(b.frame, a.frame)
    names = {name: f"{label}.{name}" if name in a.maps else name for name in b.maps}
    maps = dict(a.maps)
    for name, item in b.maps.items():
        joined = item.then(bridge) if hasattr(item, "then") else item
        maps[names[name]] = joined.between(item.source, a.frame)
    trained = np.union1d(a.trained, b.trained)
    return Merged(replace(a, maps=maps, trained=trained), bridge, names, found)


def _bridge(a: Binding, x: np.ndarray, target: np.ndarray, method: str, seed: int) -> Any:
    aligner = find("aligner", method).make()
    at = np.arange(len(x))
    fitted = aligner.fit(
        {"a": target, "b": x}, Pairs.of(a=at, b=at), frozen={"a": identity(a.frame.dim)}, seed=seed
    )
    return finished(fitted["b"], a.frame)
