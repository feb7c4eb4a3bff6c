"""A fitted network, evaluated without torch; and the same network while it is trained."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

from conjoin.fusion.architectures import PLAIN, Found, Params, Spec, dense
from conjoin.fusion.attention import ATTENTION
from conjoin.fusion.backend import NumpyOps, TorchOps
from conjoin.fusion.model import Out
from conjoin.losses import Param
from conjoin.maps.standardise import Standardise
from conjoin.spaces import Batch
from conjoin.storage.digest import stable_hash
from conjoin.training.networks import dropped

#: Every body by name: how it starts and how it fuses.
KINDS = {**PLAIN, **ATTENTION}


def stem(spec: Spec, p: Params, rows: Params) -> dict[str, Any]:
    """Projections ``z_m = x_m W_m + b_m`` by view."""
    return {name: rows[name] @ p[f"stem/{name}"] + p[f"stem/{name}/bias"] for name in spec.names}


def fuse(ops: Any, spec: Spec, p: Params, z: Params, here: Any) -> Found:
    """What the body of a network makes of projections."""
    return KINDS[spec.kind][1](ops, spec, p, z, here)


def started(spec: Spec, seed: int) -> dict[str, np.ndarray]:
    """Where the parameters of a network start."""
    rng = np.random.default_rng([seed, stable_hash(f"fusion {spec.kind}")])
    made = KINDS[spec.kind][0](spec, rng)
    for name, dim in zip(spec.names, spec.dims, strict=True):
        made[f"stem/{name}"] = dense(rng, dim, spec.hidden)
        made[f"stem/{name}/bias"] = np.zeros(spec.hidden)
    return made


@dataclass(frozen=True, eq=False)
class NetworkBody:
    """A network that was trained."""

    spec: Spec
    params: Mapping[str, np.ndarray]
    name = "network"

    def block(self, rows: Mapping[str, np.ndarray], here: np.ndarray) -> Out:
        """The fused vector, scores and, where the network has them, weights of the views."""
        found = fuse(NumpyOps, self.spec, self.params, stem(self.spec, self.params, rows), here)
        return Out(found["vector"], found["logits"], found.get("weights"))

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """The shape and the parameters."""
        return {"spec": asdict(self.spec)}, dict(self.params)

    @classmethod
    def from_state(
        cls, fields: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
    ) -> "NetworkBody":
        """Read back :meth:`state`."""
        said = dict(fields["spec"])
        said |= {"names": tuple(said["names"]), "dims": tuple(said["dims"])}
        return cls(Spec(**said), dict(arrays))


@dataclass(frozen=True, eq=False)
class Net:
    """The trainable of a network.

    Parameters
    ----------
    scalers : by view, what rows are standardised by.
    dropout : share of the units of each projection dropped a step.
    """

    spec: Spec
    scalers: Mapping[str, Standardise]
    dropout: float = 0.0

    @property
    def names(self) -> tuple[str, ...]:
        """The views it reads."""
        return self.spec.names

    @property
    def dim(self) -> int:
        """Width of the fused vector's parts."""
        return self.spec.hidden

    def init(self, seed: int) -> dict[str, Param]:
        """Where each parameter starts; matrices are pulled towards zero."""
        made = started(self.spec, seed)
        return {key: Param(value, decay=value.ndim == 2) for key, value in made.items()}

    def forward(self, batch: Batch, params: Mapping[str, Any]) -> dict[str, Any]:
        """What the losses read: rows, projections, what is present and known, and the outcome.

        ``known`` is what items have; ``here`` is what is left of it in this step. ``again`` fuses
        other projections or other presence by the same parameters.
        """
        import torch

        ops = TorchOps()
        names = self.spec.names
        here = torch.stack([batch.present[n] for n in names], 1)
        known = torch.stack([batch.ids[n] >= 0 for n in names], 1)
        rows = {}
        for place, name in enumerate(names):
            x = self.scalers[name].tensor(batch.rows[name])
            rows[name] = torch.where(known[:, place, None], x, 0.0)
        z = stem(self.spec, params, rows)
        kept = {name: self._thinned(batch, name, own) for name, own in z.items()}
        again: Callable[..., Found] = partial(fuse, ops, self.spec, params)
        return {
            **again(kept, here), "rows": rows, "z": kept, "clean": z, "here": here,
            "known": known, "again": again, "params": params,
        }  # fmt: skip

    def _thinned(self, batch: Batch, name: str, z: Any) -> Any:
        drop = dropped(batch, f"fusion {name}", tuple(z.shape), self.dropout)
        return z if drop is None else z * drop
