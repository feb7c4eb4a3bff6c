"""Generators of foils: shuffle, negate, swap attributes, replace an object, swap a relation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from conjoin.evaluation.foils.base import (
    BETWEEN,
    KIND_OF,
    PLAIN,
    draw,
    things,
    tokens,
    word_places,
)

#: Words after which "not" denies what is said.
VERBS = ("is", "are", "was", "were", "has", "have", "can", "will", "does", "do")


class _Each:
    """What rules share that look at one text at a time."""

    keeps_words: ClassVar[bool] = False

    def one(self, text: str, seed: int) -> str | None:
        """The foil of one text."""
        raise NotImplementedError

    def make(self, texts: Sequence[str], seed: int = 0) -> list[str | None]:
        """A foil of each text, or None where the rule finds nothing to change."""
        return [self.one(text, seed) for text in texts]


@dataclass(frozen=True)
class Shuffle(_Each):
    """The words in another order: ``foil = words[π]``, π drawn until the text differs.

    Source: as SNARE and ARO do it (word order); ours keeps marks and spaces in place.
    """

    keeps_words: ClassVar[bool] = True

    def one(self, text: str, seed: int) -> str | None:
        """The foil of one text; None where all words are the same."""
        parts = tokens(text)
        places = word_places(parts)
        own = [parts[at] for at in places]
        if len({word.lower() for word in own}) < 2:
            return None
        rng = draw(text, "shuffle", seed)
        while True:
            order = rng.permutation(len(own))
            moved = [own[i] for i in order]
            if [word.lower() for word in moved] != [word.lower() for word in own]:
                return put(parts, dict(zip(places, moved, strict=True)))


@dataclass(frozen=True)
class Negate(_Each):
    """What is said denied: ``not`` after the first verb known, else ``not`` before the text.

    A text that already holds ``not`` or ``no`` loses it instead.
    """

    def one(self, text: str, seed: int) -> str | None:
        """The foil of one text; None where there is no word."""
        parts = tokens(text)
        places = word_places(parts)
        if not places:
            return None
        for at in places:
            if parts[at].lower() in ("not", "no"):
                rest = "".join(parts[:at]) + "".join(parts[at + 1 :]).lstrip()
                return rest if rest.strip() else None
        for at in places:
            if parts[at].lower() in VERBS:
                return put(parts, {at: f"{parts[at]} not"})
        return put(parts, {places[0]: f"not {parts[places[0]]}"})


@dataclass(frozen=True)
class SwapAttributes(_Each):
    """Two attributes of one kind (two colours, two sizes) change places: ``x a y b → x b y a``."""

    keeps_words: ClassVar[bool] = True

    def one(self, text: str, seed: int) -> str | None:
        """The foil of one text; None where no kind has two."""
        parts = tokens(text)
        told = [(at, parts[at].lower()) for at in word_places(parts)]
        known = [(at, word) for at, word in told if word in KIND_OF]
        pairs = [(a, b) for i, (a, one) in enumerate(known) for b, other in known[i + 1 :]
                 if KIND_OF[one] == KIND_OF[other] and one != other]  # fmt: skip
        if not pairs:
            return None
        a, b = pairs[int(draw(text, "attributes", seed).integers(len(pairs)))]
        return put(parts, {a: parts[b], b: parts[a]})


@dataclass(frozen=True)
class ReplaceObject:
    """One word that names a thing replaced by one of another text: ``a x b → a y b``, y not in it.

    Which words name things is told by exclusion: no attribute, relation, number or word of
    grammar that is known. English only.
    """

    keeps_words: ClassVar[bool] = False

    def make(self, texts: Sequence[str], seed: int = 0) -> list[str | None]:
        """A foil of each text, or None where it names nothing or no other text names another."""
        split = [tokens(text) for text in texts]
        known = sorted({parts[at].lower() for parts in split for at in things(parts)})
        made: list[str | None] = []
        for text, parts in zip(texts, split, strict=True):
            rng, places = draw(text, "object", seed), things(parts)
            own = {parts[at].lower() for at in word_places(parts)}
            others = [word for word in known if word not in own]
            if not places or not others:
                made.append(None)
                continue
            at = places[int(rng.integers(len(places)))]
            made.append(put(parts, {at: others[int(rng.integers(len(others)))]}))
        return made


@dataclass(frozen=True)
class SwapRelation(_Each):
    """The sides of a relation change places: ``a on b → b on a``.

    A side is the run of words from the relation to the next mark or the end of the text.
    """

    keeps_words: ClassVar[bool] = True

    def one(self, text: str, seed: int) -> str | None:
        """The foil of one text; None where no known relation stands between different words."""
        parts = tokens(text)
        for at in word_places(parts):
            if parts[at].lower() not in BETWEEN:
                continue
            first, last = at, at
            while first > 0 and _inside(parts[first - 1]):
                first -= 1
            while last < len(parts) - 1 and _inside(parts[last + 1]):
                last += 1
            left = "".join(parts[first:at]).strip()
            right = "".join(parts[at + 1 : last + 1]).strip()
            apart = set(left.lower().split()) ^ set(right.lower().split())
            if left and right and apart - PLAIN:
                before, after = "".join(parts[:first]), "".join(parts[last + 1 :])
                return f"{before}{right} {parts[at]} {left}{after}"
        return None


def _inside(token: str) -> bool:
    return token[0].isalnum() or token.isspace() or token == "-"


def put(parts: Sequence[str], changed: dict[int, str]) -> str:
    """Tokens joined, some of them changed."""
    return "".join(changed.get(at, part) for at, part in enumerate(parts))
