"""Contrast that leaves no gap between the views."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from conjoin.catalogue import Search
from conjoin.losses.base import Addable, Param
from conjoin.losses.contrastive.infonce import InfoNCE
from conjoin.losses.regularizers.hypersphere import Alignment, CrossUniformity, Uniformity
from conjoin.losses.temperature import start
from conjoin.spaces import Batch


@dataclass(frozen=True)
class ContrastiveGap(Addable):
    """InfoNCE with partners drawn near and everything else spread out, within and across views.

    ``loss = InfoNCE + alignment · Alignment + uniformity · Uniformity + cross · CrossUniformity``;
    the published sums, called CUAXU (all terms) and CUA (``cross`` 0), have weights of 1.

    Parameters
    ----------
    temperature, learn_temperature : τ at the start, and whether it is trained.
    alignment, uniformity, cross : weights of the terms.
    t : sharpness of the potentials.
    block : rows of logits held at a time.

    References
    ----------
    Fahim et al. 2024 (fahim2024gap); terms after Wang and Isola 2020 (wang2020hypersphere).
    """

    temperature: Annotated[float, Search(0.001, 1.0, log=True)] = 0.07
    learn_temperature: bool = True
    alignment: Annotated[float, Search(0.0, 4.0)] = 1.0
    uniformity: Annotated[float, Search(0.0, 4.0)] = 1.0
    cross: Annotated[float, Search(0.0, 4.0)] = 1.0
    t: Annotated[float, Search(0.5, 8.0, log=True)] = 2.0
    block: int = 512
    decomposes: ClassVar[bool] = False

    def init(self, names: Sequence[str], dim: int) -> dict[str, Param]:
        """``log_scale``, where it is learned."""
        return start(self.temperature, self.learn_temperature)

    def __call__(self, out: Mapping[str, Any], batch: Batch, params: Mapping[str, Any]) -> Any:
        """The weighted sum."""
        loss = InfoNCE(self.temperature, self.learn_temperature, block=self.block)
        total = loss(out, batch, params)
        for weight, term in (
            (self.alignment, Alignment()),
            (self.uniformity, Uniformity(self.t)),
            (self.cross, CrossUniformity(self.t, self.block)),
        ):
            if weight:
                total = total + weight * term(out, batch, {})
        return total
