"""A head whose network reshapes the vectors, for encoders trained on noisy pairs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from conjoin.catalogue import Search
from conjoin.errors import optional
from conjoin.losses import Param
from conjoin.maps.mlp import ResidualMLP, hidden_part
from conjoin.spaces import Batch
from conjoin.storage.digest import stable_hash
from conjoin.training.loop import Arrays
from conjoin.transfer.base import Prototypes, check_labels, check_rows, known_classes
from conjoin.transfer.few_shot.labelled import VIEW, CrossEntropy, Labelled, trained
from conjoin.transfer.heads import Linear, Reshaped


@dataclass(frozen=True)
class NMTune:
    """A small network on frozen vectors, whose outputs are held to a good spectrum.

    Minimises ``CE + w₁ |ẑ − x̂|² / d + w₂ Σ_{i≠j} Cov(z)ᵢⱼ² / d − w₃ mean(σ₁…σ₅ / Σ σ)`` by
    batches, where ``z = x + b + relu(norm(x) W₁ + b₁) W₂`` starts as ``x``, hats are unit length
    and σ are the singular values of the batch's ``z``; a linear head reads the classes off ``z``.
    The three terms are the objectives ``consistency``, ``decorrelation`` and
    ``dominant-singular``.

    Parameters
    ----------
    consistency, decorrelation, dominant : w₁, w₂, w₃.
    hidden : units of the hidden layer.
    lr, weight_decay : of AdamW.
    steps, batch : steps at most (whole passes, one at least) and rows in each.

    References
    ----------
    Chen et al. 2024 (chen2024nmtune), whose network is a plain one behind the encoder and sees
    two augmentations of each picture; a frozen vector has but one.
    """

    consistency: Annotated[float, Search(0.0, 100.0)] = 1.0
    decorrelation: Annotated[float, Search(0.0, 10.0)] = 0.01
    dominant: Annotated[float, Search(0.0, 10.0)] = 0.01
    hidden: Annotated[int, Search(16, 2048, log=True)] = 256
    lr: Annotated[float, Search(1e-5, 1e-1, log=True)] = 3e-3
    weight_decay: Annotated[float, Search(1e-6, 1.0, log=True)] = 1e-2
    steps: Annotated[int, Search(1, 10_000, log=True)] = 300
    batch: Annotated[int, Search(16, 8192, log=True)] = 256
    prototypes: ClassVar[str] = "unused"
    answers: ClassVar[str] = "classes"

    def fit(
        self, x: Any, y: Any, *, prototypes: Prototypes | None = None, seed: int = 0
    ) -> Reshaped:
        """A network and a linear head."""
        optional("torch", "train")
        from conjoin.losses.regularizers.spectral import (
            Consistency,
            Decorrelation,
            DominantSingular,
        )

        rows = check_rows(x, "x").astype(np.float32, copy=False)
        labels = check_labels(y, len(rows))
        classes = known_classes(labels)
        owner = np.searchsorted(classes, labels)
        # Coordinates of one size on average: what the rates and the head's start are made for.
        size = float(np.sqrt(np.mean(np.square(rows, dtype=np.float64)))) or 1.0
        rows = rows / np.float32(size)
        objective: Any = (
            CrossEntropy() + self.consistency * Consistency() + self.decorrelation * Decorrelation()
            + self.dominant * DominantSingular()
        )  # fmt: skip
        trainable = _Network(rows.shape[1], self.hidden, len(classes))
        batches = Labelled(rows, owner, self.batch)
        made = trained(
            trainable, batches, objective, steps=self.steps, lr=self.lr,
            weight_decay=self.weight_decay, seed=seed,
        )  # fmt: skip
        return trainable.fitted(made, classes, size)


@dataclass(frozen=True, eq=False)
class _Network:
    """``z = x + b + relu(norm(x) W₁ + b₁) W₂`` and logits ``z W + c``."""

    dim: int
    hidden: int
    classes: int
    names: Sequence[str] = (VIEW,)

    def init(self, seed: int) -> dict[str, Param]:
        """A network that changes nothing, and a head that says nothing."""
        rng = np.random.default_rng([seed, stable_hash("nmtune")])
        inner = rng.normal(size=(self.dim, self.hidden)) * np.sqrt(2 / self.dim)
        return {
            "bias": Param(np.zeros(self.dim)), "inner": Param(inner, decay=True),
            "inner_bias": Param(np.zeros(self.hidden)),
            "outer": Param(np.zeros((self.hidden, self.dim)), decay=True),
            "head": Param(np.zeros((self.dim, self.classes)), decay=True),
            "head_bias": Param(np.zeros(self.classes)),
        }  # fmt: skip

    def forward(self, batch: Batch, params: Mapping[str, Any]) -> dict[str, Any]:
        """The rows reshaped, and their logits."""
        x = batch.rows[VIEW]
        z = x + params["bias"] + hidden_part(x, params)
        return {VIEW: z, "logits": z @ params["head"] + params["head_bias"]}

    def fitted(self, arrays: Arrays, classes: np.ndarray, size: float) -> Reshaped:
        """The head that reads rows as they were before they were divided by ``size``."""
        network = ResidualMLP(
            np.eye(self.dim, dtype=np.float32), arrays["bias"], arrays["inner"],
            arrays["inner_bias"], arrays["outer"],
        )  # fmt: skip
        head = Linear(classes, arrays["head"], arrays["head_bias"])
        return Reshaped(network, head, size)
