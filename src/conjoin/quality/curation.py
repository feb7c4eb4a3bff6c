"""Evening out what there is too much of: which items to keep."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Protocol, runtime_checkable

import numpy as np

from conjoin.catalogue import Search
from conjoin.storage.digest import stable_hash


@runtime_checkable
class Curation(Protocol):
    """A frozen dataclass; its catalogue rows are of kind ``curation``."""

    def keep(self, entries: Sequence[Sequence[str]], seed: int) -> np.ndarray:
        """``[n]`` booleans: which items to keep.

        Parameters
        ----------
        entries : what each item counts towards: its label, its cluster, its keywords.
        """
        ...


@dataclass(frozen=True)
class EntryCap:
    """Keeps an item with probability ``1 - Π_e (1 - min(1, t / count(e)))`` over its entries.

    Entries are walked and each is drawn alone, so items of rare entries are always kept, and
    those without any entry never (Xu et al. 2024, MetaCLIP).

    Parameters
    ----------
    t : items an entry may keep for its own sake, on average.
    """

    t: Annotated[float, Search(1, 1e6, log=True)] = 100

    def keep(self, entries: Sequence[Sequence[str]], seed: int) -> np.ndarray:
        """Draw for each entry of each item whether it keeps the item."""
        rng = np.random.default_rng([seed, stable_hash("entry cap")])
        sizes = np.array([len(each) for each in entries], dtype=np.int64)
        owner = np.repeat(np.arange(len(entries)), sizes)
        flat = [entry for each in entries for entry in each]
        if not flat:
            return np.zeros(len(entries), dtype=bool)
        _, number, count = np.unique(flat, return_inverse=True, return_counts=True)
        drawn = rng.random(len(flat)) < (self.t / np.maximum(count, self.t))[number]
        return np.bincount(owner, drawn, len(entries)) > 0


@dataclass(frozen=True)
class ClusterCap:
    """Keeps ``min(t, count)`` items of each cluster, drawn at random (Gu et al. 2025, RealSyn).

    An item of several clusters is kept where any of them keeps it.

    Parameters
    ----------
    t : items a cluster may keep.
    """

    t: Annotated[float, Search(1, 1e6, log=True)] = 100

    def keep(self, entries: Sequence[Sequence[str]], seed: int) -> np.ndarray:
        """Draw the items of each cluster that has more than ``t``."""
        rng = np.random.default_rng([seed, stable_hash("cluster cap")])
        held: dict[str, list[int]] = {}
        for item, each in enumerate(entries):
            for entry in dict.fromkeys(each):
                held.setdefault(entry, []).append(item)
        kept = np.zeros(len(entries), dtype=bool)
        for entry in sorted(held):
            kept[rng.permutation(held[entry])[: int(self.t)]] = True
        return kept
