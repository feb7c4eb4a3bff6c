"""Heads into hyperbolic space: general things near the origin, particular ones far out."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import numpy as np

from conjoin.alignment.closed_form.covariance import Joint, require_reached
from conjoin.alignment.trained.contrastive_heads import fresh, in_order, training
from conjoin.catalogue import Search
from conjoin.errors import ConjoinError, optional
from conjoin.losses import Param
from conjoin.maps.base import Composable, Map, as_array, stages
from conjoin.spaces import Batch, Frame, Pairs, Rows
from conjoin.training.loop import Arrays
from conjoin.training.networks import FreshHeads, part_of

#: Largest argument of sinh: beyond it the space components overflow half precision.
FARTHEST = math.asinh(2.0**15)

#: The curvature stays within this factor of where it started.
RANGE = 10.0


@dataclass(frozen=True, eq=False)
class LorentzMap(Composable):
    """Vectors of the tangent space at the origin onto the hyperboloid, time coordinate last.

    ``x = sinh(√c |αv|) αv / (√c |αv|)`` and ``time = √(1/c + |x|²)``: ``x·x − time² = −1/c``.

    Parameters
    ----------
    alpha : what vectors are scaled by.
    curvature : c, above 0; the space's curvature is −c.
    """

    alpha: float
    curvature: float
    source: Frame | None = None
    target: Frame | None = None
    name = "lorentz"
    score: ClassVar[str] = "lorentz"

    def apply(self, x: Any) -> np.ndarray:
        """Map ``[..., d]`` → ``[..., d + 1]``, in the precision of ``x``."""
        x = as_array(x)
        v = x.astype(np.float64) * self.alpha
        far = math.sqrt(self.curvature) * np.linalg.norm(v, axis=-1, keepdims=True)
        far = np.maximum(far, np.finfo(np.float64).tiny)
        space = np.sinh(np.minimum(far, FARTHEST)) / far * v
        time = np.sqrt(1 / self.curvature + (space * space).sum(axis=-1, keepdims=True))
        return np.concatenate([space, time], axis=-1).astype(x.dtype)

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Its two numbers."""
        return {"alpha": self.alpha, "curvature": self.curvature}, {}

    @classmethod
    def from_state(
        cls, fields: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
    ) -> "LorentzMap":
        """Make a map from :meth:`state`."""
        return cls(float(fields["alpha"]), float(fields["curvature"]))


@dataclass(frozen=True)
class HyperbolicHeads:
    """A small network a view, lifted onto a hyperboloid whose curvature is learned (MERU).

    ``y = exp₀(α (x' W + b + relu(norm(x') W₁ + b₁) W₂))`` with ``x'`` the row at mean 0 and spread
    1 a coordinate, ``exp₀`` as in :class:`LorentzMap`, α learned for each view from ``1/√width``
    and at most 1, and the curvature c learned within a factor of ten of its start. Where training
    ends is decided as in ``ContrastiveHeads``; a view added to frozen
    ones takes their curvature.

    Parameters
    ----------
    start_curvature : c at the start.
    general : the view whose points entail the others'; where no view has that name, the last.
    loss : name of the objective; it is given space components and c under ``curvature``.
    augment : name of the augmentation that makes of each batch the one trained on.
    width : d of the outputs, which have ``d + 1`` coordinates.
    hidden : units of a head's hidden layer.
    dropout : share of hidden units dropped a step.
    noise : expected length of the random vector added to each row a step.
    temperature : of the loss, at the start.
    lr, weight_decay : of AdamW.
    steps, batch : steps at most (whole passes, one at least) and lines in each.

    References
    ----------
    Desai et al. 2023 (desai2023meru), whose texts entail pictures.
    """

    #: 2: text is the general side, and no longer whichever view comes first.
    arithmetic: ClassVar[int] = 2

    start_curvature: Annotated[float, Search(0.01, 100.0, log=True)] = 1.0
    width: Annotated[int, Search(8, 1024, log=True)] = 256
    hidden: Annotated[int, Search(16, 2048, log=True)] = 256
    dropout: Annotated[float, Search(0.0, 0.8)] = 0.5
    noise: Annotated[float, Search(0.0, 8.0)] = 0.0
    temperature: Annotated[float, Search(0.005, 1.0, log=True)] = 0.07
    lr: Annotated[float, Search(1e-5, 1e-1, log=True)] = 1e-3
    weight_decay: Annotated[float, Search(1e-6, 1.0, log=True)] = 1e-1
    steps: Annotated[int, Search(1, 10_000, log=True)] = 150
    batch: Annotated[int, Search(32, 8192, log=True)] = 512
    general: str = "text"
    loss: str = "meru"
    augment: str | None = None
    together: ClassVar[bool] = False
    whole: ClassVar[bool] = False
    score: ClassVar[str] = "lorentz"

    def fit(
        self,
        views: Mapping[str, Rows],
        pairs: Pairs,
        *,
        frames: Mapping[str, str] = {},
        frozen: Mapping[str, Any] = {},
        seed: int = 0,
    ) -> dict[str, Map]:
        """One map a view, onto one hyperboloid.

        Raises
        ------
        ConjoinError : as other heads; or a frozen view does not lie on a hyperboloid.
        """
        optional("torch", "train")
        joint = Joint.of(views, pairs, frozen)
        require_reached(joint, list(frozen) or list(views)[:1])
        given = given_curvature(frozen)
        width = joint.dims[next(iter(frozen))] - 1 if frozen else self.width
        inner = fresh(self, views, pairs, frozen, width)
        lifted = LorentzHeads(inner, self.start_curvature, given)
        learner = training(self, lifted, views, frozen)
        learner = replace(learner, objective=self._under(learner.objective, views))
        arrays = learner.fit(pairs, seed)
        return in_order(views, {**frozen, **lifted.maps(arrays)})

    def _under(self, objective: Any, views: Mapping[str, Rows]) -> Any:
        """The objective with its general side, where it has one."""
        if not hasattr(objective, "general"):
            return objective
        general = self.general if self.general in views else list(views)[-1]
        return replace(objective, general=general)


def given_curvature(frozen: Mapping[str, Any]) -> float | None:
    """The curvature of the frame that frozen maps lead into; ``None`` without any.

    Raises
    ------
    ConjoinError : a frozen map does not end on a hyperboloid.
    """
    found = None
    for name, item in frozen.items():
        last = stages(item)[-1]
        if not isinstance(last, LorentzMap):
            raise ConjoinError(
                f"frozen {name}", f"ends in {last.name}, not on a hyperboloid", "fit it by meru"
            )
        found = last.curvature
    return found


@dataclass(frozen=True, eq=False)
class LorentzHeads:
    """The trainable: heads, a factor α each, and one curvature.

    Parameters
    ----------
    heads : the networks before the lift.
    curvature : c at the start.
    given : c, where frozen views decide it; nothing is learned then.
    """

    heads: FreshHeads
    curvature: float = 1.0
    given: float | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The views it puts out."""
        return self.heads.names

    @property
    def dim(self) -> int:
        """Space components."""
        return self.heads.dim

    def init(self, seed: int) -> dict[str, Param]:
        """The heads' values, ``log α`` by view and ``log c``."""
        made = self.heads.init(seed)
        start = -0.5 * math.log(self.dim)
        made |= {f"{name}/log_alpha": Param(start, high=0.0) for name in self.heads.before}
        if self.given is None:
            c = math.log(self.curvature)
            made["log_curvature"] = Param(c, c - math.log(RANGE), c + math.log(RANGE))
        return made

    def forward(self, batch: Batch, params: Mapping[str, Any]) -> dict[str, Any]:
        """Space components by view, and ``curvature``."""
        import torch

        from conjoin.losses.hyperbolic.lorentz import lift

        c = torch.tensor(self.given) if self.given else params["log_curvature"].exp()
        out = {}
        for name in self.names:
            if name not in self.heads.before:
                out[name] = batch.rows[name][:, :-1]
                continue
            held = part_of(params, name)
            v = self.heads.head(name, batch, held) * held["log_alpha"].exp()
            out[name] = lift(v, c)
        return {**out, "curvature": c}

    def maps(self, arrays: Arrays) -> dict[str, Map]:
        """The heads as maps onto the hyperboloid."""
        c = self.given or float(np.exp(arrays["log_curvature"]))
        return {
            name: before.then(LorentzMap(float(np.exp(arrays[f"{name}/log_alpha"])), c))
            for name, before in self.heads.chains(arrays, unit=False).items()
        }
