"""A fitted fusion: decides from whatever is present, and says how far it trusted each view."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from conjoin.errors import ConjoinError, StateError
from conjoin.fusion.backend import NumpyOps, softmax
from conjoin.fusion.inputs import Inputs, Table
from conjoin.fusion.target import Target
from conjoin.maps.standardise import Standardise
from conjoin.spaces.given import path_of
from conjoin.storage.files import map_arrays, write_arrays

#: Bodies by the name they are stored under.
BODIES = {
    "late": "conjoin.fusion.linear:LateBody",
    "concat": "conjoin.fusion.linear:ConcatBody",
    "network": "conjoin.fusion.network:NetworkBody",
    "trees": "conjoin.fusion.tabular:TreesBody",
}
#: Shift of a decision below which a view counts as having moved nothing.
STILL = 1e-6


class Out(NamedTuple):
    """What a body says of a block: fused vectors, scores, and weights of the views or nothing."""

    vector: np.ndarray
    scores: np.ndarray
    weights: np.ndarray | None


@runtime_checkable
class Body(Protocol):
    """The fitted part of a method."""

    name: str

    def block(self, rows: Mapping[str, np.ndarray], here: np.ndarray) -> Out:
        """Standardised rows by view, zero where absent, and ``[b, views]`` what is present."""
        ...

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """JSON-able fields and arrays that make this body again."""
        ...


@runtime_checkable
class Fusion(Protocol):
    """A frozen dataclass whose fields are hyper-parameters, fitted to aligned views and labels."""

    def fit(
        self,
        views: Mapping[str, Table],
        present: Mapping[str, np.ndarray],
        *,
        labels: Any = None,
        weight: np.ndarray | None = None,
        seed: int = 0,
    ) -> "Fused":
        """Fit to rows ``[n, d]`` by view; what an absent row holds never matters.

        Parameters
        ----------
        present : ``[n]`` booleans by view; a view without any is there for every item.
        labels : ``[n]`` classes (strings or integers) or numbers (floats).
        weight : ``[n]`` trust in each item, above 0.

        Raises
        ------
        ConjoinError : lengths differ, all labels are the same, a view is present in no item, an
            item lacks everything, or a present row is not finite.
        """
        ...


@dataclass(frozen=True, eq=False)
class Fused:
    """A fusion fitted to labels; made by ``fit`` of any method of kind ``fusion``.

    Parameters
    ----------
    method : the row it was fitted by.
    target : what it decides.
    scalers : by view, what its rows are standardised by.
    body : the fitted part of the method.

    Examples
    --------
    >>> from conjoin.catalogue import find
    >>> rng = np.random.default_rng(0)
    >>> label = np.arange(60) % 2
    >>> sound, sight = (label[:, None] + rng.normal(size=(60, 3)) / 4 for _ in range(2))
    >>> has_sound = np.arange(60) > 20
    >>> views, present = {"sound": sound, "sight": sight}, {"sound": has_sound}
    >>> fitted = find("fusion", "late").make().fit(views, present, labels=label)
    >>> fitted.predict({"sight": sight[:4]}, {}).tolist()
    ['0', '1', '0', '1']
    >>> fitted.trust(views, present)[0].tolist()
    [0.0, 1.0]
    """

    method: str
    target: Target
    scalers: Mapping[str, Standardise]
    body: Any

    @property
    def names(self) -> tuple[str, ...]:
        """The views, in the order of :meth:`trust`'s columns."""
        return tuple(self.scalers)

    def apply(self, views: Mapping[str, Table], present: Mapping[str, np.ndarray]) -> np.ndarray:
        """One fused vector an item ``[n, d]``.

        Raises
        ------
        ConjoinError : an item lacks everything, lengths differ, or a present row is not finite.
        """
        found = [out.vector for _, _, out in self._outs(self._inputs(views, present))]
        return np.concatenate(found)

    def predict_proba(
        self, views: Mapping[str, Table], present: Mapping[str, np.ndarray]
    ) -> np.ndarray:
        """Probabilities ``[n, classes]`` in the order of ``target.classes``.

        Raises
        ------
        ConjoinError : as :meth:`apply`, or numbers are decided.
        """
        if self.target.classes is None:
            raise ConjoinError("predict_proba", "numbers have no probabilities", "use predict")
        return softmax(NumpyOps, self.scores(views, present))

    def predict(self, views: Mapping[str, Table], present: Mapping[str, np.ndarray]) -> np.ndarray:
        """Classes or numbers ``[n]``."""
        return self.target.decode(self.scores(views, present))

    def scores(self, views: Mapping[str, Table], present: Mapping[str, np.ndarray]) -> np.ndarray:
        """Logarithms of probabilities up to a constant ``[n, classes]``, or ``[n, 1]`` numbers."""
        return self.scores_of(self._inputs(views, present))

    def scores_of(self, inputs: Inputs) -> np.ndarray:
        """The same of inputs already checked."""
        return np.concatenate([out.scores for _, _, out in self._outs(inputs)])

    def log_likelihood(self, inputs: Inputs, labels: Any) -> np.ndarray:
        """``[n]`` log-probability of the right class, or ``−(error / spread)² / 2``.

        A class that was not there in training gets the logarithm of 1e-6, as does every other
        that is thought less likely than that.
        """
        return likelihood(self.target, self.scores_of(inputs), labels)

    def trust(self, views: Mapping[str, Table], present: Mapping[str, np.ndarray]) -> np.ndarray:
        """How far each decision rests on each view, ``[n, views]``: 0 where absent, rows sum to 1.

        The method's own weights where it has some. Otherwise how much the decision moves without
        the view: half the change of all probabilities, or the change of the number.
        """
        inputs = self._inputs(views, present)
        found = []
        for rows, here, out in self._outs(inputs):
            weights = out.weights
            if weights is None:
                weights = self._occluded(rows, here, out.scores)
            weights = np.where(here, weights, 0)
            total = weights.sum(axis=1, keepdims=True)
            even = here / here.sum(axis=1, keepdims=True)
            found.append(np.where(total > STILL, weights / np.maximum(total, STILL), even))
        return np.concatenate(found).astype(np.float64)

    def _occluded(
        self, rows: Mapping[str, np.ndarray], here: np.ndarray, whole: np.ndarray
    ) -> np.ndarray:
        moved = np.zeros(here.shape)
        for place, name in enumerate(self.names):
            less = here.copy()
            less[:, place] = False
            asked = here[:, place] & less.any(axis=1)
            moved[:, place] = here[:, place] & ~less.any(axis=1)
            if not asked.any():
                continue
            fewer = {key: value[asked] for key, value in rows.items()}
            fewer[name] = np.zeros_like(fewer[name])
            left = self.body.block(fewer, less[asked]).scores
            moved[asked, place] = _moved(whole[asked], left, self.target.classes is None)
        return moved

    def _inputs(self, views: Mapping[str, Table], present: Mapping[str, np.ndarray]) -> Inputs:
        return Inputs.of(views, present, self.names)

    def _outs(self, inputs: Inputs) -> Iterator[tuple[dict[str, np.ndarray], np.ndarray, Out]]:
        for lines in inputs.blocks():
            here = inputs.here[lines]
            rows = standardised(inputs, lines, self.scalers)
            yield rows, here, self.body.block(rows, here)

    def save(self, path: Path) -> None:
        """Write it as one safetensors file, atomically."""
        fields, arrays = self.body.state()
        held = {f"body.{key}": np.asarray(value) for key, value in arrays.items()}
        for place, scaler in enumerate(self.scalers.values()):
            held[f"{place}.shift"], held[f"{place}.scale"] = scaler.shift, scaler.scale
        write_arrays(path, held, {
            "fusion": self.body.name, "method": self.method, "names": list(self.names),
            "target": self.target.state(), "fields": fields,
        })  # fmt: skip

    @classmethod
    def load(cls, path: Path | str) -> "Fused":
        """Read back what :meth:`save` wrote.

        Raises
        ------
        StateError : the file is torn, newer, or no fusion.
        """
        arrays, meta = map_arrays(path_of(path))
        if meta.get("fusion") not in BODIES:
            raise StateError(str(path), "is no fusion", "run: conjoin fuse")
        scalers = {
            name: Standardise(np.array(arrays[f"{k}.shift"]), np.array(arrays[f"{k}.scale"]))
            for k, name in enumerate(meta["names"])
        }
        held = {k.removeprefix("body."): np.array(v) for k, v in arrays.items() if k[:5] == "body."}
        body = body_of(meta["fusion"]).from_state(meta["fields"], held)
        return cls(meta["method"], Target.from_state(meta["target"]), scalers, body)


def body_of(name: str) -> Any:
    """The class of a stored body."""
    import importlib

    module, _, kind = BODIES[name].partition(":")
    return getattr(importlib.import_module(module), kind)


def standardised(
    inputs: Inputs, lines: np.ndarray, scalers: Mapping[str, Standardise]
) -> dict[str, np.ndarray]:
    """Rows by view with mean 0 and spread 1 a coordinate, zero where absent."""
    found = {}
    for place, (name, scaler) in enumerate(scalers.items()):
        x = inputs.rows(name, lines, len(scaler.shift))
        x -= scaler.shift  # in place: passes over many items spend most of their time here
        x *= scaler.scale
        own = inputs.here[lines, place]
        if not own.all():
            x[~own] = 0
        found[name] = x
    return found


def likelihood(target: Target, scores: np.ndarray, labels: Any) -> np.ndarray:
    """``[n]`` as :meth:`Fused.log_likelihood`."""
    right = target.encode(labels, strict=False)
    if target.classes is None:
        return -((scores[:, 0] - right) ** 2) / 2
    shares = softmax(NumpyOps, scores.astype(np.float64))
    own = shares[np.arange(len(right)), np.maximum(right, 0)]
    return np.log(np.maximum(np.where(right < 0, 0, own), 1e-6))


def _moved(whole: np.ndarray, left: np.ndarray, numbers: bool) -> np.ndarray:
    if numbers:
        return np.abs(whole - left)[:, 0]
    before, after = softmax(NumpyOps, whole), softmax(NumpyOps, left)
    return np.abs(before - after).sum(axis=1) / 2
