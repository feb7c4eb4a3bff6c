"""An answer: quoted or written sentences with their evidence, or a refusal with its cause."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from conjoin.answering.documents.sentences import sentence_spans
from conjoin.answering.support import Support, conflict
from conjoin.answering.words import Words

#: The causes of a refusal, a sentence each.
CAUSES = {
    "unlike": "Nothing in these documents is like this question.",
    "near": "Passages come near, but none answers this.",
    "conflict": "Passages contradict each other on this.",
}
#: Sentences of a quoted run, and quoted runs of an answer, at most.
RUN, QUOTES = 3, 3


@dataclass(frozen=True)
class Passage:
    """A piece of a document as evidence."""

    id: str
    document: str
    page: int
    path: tuple[str, ...]
    text: str
    breaks: tuple[int, ...] = ()
    pictures: tuple[str, ...] = ()
    score: float = 0.0

    def page_at(self, offset: int) -> int:
        """The page on which a character of its text stands; 0 where pages are unknown."""
        return self.page + sum(at <= offset for at in self.breaks) if self.page else 0

    def to_json(self) -> dict[str, Any]:
        """JSON-able fields."""
        return {
            "id": self.id, "document": self.document, "page": self.page, "path": list(self.path),
            "pictures": list(self.pictures), "score": round(self.score, 4), "text": self.text,
        }  # fmt: skip


@dataclass(frozen=True)
class Quote:
    """Sentences of a passage, word for word.

    Parameters
    ----------
    passage : place in the evidence.
    covered : share of the question's words that the sentences and their headings hold.
    """

    passage: int
    text: str
    page: int
    covered: float


@dataclass(frozen=True)
class Answer:
    """What was answered.

    Parameters
    ----------
    cause : a key of :data:`CAUSES` where it was refused, else empty.
    quotes : word for word from the evidence.
    written : sentences of a model, each beside what bears it out, where a model was asked.
    nearest : what was found, also where nothing answers.
    prompt : digest of the prompt a model was given.
    """

    question: str
    cause: str
    quotes: tuple[Quote, ...]
    nearest: tuple[Passage, ...]
    written: tuple[Support, ...] = ()
    model: str = "none"
    prompt: str = ""
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """JSON-able fields; the keys are stable."""
        return {
            "version": 1, "question": self.question, "refused": bool(self.cause),
            "cause": self.cause or None, "said": CAUSES.get(self.cause),
            "quotes": [
                {"text": one.text, "page": one.page, "covered": round(one.covered, 4),
                 "passage": one.passage, "id": self.nearest[one.passage].id,
                 "document": self.nearest[one.passage].document,
                 "path": list(self.nearest[one.passage].path),
                 "pictures": list(self.nearest[one.passage].pictures)}
                for one in self.quotes
            ],
            "written": [one.to_json() for one in self.written],
            "evidence": [one.to_json() for one in self.nearest],
            "model": self.model, "prompt": self.prompt or None, "notes": list(self.notes),
        }  # fmt: skip


def quotes(question: str, passages: Sequence[Passage], known: Words) -> list[Quote]:
    """The shortest runs of sentences that cover the question, best first, one of each passage.

    A run of ``s`` sentences is worth the share of the question's words it holds, those of its
    headings at half, less 0.08 a sentence after the first. Runs worth less than 0.7 of the best
    are left out.
    """
    found = []
    for place, passage in enumerate(passages):
        spans = sentence_spans(passage.text)
        above = known.share(question, " ".join(passage.path))
        best: tuple[float, int, Quote] | None = None
        for first in range(len(spans)):
            for last in range(first, min(len(spans), first + RUN)):
                start, end = spans[first][0], spans[last][1]
                text = passage.text[start:end]
                own = known.share(question, text)
                both = known.share(question, " ".join((*passage.path, text)))
                covered = own + 0.5 * (both - own)
                worth = covered - 0.08 * (last - first)
                if own > 0 or above > 0:
                    made = Quote(place, text, passage.page_at(start), both)
                    if best is None or (worth, -len(text)) > (best[0], best[1]):
                        best = (worth, -len(text), made)
        if best is not None:
            found.append(best)
    found.sort(key=lambda one: (-one[0], one[2].passage))
    return [made for worth, _, made in found[:QUOTES] if worth >= 0.7 * found[0][0]]


def disagreeing(found: Sequence[Quote]) -> tuple[Quote, Quote] | None:
    """The first two quotes that contradict each other, if any."""
    for at, first in enumerate(found):
        for second in found[at + 1 :]:
            if conflict(first.text, second.text):
                return first, second
    return None
