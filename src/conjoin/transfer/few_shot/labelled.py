"""Labelled rows as batches of the one training loop, and the loss that names their classes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from conjoin.errors import optional
from conjoin.losses import Param
from conjoin.losses.base import Addable
from conjoin.spaces import Batch
from conjoin.storage.digest import stable_hash
from conjoin.training.loop import Arrays, Schedule, Trainable, train

#: The view of labelled rows.
VIEW = "rows"


@dataclass(frozen=True, eq=False)
class Labelled:
    """Rows with their classes, in a new order every pass.

    Parameters
    ----------
    rows : ``[n, d]``.
    owner : ``[n]`` the place of each row's class.
    size : rows a batch.
    """

    rows: np.ndarray
    owner: np.ndarray
    size: int

    def __len__(self) -> int:
        return max(1, round(len(self.rows) / self.size))

    def epoch(self, number: int, seed: int) -> Iterator[Batch]:
        """The batches of one pass."""
        torch = optional("torch", "train")
        order = np.random.default_rng([seed, number, stable_hash("order")])
        lines = order.permutation(len(self.rows))
        for step, at in enumerate(np.array_split(lines, len(self))):
            here = torch.ones(len(at), dtype=torch.bool)
            yield Batch(
                {VIEW: torch.from_numpy(self.rows[at])}, {VIEW: torch.from_numpy(at)},
                {VIEW: here}, torch.ones(len(at)), torch.from_numpy(self.owner[at]),
                seed=(seed, number, step),
            )  # fmt: skip


@dataclass(frozen=True)
class CrossEntropy(Addable):
    """Cross-entropy of the classes from ``logits``; every row counts the same."""

    decomposes: ClassVar[bool] = True

    def init(self, names: Sequence[str], dim: int) -> dict[str, Param]:
        """Nothing of its own is trained."""
        return {}

    def __call__(self, out: Mapping[str, Any], batch: Batch, params: Mapping[str, Any]) -> Any:
        """The mean over the rows."""
        import torch

        return torch.nn.functional.cross_entropy(out["logits"], batch.labels)


def trained(
    trainable: Trainable,
    batches: Labelled,
    objective: Any,
    *,
    steps: int,
    lr: float,
    weight_decay: float = 0.0,
    seed: int,
) -> Arrays:
    """Parameters after ``steps`` steps of AdamW (whole passes, one at least).

    Where there are no rows, the parameters that training would start from.
    """
    if not len(batches.rows):
        return {key: np.asarray(p.value, np.float32) for key, p in trainable.init(seed).items()}
    epochs = max(1, -(-steps // len(batches)))
    schedule = Schedule(epochs, None, lr, weight_decay, every=epochs)
    return train(trainable, batches, objective, seed=seed, schedule=schedule).params
