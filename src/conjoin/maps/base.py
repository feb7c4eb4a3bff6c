"""A fitted map between two frames: a frozen value that applies, composes, saves and loads."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from conjoin.catalogue import find
from conjoin.errors import ConjoinError
from conjoin.spaces import Frame, Rows, Space, Tokens, require_same, unit
from conjoin.storage.files import map_arrays, write_arrays


@runtime_checkable
class Map(Protocol):
    """Source frame → target frame.

    A map is a frozen dataclass with ``source`` and ``target`` frames (``None`` until a binding
    stamps them), registered in the catalogue under its ``name``.
    """

    name: str

    @property
    def source(self) -> Frame | None:
        """The frame it reads."""
        ...

    @property
    def target(self) -> Frame | None:
        """The frame it leads into."""
        ...

    def apply(self, x: Any) -> np.ndarray:
        """Map vectors on the last axis (or :class:`Tokens`) → ``[..., d_out]``."""
        ...

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """JSON-able fields and arrays that make this map again."""
        ...

    @classmethod
    def from_state(cls, fields: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> "Map":
        """Make a map from :meth:`state`."""
        ...


class Composable:
    """What every map gets from ``apply`` alone."""

    source: Frame | None
    target: Frame | None

    def then(self, after: Map) -> "Chain":
        """Follow this map by ``after``; frames must meet where both are stamped."""
        # A chain's own frames are not those of its steps, so they are carried over here.
        if self.target is not None and after.source is not None:
            require_same(self.target, after.source, "chain")
        return Chain((*stages(self), *stages(after)), self.source, after.target)

    def between(self, source: Frame | None, target: Frame | None) -> Any:
        """The same map stamped with its frames."""
        return replace(self, source=source, target=target)  # type: ignore[type-var]

    def apply_space(self, space: Space) -> Space:
        """Map a whole space; refused when it does not live in the source frame."""
        if self.source is None or self.target is None:
            raise ConjoinError("map", "has no frames", "take it from a fitted Binding")
        require_same(space.frame, self.source, "map")
        out = self.apply(space.vectors)  # type: ignore[attr-defined]
        label = type(self).__name__.lower()
        return replace(space, vectors=out, frame=self.target, provenance=(*space.provenance, label))


def stages(item: Any) -> tuple[Any, ...]:
    """The steps of a chain, or the map itself."""
    return item.maps if isinstance(item, Chain) else (item,)


def score_of(item: Any) -> str:
    """How the outputs of a map are scored: as its last step says, else by cosine."""
    return str(getattr(stages(item)[-1], "score", "cosine"))


def apply_rows(item: Any, rows: Rows) -> np.ndarray | Tokens:
    """Rows under a map as float32: vectors, or token sets where those are what it scores."""
    out = item.apply(rows)
    if isinstance(out, Tokens):
        return Tokens(np.asarray(out.vectors, dtype=np.float32), out.offsets)
    out = np.asarray(out, dtype=np.float32)
    return Tokens(out, np.arange(len(out) + 1)) if score_of(item) == "maxsim" else out


def as_array(x: Rows) -> np.ndarray:
    """Vectors as a float array; token sets and stacks are read whole."""
    if not hasattr(x, "shape"):
        raise ConjoinError("rows", "are token sets", "pool them first, or use a token map")
    array = np.asarray(x)
    return array if array.dtype in (np.float32, np.float64) else array.astype(np.float32)


@dataclass(frozen=True, eq=False)
class Affine(Composable):
    """``y = (x - shift) @ weight + bias``.

    Parameters
    ----------
    weight : ``[d_in, d_out]``; ``None`` is the identity.
    shift : ``[d_in]``.
    bias : ``[d_out]``.
    """

    weight: np.ndarray | None
    shift: np.ndarray
    bias: np.ndarray
    source: Frame | None = None
    target: Frame | None = None
    name = "affine"

    def apply(self, x: Any) -> np.ndarray:
        """Map ``[..., d_in]`` → ``[..., d_out]``."""
        x = as_array(x)
        if x.shape[-1] != len(self.shift):
            raise ConjoinError(
                "x", f"has {x.shape[-1]} dimensions", f"give vectors of {len(self.shift)}"
            )
        kind = x.dtype
        y = x - self.shift.astype(kind)
        if self.weight is not None:
            y = y @ self.weight.astype(kind)
        return y + self.bias.astype(kind)

    @property
    def inverse(self) -> "Affine":
        """The map back, where the weight is square and well conditioned.

        Raises
        ------
        ConjoinError : it has no inverse.
        """
        if self.weight is None:
            return Affine(None, self.bias, self.shift, self.target, self.source)
        rows, columns = self.weight.shape
        if rows != columns or np.linalg.cond(self.weight) > 1e6:
            raise ConjoinError(
                "inverse", f"a {rows} x {columns} map loses dimensions", "fit the other direction"
            )
        weight = np.linalg.inv(self.weight.astype(np.float64)).astype(self.weight.dtype)
        return Affine(weight, self.bias, self.shift, self.target, self.source)

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Arrays that make this map again."""
        arrays = {"shift": self.shift, "bias": self.bias}
        return {}, arrays if self.weight is None else {**arrays, "weight": self.weight}

    @classmethod
    def from_state(cls, fields: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> "Affine":
        """Make a map from :meth:`state`."""
        return cls(arrays.get("weight"), arrays["shift"], arrays["bias"])


def identity(dim: int) -> Affine:
    """The map that changes nothing."""
    return Affine(None, np.zeros(dim, np.float32), np.zeros(dim, np.float32))


@dataclass(frozen=True, eq=False)
class Normalise(Composable):
    """``y = x / |x|``, with zero kept zero."""

    source: Frame | None = None
    target: Frame | None = None
    name = "normalise"

    def apply(self, x: Any) -> np.ndarray:
        """Scale the last axis to unit length."""
        return unit(as_array(x))

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Nothing to keep."""
        return {}, {}

    @classmethod
    def from_state(cls, fields: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> "Normalise":
        """Make a map from :meth:`state`."""
        return cls()


@dataclass(frozen=True, eq=False)
class Chain(Composable):
    """Maps applied one after the other."""

    maps: tuple[Any, ...]
    source: Frame | None = None
    target: Frame | None = None
    name = "chain"

    def __post_init__(self) -> None:
        for before, after in zip(self.maps, self.maps[1:], strict=False):
            if before.target is not None and after.source is not None:
                require_same(before.target, after.source, "chain")
        if self.source is None and self.target is None and self.maps:
            object.__setattr__(self, "source", self.maps[0].source)
            object.__setattr__(self, "target", self.maps[-1].target)

    def apply(self, x: Any) -> np.ndarray:
        """Apply each in turn."""
        for part in self.maps:
            x = part.apply(x)
        return x

    @property
    def inverse(self) -> "Chain":
        """The inverses in reverse order, where each has one."""
        parts = []
        for part in reversed(self.maps):
            if not hasattr(type(part), "inverse"):
                raise ConjoinError("inverse", f"{part.name} has none", "fit the other direction")
            parts.append(part.inverse)
        return Chain(tuple(parts), self.target, self.source)

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """The states of its parts, numbered."""
        fields: list[dict[str, Any]] = []
        arrays: dict[str, np.ndarray] = {}
        for number, part in enumerate(self.maps):
            own, held = part.state()
            fields.append({"name": part.name, "fields": own})
            arrays |= {f"{number}.{key}": value for key, value in held.items()}
        return {"maps": fields}, arrays

    @classmethod
    def from_state(cls, fields: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> "Chain":
        """Make a chain from :meth:`state`."""
        parts = []
        for number, entry in enumerate(fields["maps"]):
            prefix = f"{number}."
            held = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
            parts.append(find("map", entry["name"]).load().from_state(entry["fields"], held))
        return cls(tuple(parts))


def save_map(item: Map, path: Path) -> None:
    """Write a map as one safetensors file with its frames, atomically."""
    fields, arrays = item.state()
    frames = {
        end: None if frame is None else frame.to_json()
        for end, frame in (("source", item.source), ("target", item.target))
    }
    write_arrays(path, arrays, {"map": item.name, "fields": fields, **frames})


def load_map(path: Path) -> Any:
    """Read back what :func:`save_map` wrote; arrays stay memory-mapped."""
    arrays, meta = map_arrays(path)
    source, target = (
        None if meta[end] is None else Frame.from_json(meta[end]) for end in ("source", "target")
    )
    made = find("map", meta["map"]).load().from_state(meta["fields"], arrays)
    return made.between(source, target)
