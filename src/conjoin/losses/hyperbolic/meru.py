"""Contrast in hyperbolic space, where the general lies nearer to the origin than the special."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from conjoin.catalogue import Search
from conjoin.losses.base import Addable, Param, nothing, pairs_present
from conjoin.losses.contrastive.infonce import InfoNCE
from conjoin.losses.hyperbolic import lorentz
from conjoin.losses.similarity import curvature
from conjoin.losses.temperature import start
from conjoin.spaces import Batch


@dataclass(frozen=True)
class Entailment(Addable):
    """How far points lie outside the cones of what entails them.

    ``loss = mean max(0, ext(x, y) − aper(x))`` with x the general and y the special side of each
    line, ``ext`` the angle at x between the ray from the origin and the way to y, and
    ``aper(x) = arcsin(2K / (√c |x|))``; in [0, π]. Outputs are space components of points on the
    hyperboloid of curvature −c, ``c = out["curvature"]`` (1 without it).

    Parameters
    ----------
    general : the view that entails the others; empty for the earlier of each pair. Pairs without
        it are left out.
    radius : K.

    References
    ----------
    Desai et al. 2023 (desai2023meru), with K = 0.1 as in the authors' code, after Ganea et al.
    """

    general: str = ""
    radius: Annotated[float, Search(0.01, 1.0, log=True)] = 0.1
    decomposes: ClassVar[bool] = True

    def init(self, names: Sequence[str], dim: int) -> dict[str, Param]:
        """Nothing to train."""
        return {}

    def __call__(self, out: Mapping[str, Any], batch: Batch, params: Mapping[str, Any]) -> Any:
        """Weighted mean over lines and pairs of views; zero where no line has two."""
        total, weight = nothing(out, batch), 0.0
        for first, second, lines in pairs_present(out, batch):
            if self.general and self.general not in (first, second):
                continue
            a, b = (second, first) if self.general == second else (first, second)
            x, y = out[a][lines], out[b][lines]
            c = curvature(out, x)
            outside = lorentz.exterior_angle(x, y, c) - lorentz.half_aperture(x, c, self.radius)
            trust = batch.weights[lines].to(x.dtype)
            total = total + (trust * outside.clamp_min(0)).sum()
            weight = weight + trust.sum()
        return total / weight if not isinstance(weight, float) else total


@dataclass(frozen=True)
class MERU(Addable):
    """InfoNCE by hyperbolic distance, and entailment cones.

    ``loss = InfoNCE(−d_c) + entailment · Entailment``. Outputs are space components of points,
    lifted by the trainable, and ``out["curvature"]`` is c (1 without it); see
    :mod:`conjoin.losses.hyperbolic.lorentz`.

    Parameters
    ----------
    temperature, learn_temperature : τ at the start, and whether it is trained.
    entailment : weight of the cones.
    general, radius : of ``Entailment``; text is the general side
        of text and image.
    block : rows of distances held at a time.

    References
    ----------
    Desai et al. 2023 (desai2023meru), weights as in the authors' code.
    """

    temperature: Annotated[float, Search(0.001, 1.0, log=True)] = 0.07
    learn_temperature: bool = True
    entailment: Annotated[float, Search(0.0, 2.0)] = 0.2
    general: str = ""
    radius: Annotated[float, Search(0.01, 1.0, log=True)] = 0.1
    block: int = 512
    decomposes: ClassVar[bool] = False

    def init(self, names: Sequence[str], dim: int) -> dict[str, Param]:
        """``log_scale``, where it is learned."""
        return start(self.temperature, self.learn_temperature)

    def __call__(self, out: Mapping[str, Any], batch: Batch, params: Mapping[str, Any]) -> Any:
        """The weighted sum."""
        contrast = InfoNCE(
            self.temperature, self.learn_temperature, similarity="lorentz", block=self.block
        )
        cones = Entailment(self.general, self.radius)
        return contrast(out, batch, params) + self.entailment * cones(out, batch, params)
