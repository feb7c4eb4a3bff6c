"""What an objective or augmentation sees of the data at one step."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from conjoin.storage.digest import stable_hash


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows that belong together, line by line, in the order of one step.

    Parameters
    ----------
    rows : source rows by view, ``[b, d]`` tensors (or padded tokens ``[b, t, d]``); may hold
        views that are not trained, for objectives that look at the source.
    ids : ``[b]`` integers by view; equal numbers show the same thing (one photo with two
        captions is on two lines).
    present : ``[b]`` booleans by view; an absent row's values mean nothing.
    weights : ``[b]`` trust in each line; a line of weight 0 is padding.
    labels : ``[b]`` class of each line or ``[b, c]`` shares, or ``None``.
    masks : ``[b, t]`` booleans by view where ``rows`` holds tokens.
    barred : ``[b, b]`` booleans, symmetric: lines that may not be contrasted with each other,
        such as false negatives a guide found; ``None`` where every line may.
    drawn : what targets need beside the rows (what is hidden, labels…), each with a line a row.
    progress : how far the training has come, in [0, 1].
    seed : integers that decide every random draw of this step.
    """

    rows: Mapping[str, Any]
    ids: Mapping[str, Any]
    present: Mapping[str, Any]
    weights: Any
    labels: Any = None
    masks: Mapping[str, Any] = field(default_factory=dict)
    barred: Any = None
    drawn: Mapping[str, Any] = field(default_factory=dict)
    progress: float = 0.0
    seed: tuple[int, ...] = (0,)

    def __len__(self) -> int:
        return len(self.weights)

    def draw(self, role: str) -> np.random.Generator:
        """A fresh source of random numbers for one use; the same at every call.

        Drawing anew each time keeps an objective a function of its batch, and leaves the draws
        of one untouched when another is added beside it.
        """
        return np.random.default_rng([*self.seed, stable_hash(role)])

    def with_rows(self, rows: Mapping[str, Any]) -> "Batch":
        """The same batch with other source rows (what an augmentation returns)."""
        return replace(self, rows=rows)

    def take(self, lines: Any) -> "Batch":
        """The lines asked for (integers or booleans), in that order."""

        def each(columns: Mapping[str, Any]) -> dict[str, Any]:
            return {name: column[lines] for name, column in columns.items()}

        return replace(
            self,
            rows=each(self.rows),
            ids=each(self.ids),
            present=each(self.present),
            weights=self.weights[lines],
            labels=None if self.labels is None else self.labels[lines],
            masks=each(self.masks),
            barred=None if self.barred is None else self.barred[lines][:, lines],
            drawn=each(self.drawn),
        )
