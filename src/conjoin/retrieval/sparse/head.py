"""The network behind a lexical head: bound vectors to weights of words, trained on pairs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from conjoin.losses import Param
from conjoin.losses.contrastive.infonce import InfoNCE
from conjoin.spaces import Batch, Pairs
from conjoin.training.loop import Arrays, PairBatches, Schedule, train


@dataclass(frozen=True, eq=False)
class Lexicon:
    """The trainable: one mapper a view, one frozen codebook, one bias a view and word.

    Parameters
    ----------
    names : views in order.
    codebook : ``[V, d]`` words at length 1.
    means : by view, where each word's bias starts.
    sharpness : what cosines above the bias are multiplied by.
    """

    names: tuple[str, ...]
    codebook: np.ndarray
    means: Mapping[str, np.ndarray]
    sharpness: float

    @property
    def dim(self) -> int:
        """Words."""
        return len(self.codebook)

    def init(self, seed: int) -> dict[str, Param]:
        """Mappers that change nothing yet."""
        d = self.codebook.shape[1]
        made: dict[str, Param] = {}
        for name in self.names:
            made[f"{name}/map"] = Param(np.zeros((d, d)), decay=True)
            made[f"{name}/bias"] = Param(self.means[name])
        return made

    def forward(self, batch: Batch, params: Mapping[str, Any]) -> dict[str, Any]:
        """Weights of words by view."""
        words = torch.from_numpy(self.codebook.astype(np.float32))
        return {
            name: weighed(batch.rows[name], params[f"{name}/map"], params[f"{name}/bias"], words,
                          self.sharpness)
            for name in self.names
        }  # fmt: skip


def weighed(x: Any, mapper: Any, bias: Any, words: Any, sharpness: float) -> Any:
    """``log(1 + s · relu(unit(x + x W) · c_v − b_v))``."""
    z = torch.nn.functional.normalize(x + x @ mapper, dim=1)
    return torch.log1p(sharpness * torch.relu(z @ words.T - bias))


@dataclass(frozen=True)
class Overuse:
    """Contrast plus ``λ Σ_v (mean_i w_iv)²`` a view, rows at length 1: words used by all cost."""

    contrast: InfoNCE
    penalty: float
    decomposes: ClassVar[bool] = False

    def init(self, names: Any, dim: int) -> dict[str, Param]:
        """The temperature."""
        return self.contrast.init(names, dim)

    def __call__(self, out: Mapping[str, Any], batch: Batch, params: Mapping[str, Any]) -> Any:
        """The sum."""
        rows = [torch.nn.functional.normalize(x, dim=1) for x in out.values()]
        used = torch.stack([(x.mean(dim=0) ** 2).sum() for x in rows]).sum()
        return self.contrast(out, batch, params) + self.penalty * used


def train_lexicon(
    lexicon: Lexicon,
    views: Mapping[str, np.ndarray],
    pairs: Pairs,
    loss: Overuse,
    pace: tuple[int, int, float],
    seed: int,
) -> Arrays:
    """Mappers and biases; ``pace`` is steps, lines a batch and rate."""
    steps, size, lr = pace
    rows = {name: np.asarray(x, dtype=np.float32) for name, x in views.items()}
    batches = PairBatches(rows, pairs.select(lexicon.names), size)
    epochs = max(1, -(-steps // len(batches)))
    return train(lexicon, batches, loss, seed=seed, schedule=Schedule(epochs, None, lr)).params
