"""Evidence of a workspace's documents: their pieces as selectors see them, and what they learn."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from conjoin.answering.answer import Passage
from conjoin.answering.selection.base import LISTS, Picker, Pool, Question
from conjoin.answering.words import words
from conjoin.catalogue import of_kind
from conjoin.errors import ConjoinError, nearest
from conjoin.items.items import Items

#: Words by which a question asks for a list other than text.
CUES = {
    "table": re.compile(r"\b(table|column|row|list of|values? of|options?)\b", re.IGNORECASE),
    "figure": re.compile(
        r"\b(figure|picture|image|photo|diagram|drawing|look(s)? like)\b", re.IGNORECASE
    ),
}


@dataclass(frozen=True, eq=False)
class Minted:
    """Questions that the documents' structure asks, and the rows of the pieces they ask for.

    Parameters
    ----------
    rows : ``[q]``.
    scores : ``[q, n]``, what the search gives each piece.
    vectors : ``[q, d]`` of the questions; zeros where there are none.
    """

    rows: np.ndarray
    scores: np.ndarray
    vectors: np.ndarray


def selector_named(name: str) -> object:
    """A selector of the catalogue.

    Raises
    ------
    ConjoinError : there is none of that name.
    """
    known = of_kind("selector")
    if name not in known:
        raise ConjoinError("--selector", f"{name!r} is unknown", nearest(name, known))
    return known[name].make()


def pool_of(passages: Sequence[Passage], items: Items, vectors: np.ndarray) -> Pool:
    """The pieces as selectors see them.

    Links join pieces of one section, neighbours in a document, and the first piece under a
    heading with those under the headings below it, at weights 1, 1 and ½.
    """
    kinds = [str(kind) for kind in items.column("kind")]
    lists = np.array([LISTS.index(kind) if kind in LISTS else 0 for kind in kinds])
    chapters = _numbers([(one.document, str(name)) for one, name in
                         zip(passages, items.column("chapter"), strict=True)])  # fmt: skip
    sections = _numbers([(one.document, one.path) for one in passages])
    lengths = np.array([max(1, len(words(one.text))) for one in passages])
    order = [int(at or 0) for at in items.column("order")]
    return Pool(vectors, sections, chapters, lists, lengths, _links(passages, order, sections))


def _numbers(names: Sequence[object]) -> np.ndarray:
    known: dict[object, int] = {}
    return np.array([known.setdefault(name, len(known)) for name in names], int)


def _links(
    passages: Sequence[Passage], order: Sequence[int], sections: np.ndarray
) -> sparse.csr_matrix:
    n = len(passages)
    edges: dict[tuple[int, int], float] = {}

    def join(one: int, other: int, weight: float) -> None:
        pair = (min(one, other), max(one, other))
        if one != other:
            edges[pair] = max(weight, edges.get(pair, 0.0))

    first: dict[tuple[str, tuple[str, ...]], int] = {}
    at = sorted(range(n), key=lambda row: (passages[row].document, order[row]))
    for before, row in zip([-1, *at], at, strict=False):
        one = passages[row]
        if before >= 0 and passages[before].document == one.document:
            join(before, row, 1.0)
        opener = first.setdefault((one.document, one.path), row)
        join(opener, row, 1.0)
        above = first.get((one.document, one.path[:-1])) if one.path else None
        if above is not None and opener == row:
            join(above, row, 0.5)
    if not edges:
        return sparse.csr_matrix((n, n))
    pairs = np.array(list(edges))
    half = sparse.csr_matrix((list(edges.values()), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    return sparse.csr_matrix(half + half.T)


def prefers(question: str) -> np.ndarray:
    """How far a question's words ask for each list, ``[len(LISTS)]``.

    >>> prefers("Which picture shows the valve?").tolist()
    [0.0, 0.0, 1.0]
    """
    return np.array([float(name in CUES and bool(CUES[name].search(question))) for name in LISTS])


def learnt(name: str, pool: Pool, minted: Minted) -> Picker:
    """A selector fitted to the questions of the structure.

    Earlier turns of one are those before it in the same chapter, as of somebody who reads on.

    Raises
    ------
    ConjoinError : it is unknown, or there is too little to learn from.
    """
    chosen: dict[int, list[int]] = {}
    questions = []
    for at, row in enumerate(minted.rows):
        before = chosen.setdefault(int(pool.chapters[row]), [])
        questions.append(Question(minted.vectors[at], minted.scores[at], pool.vectors[before[-2:]]))
        before.append(int(row))
    made = selector_named(name)
    return made.fit(pool, questions, minted.rows, seed=0)  # type: ignore[attr-defined]
