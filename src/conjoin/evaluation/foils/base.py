"""What every generator of foils promises, and the words it knows."""

import re
from collections.abc import Sequence
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np

from conjoin.storage.digest import stable_hash

#: Words that say how a thing is, by what they say of it; two of one kind may change places.
ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "colour": ("red", "green", "blue", "yellow", "orange", "purple", "pink", "brown", "black",
               "white", "grey", "gray", "golden", "silver", "teal"),
    "size": ("small", "large", "big", "little", "tiny", "huge", "tall", "short", "long", "wide",
             "narrow", "thick", "thin"),
    "state": ("open", "closed", "empty", "full", "wet", "dry", "old", "new", "young", "happy",
              "sad", "smiling", "crying", "broken", "dark", "light", "medium"),
    "shape": ("round", "square", "circular", "triangular", "rectangular", "flat", "curved"),
}  # fmt: skip
#: Words between two things, each with its opposite.
RELATIONS: dict[str, str] = {
    "on": "under", "under": "on", "above": "below", "below": "above", "over": "beneath",
    "beneath": "over", "behind": "before", "inside": "outside", "outside": "inside",
    "left": "right", "right": "left", "before": "after", "after": "before", "in": "outside",
    "with": "without", "without": "with", "up": "down", "down": "up", "first": "last",
    "last": "first", "earlier": "later", "later": "earlier",
}  # fmt: skip
#: Relations whose sides may change places.
BETWEEN = frozenset({"on", "under", "above", "below", "over", "beneath", "behind", "inside", "in"})
#: Words that name nothing.
PLAIN = frozenset((
    "a", "an", "the", "of", "and", "or", "to", "is", "are", "was", "were", "be", "not", "no", "it",
    "its", "this", "that", "for", "by", "at", "from", "as", "who", "which", "has", "have", "had",
    "there",
))  # fmt: skip
KIND_OF = {word: kind for kind, words in ATTRIBUTES.items() for word in words}
_TOKEN = re.compile(r"\w+|[^\w\s]|\s+")


@runtime_checkable
class FoilMaker(Protocol):
    """A frozen dataclass that makes foils; ``keeps_words`` says that only their order changes."""

    keeps_words: ClassVar[bool]

    def make(self, texts: Sequence[str], seed: int = 0) -> list[str | None]:
        """A foil of each text, or None where the rule finds nothing to change."""
        ...


def tokens(text: str) -> list[str]:
    """Words, marks and spaces of a text; joined they are the text.

    >>> tokens("A red-hot cat.")
    ['A', ' ', 'red', '-', 'hot', ' ', 'cat', '.']
    """
    return _TOKEN.findall(text)


def word_places(parts: Sequence[str]) -> list[int]:
    """Where the words stand among tokens."""
    return [at for at, part in enumerate(parts) if part[0].isalnum() or part[0] == "_"]


def draw(text: str, rule: str, seed: int) -> np.random.Generator:
    """Draws that a text, a rule and a seed decide, whatever other texts there are."""
    return np.random.default_rng([seed, stable_hash(f"foil/{rule}/{text}")])


def things(parts: Sequence[str]) -> list[int]:
    """Places of words that may name a thing: none known as attribute, relation, number or plain."""
    found = []
    for at in word_places(parts):
        word = parts[at].lower()
        if word not in PLAIN | KIND_OF.keys() | RELATIONS.keys() and not word.isdigit():
            found.append(at)
    return found
