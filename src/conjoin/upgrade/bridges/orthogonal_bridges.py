"""Bridges that lose nothing of the new encoder: orthonormal changes of basis."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import numpy as np

from conjoin.alignment.closed_form.covariance import Joint
from conjoin.catalogue import Choice, Search
from conjoin.errors import ConjoinError, optional
from conjoin.losses import Param
from conjoin.maps.base import Affine, Composable, Map, as_array
from conjoin.spaces import Batch, Frame, Pairs, Rows
from conjoin.spaces.frame import unit
from conjoin.storage.digest import stable_hash
from conjoin.training.loop import Arrays
from conjoin.upgrade.bridges.linear_bridges import Reached, centred_hub, k_means, outward
from conjoin.upgrade.bridges.trained_bridges import Pace, Rate, Steps, distance, follow, ridge_of

#: Rows mapped at a time.
BLOCK = 8192
#: The added dimensions are at most one in so many of the old ones.
ROOM = 4


@dataclass(frozen=True, eq=False)
class BasisChange(Composable):
    """``u = [o(f), c f B₁]``, ``y = [u_m B₂, u_rest]``: all of ``f`` kept, its head turned.

    ``f`` is ``x − shift`` to unit length with zeros up to the width of ``B₁``;
    ``o = relu(f W₁ + b₁) W₂`` to unit length, absent where ``W₂`` has no columns. ``B₁`` and
    ``B₂`` are orthonormal, so lengths and angles of ``f`` survive in ``y``.

    Parameters
    ----------
    shift : ``[d]``.
    inner, inner_bias, outer : of the network of ``o``.
    first, second : ``B₁ [D, D]`` and ``B₂ [m, m]``.
    scale : c.
    """

    shift: np.ndarray
    inner: np.ndarray
    inner_bias: np.ndarray
    outer: np.ndarray
    first: np.ndarray
    second: np.ndarray
    scale: float = 1.0
    source: Frame | None = None
    target: Frame | None = None
    name = "basis-change"

    def apply(self, x: Any) -> np.ndarray:
        """Map ``[..., d]`` → ``[..., k + D]``, in the precision of ``x``."""
        x = as_array(x)
        d = len(self.shift)
        if x.shape[-1] != d:
            raise ConjoinError("x", f"has {x.shape[-1]} dimensions", f"give vectors of {d}")
        held = {key: value.astype(x.dtype) for key, value in self.state()[1].items()}
        flat = x.reshape(-1, d)
        wide = self.outer.shape[1] + len(self.first)
        out = np.empty((len(flat), wide), x.dtype)
        for at in range(0, len(flat), BLOCK):
            out[at : at + BLOCK] = self._block(flat[at : at + BLOCK], held)
        return out.reshape(*x.shape[:-1], wide)

    def _block(self, x: np.ndarray, held: Mapping[str, np.ndarray]) -> np.ndarray:
        f = unit(x - held["shift"])
        d = len(self.shift)
        u = x.dtype.type(self.scale) * (f @ held["first"][:d])
        if self.outer.shape[1]:
            hidden = np.maximum(f @ held["inner"] + held["inner_bias"], 0)
            u = np.concatenate([unit(hidden @ held["outer"]), u], axis=1)
        m = len(self.second)
        u[:, :m] = u[:, :m] @ held["second"]
        return u

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """The scale and the arrays."""
        names = ("shift", "inner", "inner_bias", "outer", "first", "second")
        return {"scale": self.scale}, {key: getattr(self, key) for key in names}

    @classmethod
    def from_state(
        cls, fields: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
    ) -> "BasisChange":
        """Make a map from :meth:`state`."""
        held = {key: np.asarray(value) for key, value in arrays.items()}
        return cls(
            held["shift"], held["inner"], held["inner_bias"], held["outer"], held["first"],
            held["second"], float(fields["scale"]),
        )  # fmt: skip


def turned(start: np.ndarray, skew: np.ndarray) -> np.ndarray:
    """``start (I − S)⁻¹ (I + S)`` with ``S = (A − Aᵀ) / 2``: orthonormal where ``start`` is."""
    s = (skew - skew.T).astype(np.float64) / 2
    eye = np.eye(len(s))
    made: np.ndarray = start.astype(np.float64) @ np.linalg.solve(eye - s, eye + s)
    return made.astype(np.float32)


def turned_tensor(start: Any, skew: Any) -> Any:
    """The same on torch tensors (Cayley's transform)."""
    import torch

    s = (skew - skew.T) / 2
    eye = torch.eye(len(s), dtype=s.dtype)
    return start @ torch.linalg.solve(eye - s, eye + s)


def completed(x: np.ndarray, target: np.ndarray, weight: np.ndarray, wide: int) -> np.ndarray:
    """``[wide, wide]`` orthonormal, whose first columns turn ``x`` nearest to ``target``.

    Procrustes on the columns that ``target`` has; the others span what is left.
    """
    m = min(target.shape[1], wide)
    padded = np.zeros((len(x), wide))
    padded[:, : x.shape[1]] = x
    crossed = padded.T @ (target[:, :m] * weight[:, None])
    u, _, vt = np.linalg.svd(crossed, full_matrices=False)
    lead = u @ vt
    rest = np.linalg.svd(np.eye(wide) - lead @ lead.T)[0][:, : wide - m]
    return np.concatenate([lead, rest], axis=1).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Turning:
    """The trainable of a basis change: two rotations, and the network of the added dimensions.

    Parameters
    ----------
    shift : mean of the rows.
    first : where ``B₁`` starts.
    match : coordinates held against the old vectors.
    extra : dimensions added before them.
    network : where the network of the added dimensions starts: ``W₁``, ``b₁`` and ``W₂``.
    prototypes : ``[c, match]``, where those are followed instead of rows.
    """

    shift: np.ndarray
    first: np.ndarray
    match: int
    extra: int
    network: Mapping[str, np.ndarray]
    scale: float
    prototypes: np.ndarray | None = None
    names: tuple[str, ...] = ("y",)

    @property
    def dim(self) -> int:
        """Width of the outputs."""
        return self.extra + len(self.first)

    def init(self, seed: int) -> dict[str, Param]:
        """No turn yet beyond where ``B₁`` starts."""
        made = {"skew": Param(np.zeros(self.first.shape))}
        if self.extra:
            made["skew2"] = Param(np.zeros((self.match, self.match)))
            made |= {key: Param(value) for key, value in self.network.items()}
        return made

    def forward(self, batch: Batch, params: Mapping[str, Any]) -> dict[str, Any]:
        """The part held against the old vectors."""
        import torch

        normalise = torch.nn.functional.normalize
        f = normalise(batch.rows["x"] - torch.from_numpy(self.shift), dim=1)
        basis = turned_tensor(torch.from_numpy(self.first), params["skew"])
        u = self.scale * (f @ basis[: len(self.shift)])
        if not self.extra:
            return {"y": u[:, : self.match]}
        hidden = (f @ params["inner"] + params["inner_bias"]).relu()
        u = torch.cat([normalise(hidden @ params["outer"], dim=1), u], dim=1)[:, : self.match]
        eye = torch.eye(self.match)
        return {"y": u @ turned_tensor(eye, params["skew2"])}

    def loss(self, y: Any, batch: Batch) -> Any:
        """``1 − cos``; with prototypes ten times their cross-entropy and five of ``1 − cos``."""
        import torch

        target = batch.rows["target"]
        if self.prototypes is None:
            return distance(y, target[:, : self.match])
        held = torch.from_numpy(self.prototypes)
        unit_y = torch.nn.functional.normalize(y, dim=1)
        labels = target[:, -1].long()
        named = torch.nn.functional.cross_entropy(unit_y @ held.T, labels, reduction="none")
        return 10 * named + 5 * distance(y, held[labels])

    def map_of(self, arrays: Arrays) -> Map:
        """The basis change as a map."""
        d = len(self.shift)
        none = np.zeros((0, 0), np.float32)
        first = turned(self.first, arrays["skew"])
        if not self.extra:
            second = np.eye(self.match, dtype=np.float32)
            return BasisChange(
                self.shift, np.zeros((d, 0), np.float32), none[0:0, 0:0].reshape(0),
                np.zeros((0, 0), np.float32), first, second, self.scale,
            )  # fmt: skip
        second = turned(np.eye(self.match, dtype=np.float32), arrays["skew2"])
        return BasisChange(
            self.shift, arrays["inner"], arrays["inner_bias"], arrays["outer"], first, second,
            self.scale,
        )  # fmt: skip


@dataclass(frozen=True)
class BasisBridge:
    """Orthonormal changes of basis: some coordinates follow the hub, none of the new are lost.

    ``u = [o(f), c f B₁]``, ``y = [u_m B₂, u_rest]`` with ``f`` the view at unit length, ``o`` a
    network's ``extra`` dimensions at unit length, ``m`` the hub's width; trained by
    ``1 − cos(y_m, hub)``. Old rows are ``[hub, 0]``. With ``extra = 0`` and prototypes
    ``P`` (``follow="classes"``) it is OCA: one orthonormal layer, whose first ``m`` coordinates
    minimise ``10 CE(y_m Pᵀ) + 5 (1 − cos(y_m, P))``; the loss of the new classifier does not
    depend on a rotation of frozen vectors and is left out. ``P`` are means of the old vectors of
    ``classes`` regions, as no labels reach an aligner.

    Parameters
    ----------
    extra : dimensions added for the old representation.
    scale : c, the weight of the new representation against the added dimensions.
    follow : ``rows`` of the hub, or ``classes`` of them.
    classes : regions of the hub's rows that stand for classes.
    lr, steps, batch : of the training.

    References
    ----------
    Zhou et al. 2023 (BT²) and Ricci et al. 2024 (OCA), from the authors' code; both train the
    backbone as well, which stays frozen here.
    """

    directed: ClassVar[bool] = True
    #: 2: the groups that decide when to stop are held out of the start too, and are asked early.
    arithmetic: ClassVar[int] = 2

    extra: Annotated[int, Choice((0, 16, 32, 64))] = 32
    scale: Annotated[float, Search(0.5, 10.0, log=True)] = 3.0
    follow: Annotated[str, Choice(("rows", "classes"))] = "rows"
    classes: Annotated[int, Choice((16, 64, 256))] = 64
    hidden: int = 256
    lr: Rate = 1e-3
    weight_decay: float = 1e-4
    steps: Steps = 150
    batch: int = 256

    def fit(
        self,
        views: Mapping[str, Rows],
        pairs: Pairs,
        *,
        frames: Mapping[str, str] = {},
        frozen: Mapping[str, Any] = {},
        seed: int = 0,
    ) -> dict[str, Map]:
        """The hub with zeros beside it, and one basis change a view."""
        optional("torch", "train")

        def start(joint: Joint) -> dict[str, Any]:
            made = centred_hub(joint, frozen)
            if frozen:
                return made
            ((hub, item),) = made.items()
            d = joint.dims[hub]
            wide = min(self.extra, d // ROOM) + max(joint.dims.values())
            weight, bias = np.eye(d, wide, dtype=np.float32), np.zeros(wide, np.float32)
            return {hub: Affine(weight, item.shift, bias)}

        return outward(views, pairs, frozen, start, lambda g: self._one(g, seed))

    def _one(self, given: Reached, seed: int) -> Map:
        total, d = given.target.shape[1], given.x.shape[1]
        if d > total:
            # A frame that was fixed before has no room for what is wider: ridge cuts it down.
            weight, bias = ridge_of(given, 0.3)
            return Affine(weight, np.zeros(d, np.float32), bias)
        match = min(_filled(given.target), total)
        extra = min(self.extra, match // ROOM, total - d)

        def build(some: Reached) -> tuple[Turning, Reached]:
            shift = some.x.mean(axis=0)
            f = unit(some.x - shift)
            first = completed(f, unit(some.target[:, extra:match]), some.weight, total - extra)
            start = drawn_network(f, some.target[:, :extra], self.hidden, seed)
            some, prototypes = self._followed(some, match)
            return Turning(shift, first, match, extra, start, self.scale, prototypes), some

        pace = Pace(self.steps, self.batch, self.lr, self.weight_decay)
        network, arrays = follow(build, replace(given, used=match), pace, seed)
        made: Map = network.map_of(arrays)
        return made

    def _followed(self, given: Reached, match: int) -> tuple[Reached, np.ndarray | None]:
        given = replace(given, used=match)
        if self.follow == "rows":
            return given, None
        rows = unit(given.target[:, :match].astype(np.float64))
        centres = k_means(rows, given.weight, min(self.classes, max(2, len(rows) // 4)))
        owner = (rows @ unit(centres).T).argmax(axis=1).astype(np.float32)
        target = np.concatenate([given.target, owner[:, None]], axis=1)
        return replace(given, target=target), unit(centres).astype(np.float32)


def drawn_network(x: np.ndarray, target: np.ndarray, hidden: int, seed: int) -> dict[str, Any]:
    """A hidden layer at random, and least squares from it onto targets of length 1 on average."""
    rng = np.random.default_rng([seed, stable_hash("basis change")])
    inner = rng.normal(size=(x.shape[1], hidden)) * np.sqrt(2 / x.shape[1])
    shift = np.zeros(hidden)
    h = np.maximum(x @ inner, 0)
    scatter = h.T @ h
    scatter.ravel()[:: hidden + 1] += 0.1 * np.trace(scatter) / hidden + 1e-12
    length = np.linalg.norm(target, axis=1).mean() if target.shape[1] else 1.0
    outer = np.linalg.solve(scatter, h.T @ (target / (length or 1.0)))
    return {"inner": inner, "inner_bias": shift, "outer": outer}


def _filled(target: np.ndarray) -> int:
    """Coordinates up to the last that is not zero all along."""
    live = np.flatnonzero(np.abs(target).max(axis=0) > 0)
    return int(live[-1]) + 1 if len(live) else target.shape[1]
