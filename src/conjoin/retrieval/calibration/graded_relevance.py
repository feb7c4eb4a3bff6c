"""Graded relevance: which items answer a query beside its own partner, by what a table says."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from conjoin.errors import ConjoinError
from conjoin.metrics.retrieval.relevance import Relevance
from conjoin.retrieval.calibration.cross_fit import Scene
from conjoin.retrieval.calibration.out_of_distribution import MOST, NEAREST, familiarity, spread
from conjoin.spaces import Space

#: What a probability is the chance of, by what is known: the query's own partner, or any relevant
#: item.
PARTNER, RELEVANT = "partner", "relevant"


@dataclass(frozen=True, eq=False)
class Grades:
    """Which items are relevant to each other.

    Two items are relevant to each other where they are the same item, have the same label, or
    share a keyword; where groups are given, items that share a keyword must be of one group, and
    groups alone make relevant whatever is of the same group.

    Parameters
    ----------
    row_of : row of each item id.
    labels, groups : ``[n]`` codes, −1 for none; ``None`` where there is no such column.
    keywords : sparse ``[n, words]`` of 0 and 1, or ``None``.

    Examples
    --------
    >>> one = Grades.of(["a", "b", "c"], keywords=[["red", "fruit"], ["fruit"], ["car"]])
    >>> one.relevant(["a"], ["a", "b", "c"]).tolist()
    [[True, True, False]]
    """

    row_of: Mapping[str, int]
    labels: np.ndarray | None = None
    keywords: Any = None
    groups: np.ndarray | None = None

    @classmethod
    def of(
        cls,
        ids: Iterable[Any],
        labels: Iterable[Any] | None = None,
        keywords: Iterable[Any] | None = None,
        groups: Iterable[Any] | None = None,
    ) -> "Grades":
        """Grades by columns, a value an item; a missing value agrees with none.

        Parameters
        ----------
        keywords : of each item a list of words, or one text of words between commas.

        Raises
        ------
        ConjoinError : no column is given.
        """
        if labels is None and keywords is None and groups is None:
            raise ConjoinError("relevance", "no column is given", "name labels, keywords or groups")
        return cls(
            {str(item): row for row, item in enumerate(ids)},
            None if labels is None else _codes(labels),
            None if keywords is None else _bag(keywords),
            None if groups is None else _codes(groups),
        )

    def relevant(self, queries: Iterable[Any], items: Iterable[Any]) -> np.ndarray:
        """``[q, n]`` whether items are relevant to queries, both by id; unknown ids are not."""
        q, x = (np.array([self.row_of.get(str(i), -1) for i in ids]) for ids in (queries, items))
        found = np.asarray(q[:, None] == x[None])
        if self.labels is not None:
            found |= _same(self.labels, q, x)
        if self.keywords is not None:
            shares = np.asarray((self.keywords[q] @ self.keywords[x].T).todense()) > 0
            found |= shares if self.groups is None else shares & _same(self.groups, q, x)
        elif self.groups is not None:
            found |= _same(self.groups, q, x)
        return np.asarray(found & (q >= 0)[:, None] & (x >= 0)[None])


def _same(codes: np.ndarray, q: np.ndarray, x: np.ndarray) -> np.ndarray:
    return np.asarray((codes[q][:, None] == codes[x][None]) & (codes[q] >= 0)[:, None])


def _codes(values: Iterable[Any]) -> np.ndarray:
    known: dict[str, int] = {}
    blank = (None, "")
    return np.array(
        [-1 if v in blank or v != v else known.setdefault(str(v), len(known)) for v in values]
    )


def _bag(values: Iterable[Any]) -> Any:
    from scipy import sparse

    known: dict[str, int] = {}
    rows, columns, row = [], [], -1
    for row, value in enumerate(values):
        words = value.split(",") if isinstance(value, str) else value
        if words is None or isinstance(words, float):
            continue
        for word in {str(word).strip().casefold() for word in words} - {""}:
            rows.append(row)
            columns.append(known.setdefault(word, len(known)))
    ones = np.ones(len(rows), dtype=np.float32)
    return sparse.csr_matrix((ones, (rows, columns)), shape=(row + 1, max(1, len(known))))


def graded(scene: Scene, grades: Grades, spaces: Mapping[str, Space]) -> Scene:
    """A scene whose right answers are all relevant items, partners among them."""
    wanted, asked = scene.wanted, spaces[scene.query].ids[scene.asked[scene.wanted.queries]]
    rows = grades.relevant(asked, spaces[scene.target].ids[scene.rows])
    mark = np.zeros((len(wanted), wanted.n_items), dtype=bool)
    owner = np.repeat(np.arange(len(wanted)), wanted.counts)
    mark[owner, wanted.items] = True
    lines, places = np.nonzero(rows)
    mark[lines, wanted.item_of[places]] = True
    offsets = np.concatenate([[0], np.cumsum(mark.sum(axis=1))])
    more = Relevance(wanted.queries, offsets, np.nonzero(mark)[1], wanted.item_of, wanted.dropped)
    return replace(scene, wanted=more)


def far(scene: Scene, grades: Grades, spaces: Mapping[str, Space]) -> np.ndarray | None:
    """``[q]`` how familiar each query is once all that is relevant to it is gone."""
    if len(scene.bank) < NEAREST:
        return None
    rows = spread(len(scene.bank), MOST)
    held = spaces[scene.query].ids
    asked = scene.asked[scene.wanted.queries]
    gone = grades.relevant(held[asked], held[scene.bank_rows[rows]])
    return familiarity(scene.q[scene.wanted.queries], scene.bank[rows], gone)
