"""Small knowledge graphs that come with PyKEEN."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from conjoin.catalogue import Choice
from conjoin.claims.datasets.registry import given, joined, require_views, texts
from conjoin.encoders.builtin.bundled import package_file
from conjoin.evaluation.benchmark import Bench
from conjoin.spaces import Space

Triples = Sequence[tuple[str, str, str]]

#: Encoder of each view of an entity's name.
_WORDS = {
    "name": "builtin:text", "static": "builtin:text-static", "characters": "builtin:chargram",
}  # fmt: skip


@dataclass(frozen=True)
class Graph:
    """The entities of a small knowledge graph, by what they stand in relation to and by name.

    ``umls``: 135 kinds of things in medicine, 46 relations, 6,529 triples (the UMLS semantic
    network). ``kinships``: 104 people without names, 25 kin terms of the Alyawarra, 10,686
    triples. All triples count, whatever part of PyKEEN's split they are in. An entity that
    never stands on a side has no row there. A group is an entity; there are no classes. Source:
    after Kok and Domingos 2007, as PyKEEN ships them (MIT; the graphs came without a
    licence of their own).

    What it cannot show: a count of a training entity includes its relations to held-out ones
    (which of them, no count tells); thirty to forty held-out entities decide little.

    Parameters
    ----------
    graph : which of them.

    Views
    -----
    subject : ``log(1 + n)`` of each relation, n the triples with the entity as its subject.
    object : the same as its object.
    graph : both side by side.
    name : the entity's name under MiniLM (384); not of ``kinships``.
    static : the name under averaged static vectors (256); not of ``kinships``.
    characters : the name under hashed character n-grams (1024); not of ``kinships``.
    """

    graph: Annotated[str, Choice(("umls", "kinships"))] = "umls"

    @property
    def views(self) -> tuple[str, ...]:
        """The names of the views; none of words where entities have no names."""
        words = () if self.graph == "kinships" else tuple(_WORDS)
        return ("graph", "subject", "object", *words)

    def load(self, views: Sequence[str]) -> Bench:
        """Read the files that PyKEEN carries; PyKEEN itself is not imported."""
        require_views(self.graph, self.views, views)
        triples = read_triples(self.graph)
        entities = sorted({end for head, _, tail in triples for end in (head, tail)})
        spaces = {view: self._space(view, entities, triples) for view in views}
        return joined(self.graph, spaces)

    def _space(self, view: str, entities: list[str], triples: Triples) -> Space:
        if view in _WORDS:
            words = {entity: entity.replace("_", " ") for entity in entities}
            return texts(words, _WORDS[view], f"{self.graph} {view}")
        counts = degree_profile(entities, triples)
        half = counts.shape[1] // 2
        values = {"graph": counts, "subject": counts[:, :half], "object": counts[:, half:]}[view]
        live = np.flatnonzero(values.any(axis=1))
        ids = [entities[row] for row in live]
        return given(values[live], ids, f"{self.graph} {view}")


def degree_profile(entities: Sequence[str], triples: Triples) -> np.ndarray:
    """``[n, 2·relations]``: ``log(1 + n)`` of an entity's triples, as subject then as object.

    Examples
    --------
    >>> np.expm1(degree_profile(["a", "b"], [("a", "likes", "b")])).round().tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    relations = sorted({relation for _, relation, _ in triples})
    row = {entity: place for place, entity in enumerate(entities)}
    column = {relation: place for place, relation in enumerate(relations)}
    counts = np.zeros((len(entities), 2 * len(relations)))
    for head, relation, tail in triples:
        counts[row[head], column[relation]] += 1
        counts[row[tail], len(relations) + column[relation]] += 1
    return np.log1p(counts)


def read_triples(graph: str) -> list[tuple[str, str, str]]:
    """Every triple of a graph once, sorted."""
    found = set()
    for part in ("train", "valid", "test"):
        path = package_file("pykeen", f"datasets/{graph}/{part}.txt", "claims")
        for line in path.read_text(encoding="utf-8").splitlines():
            head, relation, tail = line.split("\t")
            found.add((head, relation, tail))
    return sorted(found)
