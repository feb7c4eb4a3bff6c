"""Does a suggested query find the part of a result that it was made for?"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Annotated, Any, ClassVar

import numpy as np

from conjoin.alignment.binding import Binding
from conjoin.alignment.closed_form.linear import Identity
from conjoin.catalogue import Choice, Search
from conjoin.claims.tasks.search.texts import bound_views, captions, is_emoji
from conjoin.errors import ConjoinError
from conjoin.evaluation.arms import Made, Scores, Units
from conjoin.evaluation.benchmark import Bench, Setting, whole_setting
from conjoin.evaluation.memo import once
from conjoin.evaluation.retrieval import drawn
from conjoin.retrieval.queries.suggestion import SMALLEST, QuerySuggestion, clusters, words_in
from conjoin.spaces import Space, unit
from conjoin.storage.digest import stable_hash

METRICS = ("specificity", "representativeness")


@dataclass(frozen=True, eq=False)
class Shown:
    """A query's hits and their clusters.

    Parameters
    ----------
    query : the words.
    vectors, texts : where each hit lies, and what is written of it.
    rows : row of each hit in the gallery.
    groups : clusters, places among the hits.
    """

    query: str
    vectors: np.ndarray
    texts: list[str]
    rows: np.ndarray
    groups: list[list[int]]


@dataclass(frozen=True, eq=False)
class Scene:
    """Every query's hits, and how words are asked."""

    binding: Binding
    bench: Bench
    view: str
    gallery: np.ndarray
    queries: tuple[Shown, ...]

    def order(self, text: str) -> np.ndarray:
        """The gallery's rows by how well they fit a text."""
        q = vectors_of(self.bench, self.view, [text])
        bound = self.binding.bind(self.view, _space(self.bench, self.view, q))
        asked = bound.frame.query(np.asarray(bound.vectors, np.float32))[0]
        return np.argsort(-(self.gallery @ asked), kind="stable")


@dataclass(frozen=True)
class Suggesting:
    """Ask by the name of a class, cluster the first hits, and ask for each cluster anew.

    The second view reads names, the first is searched among held-out items, bound by ridge. The
    first hits of each class's name are cut into clusters; an arm says what to put behind the name
    to ask for one of them, from where its hits lie and from what is written of them. The new
    query is put to the gallery, and is worth, for a cluster of c hits, the share of them among
    its first c hits (``specificity``) and the average precision over the whole gallery
    (``representativeness``). A query is a unit, the mean of its clusters. ``identity`` asks the
    first query again.

    Parameters
    ----------
    hits : that are clustered.
    aligner : how the views meet.
    """

    hits: Annotated[int, Search(8, 200)] = 40
    aligner: Annotated[str, Choice(("ridge", "identity"))] = "ridge"
    metrics: ClassVar[tuple[str, ...]] = METRICS
    judges: ClassVar[str] = "query-suggestion"
    beside: ClassVar[tuple[str, ...]] = ("chance", "identity", "central-text")

    def setting(self, bench: Bench, seed: int) -> Setting:
        """Nine tenths of the training lines of the first two views.

        Raises
        ------
        ConjoinError : the second view reads no names.
        """
        names = tuple(bench.spaces)[:2]
        if names[-1] not in bench.names:
            raise ConjoinError(
                f"data {bench.name}", f"no names of classes for {names[-1]}",
                "take a second view that reads text, and classes",
            )  # fmt: skip
        whole = whole_setting(bench, names)
        return whole.with_train(drawn(whole.train, None, seed))

    def fit(self, setting: Setting, made: Made, seed: int) -> Scores:
        """Ask for every cluster of every query.

        Raises
        ------
        ConjoinError : the arm suggests nothing.
        """
        if not isinstance(made.aligner, Identity | QuerySuggestion):
            raise ConjoinError("arm", "suggests nothing", "name one that does: cluster-words")
        scene = _scene(setting, self.hits, self.aligner)
        found = []
        for shown in scene.queries:
            worth = []
            for members in shown.groups:
                text = asked_for(made.aligner, shown, members)
                worth.append(worth_of(scene.order(text), shown.rows[members]))
            found.append(np.mean(worth, axis=0))
        return _units(scene, np.array(found))

    def judge(self, setting: Setting, fitted: Scores) -> Scores:
        """Every query, the mean of its clusters."""
        return fitted

    def chance(self, setting: Setting) -> Scores:
        """A gallery in random order."""
        scene = _scene(setting, self.hits, self.aligner)
        n = len(scene.gallery)
        found = [
            np.mean([(len(own) / n, random_precision(len(own), n)) for own in shown.groups], axis=0)
            for shown in scene.queries
        ]
        return _units(scene, np.array(found))


def asked_for(method: Any, shown: Shown, members: Sequence[int]) -> str:
    """The query for one cluster: the first one, and what a method puts behind it."""
    if isinstance(method, Identity):
        return shown.query
    words = method.words(shown.query, members, shown.vectors, shown.texts)
    return " ".join([shown.query, *words])


def worth_of(order: np.ndarray, members: np.ndarray) -> tuple[float, float]:
    """Share of the members among as many first rows, and their average precision.

    Examples
    --------
    >>> worth_of(np.array([4, 1, 2, 0, 3]), np.array([4, 2]))
    (0.5, 0.8333333333333333)
    """
    places = np.flatnonzero(np.isin(order, members)) + 1
    precision = np.mean(np.arange(1, len(places) + 1) / places)
    return float((places <= len(members)).mean()), float(precision)


def random_precision(m: int, n: int) -> float:
    """Average precision of m rows among n in random order.

    ``(1/n) Σ_k (1 + (k − 1)(m − 1)/(n − 1)) / k``: a row at place k is one of the m, and so are
    as many of those before it as there are on average.
    """
    k = np.arange(1, n + 1)
    return float(((1 + (k - 1) * (m - 1) / max(1, n - 1)) / k).mean())


def vectors_of(bench: Bench, view: str, texts: Sequence[str]) -> np.ndarray:
    """Vectors ``[n, d]`` of texts by the encoder of a view.

    Where the encoder is not at hand, the sum of the words that name a class or an item; a text
    without such a word has a direction of its own.
    """
    return np.stack([_vector(_Reader(bench.digest, view, bench), text) for text in texts])


@dataclass(frozen=True)
class _Reader:
    """A view's encoder by what decides it."""

    digest: str
    view: str
    bench: Bench = field(compare=False, hash=False)


@lru_cache(maxsize=50_000)
def _vector(reader: _Reader, text: str) -> np.ndarray:
    bench, view = reader.bench, reader.view
    if is_emoji(bench):
        from conjoin.claims.datasets.emoji import VIEWS
        from conjoin.encoders.columns import embed

        return np.asarray(embed([text], _opened(VIEWS[view][1])).vectors[0], dtype=np.float32)
    space = bench.names[view]
    place = {str(name): row for row, name in enumerate(space.ids)}
    rows = [place[word] for word in sorted(words_in(text)) if word in place]
    if rows:
        return np.asarray(unit(np.asarray(space.vectors)[rows]).sum(axis=0), dtype=np.float32)
    drawn_one = np.random.default_rng([stable_hash(text)]).normal(size=space.dim)
    return drawn_one.astype(np.float32)


@lru_cache(maxsize=2)
def _opened(uri: str) -> Any:
    from conjoin.encoders.open import open_encoder

    return open_encoder(uri)


def _space(bench: Bench, view: str, vectors: np.ndarray) -> Space:
    """Vectors of texts as rows of the view's own frame."""
    ids = np.array([f"text{at}" for at in range(len(vectors))])
    return Space(ids, vectors, bench.view(view).frame)


def _units(scene: Scene, found: np.ndarray) -> Scores:
    groups = np.array([stable_hash(shown.query) for shown in scene.queries])
    return {metric: Units(found[:, at], groups) for at, metric in enumerate(METRICS)}


@once(4)
def _scene(setting: Setting, hits: int, aligner: str) -> Scene:
    """The first hits of every class's name, in clusters."""
    bench = setting.bench
    target, view = setting.train.names[:2]
    fitted, bound = bound_views(setting, aligner, view, 0)
    gallery = bound[target].take(setting.bed.rows[target])
    shown = gallery.frame.item(np.asarray(gallery.vectors, np.float32))
    said = captions(bench, target)
    blank = Scene(fitted, bench, view, shown, ())
    names = sorted({name.replace("-", " ") for name in map(str, bench.names[view].ids)})
    depth = min(hits, max(4, len(shown) // 2))
    found = []
    for name in names:
        rows = blank.order(name)[:depth]
        x = np.asarray(gallery.vectors, np.float64)[rows]
        texts = [" ".join(said.get(str(item), [])) for item in gallery.ids[rows]]
        groups = [own for own in clusters(x) if len(own) >= SMALLEST] or [list(range(len(rows)))]
        found.append(Shown(name, x, texts, rows, groups))
    return replace(blank, queries=tuple(found))
