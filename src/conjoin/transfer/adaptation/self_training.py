"""A head that learns from its own answers on the target."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from conjoin.catalogue import Search
from conjoin.errors import optional
from conjoin.losses import Param
from conjoin.losses.base import Addable
from conjoin.maps.base import Affine
from conjoin.spaces import Batch
from conjoin.storage.digest import stable_hash
from conjoin.transfer.adaptation.base import Source, check_linear, check_source, check_target
from conjoin.transfer.adaptation.fitted import Moved
from conjoin.transfer.few_shot.labelled import VIEW, Labelled, trained
from conjoin.transfer.heads import Linear
from conjoin.transfer.logistic import Logistic, solve


@dataclass(frozen=True)
class InformationMaximisation:
    """A low-rank change of the rows by which a frozen head is sure of each and even over all.

    Minimises ``mean H(p(x')) − balance · H(mean p(x'))`` over ``x' = x + (x − μ) U V + b`` with
    V = 0 and b = 0 at the start; the head stays as it is. Sure of all rows and even over the
    classes is not the same as right: where classes are not even in the target, the second term
    pulls answers away from the common ones.

    Parameters
    ----------
    balance : weight of the entropy of the mean answer.
    rank : of ``U V``.
    lr : of AdamW.
    steps, batch : steps at most and rows in each.

    References
    ----------
    Liang et al. 2020 (liang2020shot), SHOT-IM: there the whole encoder learns and pseudo-labels
    by class means are a third term.
    """

    balance: Annotated[float, Search(0.0, 3.0)] = 1.0
    rank: Annotated[int, Search(1, 256, log=True)] = 16
    lr: Annotated[float, Search(1e-5, 1e-1, log=True)] = 1e-3
    steps: Annotated[int, Search(1, 5000, log=True)] = 150
    batch: Annotated[int, Search(16, 8192, log=True)] = 256
    reads: ClassVar[str] = "nothing"

    def fit(self, fitted: Any, x: Any, *, source: Source | None = None, seed: int = 0) -> Moved:
        """The head behind an affine map."""
        optional("torch", "train")
        head = check_linear(fitted, "shot-im")
        rows = check_target(head, x).astype(np.float32)
        centre = rows.mean(axis=0, dtype=np.float64)
        size = float(np.sqrt(np.mean(np.square(rows - centre, dtype=np.float64)))) or 1.0
        network = _Change(head, centre.astype(np.float32), size, int(self.rank))
        batches = Labelled(rows, np.zeros(len(rows), np.int64), self.batch)
        made = trained(
            network, batches, _Sure(self.balance), steps=self.steps, lr=self.lr, seed=seed
        )
        change = made["first"].astype(np.float64) @ made["second"].astype(np.float64)
        whole = np.eye(rows.shape[1]) + change
        return Moved(head, Affine(whole, centre, centre + size * made["bias"]))


@dataclass(frozen=True, eq=False)
class _Change:
    head: Linear
    centre: np.ndarray
    size: float
    rank: int
    names: Sequence[str] = (VIEW,)

    @property
    def dim(self) -> int:
        return len(self.centre)

    def init(self, seed: int) -> dict[str, Param]:
        rng = np.random.default_rng([seed, stable_hash("shot-im")])
        first = rng.normal(size=(self.dim, self.rank)) / np.sqrt(self.dim)
        return {
            "first": Param(first), "second": Param(np.zeros((self.rank, self.dim))),
            "bias": Param(np.zeros(self.dim)),
        }  # fmt: skip

    def forward(self, batch: Batch, params: Mapping[str, Any]) -> dict[str, Any]:
        import torch

        x = batch.rows[VIEW]
        moved = x + (x - torch.from_numpy(self.centre)) @ params["first"] @ params["second"]
        moved = moved + self.size * params["bias"]
        if self.head.unit:
            moved = torch.nn.functional.normalize(moved, dim=1)
        weight = torch.from_numpy(self.head.weight.astype(np.float32))
        return {"logits": moved @ weight + torch.from_numpy(self.head.bias.astype(np.float32))}


@dataclass(frozen=True)
class _Sure(Addable):
    balance: float
    decomposes: ClassVar[bool] = False

    def init(self, names: Sequence[str], dim: int) -> dict[str, Param]:
        return {}

    def __call__(self, out: Mapping[str, Any], batch: Batch, params: Mapping[str, Any]) -> Any:
        import torch

        own = torch.log_softmax(out["logits"], dim=1)
        p = own.exp()
        mean = p.mean(dim=0)
        entropy = -(p * own).sum(dim=1).mean()
        return entropy + self.balance * (mean * torch.log(mean + 1e-12)).sum()


@dataclass(frozen=True)
class PseudoPretraining:
    """Learn the head's own answers on the target first, and then the labels, from there.

    ``W₁ = argmin mean CE(x_t; ŷ) + λ/2 |W|²`` over the ``keep`` target rows the head is surest of,
    with its answers ŷ; then ``W = argmin mean CE(x_s; y) + λ/2 |W − W₁|²`` over the labelled rows.
    Both are convex and followed to their end.

    Parameters
    ----------
    lam : λ, in units of the rows' mean variance.
    keep : the share of the target's rows that is learned from.

    References
    ----------
    Guo 2020 (guo2020predictions): a language model fine-tuned, made to
    learn its own predictions on much unlabelled text, and fine-tuned again.
    """

    lam: Annotated[float, Search(1e-4, 10.0, log=True)] = 0.03
    keep: Annotated[float, Search(0.05, 1.0)] = 0.5
    reads: ClassVar[str] = "labels"

    def fit(self, fitted: Any, x: Any, *, source: Source | None = None, seed: int = 0) -> Linear:
        """A linear head."""
        rows = check_target(fitted, x)
        given = check_source(source, rows.shape[1], "pseudo-pretraining")
        sure = np.asarray(fitted.predict_proba(rows)).max(axis=1)
        kept = np.argsort(-sure, kind="stable")[: max(2, round(self.keep * len(rows)))]
        said = fitted.predict(rows[kept])
        classes = np.asarray(fitted.classes)
        start = np.zeros((rows.shape[1], len(classes)))
        if len(np.unique(said)) > 1:
            first = Logistic(lam=self.lam, standardise=False).fit(rows[kept], said)
            start[:, np.searchsorted(classes, first.classes)] = first.weight
        inside = np.isin(given.y, classes)
        owner = np.searchsorted(classes, given.y[inside])
        weight = np.full(len(owner), 1 / max(1, len(owner)))
        slope, bias = solve(given.x[inside], owner, weight, start, self.lam)
        return Linear(classes, slope, bias)
