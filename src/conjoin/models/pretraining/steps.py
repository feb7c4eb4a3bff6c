"""What a forward pass knows of the step it belongs to: its random draws and side losses."""

from dataclasses import dataclass, field
from typing import Any

from conjoin.storage.digest import stable_hash


@dataclass(frozen=True, eq=False)
class Step:
    """One forward pass over a batch.

    Parameters
    ----------
    seed : integers that decide every draw; ``None`` outside training, where nothing is dropped.
    dropout : share of units dropped in training.
    side : losses that parts add by themselves (balance of experts…), filled as they run.
    """

    seed: tuple[int, ...] | None = None
    dropout: float = 0.0
    side: list[Any] = field(default_factory=list)

    @property
    def training(self) -> bool:
        """Whether anything is drawn."""
        return self.seed is not None

    def generator(self, role: str) -> Any:
        """A torch generator of one use: the same at every call with the same step and role."""
        import torch

        key = stable_hash(f"{self.seed}/{role}") % 2**62
        return torch.Generator().manual_seed(key)

    def drop(self, x: Any, role: str) -> Any:
        """``x`` with a share of its units at 0 and the rest scaled to the same expectation."""
        import torch

        if not self.training or not self.dropout:
            return x
        kept = torch.rand(x.shape, generator=self.generator(role)) >= self.dropout
        return x * kept.to(x) / (1 - self.dropout)
