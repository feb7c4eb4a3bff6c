"""Heads whose start is the names of the classes, and what a few labelled rows change of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import numpy as np

from conjoin.catalogue import Search
from conjoin.losses import Param
from conjoin.spaces import Batch
from conjoin.spaces.frame import unit
from conjoin.storage.digest import stable_hash
from conjoin.transfer.base import (
    Prototypes,
    check_labels,
    check_rows,
    known_classes,
    require_prototypes,
)
from conjoin.transfer.cache_heads import CacheHead
from conjoin.transfer.few_shot.fitted import Adapted
from conjoin.transfer.few_shot.labelled import VIEW, CrossEntropy, Labelled, trained
from conjoin.transfer.heads import Cache, Linear


@dataclass(frozen=True, eq=False)
class Shots:
    """What every head here reads: rows at unit length, the place of each class, its name.

    Parameters
    ----------
    rows : ``[n, d]`` at unit length, float32.
    owner : ``[n]``.
    names : ``[c, d]`` at unit length, float32.
    """

    classes: np.ndarray
    rows: np.ndarray
    owner: np.ndarray
    names: np.ndarray

    @classmethod
    def of(cls, x: Any, y: Any, prototypes: Prototypes | None, who: str) -> "Shots":
        """Checked; there may be no rows.

        Raises
        ------
        ConjoinError : as :meth:`~conjoin.transfer.base.Head.fit`.
        """
        rows = check_rows(x, "x")
        named = require_prototypes(prototypes, rows.shape[1], who)
        labels = check_labels(y, len(rows))
        classes = known_classes(labels, named)
        names = named.means(classes).astype(np.float32)
        owner = np.searchsorted(classes, labels) if len(labels) else np.empty(0, np.int64)
        return cls(classes, unit(rows.astype(np.float32)), owner, names)


@dataclass(frozen=True)
class ResidualNames:
    """Names plus a trained residual each, prior-independent: nothing but the start is theirs.

    Minimises by batches ``CE(scale · x̂ · unit(t_c + α r_c))`` over residuals r, which start at
    0; t are the class prototypes at unit length and stay as they are.

    Parameters
    ----------
    alpha : α; 0 is the names alone.
    scale : inverse temperature.
    lr : of AdamW.
    steps, batch : steps at most (whole passes, one at least) and rows in each.

    References
    ----------
    Yu et al. 2023 (yu2023taskres); α is .5 but for one data set there.
    """

    alpha: Annotated[float, Search(0.0, 2.0)] = 0.5
    scale: Annotated[float, Search(1.0, 200.0, log=True)] = 20.0
    lr: Annotated[float, Search(1e-5, 1e-1, log=True)] = 2e-3
    steps: Annotated[int, Search(1, 10_000, log=True)] = 200
    batch: Annotated[int, Search(16, 8192, log=True)] = 256
    prototypes: ClassVar[str] = "needed"
    answers: ClassVar[str] = "classes"

    def fit(self, x: Any, y: Any, *, prototypes: Prototypes | None = None, seed: int = 0) -> Linear:
        """A linear head on rows at unit length."""
        shots = Shots.of(x, y, prototypes, "taskres")
        network = _Residual(shots.names, self.alpha, self.scale)
        batches = Labelled(shots.rows, shots.owner, self.batch)
        made = trained(network, batches, CrossEntropy(), steps=self.steps, lr=self.lr, seed=seed)
        moved = unit(shots.names + self.alpha * made["residual"])
        weight = (self.scale * moved).T.astype(np.float64)
        return Linear(shots.classes, weight, np.zeros(len(shots.classes)), unit=True)


@dataclass(frozen=True, eq=False)
class _Residual:
    names_of: np.ndarray
    alpha: float
    scale: float
    names: Sequence[str] = (VIEW,)

    @property
    def dim(self) -> int:
        return self.names_of.shape[1]

    def init(self, seed: int) -> dict[str, Param]:
        return {"residual": Param(np.zeros(self.names_of.shape))}

    def forward(self, batch: Batch, params: Mapping[str, Any]) -> dict[str, Any]:
        import torch

        moved = torch.from_numpy(self.names_of) + self.alpha * params["residual"]
        moved = torch.nn.functional.normalize(moved, dim=1)
        return {"logits": self.scale * batch.rows[VIEW] @ moved.T}


@dataclass(frozen=True)
class FeatureAdapter:
    """A small network beside the rows, and the names as they are.

    ``f = blend · relu(relu(x̂ W₁) W₂) + (1 − blend) x̂`` and ``scores = scale · cos(f, t_c)``;
    W₁ and W₂ are trained by cross-entropy.

    Parameters
    ----------
    blend : the share of the network; 0 is the names alone.
    reduction : ``d`` over the width of the network.
    scale : inverse temperature.
    lr : of AdamW.
    steps, batch : steps at most (whole passes, one at least) and rows in each.

    References
    ----------
    Gao et al. 2024 (gao2024clipadapter): the visual adapter, which they find to do best; blend .2
    and reduction 4 as in their code.
    """

    blend: Annotated[float, Search(0.0, 1.0)] = 0.2
    reduction: Annotated[int, Search(1, 64, log=True)] = 4
    scale: Annotated[float, Search(1.0, 200.0, log=True)] = 20.0
    lr: Annotated[float, Search(1e-5, 1e-1, log=True)] = 2e-3
    steps: Annotated[int, Search(1, 10_000, log=True)] = 200
    batch: Annotated[int, Search(16, 8192, log=True)] = 256
    prototypes: ClassVar[str] = "needed"
    answers: ClassVar[str] = "classes"

    def fit(
        self, x: Any, y: Any, *, prototypes: Prototypes | None = None, seed: int = 0
    ) -> Adapted:
        """A network of two layers and the names."""
        shots = Shots.of(x, y, prototypes, "clip-adapter")
        network = _Adapter(shots.names, self.blend, self.scale, max(1, int(self.reduction)))
        batches = Labelled(shots.rows, shots.owner, self.batch)
        made = trained(network, batches, CrossEntropy(), steps=self.steps, lr=self.lr, seed=seed)
        blend = self.blend if len(shots.rows) else 0.0
        return Adapted(
            shots.classes, shots.names, made["down"], made["up"], float(blend), float(self.scale)
        )


@dataclass(frozen=True, eq=False)
class _Adapter:
    names_of: np.ndarray
    blend: float
    scale: float
    reduction: int
    names: Sequence[str] = (VIEW,)

    @property
    def dim(self) -> int:
        return self.names_of.shape[1]

    def init(self, seed: int) -> dict[str, Param]:
        rng = np.random.default_rng([seed, stable_hash("clip-adapter")])
        hidden = max(1, self.dim // self.reduction)
        return {
            "down": Param(rng.normal(size=(self.dim, hidden)) * np.sqrt(2 / self.dim)),
            "up": Param(rng.normal(size=(hidden, self.dim)) * np.sqrt(2 / hidden)),
        }

    def forward(self, batch: Batch, params: Mapping[str, Any]) -> dict[str, Any]:
        import torch

        x = batch.rows[VIEW]
        beside = torch.relu(torch.relu(x @ params["down"]) @ params["up"])
        f = torch.nn.functional.normalize(self.blend * beside + (1 - self.blend) * x, dim=1)
        return {"logits": self.scale * f @ torch.from_numpy(self.names_of).T}


@dataclass(frozen=True)
class TrainedCache:
    """A cache of labelled rows whose keys are trained from the rows on.

    ``scores(x) = scale x̂ Wᵀ + α exp(−β (1 − x̂ Fᵀ)) L`` as of ``CacheHead``; the keys F start as
    the rows at unit length and then minimise cross-entropy. Their length is free after that.

    Parameters
    ----------
    alpha, beta : what the cache counts, and how sharply.
    scale : of the names' cosines.
    lr : of AdamW.
    steps, batch : steps at most (whole passes, one at least; 0 is the cache untrained) and rows
        in each.

    References
    ----------
    Zhang et al. 2022 (zhang2022tipadapter), Tip-Adapter-F: 20 passes there, α and β looked for
    afterwards on the test features in their code; here by folds like every setting.
    """

    alpha: Annotated[float, Search(0.1, 50.0, log=True)] = 1.0
    beta: Annotated[float, Search(0.5, 50.0, log=True)] = 5.5
    scale: Annotated[float, Search(1.0, 200.0, log=True)] = 20.0
    lr: Annotated[float, Search(1e-5, 1e-1, log=True)] = 1e-3
    steps: Annotated[int, Search(0, 10_000)] = 60
    batch: Annotated[int, Search(16, 8192, log=True)] = 256
    prototypes: ClassVar[str] = "needed"
    answers: ClassVar[str] = "classes"

    def fit(self, x: Any, y: Any, *, prototypes: Prototypes | None = None, seed: int = 0) -> Cache:
        """A cache whose keys are trained."""
        shots = Shots.of(x, y, prototypes, "tip-adapter-f")
        plain = CacheHead(self.alpha, self.beta, 0.0, self.scale)
        start = plain.fit(x, y, prototypes=prototypes, seed=seed)
        if not self.steps or not len(shots.rows):
            return start
        network = _Keys(shots, self.alpha, self.beta, self.scale)
        batches = Labelled(shots.rows, shots.owner, self.batch)
        made = trained(network, batches, CrossEntropy(), steps=self.steps, lr=self.lr, seed=seed)
        return replace(start, keys=made["keys"])


@dataclass(frozen=True, eq=False)
class _Keys:
    shots: Shots
    alpha: float
    beta: float
    scale: float
    names: Sequence[str] = (VIEW,)

    @property
    def dim(self) -> int:
        return self.shots.names.shape[1]

    def init(self, seed: int) -> dict[str, Param]:
        return {"keys": Param(self.shots.rows)}

    def forward(self, batch: Batch, params: Mapping[str, Any]) -> dict[str, Any]:
        import torch

        x, c = batch.rows[VIEW], len(self.shots.names)
        hot = torch.nn.functional.one_hot(torch.from_numpy(self.shots.owner), c).to(x.dtype)
        near = torch.exp(-self.beta * (1 - x @ params["keys"].T)) @ hot
        named = self.scale * x @ torch.from_numpy(self.shots.names).T
        return {"logits": named + self.alpha * near}
