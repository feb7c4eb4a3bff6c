"""Another text encoder into a joint space by texts alone."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from conjoin.alignment.binding import Binding
from conjoin.alignment.choice import Choice
from conjoin.errors import ConjoinError
from conjoin.selection.frozen import for_frozen
from conjoin.spaces import Pairs, Space, unit
from conjoin.stats.bootstrap import interval, paired_difference

#: Fewest texts a bridge is fitted to and judged on.
FEWEST = 40
#: Hits that count.
K = 10


@dataclass(frozen=True)
class Reached:
    """Recall@10 of some queries, with its 95 % interval."""

    value: float
    low: float
    high: float
    queries: int

    @classmethod
    def of(cls, hits: np.ndarray, seed: int = 0) -> "Reached":
        """Of a truth value a query."""
        low, high = interval(hits.astype(float), np.arange(len(hits)), seed=seed)
        return cls(float(hits.mean()), low, high, len(hits))

    def to_json(self) -> dict[str, Any]:
        """JSON-able fields."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class TextBridge:
    """A map from a new text encoder's vectors to those of a joint space's own text encoder.

    Parameters
    ----------
    item : new vectors → the joint frame.
    choice : the method and what it was chosen over.
    held : how often a mapped held-out text finds its own old vector among all held-out ones.
    """

    item: Any
    choice: Choice
    held: Reached


def text_bridge(old: Space, new: Space, *, seed: int = 0) -> TextBridge:
    """Fit a new text encoder into a joint frame, from texts that both encoders embedded.

    ``y = W x + b`` (or the rotation, or the low-rank or canonical map, whichever folds of the
    training texts prefer) takes the new encoder's vector of a text to the old one's. A fifth of
    the texts is held out and judges. The joint frame and all that lies in it stay.

    Parameters
    ----------
    old : ``[n, d]`` in the joint frame; ``new`` : ``[n, d']``; rows of one item id are one text.

    Raises
    ------
    ConjoinError : fewer than :data:`FEWEST` texts are in both.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(200, 6)).astype(np.float32)
    >>> turned = x @ np.linalg.qr(rng.normal(size=(6, 6)))[0]
    >>> made = text_bridge(Space.of(x, name="clip"), Space.of(turned, name="other"))
    >>> made.held.value
    1.0
    """
    spaces = {"old": old, "new": new}
    lines = Pairs.by_id(spaces)
    if len(lines) < FEWEST:
        raise ConjoinError(
            "texts", f"{len(lines)} that both encoders read", f"give {FEWEST} or more"
        )
    fold = lines.folds(5, seed)
    learn, held = lines.take(fold != 0), lines.take(fold == 0)
    made = Binding.as_it_is({"old": old}).extend(spaces, learn, chooser=for_frozen)
    placed: Any = made.bind("new", new).vectors
    rows = held.column("new"), held.column("old")
    own = unit(np.asarray(old.vectors, np.float32)[rows[1]])
    hits = own_found(np.asarray(placed)[rows[0]], own)
    return TextBridge(made.maps["new"], made.beside["new"], Reached.of(hits, seed))


def own_found(queries: np.ndarray, gallery: np.ndarray, k: int = K) -> np.ndarray:
    """``[n]`` whether row ``i`` of the gallery is among the ``k`` nearest of query ``i``."""
    found = np.empty(len(queries), dtype=bool)
    for start in range(0, len(queries), 1024):
        rows = slice(start, start + 1024)
        scores = unit(queries[rows]) @ gallery.T
        own = scores[np.arange(len(scores)), np.arange(len(gallery))[rows]]
        found[rows] = (scores > own[:, None]).sum(axis=1) < k
    return found


def compared(hits: Mapping[str, np.ndarray], base: str, seed: int = 0) -> dict[str, Any]:
    """Recall of several encoders on the same queries, and each one's difference to ``base``."""
    found: dict[str, Any] = {}
    for name, own in hits.items():
        found[name] = Reached.of(own, seed).to_json()
        if name != base:
            gap = paired_difference(
                own.astype(float), hits[base].astype(float), np.arange(len(own)), seed=seed
            )
            found[name] |= {"gain": gap[0], "gain_low": gap[1], "gain_high": gap[2]}
    return found
