"""One shared projection for all modalities: those added later train a small layer before it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from conjoin.alignment.closed_form.covariance import Joint, require_reached
from conjoin.alignment.trained.contrastive_heads import in_order, training
from conjoin.catalogue import Search
from conjoin.errors import ConjoinError, optional
from conjoin.losses import Param
from conjoin.maps.base import Composable, Map, Normalise, as_array, stages
from conjoin.maps.mlp import EPS
from conjoin.maps.standardise import Standardise
from conjoin.spaces import Batch, Frame, Pairs, Rows
from conjoin.storage.digest import stable_hash
from conjoin.training.loop import Arrays
from conjoin.training.networks import dropped, part_of, used

#: Where the shared parameters are held; no view is called so.
SHARED = "//shared"


def norm(x: Any, gain: Any, shift: Any) -> Any:
    """A row at mean 0 and variance 1, times ``gain``, plus ``shift``; arrays or tensors."""
    z = x - x.mean(-1, keepdims=True)
    return z / ((z * z).mean(-1, keepdims=True) + EPS) ** 0.5 * gain + shift


def aligned(x: Any, held: Mapping[str, Any], erf: Callable[[Any], Any], drop: Any = None) -> Any:
    """``norm(gelu(x W₁ + b₁) W₂ + b₂) + token`` on arrays or tensors."""
    h = x @ held["first"] + held["first_bias"]
    h = 0.5 * h * (1 + erf(h / 2**0.5))
    h = h @ held["second"] + held["second_bias"]
    return norm(h if drop is None else h * drop, held["gain"], held["shift"]) + held["token"]


def projected(x: Any, held: Mapping[str, Any]) -> Any:
    """A transformer layer on a sequence of one, with a way around it; arrays or tensors.

    Attention among one is a matrix: ``n = norm(x)``, ``a = norm(n + n M + m)``,
    ``y = x + norm(a + relu(a F₁ + f₁) F₂ + f₂)``.
    """
    n = norm(x, held["in_gain"], held["in_shift"])
    a = norm(n + n @ held["mix"] + held["mix_bias"], held["mid_gain"], held["mid_shift"])
    f = (a @ held["wide"] + held["wide_bias"]).clip(0) @ held["narrow"] + held["narrow_bias"]
    return x + norm(a + f, held["out_gain"], held["out_shift"])


@dataclass(frozen=True, eq=False)
class _Layer(Composable):
    """A map that is its arrays."""

    arrays: Mapping[str, np.ndarray]
    source: Frame | None = None
    target: Frame | None = None

    def _held(self, x: np.ndarray, first: str) -> dict[str, np.ndarray]:
        wide = len(self.arrays[first])
        if x.shape[-1] != wide:
            raise ConjoinError("x", f"has {x.shape[-1]} dimensions", f"give vectors of {wide}")
        return {key: value.astype(x.dtype) for key, value in self.arrays.items()}

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Its arrays."""
        return {}, dict(self.arrays)

    @classmethod
    def from_state(cls, fields: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Any:
        """Make a map from :meth:`state`."""
        return cls({key: np.asarray(value) for key, value in arrays.items()})


@dataclass(frozen=True, eq=False)
class AlignmentLayer(_Layer):
    """``y = norm(gelu(x W₁ + b₁) W₂ + b₂) + token``, the token telling which modality it is."""

    name = "alignment-layer"

    def apply(self, x: Any) -> np.ndarray:
        """Map ``[..., d_in]`` → ``[..., d]``, in the precision of ``x``."""
        from scipy.special import erf

        x = as_array(x)
        return np.asarray(aligned(x, self._held(x, "first"), erf))


@dataclass(frozen=True, eq=False)
class UniversalProjection(_Layer):
    """A transformer layer on each vector with a way around it, shared by all modalities."""

    name = "universal-projection"

    def apply(self, x: Any) -> np.ndarray:
        """Map ``[..., d]`` → ``[..., d]``, in the precision of ``x``."""
        x = as_array(x)
        return np.asarray(projected(x, self._held(x, "mix")))


@dataclass(frozen=True)
class OneEncoder:
    """Small layers before one shared projection, which views added later find frozen.

    ``y = UP(norm(gelu(x' W₁ + b₁) W₂ + b₂) + token)`` to unit length, with ``x'`` the row at mean 0
    and spread 1 a coordinate and ``UP`` a transformer layer with a way around it. Stage 1 trains
    everything on the first view and one paired with it. Stage 2, for each further view, leaves
    ``UP`` and all maps so far as they are and trains that view's layer and token alone. A view
    added to frozen ones is a stage 2. Where training ends is decided as in
    :class:`~conjoin.alignment.trained.contrastive_heads.ContrastiveHeads`.

    Parameters
    ----------
    loss : name of the objective.
    augment : name of the augmentation that makes of each batch the one trained on.
    width : coordinates of the shared space.
    wide : units of the projection's hidden layer.
    dropout : share of a layer's outputs dropped a step.
    temperature : of the loss, at the start.
    lr, weight_decay : of AdamW.
    steps, batch : steps at most (whole passes, one at least) and lines in each, a stage.

    References
    ----------
    Faye et al. 2024 (faye2024oneencoder).
    """

    width: Annotated[int, Search(8, 1024, log=True)] = 256
    wide: Annotated[int, Search(16, 4096, log=True)] = 512
    dropout: Annotated[float, Search(0.0, 0.8)] = 0.3
    temperature: Annotated[float, Search(0.005, 1.0, log=True)] = 0.07
    lr: Annotated[float, Search(1e-5, 1e-1, log=True)] = 1e-3
    weight_decay: Annotated[float, Search(1e-6, 1.0, log=True)] = 1e-1
    steps: Annotated[int, Search(1, 10_000, log=True)] = 150
    batch: Annotated[int, Search(32, 8192, log=True)] = 512
    loss: str = "infonce"
    augment: str | None = None
    together: ClassVar[bool] = False
    whole: ClassVar[bool] = False

    def fit(
        self,
        views: Mapping[str, Rows],
        pairs: Pairs,
        *,
        frames: Mapping[str, str] = {},
        frozen: Mapping[str, Any] = {},
        seed: int = 0,
    ) -> dict[str, Map]:
        """One map a view: its layer, the shared projection, unit length.

        Raises
        ------
        ConjoinError : as other heads; or a frozen map holds no universal projection.
        """
        optional("torch", "train")
        joint = Joint.of(views, pairs, frozen)
        require_reached(joint, list(frozen) or list(views)[:1])
        maps: dict[str, Any] = dict(frozen)
        for stage in _stages(joint, list(frozen) or list(views)[:1]):
            new = [name for name in stage if name not in maps]
            near = [n for n in maps if n in joint.partners(new[-1])] if maps else []
            seen = {name: views[name] for name in (*near, *new)}
            before = {n: maps[n] for n in near}
            maps |= self._stage(seen, pairs.select(tuple(seen)), before, seed)
        return in_order(views, maps)

    def _stage(
        self, views: Mapping[str, Rows], pairs: Pairs, frozen: Mapping[str, Any], seed: int
    ) -> dict[str, Any]:
        """Train the views that are not frozen, and the projection where none is."""
        given = shared_in(frozen)
        before = {
            name: Standardise.of(as_array(view)[used(pairs, name)])
            for name, view in views.items()
            if name not in frozen
        }
        width = len(given.arrays["mix"]) if given else self.width
        parts = Layers(tuple(views), before, width, self.wide, self.dropout, given)
        return parts.maps(training(self, parts, views, frozen).fit(pairs, seed))


def _stages(joint: Joint, start: list[str]) -> Iterator[list[str]]:
    """Which views each stage trains: two where none is frozen, then one at a time."""
    done = list(start) if joint.frozen else []
    if not done:
        hub = start[0]
        done = [hub, joint.partners(hub)[0]]
        yield list(done)
    while len(done) < len(joint.dims):
        new = next(
            n for n in joint.dims if n not in done and any(p in done for p in joint.partners(n))
        )
        done.append(new)
        yield [new]


def shared_in(frozen: Mapping[str, Any]) -> UniversalProjection | None:
    """The universal projection inside frozen maps; ``None`` without any.

    Raises
    ------
    ConjoinError : a frozen map holds none.
    """
    found = None
    for name, item in frozen.items():
        inside = [part for part in stages(item) if isinstance(part, UniversalProjection)]
        if not inside:
            raise ConjoinError(
                f"frozen {name}", "holds no universal projection", "fit it by one-encoder"
            )
        found = found or inside[0]
    return found


@dataclass(frozen=True, eq=False)
class Layers:
    """The trainable: a layer and a token a view, and the shared projection unless it is given.

    Parameters
    ----------
    before : mean and scale of each view with a layer; rows of the other views pass through.
    given : the shared projection, where it is frozen.
    """

    names: tuple[str, ...]
    before: Mapping[str, Standardise]
    dim: int
    wide: int
    dropout: float = 0.0
    given: UniversalProjection | None = None

    def init(self, seed: int) -> dict[str, Param]:
        """Matrices that keep the size of what they multiply; norms that change nothing."""
        made: dict[str, Param] = {}
        for name, before in self.before.items():
            rng = np.random.default_rng([seed, stable_hash(f"layer {name}")])
            own = self._layer(rng, len(before.shift))
            made |= {f"{name}/{key}": value for key, value in own.items()}
        if self.given is None:
            rng = np.random.default_rng([seed, stable_hash("shared projection")])
            made |= {f"{SHARED}/{key}": value for key, value in self._shared(rng).items()}
        return made

    def _layer(self, rng: np.random.Generator, rows: int) -> dict[str, Param]:
        d = self.dim
        return {
            "first": _normal(rng, rows, d, 2.0),
            "first_bias": Param(np.zeros(d)),
            "second": _normal(rng, d, d),
            "second_bias": Param(np.zeros(d)),
            "gain": Param(np.ones(d)),
            "shift": Param(np.zeros(d)),
            "token": Param(0.3 * rng.normal(size=d)),
        }

    def _shared(self, rng: np.random.Generator) -> dict[str, Param]:
        d = self.dim
        made = {
            "mix": _normal(rng, d, d),
            "mix_bias": Param(np.zeros(d)),
            "wide": _normal(rng, d, self.wide, 2.0),
            "wide_bias": Param(np.zeros(self.wide)),
            "narrow": _normal(rng, self.wide, d),
            "narrow_bias": Param(np.zeros(d)),
        }
        for at in ("in", "mid", "out"):
            made |= {f"{at}_gain": Param(np.ones(d)), f"{at}_shift": Param(np.zeros(d))}
        return made

    def forward(self, batch: Batch, params: Mapping[str, Any]) -> dict[str, Any]:
        """Outputs by view, with dropout on what the layers put out."""
        import torch

        if self.given is None:
            shared = part_of(params, SHARED)
        else:
            shared = {k: torch.from_numpy(np.array(v)) for k, v in self.given.arrays.items()}
        out = {}
        for name in self.names:
            if name not in self.before:
                out[name] = batch.rows[name]
                continue
            x = self.before[name].tensor(batch.rows[name])
            drop = dropped(batch, name, (len(x), self.dim), self.dropout)
            out[name] = projected(aligned(x, part_of(params, name), torch.erf, drop), shared)
        return out

    def maps(self, arrays: Arrays) -> dict[str, Map]:
        """Each view's layer, then the shared projection, to unit length."""
        shared = self.given or UniversalProjection(part_of(arrays, SHARED))
        return {
            name: before.then(AlignmentLayer(part_of(arrays, name))).then(shared).then(Normalise())
            for name, before in self.before.items()
        }


def _normal(rng: np.random.Generator, rows: int, columns: int, gain: float = 1.0) -> Param:
    return Param(rng.normal(size=(rows, columns)) * np.sqrt(gain / rows), decay=True)
