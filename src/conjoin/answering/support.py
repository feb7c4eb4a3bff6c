"""Whether a sentence is borne out by a passage: what differs is shown, nothing is certified."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from conjoin.answering.documents.sentences import sentences
from conjoin.answering.words import NEGATIONS, negations, numbers, stem, words

#: Share of a sentence's content words that the passage's own must have.
LEAST = 0.6
_NEGATED = {stem(word) for word in NEGATIONS}


@dataclass(frozen=True)
class Support:
    """One sentence beside the sentence of the evidence that is most like it.

    Parameters
    ----------
    sentence : of the answer.
    passage : place of the passage in the evidence; -1 where there is none.
    beside : its nearest one or two sentences.
    share : of the sentence's content words found in them.
    words, numbers, negations : of the sentence alone: what differs.
    dropped : negations of the evidence that the sentence lacks.
    """

    sentence: str
    passage: int
    beside: str
    share: float
    words: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    negations: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()

    @property
    def stands(self) -> bool:
        """Whether enough words are shared, and all numbers and negations are alike."""
        return (
            self.passage >= 0 and self.share >= LEAST
            and not (self.numbers or self.negations or self.dropped)
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """JSON-able fields."""
        return {
            "sentence": self.sentence, "passage": self.passage, "beside": self.beside,
            "share": round(self.share, 4), "stands": self.stands, "words": list(self.words),
            "numbers": list(self.numbers), "negations": list(self.negations),
            "dropped": list(self.dropped),
        }  # fmt: skip


def support(sentence: str, passages: Sequence[str]) -> Support:
    """Compare a sentence with every passage; the best one is named.

    Every sentence of every passage is tried, and every two together where no one has enough. Best
    is what shares most content words, then what differs in fewest numbers and negations. A high
    share says that the words are alike, not that the sentence is true: a changed name passes where
    enough other words stay.

    Examples
    --------
    >>> said = support("The kettle holds 3 litres.", ["The kettle holds 2 litres. It is red."])
    >>> said.stands, said.numbers
    (False, ('3',))
    """
    own = set(words(sentence))
    best = Support(sentence, -1, "", 0.0, tuple(sorted(own)))
    split = [sentences(passage) for passage in passages]
    for runs in (split, [[f"{a} {b}" for a, b in pairwise(one)] for one in split]):
        for place, found in enumerate(runs):
            for run in found:
                best = max(best, _compared(sentence, own, place, run), key=_rank)
        if best.share >= LEAST:
            break  # two sentences together would lend it a number or a negation of either
    return best


def _rank(found: Support) -> tuple[float, int]:
    return found.share, -len((*found.numbers, *found.negations, *found.dropped))


def _compared(sentence: str, own: set[str], place: int, run: str) -> Support:
    there = set(words(run))
    said, held = negations(sentence), negations(run)
    share = len(own & there) / len(own) if own else 0.0
    return Support(
        sentence, place, run, share, tuple(sorted(own - there)),
        tuple(sorted(numbers(sentence) - numbers(run))), tuple(sorted((said - held).elements())),
        tuple(sorted((held - said).elements())),
    )  # fmt: skip


def conflict(first: str, second: str) -> bool:
    """Whether two sentences say the same with another number or the other way round.

    They must share three quarters of their words, figures aside.

    >>> conflict("The limit of a file is 5 MB.", "The limit of a file is 9 MB.")
    True
    >>> conflict("The limit of a file is 5 MB.", "The size of a page is 9 KB.")
    False
    """
    left = {word for word in words(first) if not word[0].isdigit()} - _NEGATED
    right = {word for word in words(second) if not word[0].isdigit()} - _NEGATED
    if len(left & right) < 2 or len(left & right) < 0.75 * len(left | right):
        return False
    one, two = numbers(first), numbers(second)
    return (bool(one) and bool(two) and not one & two) or bool(negations(first)) != bool(
        negations(second)
    )
