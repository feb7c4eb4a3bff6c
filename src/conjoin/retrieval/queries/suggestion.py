"""What to ask next: the hits in clusters, each named by the words that set it apart."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from conjoin.errors import ConjoinError
from conjoin.spaces import unit

#: Most clusters, and fewest hits in one that is named.
CLUSTERS, SMALLEST = 6, 2
#: What one word more or less is smoothed by.
PRIOR = 0.5

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")

#: Ids found by a new query, best first.
Ask = Callable[[str], Sequence[str]]


@dataclass(frozen=True)
class Suggestion:
    """A query to go on with.

    Parameters
    ----------
    text : the first query's words and those of the cluster.
    words : the words that set the cluster apart.
    items : ids of the cluster, best hit first.
    specificity : share of the cluster that the new query finds among as many hits as were
        clustered; ``None`` where nobody asked it.
    representativeness : average precision of the cluster in the new query's list, over the
        members it finds.
    similarity : shared words of the two queries over all their words; 1 is the same query.
    """

    text: str
    words: tuple[str, ...]
    items: tuple[str, ...]
    specificity: float | None = None
    representativeness: float | None = None
    similarity: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """JSON-able fields; the keys are stable."""
        return {**self.__dict__, "words": list(self.words), "items": list(self.items)}


@runtime_checkable
class QuerySuggestion(Protocol):
    """Finds the words that ask for one cluster of a query's hits."""

    def words(
        self, query: str, members: Sequence[int], vectors: np.ndarray, texts: Sequence[str]
    ) -> tuple[str, ...]:
        """Words to put behind the query; none where nothing sets the cluster apart.

        Parameters
        ----------
        members : places of the cluster among the hits.
        vectors, texts : where each hit lies ``[n, d]``, and what is written of it.
        """
        ...


@dataclass(frozen=True)
class Distinctive:
    """The words that set a cluster apart from the other hits.

    A word's worth is its log odds in the texts of the cluster against those of the other hits,
    ``log((a + ½) / (n − a + ½)) − log((b + ½) / (m − b + ½))``, a of n and b of m texts holding
    it; only words in at least half of a cluster, and not in the query, count.

    Parameters
    ----------
    most : words at most.
    """

    most: int = 2

    def words(
        self, query: str, members: Sequence[int], vectors: np.ndarray, texts: Sequence[str]
    ) -> tuple[str, ...]:
        """The words of the largest worth."""
        own = set(members)
        inside = [words_in(texts[at]) for at in members]
        outside = [words_in(text) for at, text in enumerate(texts) if at not in own]
        return apart(inside, outside, words_in(query), self.most)


@dataclass(frozen=True)
class Central:
    """What is written of the hit in the middle of the cluster, ``argmax_i x_i · mean_j x_j``.

    Parameters
    ----------
    most : words at most, those that the query does not hold.
    """

    most: int = 8

    def words(
        self, query: str, members: Sequence[int], vectors: np.ndarray, texts: Sequence[str]
    ) -> tuple[str, ...]:
        """The text of the hit nearest to the cluster's mean direction."""
        x = unit(np.asarray(vectors, dtype=np.float64)[list(members)])
        middle = texts[members[int(np.argmax(x @ x.mean(axis=0)))]]
        known = words_in(query)
        said = [word for word in _WORD.findall(middle.lower()) if word not in known]
        return tuple(dict.fromkeys(said))[: self.most]


def suggest(
    query: str,
    ids: Sequence[str],
    vectors: np.ndarray,
    texts: Mapping[str, str],
    *,
    ask: Ask | None = None,
    method: QuerySuggestion | None = None,
    seed: int = 0,
) -> list[Suggestion]:
    """Cluster hits by direction, name each cluster, and put the names behind the query.

    The number of clusters is the one of the largest mean silhouette.

    Parameters
    ----------
    ids, vectors : the hits ``[n]``, best first, and where they lie ``[n, d]``.
    texts : what is written of each item.
    ask : runs a query, so that suggestions are scored and come by what they find of their
        cluster; without it, the largest cluster first.
    method : names a cluster; :class:`Distinctive` where not given.

    References
    ----------
    Pacini et al., Maybe you are looking for CroQS, ECIR 2025: the task and its three figures.
    There a language model writes the query.
    """
    method = Distinctive() if method is None else method
    written = [texts.get(item, "") for item in ids]
    found = []
    groups = clusters(vectors, seed)
    if len(groups) < 2:
        return []
    for members in groups:
        if len(members) < SMALLEST:
            continue
        words = method.words(query, members, vectors, written)
        if words:
            own = tuple(ids[at] for at in members)
            found.append(_scored(query, words, own, ask, len(ids)))
    if ask is not None:
        found.sort(key=lambda s: -(s.specificity or 0) - (s.representativeness or 0))
    return list({s.text: s for s in reversed(found)}.values())[::-1]


def clusters(vectors: np.ndarray, seed: int = 0, most: int = CLUSTERS) -> list[list[int]]:
    """Rows by cluster, the largest first; one cluster of all where there are too few.

    Raises
    ------
    ConjoinError : a vector is not finite.
    """
    from sklearn.cluster import KMeans
    from sklearn.metrics import silhouette_score

    x = unit(np.asarray(vectors, dtype=np.float64))
    if not np.isfinite(x).all():
        raise ConjoinError("hits", "a vector is not finite", "index it again")
    distinct = len(np.unique(x.round(9), axis=0))
    best, labels = -np.inf, np.zeros(len(x), dtype=int)
    for count in range(2, min(most, distinct - 1, len(x) // SMALLEST) + 1):
        tried = KMeans(count, n_init=4, random_state=seed).fit_predict(x)
        worth = silhouette_score(x, tried) if len(np.unique(tried)) > 1 else -np.inf
        if worth > best:
            best, labels = worth, tried
    groups = [np.flatnonzero(labels == label).tolist() for label in np.unique(labels)]
    return sorted(groups, key=lambda own: (-len(own), own[0]))


def words_in(text: str) -> set[str]:
    """The words of a text, in lower case."""
    return set(_WORD.findall(text.lower()))


def apart(
    inside: Sequence[set[str]], outside: Sequence[set[str]], known: set[str], most: int = 2
) -> tuple[str, ...]:
    """The words that hold most for the inside against the outside, best first."""
    a, b = Counter(w for t in inside for w in t), Counter(w for t in outside for w in t)
    n, m = len(inside), len(outside)

    def odds(word: str) -> float:
        own = np.log((a[word] + PRIOR) / (n - a[word] + PRIOR))
        return float(own - np.log((b[word] + PRIOR) / (m - b[word] + PRIOR)))

    named = [word for word in a if word not in known and a[word] * 2 >= n and len(word) > 1]
    best = sorted((w for w in named if odds(w) > 0), key=lambda w: (-odds(w), w))
    return tuple(best[:most])


def _scored(
    query: str, words: tuple[str, ...], own: tuple[str, ...], ask: Ask | None, depth: int
) -> Suggestion:
    text = " ".join([query, *words]).strip()
    before, after = words_in(query), words_in(text)
    similarity = len(before & after) / max(1, len(before | after))
    if ask is None:
        return Suggestion(text, words, own, similarity=similarity)
    answer = list(ask(text))[:depth]
    found = [place for place, item in enumerate(answer, 1) if item in set(own)]
    recall = len(found) / len(own)
    precision = float(np.mean([(i + 1) / p for i, p in enumerate(found)])) if found else 0.0
    return Suggestion(text, words, own, recall, precision, similarity)
