"""What heads train: networks on frozen vectors, started from a closed form or at random."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from conjoin.losses import Param
from conjoin.maps.base import Map, as_array
from conjoin.maps.mlp import ResidualMLP, hidden_part
from conjoin.maps.standardise import Standardise
from conjoin.spaces import Batch, Pairs, Rows, Tokens
from conjoin.spaces.pairs import ABSENT
from conjoin.storage.digest import stable_hash
from conjoin.training.loop import Arrays


@dataclass(frozen=True, eq=False)
class Heads:
    """The trainable of a closed start: one residual head a view that is not frozen.

    Parameters
    ----------
    names : views in order.
    straight : weight ``[d_in, dim]`` and bias ``[dim]`` of the closed form, by view with a head;
        rows of the other views pass through.
    hidden, dropout, noise : as of ``ContrastiveHeads``.
    """

    names: tuple[str, ...]
    straight: Mapping[str, tuple[np.ndarray, np.ndarray]]
    hidden: int
    dropout: float = 0.0
    noise: float = 0.0

    @property
    def dim(self) -> int:
        """Width of the outputs."""
        return len(next(iter(self.straight.values()))[1])

    def init(self, seed: int) -> dict[str, Param]:
        """Heads that change nothing yet."""
        made = {}
        for name, (weight, bias) in self.straight.items():
            rng = np.random.default_rng([seed, stable_hash(f"heads {name}")])
            inner = rng.normal(size=(len(weight), self.hidden)) * np.sqrt(2 / len(weight))
            made[f"{name}/delta"] = Param(np.zeros((self.dim, self.dim)), decay=True)
            made[f"{name}/bias"] = Param(np.zeros(len(bias)))
            made[f"{name}/inner"] = Param(inner, decay=True)
            made[f"{name}/inner_bias"] = Param(np.zeros(self.hidden))
            made[f"{name}/outer"] = Param(np.zeros((self.hidden, self.dim)), decay=True)
        return made

    def forward(self, batch: Batch, params: Mapping[str, Any]) -> dict[str, Any]:
        """Outputs by view, with noise on the straight path and dropout on the hidden layer."""
        return {
            name: self._head(name, batch, part_of(params, name))
            if name in self.straight
            else batch.rows[name]
            for name in self.names
        }

    def _head(self, name: str, batch: Batch, held: Mapping[str, Any]) -> Any:
        import torch

        x = batch.rows[name]
        weight, bias = (torch.from_numpy(part) for part in self.straight[name])
        z = torch.addmm(bias, x, weight)
        if self.noise:
            z = z + noise_like(batch, name, z, self.noise)
        drop = dropped(batch, name, (len(x), self.hidden), self.dropout)
        return z + torch.addmm(held["bias"], z, held["delta"]) + hidden_part(x, held, drop)

    def maps(self, arrays: Arrays) -> dict[str, Map]:
        """The heads as maps, straight path and change of it in one."""
        made: dict[str, Map] = {}
        for name, (weight, bias) in self.straight.items():
            held = part_of(arrays, name)
            delta = held.pop("delta")
            held["weight"] = weight + weight @ delta
            held["bias"] = bias + bias @ delta + held["bias"]
            made[name] = ResidualMLP.from_state({"unit": True}, held)
        return made


@dataclass(frozen=True, eq=False)
class FreshHeads:
    """The trainable of a random start: one residual head a view, on its standardised rows.

    ``y = x' W + b + relu(norm(x') W₁ + b₁) W₂`` with ``x' = (x − mean) / scale``, every matrix
    drawn at random and trained.

    Parameters
    ----------
    names : views in order.
    before : mean and scale of each view with a head; rows of the other views pass through.
    dim : width of the outputs.
    hidden, dropout, noise : as of ``ContrastiveHeads``; the noise is
        added to ``x'``.
    """

    names: tuple[str, ...]
    before: Mapping[str, Standardise]
    dim: int
    hidden: int
    dropout: float = 0.0
    noise: float = 0.0

    def init(self, seed: int) -> dict[str, Param]:
        """Matrices that keep the size of what they multiply."""
        made: dict[str, Param] = {}
        for name, before in self.before.items():
            rng = np.random.default_rng([seed, stable_hash(f"fresh heads {name}")])
            made |= {f"{name}/{k}": v for k, v in self._drawn(rng, len(before.shift)).items()}
        return made

    def _drawn(self, rng: np.random.Generator, wide: int) -> dict[str, Param]:
        def normal(rows: int, columns: int, gain: float = 1.0) -> Param:
            return Param(rng.normal(size=(rows, columns)) * np.sqrt(gain / rows), decay=True)

        return {
            "weight": normal(wide, self.dim),
            "bias": Param(np.zeros(self.dim)),
            "inner": normal(wide, self.hidden, 2.0),
            "inner_bias": Param(np.zeros(self.hidden)),
            "outer": normal(self.hidden, self.dim, 0.1),
        }

    def forward(self, batch: Batch, params: Mapping[str, Any]) -> dict[str, Any]:
        """Outputs by view, with noise on the rows and dropout on the hidden layer."""
        return {
            name: self.head(name, batch, part_of(params, name))
            if name in self.before
            else batch.rows[name]
            for name in self.names
        }

    def head(self, name: str, batch: Batch, held: Mapping[str, Any]) -> Any:
        """The output of one head."""
        import torch

        x = self.before[name].tensor(batch.rows[name])
        if self.noise:
            x = x + noise_like(batch, name, x, self.noise)
        drop = dropped(batch, name, (len(x), self.hidden), self.dropout)
        return torch.addmm(held["bias"], x, held["weight"]) + hidden_part(x, held, drop)

    def maps(self, arrays: Arrays) -> dict[str, Map]:
        """The heads as maps to unit length."""
        return self.chains(arrays, unit=True)

    def chains(self, arrays: Arrays, unit: bool) -> dict[str, Any]:
        """The heads as maps, to unit length or as they are."""
        return {
            name: before.then(ResidualMLP.from_state({"unit": unit}, part_of(arrays, name)))
            for name, before in self.before.items()
        }


@dataclass(frozen=True, eq=False)
class Taught:
    """Heads, and beside their outputs where a teacher puts the same rows.

    Parameters
    ----------
    heads : what is trained.
    teacher : fixed maps by view.
    """

    heads: Any
    teacher: Mapping[str, Any]

    @property
    def names(self) -> tuple[str, ...]:
        """The views it puts out."""
        return tuple(self.heads.names)

    @property
    def dim(self) -> int:
        """Width of the outputs."""
        return int(self.heads.dim)

    def init(self, seed: int) -> dict[str, Param]:
        """The heads'."""
        return dict(self.heads.init(seed))

    def forward(self, batch: Batch, params: Mapping[str, Any]) -> dict[str, Any]:
        """The heads' outputs, and the teacher's under ``teacher/`` and the view's name."""
        import torch

        out = dict(self.heads.forward(batch, params))
        for name, item in self.teacher.items():
            made = np.asarray(item.apply(batch.rows[name].numpy()), np.float32)
            out[f"teacher/{name}"] = torch.from_numpy(made)
        return out

    def maps(self, arrays: Arrays) -> dict[str, Map]:
        """The heads as maps; the teacher is not needed any more."""
        return dict(self.heads.maps(arrays))


def noise_like(batch: Batch, name: str, x: Any, length: float) -> Any:
    """Random vectors of that expected length, one a row."""
    import torch

    drawn = batch.draw(f"noise {name}").standard_normal(x.shape, dtype=np.float32)
    return torch.from_numpy(drawn) * (length / np.sqrt(x.shape[-1]))


def dropped(batch: Batch, name: str, shape: tuple[int, ...], share: float) -> Any:
    """Factors that drop a share of units and keep the expectation; ``None`` where none drop."""
    import torch

    if not share:
        return None
    kept = batch.draw(f"dropout {name}").random(shape, np.float32)
    return torch.from_numpy(kept >= share) / (1 - share)


def part_of(params: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What is held under ``name/``, by the rest of its key."""
    own = f"{name}/"
    return {k.removeprefix(own): v for k, v in params.items() if k.startswith(own)}


def used(pairs: Pairs, name: str) -> np.ndarray:
    """The rows of a view that pairs name, each once."""
    rows = np.unique(pairs.column(name))
    return rows[rows != ABSENT]


def scaled(start: Any, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weight and bias of an affine map times what gives ``x`` length 1 on average."""
    length = float(np.linalg.norm(start.apply(x), axis=1).mean())
    factor = 1 / length if length > 0 else 1.0
    weight = (start.weight * factor).astype(np.float32)
    bias = (start.bias * factor - start.shift @ weight).astype(np.float32)
    return weight, bias


def same_rows(x: np.ndarray) -> np.ndarray:
    """A number for each row, equal where the rows are equal bytes."""
    seen: dict[bytes, int] = {}
    return np.array([seen.setdefault(row.tobytes(), len(seen)) for row in x], dtype=np.int64)


def place(views: Mapping[str, Rows], frozen: Mapping[str, Any]) -> dict[str, Any]:
    """Rows as training reads them: frozen views where their maps place them."""
    found: dict[str, Any] = {}
    for name, view in views.items():
        if isinstance(view, Tokens):
            found[name] = frozen[name].apply(view) if name in frozen else view
            continue
        x = as_array(view)
        found[name] = frozen[name].apply(x) if name in frozen else x.astype(np.float32, copy=False)
    return found
