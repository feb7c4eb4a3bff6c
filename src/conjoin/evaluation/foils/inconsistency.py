"""Inconsistencies put into texts that belong to something else, by kind."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from conjoin.catalogue import Choice
from conjoin.evaluation.foils.base import RELATIONS, draw, things, tokens, word_places
from conjoin.evaluation.foils.rules import Negate, put

KINDS = ("factual", "identity", "context", "quantity", "order")
_NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


@dataclass(frozen=True)
class Inconsistency:
    """A text made to contradict what it belongs to, in one of five ways.

    ``foil = rule[kind](text)``. ``factual``: what it says is denied. ``identity``: the first
    thing it names is that of another text. ``context``: the whole text is another's.
    ``quantity``: a number is another. ``order``: a word of place or time is its opposite.

    Source: the five categories of Yan et al., MMIR (2025), as its README names them. There,
    inconsistencies were written by a language model into web pages and slides; the rules are ours.

    Parameters
    ----------
    kind : which of the five.
    """

    kind: Annotated[str, Choice(KINDS)] = "context"
    keeps_words: ClassVar[bool] = False

    def make(self, texts: Sequence[str], seed: int = 0) -> list[str | None]:
        """A foil of each text, or None where it gives no hold to this kind."""
        if self.kind == "factual":
            return Negate().make(texts, seed)
        if self.kind == "quantity":
            return [_other_number(text, seed) for text in texts]
        if self.kind == "order":
            return [_opposite(text) for text in texts]
        known = sorted(set(texts))
        return [self._of_another(text, known, seed) for text in texts]

    def _of_another(self, text: str, known: Sequence[str], seed: int) -> str | None:
        rng = draw(text, self.kind, seed)
        parts, places = tokens(text), things(tokens(text))
        said = _words(parts)
        for at in rng.permutation(len(known)) if said else ():
            other = known[int(at)]
            if _words(tokens(other)) in (said, []):
                continue
            if self.kind == "context":
                return other
            theirs, there = tokens(other), things(tokens(other))
            own = {parts[place].lower() for place in word_places(parts)}
            if places and there and theirs[there[0]].lower() not in own:
                return put(parts, {places[0]: theirs[there[0]]})
        return None


def _words(parts: Sequence[str]) -> list[str]:
    return [parts[at].lower() for at in word_places(parts)]


def _other_number(text: str, seed: int) -> str | None:
    parts = tokens(text)
    rng = draw(text, "quantity", seed)
    for at in word_places(parts):
        word = parts[at].lower()
        if re.fullmatch(r"\d+", word):
            return put(parts, {at: str(int(word) + int(rng.integers(1, 10)))})
        if word in _NUMBERS:
            shift = int(rng.integers(1, len(_NUMBERS)))
            return put(parts, {at: _NUMBERS[(_NUMBERS.index(word) + shift) % len(_NUMBERS)]})
    return None


def _opposite(text: str) -> str | None:
    parts = tokens(text)
    for at in word_places(parts):
        if parts[at].lower() in RELATIONS:
            return put(parts, {at: RELATIONS[parts[at].lower()]})
    return None
