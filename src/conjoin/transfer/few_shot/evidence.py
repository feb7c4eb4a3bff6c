"""A head that counts evidence for each class, and says how much of it there is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from conjoin.catalogue import Search
from conjoin.losses import Param
from conjoin.losses.base import Addable
from conjoin.spaces import Batch
from conjoin.transfer.base import Prototypes, check_labels, check_rows, known_classes
from conjoin.transfer.few_shot.fitted import Evidence
from conjoin.transfer.few_shot.labelled import VIEW, Labelled, trained
from conjoin.transfer.heads import Linear


@dataclass(frozen=True)
class EvidentialHead:
    """Evidence ``e = softplus(x W + b)`` of a Dirichlet ``a = e + 1`` over the classes.

    Minimises ``mean Σ_c (y_c − p_c)² + p_c (1 − p_c)/(S + 1) + λ_t KL(Dir(ã) ‖ Dir(1))`` with
    ``S = Σ a``, ``p = a/S``, ``ã = y + (1 − y) a`` and λ_t rising from 0 to ``weight`` over the
    first half of the steps. ``C/S`` is how unsure it is: 1 where it has no evidence.

    Parameters
    ----------
    weight : λ at its end.
    lr, weight_decay : of AdamW.
    steps, batch : steps at most (whole passes, one at least) and rows in each.

    References
    ----------
    Sensoy et al. 2018 (sensoy2018evidential). One of the two pathways that Huang et al. 2024
    (huang2024crest) weigh by their uncertainty; they localise in regions, of which a vector has
    none.
    """

    weight: Annotated[float, Search(0.0, 10.0)] = 0.05
    lr: Annotated[float, Search(1e-5, 1e-1, log=True)] = 1e-2
    weight_decay: Annotated[float, Search(1e-6, 1.0, log=True)] = 1e-2
    steps: Annotated[int, Search(1, 10_000, log=True)] = 300
    batch: Annotated[int, Search(16, 8192, log=True)] = 256
    prototypes: ClassVar[str] = "unused"
    answers: ClassVar[str] = "classes"

    def fit(
        self, x: Any, y: Any, *, prototypes: Prototypes | None = None, seed: int = 0
    ) -> Evidence:
        """A linear head whose outputs are evidence."""
        rows = check_rows(x, "x").astype(np.float32, copy=False)
        labels = check_labels(y, len(rows))
        classes = known_classes(labels)
        owner = np.searchsorted(classes, labels)
        size = float(np.sqrt(np.mean(np.square(rows, dtype=np.float64)))) or 1.0
        network = _Linear(rows.shape[1], len(classes))
        made = trained(
            network, Labelled(rows / np.float32(size), owner, self.batch),
            DirichletLoss(self.weight), steps=self.steps, lr=self.lr,
            weight_decay=self.weight_decay, seed=seed,
        )  # fmt: skip
        return Evidence(Linear(classes, made["weight"] / size, made["bias"]))


@dataclass(frozen=True, eq=False)
class _Linear:
    dim: int
    classes: int
    names: Sequence[str] = (VIEW,)

    def init(self, seed: int) -> dict[str, Param]:
        return {
            "weight": Param(np.zeros((self.dim, self.classes)), decay=True),
            "bias": Param(np.zeros(self.classes)),
        }

    def forward(self, batch: Batch, params: Mapping[str, Any]) -> dict[str, Any]:
        return {"logits": batch.rows[VIEW] @ params["weight"] + params["bias"]}


@dataclass(frozen=True)
class DirichletLoss(Addable):
    """The expected squared error under a Dirichlet, and what false evidence costs.

    Parameters
    ----------
    weight : of the divergence from no evidence, at the end.
    """

    weight: float = 0.05
    decomposes: ClassVar[bool] = True

    def init(self, names: Sequence[str], dim: int) -> dict[str, Param]:
        """Nothing of its own is trained."""
        return {}

    def __call__(self, out: Mapping[str, Any], batch: Batch, params: Mapping[str, Any]) -> Any:
        """The mean over the rows."""
        import torch

        logits = out["logits"]
        hot = torch.nn.functional.one_hot(batch.labels, logits.shape[1]).to(logits.dtype)
        a = torch.nn.functional.softplus(logits) + 1
        total = a.sum(dim=1, keepdim=True)
        p = a / total
        error = ((hot - p) ** 2 + p * (1 - p) / (total + 1)).sum(dim=1)
        rest = hot + (1 - hot) * a
        whole = rest.sum(dim=1, keepdim=True)
        apart = (
            torch.lgamma(whole[:, 0]) - torch.lgamma(rest).sum(dim=1)
            - torch.lgamma(torch.tensor(float(logits.shape[1]), dtype=logits.dtype))
            + ((rest - 1) * (torch.digamma(rest) - torch.digamma(whole))).sum(dim=1)
        )  # fmt: skip
        rise = min(1.0, 2 * float(batch.progress))
        return (error + self.weight * rise * apart).mean()
