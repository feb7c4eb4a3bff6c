"""Heads on token sets, scored by late interaction."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import numpy as np

from conjoin.alignment.closed_form.covariance import Joint, require_reached
from conjoin.alignment.trained.contrastive_heads import in_order
from conjoin.catalogue import Search, find
from conjoin.errors import ConjoinError, optional
from conjoin.losses import Param
from conjoin.maps.base import Chain, Composable, Map, as_array, stages
from conjoin.maps.standardise import Standardise
from conjoin.spaces import Batch, Frame, Pairs, Rows, Tokens
from conjoin.training.early_stopping import Pace, Training, objective_named
from conjoin.training.loop import Arrays
from conjoin.training.networks import FreshHeads, part_of, place, same_rows, used


@dataclass(frozen=True, eq=False)
class TokenMap(Composable):
    """One map for every token: token sets in, token sets out; ``y_it = inner(x_it)``.

    Plain vectors are mapped one by one.

    Parameters
    ----------
    inner : a map of vectors.
    """

    inner: Any
    source: Frame | None = None
    target: Frame | None = None
    name = "token-map"
    score: ClassVar[str] = "maxsim"

    def apply(self, x: Any) -> Any:
        """Map vectors on the last axis, or the tokens of every set."""
        if isinstance(x, Tokens):
            return Tokens(self.inner.apply(x.vectors), x.offsets)
        return self.inner.apply(x)

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """The state of the map inside, as a chain."""
        return Chain(stages(self.inner)).state()

    @classmethod
    def from_state(cls, fields: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> "TokenMap":
        """Make a map from :meth:`state`."""
        return cls(Chain.from_state(fields, arrays))


@dataclass(frozen=True)
class TokenHeads:
    """A small network on each token, trained by late interaction (FILIP).

    A token's output is ``y = x' W + b + relu(norm(x') W₁ + b₁) W₂`` to unit length, ``x'`` being
    the token at mean 0 and spread 1 a coordinate. A set ``q`` scores a set ``x`` by
    ``(1/|q|) Σ_s max_t q_s · x_t``, and the contrast is taken with that score in each direction.
    Where training ends is decided as in ``ContrastiveHeads``. Plain
    vectors are sets of one token.

    Parameters
    ----------
    loss : name of the objective; it is given padded tokens and their masks.
    augment : name of the augmentation that makes of each batch the one trained on.
    width : coordinates of a token's output.
    hidden : units of a head's hidden layer.
    dropout : share of hidden units dropped a step.
    temperature : of the loss, at the start.
    lr, weight_decay : of AdamW.
    steps, batch : steps at most (whole passes, one at least) and lines in each.

    References
    ----------
    Yao et al. 2022 (yao2022filip).
    """

    width: Annotated[int, Search(8, 1024, log=True)] = 128
    hidden: Annotated[int, Search(16, 2048, log=True)] = 128
    dropout: Annotated[float, Search(0.0, 0.8)] = 0.2
    temperature: Annotated[float, Search(0.005, 1.0, log=True)] = 0.07
    lr: Annotated[float, Search(1e-5, 1e-1, log=True)] = 1e-3
    weight_decay: Annotated[float, Search(1e-6, 1.0, log=True)] = 1e-1
    steps: Annotated[int, Search(1, 10_000, log=True)] = 150
    batch: Annotated[int, Search(32, 8192, log=True)] = 96
    loss: str = "filip"
    augment: str | None = None
    score: ClassVar[str] = "maxsim"

    def fit(
        self,
        views: Mapping[str, Rows],
        pairs: Pairs,
        *,
        frames: Mapping[str, str] = {},
        frozen: Mapping[str, Any] = {},
        seed: int = 0,
    ) -> dict[str, Map]:
        """One map a view, token sets to token sets.

        Raises
        ------
        ConjoinError : as other heads; or a frozen view was not bound token by token.
        """
        optional("torch", "train")
        for name, item in frozen.items():
            if getattr(stages(item)[-1], "score", "") != "maxsim":
                raise ConjoinError(f"frozen {name}", "is not bound by tokens", "fit it by filip")
        joint = Joint.of({name: pooled(view) for name, view in views.items()}, pairs, frozen)
        require_reached(joint, list(frozen) or list(views)[:1])
        width = joint.dims[next(iter(frozen))] if frozen else self.width
        before = {
            name: Standardise.of(vectors_of(view, used(pairs, name)))
            for name, view in views.items()
            if name not in frozen
        }
        inner = FreshHeads(tuple(views), before, width, self.hidden, self.dropout)
        trained = TrainedTokens(inner)
        augment = find("augmentation", self.augment).make() if self.augment else None
        arrays = Training(
            trained,
            objective_named(self.loss, self.temperature),
            {name: as_sets(rows) for name, rows in place(views, frozen).items()},
            {name: shown(view) for name, view in views.items()},
            Pace.of(self),
            augment,
        ).fit(pairs, seed)
        return in_order(views, {**frozen, **trained.maps(arrays)})


@dataclass(frozen=True, eq=False)
class TrainedTokens:
    """The trainable: one head a view, on every token that is there."""

    heads: FreshHeads

    @property
    def names(self) -> tuple[str, ...]:
        """The views it puts out."""
        return self.heads.names

    @property
    def dim(self) -> int:
        """Width of a token's output."""
        return self.heads.dim

    def init(self, seed: int) -> dict[str, Param]:
        """The heads' values."""
        return self.heads.init(seed)

    def forward(self, batch: Batch, params: Mapping[str, Any]) -> dict[str, Any]:
        """Padded tokens ``[b, t, dim]`` by view; zeros where there is none."""
        import torch

        out = {}
        for name in self.names:
            if name not in self.heads.before:
                out[name] = batch.rows[name]
                continue
            mask = batch.masks[name]
            flat = replace(batch, rows={name: batch.rows[name][mask]})
            made = self.heads.head(name, flat, part_of(params, name))
            made = torch.nn.functional.normalize(made, dim=1)
            out[name] = made.new_zeros(*mask.shape, self.dim).index_put((mask,), made)
        return out

    def maps(self, arrays: Arrays) -> dict[str, Map]:
        """The heads as maps of token sets."""
        return {n: TokenMap(m) for n, m in self.heads.chains(arrays, unit=True).items()}


def as_sets(rows: Any) -> Tokens:
    """Token sets as they are; vectors as sets of one token."""
    if isinstance(rows, Tokens):
        return rows
    return Tokens(as_array(rows), np.arange(len(rows) + 1))


def pooled(rows: Rows) -> Any:
    """Vectors as they are; token sets by their means."""
    return rows.mean() if isinstance(rows, Tokens) else rows


def vectors_of(rows: Rows, at: np.ndarray) -> np.ndarray:
    """The vectors, or all tokens, of some rows."""
    return rows.take(at).vectors if isinstance(rows, Tokens) else as_array(rows)[at]


def shown(rows: Rows) -> np.ndarray:
    """A number for each row, equal where vectors or token sets are equal bytes."""
    if not isinstance(rows, Tokens):
        return same_rows(as_array(rows))
    seen: dict[bytes, int] = {}
    sets = (rows[i].tobytes() for i in range(len(rows)))
    return np.array([seen.setdefault(key, len(seen)) for key in sets], dtype=np.int64)
