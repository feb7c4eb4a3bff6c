"""Fitted heads: frozen values that predict, save and load; no pickle."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from conjoin.errors import ConjoinError, StateError, nearest
from conjoin.maps.mlp import ResidualMLP
from conjoin.spaces.frame import unit
from conjoin.spaces.given import path_of
from conjoin.storage.digest import stable_hash
from conjoin.storage.files import map_arrays, write_arrays
from conjoin.transfer.base import Fitted, blocks, check_labels, check_rows, softmax

Fields = dict[str, Any]
Arrays = dict[str, np.ndarray]


class Classes:
    """What every fitted classifier gets from its scores."""

    classes: np.ndarray
    width: int

    def _scores(self, x: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def scores(self, x: Any) -> np.ndarray:
        """``[n, c]`` logarithms of the probabilities but for a constant a row; made by blocks."""
        rows = check_rows(x, "x", self.width)
        out = np.empty((len(rows), len(self.classes)), rows.dtype)
        for cut in blocks(rows, self._block):
            out[cut] = self._scores(rows[cut])
        return out

    @property
    def _block(self) -> int:
        return 8192

    def predict(self, x: Any) -> np.ndarray:
        """``[n]`` the likeliest class of each row."""
        return self.classes[self.scores(x).argmax(axis=1)]

    def predict_proba(self, x: Any) -> np.ndarray:
        """``[n, c]`` probabilities in the order of ``classes``."""
        return softmax(self.scores(x))

    def score(self, x: Any, y: Any) -> float:
        """Share of rows whose class is right.

        Raises
        ------
        ConjoinError : a label is none of the head's classes.
        """
        found = self.predict(x)
        labels = check_labels(y, len(found))
        new = np.setdiff1d(labels, self.classes)
        if len(new):
            raise ConjoinError(
                "y", f"label {str(new[0])!r} was not trained on",
                f"fit with items of it; {nearest(str(new[0]), map(str, self.classes))}",
            )  # fmt: skip
        return float((found == labels).mean())


@dataclass(frozen=True, eq=False)
class Linear(Classes):
    """``scores = x W + b``, of ``x`` at unit length where ``unit``.

    Parameters
    ----------
    classes : ``[c]``.
    weight : ``[d, c]``.
    bias : ``[c]``.
    """

    classes: np.ndarray
    weight: np.ndarray
    bias: np.ndarray
    unit: bool = False
    name: ClassVar[str] = "linear"

    @property
    def width(self) -> int:  # type: ignore[override]
        """Dimensions of the rows it reads."""
        return len(self.weight)

    def _scores(self, x: np.ndarray) -> np.ndarray:
        x = unit(x) if self.unit else x
        return x @ self.weight.astype(x.dtype) + self.bias.astype(x.dtype)

    def state(self) -> tuple[Fields, Arrays]:
        """Its arrays."""
        return {"unit": self.unit}, {"weight": self.weight, "bias": self.bias}

    @classmethod
    def from_state(cls, classes: np.ndarray, fields: Fields, arrays: Arrays) -> "Linear":
        """Make it from :meth:`state`."""
        return cls(classes, arrays["weight"], arrays["bias"], bool(fields["unit"]))


@dataclass(frozen=True, eq=False)
class Numbers:
    """``x W + b``: a number a row, or several.

    Parameters
    ----------
    weight : ``[d, k]``.
    bias : ``[k]``.
    flat : results are ``[n]`` and not ``[n, 1]``.
    """

    weight: np.ndarray
    bias: np.ndarray
    flat: bool = True
    name: ClassVar[str] = "numbers"

    def predict(self, x: Any) -> np.ndarray:
        """``[n]`` numbers, or ``[n, k]``."""
        rows = check_rows(x, "x", len(self.weight))
        out = np.empty((len(rows), len(self.bias)), rows.dtype)
        for cut in blocks(rows):
            out[cut] = rows[cut] @ self.weight.astype(rows.dtype) + self.bias.astype(rows.dtype)
        return out[:, 0] if self.flat else out

    def state(self) -> tuple[Fields, Arrays]:
        """Its arrays."""
        return {"flat": self.flat}, {"weight": self.weight, "bias": self.bias}

    @classmethod
    def from_state(cls, classes: Any, fields: Fields, arrays: Arrays) -> "Numbers":
        """Make it from :meth:`state`."""
        return cls(arrays["weight"], arrays["bias"], bool(fields["flat"]))


@dataclass(frozen=True, eq=False)
class Cache(Classes):
    """Names, and what labelled rows a row lies near to: see
    :class:`~conjoin.transfer.cache_heads.CacheHead`.

    Parameters
    ----------
    keys : ``[m, d]`` labelled rows at unit length.
    owner : ``[m]`` the place of each key's class.
    names : ``[d, c]`` prototypes at unit length.
    held : ``[m, c]`` logarithms of each key's distribution over the names.
    scale, alpha, beta, gamma, temperature : of the formula.
    span : lowest and highest divergence among the keys, lowest and highest cosine.
    """

    classes: np.ndarray
    keys: np.ndarray
    owner: np.ndarray
    names: np.ndarray
    held: np.ndarray
    numbers: Mapping[str, float]
    span: tuple[float, float, float, float]
    name: ClassVar[str] = "cache"

    @property
    def width(self) -> int:  # type: ignore[override]
        """Dimensions of the rows it reads."""
        return len(self.names)

    @property
    def _block(self) -> int:
        return max(1, min(8192, 2**23 // max(1, len(self.keys))))

    def _scores(self, x: np.ndarray) -> np.ndarray:
        n = self.numbers
        q = unit(x)
        cosines = q @ self.names.astype(q.dtype)
        out = n["scale"] * cosines
        if not len(self.keys):
            return out
        hot = np.zeros((len(self.keys), len(self.classes)), q.dtype)
        hot[np.arange(len(self.keys)), self.owner] = 1
        near = np.exp(-n["beta"] * (1 - q @ self.keys.astype(q.dtype).T))
        out = out + n["alpha"] * (near @ hot)
        if n["gamma"]:
            apart = divergences(cosines / n["temperature"], self.held.astype(q.dtype))
            out = out - n["gamma"] * (rescaled(apart, self.span) @ hot)
        return out

    def state(self) -> tuple[Fields, Arrays]:
        """Its numbers and arrays."""
        arrays = {"keys": self.keys, "owner": self.owner, "names": self.names, "held": self.held}
        return {"numbers": dict(self.numbers), "span": list(self.span)}, arrays

    @classmethod
    def from_state(cls, classes: np.ndarray, fields: Fields, arrays: Arrays) -> "Cache":
        """Make it from :meth:`state`."""
        low, high, near, far = (float(v) for v in fields["span"])
        return cls(
            classes, arrays["keys"], arrays["owner"], arrays["names"], arrays["held"],
            fields["numbers"], (low, high, near, far),
        )  # fmt: skip


def log_softmax(scores: np.ndarray) -> np.ndarray:
    """Logarithms of :func:`~conjoin.transfer.base.softmax`."""
    shifted = scores - scores.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def divergences(scores: np.ndarray, held: np.ndarray) -> np.ndarray:
    """``[n, m]`` of ``KL(softmax(scores) ‖ exp(held))``."""
    own = log_softmax(scores)
    p = np.exp(own)
    return (p * own).sum(axis=1)[:, None] - p @ held.T


def rescaled(values: np.ndarray, span: tuple[float, float, float, float]) -> np.ndarray:
    """Values brought from the first two of ``span`` to the last two, linearly."""
    low, high, first, last = span
    return first + (values - low) / max(high - low, 1e-12) * (last - first)


@dataclass(frozen=True, eq=False)
class Rescored(Classes):
    """Names, asked by a row and by what it retrieves: see
    :class:`~conjoin.transfer.cache_heads.RetrievalHead`.

    Parameters
    ----------
    pool : ``[m, d]`` rows that are retrieved, at unit length.
    held : ``[m, c]`` what the names make of each.
    names : ``[d, c]`` prototypes at unit length.
    k, scale : rows retrieved, and inverse temperature.
    usual : mean confidence of a row of the pool, and of what it retrieves.
    """

    classes: np.ndarray
    pool: np.ndarray
    held: np.ndarray
    names: np.ndarray
    k: int
    scale: float
    usual: tuple[float, float] = (1.0, 1.0)
    name: ClassVar[str] = "rescored"

    @property
    def width(self) -> int:  # type: ignore[override]
        """Dimensions of the rows it reads."""
        return len(self.names)

    @property
    def _block(self) -> int:
        return max(1, min(8192, 2**23 // max(1, len(self.pool))))

    def parts(self, x: np.ndarray, leave: np.ndarray | None = None) -> tuple[Any, Any]:
        """What rows and what they retrieve say of the class; ``leave`` is not retrieved."""
        q = unit(x)
        own = softmax(self.scale * (q @ self.names.astype(q.dtype)))
        if not len(self.pool):
            return own, own
        near = q @ self.pool.astype(q.dtype).T
        if leave is not None:
            near[np.arange(len(q)), leave] = -np.inf
        k = min(self.k, near.shape[1] - (leave is not None))
        top = np.argpartition(-near, k - 1, axis=1)[:, :k] if k else np.empty((len(q), 0), int)
        found = self.held[top].mean(axis=1) if k else own
        return own, found.astype(q.dtype)

    def _scores(self, x: np.ndarray) -> np.ndarray:
        own, found = self.parts(x)
        mix = sum(
            (confidence(p) / usual)[:, None] * p
            for p, usual in ((own, self.usual[0]), (found, self.usual[1]))
        )
        total = np.asarray(mix).sum(axis=1, keepdims=True)
        mix = np.where(total > 0, mix / np.where(total > 0, total, 1), (own + found) / 2)
        return np.log(np.maximum(mix, 1e-30))

    def state(self) -> tuple[Fields, Arrays]:
        """Its numbers and arrays."""
        fields = {"k": self.k, "scale": self.scale, "usual": list(self.usual)}
        return fields, {"pool": self.pool, "held": self.held, "names": self.names}

    @classmethod
    def from_state(cls, classes: np.ndarray, fields: Fields, arrays: Arrays) -> "Rescored":
        """Make it from :meth:`state`."""
        own, found = (float(v) for v in fields["usual"])
        return cls(
            classes, arrays["pool"], arrays["held"], arrays["names"], int(fields["k"]),
            float(fields["scale"]), (own, found),
        )  # fmt: skip


def confidence(p: np.ndarray) -> np.ndarray:
    """``1 − H(p) / log c`` of each row: 0 where all classes are as likely, 1 where one is sure."""
    safe = np.maximum(p, 1e-30)
    return np.maximum(1 + (p * np.log(safe)).sum(axis=1) / np.log(p.shape[1]), 0)


@dataclass(frozen=True, eq=False)
class Reshaped(Classes):
    """A linear head on what a small network makes of the rows over ``size``."""

    network: ResidualMLP
    head: Linear
    size: float
    name: ClassVar[str] = "reshaped"

    @property
    def classes(self) -> np.ndarray:  # type: ignore[override]
        """``[c]``."""
        return self.head.classes

    @property
    def width(self) -> int:  # type: ignore[override]
        """Dimensions of the rows it reads."""
        return len(self.network.weight)

    def _scores(self, x: np.ndarray) -> np.ndarray:
        return self.head._scores(self.network.apply(x / np.asarray(self.size, x.dtype)))

    def state(self) -> tuple[Fields, Arrays]:
        """Those of both, the network's under ``network/``."""
        fields, arrays = self.head.state()
        own, held = self.network.state()
        network = {f"network/{key}": value for key, value in held.items()}
        return {"head": fields, "network": own, "size": self.size}, {**arrays, **network}

    @classmethod
    def from_state(cls, classes: np.ndarray, fields: Fields, arrays: Arrays) -> "Reshaped":
        """Make it from :meth:`state`."""
        held = {k.removeprefix("network/"): v for k, v in arrays.items() if "/" in k}
        network = ResidualMLP.from_state(fields["network"], held)
        head = Linear.from_state(classes, fields["head"], arrays)
        return cls(network, head, float(fields["size"]))


@dataclass(frozen=True, eq=False)
class Rejecting:
    """A classifier that says nothing where it is not sure enough.

    A row is as sure as its largest probability. Where ``rows`` are given it is as sure as
    ``F(largest probability) + G(cosine of the nearest of rows)``, F and G being the shares of
    known rows that reach no more: what lies far from all that was trained on is refused although
    a head, which must divide all of space among its classes, is sure of it.

    Parameters
    ----------
    inner : the classifier.
    threshold : a row that is less sure is rejected.
    rows : ``[m, d]`` rows that were trained on, at unit length; or ``None``.
    known : ``[2, n]`` sorted largest probabilities and cosines of rows of known classes that the
        classifier had not seen; or ``None``.
    """

    inner: Any
    threshold: float
    rows: np.ndarray | None = None
    known: np.ndarray | None = None
    name: ClassVar[str] = "rejecting"

    @classmethod
    def at(cls, inner: Any, x: Any, rate: float) -> "Rejecting":
        """The threshold on probabilities by which at most ``rate`` of these rows is rejected.

        Parameters
        ----------
        x : rows of known classes that the head was not fitted to.

        Raises
        ------
        ConjoinError : the rate is out of range, or there are no rows.
        """
        if not len(x):
            raise ConjoinError("reject", "no rows to set the threshold on", "give more items")
        return cls.by(inner, inner.predict_proba(x).max(axis=1), rate)

    @classmethod
    def by(
        cls, inner: Any, sure: np.ndarray, rate: float, near: np.ndarray | None = None,
        rows: np.ndarray | None = None,
    ) -> "Rejecting":  # fmt: skip
        """The same by what heads alike made of rows that they had not seen.

        Parameters
        ----------
        sure, near : ``[n]`` largest probability of each, and its cosine with the nearest row that
            its head was fitted to.
        rows : what ``inner`` was fitted to; without them nearness does not count.

        Raises
        ------
        ConjoinError : the rate is out of range.
        """
        if not 0 <= rate < 1:
            raise ConjoinError("reject", f"{rate}", "give a share from 0 to below 1")
        known = None
        if rows is not None and near is not None:
            known, rows = np.sort(np.stack([sure, near]), axis=1), kept_rows(rows)
            sure = _reached(known, sure, near)
        level = np.sort(sure)[int(np.floor(rate * len(sure)))]
        return cls(inner, float(level), None if known is None else rows, known)

    def _sure(self, x: Any) -> np.ndarray:
        sure = np.asarray(self.inner.predict_proba(x).max(axis=1))
        if self.rows is None or self.known is None:
            return sure
        return _reached(self.known, sure, nearest_cosine(check_rows(x, "x"), self.rows))

    @property
    def classes(self) -> np.ndarray:
        """``[c]``."""
        return np.asarray(self.inner.classes)

    def rejected(self, x: Any) -> np.ndarray:
        """``[n]`` booleans."""
        return self._sure(x) < self.threshold

    def predict(self, x: Any) -> np.ndarray:
        """``[n]`` classes; ``None`` where rejected."""
        found = self.inner.predict(x).astype(object)
        found[self.rejected(x)] = None
        return found

    def predict_proba(self, x: Any) -> np.ndarray:
        """As those of ``inner``."""
        return np.asarray(self.inner.predict_proba(x))

    def scores(self, x: Any) -> np.ndarray:
        """As those of ``inner``."""
        return np.asarray(self.inner.scores(x))

    def state(self) -> tuple[Fields, Arrays]:
        """The threshold and what nearness is told by, and the classifier's own."""
        fields, arrays = self.inner.state()
        own = {"of": self.inner.name, "fields": fields, "threshold": self.threshold}
        if self.rows is not None and self.known is not None:
            arrays = {**arrays, "reject.rows": self.rows, "reject.known": self.known}
        return own, arrays

    @classmethod
    def from_state(cls, classes: np.ndarray, fields: Fields, arrays: Arrays) -> "Rejecting":
        """Make it from :meth:`state`."""
        inner = made_again(fields["of"], classes, fields["fields"], arrays)
        own = (arrays.get("reject.rows"), arrays.get("reject.known"))
        return cls(inner, float(fields["threshold"]), *own)


#: Rows that nearness is told by, at most; drawn at random of more.
NEAR = 4096


def kept_rows(x: np.ndarray) -> np.ndarray:
    """Rows at unit length, a draw of them where they are many."""
    if len(x) > NEAR:
        rng = np.random.default_rng(stable_hash("rows for nearness"))
        x = x[np.sort(rng.choice(len(x), NEAR, replace=False))]
    return unit(np.asarray(x, np.float32))


def nearest_cosine(x: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """``[n]`` largest cosine of each row with any of ``rows``, which are at unit length."""
    out = np.empty(len(x))
    for cut in blocks(x, 1024):
        out[cut] = (unit(x[cut].astype(np.float32)) @ rows.T).max(axis=1)
    return out


def _reached(known: np.ndarray, *scores: np.ndarray) -> np.ndarray:
    """The sum of the shares of known rows that each score reaches."""
    parts = [np.searchsorted(k, s, side="right") for k, s in zip(known, scores, strict=True)]
    return np.sum(parts, axis=0) / known.shape[1]


#: Where each kind of fitted head is written, by its name; loaded at use.
KINDS: Mapping[str, str] = {
    "linear": "heads:Linear", "numbers": "heads:Numbers", "cache": "heads:Cache",
    "rescored": "heads:Rescored", "reshaped": "heads:Reshaped", "rejecting": "heads:Rejecting",
    "adapted": "few_shot.fitted:Adapted", "evidence": "few_shot.fitted:Evidence",
    "moved": "adaptation.fitted:Moved", "reweighted": "adaptation.fitted:Reweighted",
    "neighbourly": "adaptation.fitted:Neighbourly",
}  # fmt: skip


def made_again(kind: str, classes: Any, fields: Fields, arrays: Arrays) -> Any:
    """A fitted head of one of :data:`KINDS` from its state."""
    module, _, name = KINDS[kind].partition(":")
    made = getattr(importlib.import_module(f"conjoin.transfer.{module}"), name)
    return made.from_state(classes, fields, arrays)


def save_head(head: Fitted, path: Path, about: Mapping[str, Any] | None = None) -> None:
    """Write a fitted head as one safetensors file, atomically.

    Parameters
    ----------
    about : JSON-able facts kept beside it (its frame, its modality).

    Examples
    --------
    >>> import tempfile
    >>> from conjoin.transfer.linear_heads import NearestMean
    >>> head = NearestMean().fit([[0.0, 1.0], [1.0, 0.0]], ["up", "right"])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "head.safetensors"
    ...     save_head(head, path)
    ...     load_head(path)[0].predict([[0.2, 0.9]]).tolist()
    ['up']
    """
    fields, arrays = head.state()
    classes = None if not hasattr(head, "classes") else np.asarray(head.classes).tolist()
    meta = {"head": head.name, "fields": fields, "classes": classes, "about": dict(about or {})}
    write_arrays(path, arrays, meta)


def load_head(path: Path | str) -> tuple[Any, dict[str, Any]]:
    """A fitted head and the facts kept beside it.

    Raises
    ------
    StateError : the file is torn, or holds no head.
    """
    arrays, meta = map_arrays(path_of(path))
    if meta.get("head") not in KINDS:
        raise StateError(str(path), "holds no head", "run: conjoin head")
    held = {key: np.array(value) for key, value in arrays.items()}
    classes = None if meta["classes"] is None else np.array(meta["classes"])
    return made_again(meta["head"], classes, meta["fields"], held), meta["about"]
