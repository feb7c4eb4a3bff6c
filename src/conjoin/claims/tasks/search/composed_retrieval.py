"""A picture and a word that says what should be otherwise: is the other picture found?"""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from conjoin.alignment.closed_form.linear import Identity
from conjoin.catalogue import Choice, Search
from conjoin.claims.tasks.search.hybrid_search import scores_of
from conjoin.claims.tasks.search.texts import bound_views, captions, embedded_words, rows_of_items
from conjoin.errors import ConjoinError
from conjoin.evaluation.arms import Made, Scores, Units
from conjoin.evaluation.benchmark import Bench, Setting, whole_setting
from conjoin.evaluation.retrieval import drawn
from conjoin.retrieval.queries.composition import Edit, QueryComposition, Sum, edits
from conjoin.spaces import unit
from conjoin.storage.digest import stable_hash


@dataclass(frozen=True, eq=False)
class Fitted:
    """A composer on bound vectors: of every item's picture, by its words' space."""

    composed: Any
    pictures: np.ndarray
    items: tuple[str, ...]
    changes: dict[str, np.ndarray]


@dataclass(frozen=True)
class ComposedQueries:
    """From a reference picture and one word, find the picture whose caption has that word instead.

    Triplets are couples of captions that differ in one word; the change is the target's word, as
    the caption's encoder reads it. Both items of a triplet are trained on, or both held out. All
    lies in the captions' space, pictures mapped there by ridge on the training pairs. The gallery
    is every held-out picture but the reference. ``identity`` asks with the reference alone.

    Parameters
    ----------
    triplets : trained on at most.
    asked : held-out triplets at most, the same for every arm and seed.
    within : ``all`` couples, or only those of one ``family`` (clocks, hearts, professions by
        gender), whose pictures differ as their captions do.
    """

    triplets: Annotated[int, Search(16, 1e6, log=True)] = 2000
    asked: Annotated[int, Search(4, 1e6, log=True)] = 500
    within: Annotated[str, Choice(("all", "family"))] = "all"
    metrics: ClassVar[tuple[str, ...]] = ("recall@10", "mrr", "recall@1")
    judges: ClassVar[str] = "query-composition"
    beside: ClassVar[tuple[str, ...]] = ("chance", "identity", "change-alone", "sum")

    def setting(self, bench: Bench, seed: int) -> Setting:
        """Nine tenths of the training lines of the first two views: pictures and captions."""
        whole = whole_setting(bench, tuple(bench.spaces)[:2])
        return whole.with_train(drawn(whole.train, None, seed))

    def fit(self, setting: Setting, made: Made, seed: int) -> Fitted:
        """Train the composer on triplets of the training items.

        Raises
        ------
        ConjoinError : the arm is no composer, or there are too few triplets.
        """
        picture, caption = setting.train.names[:2]
        _, bound = bound_views(setting, "ridge", caption, seed)
        items = tuple(dict.fromkeys(map(str, bound[picture].ids)))
        rows = rows_of_items(bound[picture], items)
        pictures = unit(np.asarray(bound[picture].vectors, np.float64))[rows]
        learn = self._couples(setting, _items_of(setting, setting.train), self.triplets, seed)
        ask = self._asked(setting)
        words = sorted({edit.words for _, edit, _ in (*learn, *ask)})
        vectors = unit(np.asarray(embedded_words(setting.bench, caption, words), np.float64))
        changes = dict(zip(words, vectors, strict=True))
        method = made.aligner
        if isinstance(method, Identity):
            method = Sum(0.0)
        if not isinstance(method, QueryComposition):
            raise ConjoinError("arm", "no query composition", "name one, such as sum")
        place = {item: at for at, item in enumerate(items)}
        one, two = [place[a] for a, _, _ in learn], [place[b] for _, _, b in learn]
        change = np.stack([changes[e.words] for _, e, _ in learn])
        composed = method.fit(pictures[one], change, pictures[two], seed=seed)
        return Fitted(composed, pictures, items, changes)

    def judge(self, setting: Setting, fitted: Fitted) -> Scores:
        """Where each held-out triplet's target stands."""
        place = {item: at for at, item in enumerate(fitted.items)}
        shown = [place[item] for item in self._gallery(setting)]
        where = {item: at for at, item in enumerate(self._gallery(setting))}
        gallery, ones = fitted.pictures[shown], np.ones(2)
        places = []
        for reference, edit, target in self._asked(setting):
            parts = np.stack([fitted.pictures[place[reference]], fitted.changes[edit.words]])
            scores = np.array(fitted.composed.scores(parts, ones, gallery))
            right = scores[where[target]]
            scores[where[reference]] = -np.inf
            ties = int((scores == right).sum()) - 1
            places.append(1 + int((scores > right).sum()) + ties / 2)
        return scores_of(np.array(places), self._groups(setting), self.metrics)

    def chance(self, setting: Setting) -> Scores:
        """A gallery in random order."""
        n, groups = len(self._gallery(setting)) - 1, self._groups(setting)
        worth = {
            "mrr": float((1 / np.arange(1, n + 1)).mean()),
            **{m: min(1.0, int(m.split("@")[1]) / n) for m in self.metrics if "@" in m},
        }
        return {m: Units(np.full(len(groups), worth[m]), groups) for m in self.metrics}

    def _gallery(self, setting: Setting) -> list[str]:
        name = setting.train.names[0]
        return list(dict.fromkeys(map(str, setting.spaces[name].ids[setting.bed.rows[name]])))

    def _asked(self, setting: Setting) -> list[tuple[str, Edit, str]]:
        return self._couples(setting, self._gallery(setting), self.asked, 0)

    def _groups(self, setting: Setting) -> np.ndarray:
        group = setting.bench.groups
        return np.array([stable_hash(group[target]) for *_, target in self._asked(setting)])

    def _couples(
        self, setting: Setting, items: list[str], most: int, seed: int
    ) -> list[tuple[str, Edit, str]]:
        """Triplets among items, at most so many, chosen by hash."""
        said = captions(setting.bench, setting.train.names[1])
        known = [item for item in items if item in said]
        found = [
            (known[edit.reference], edit, known[edit.target])
            for edit in edits([said[item][0] for item in known])
        ]
        if self.within == "family":
            group = setting.bench.groups
            found = [couple for couple in found if group[couple[0]] == group[couple[2]]]
        if not found:
            raise ConjoinError("triplets", "no captions differ by one word", "take other data")
        order = np.argsort([stable_hash(f"{seed}/{a}/{b}") for a, _, b in found])
        return [found[at] for at in np.sort(order[:most])]


def _items_of(setting: Setting, pairs: Any) -> list[str]:
    name = setting.train.names[0]
    rows = pairs.column(name)
    return list(dict.fromkeys(map(str, setting.spaces[name].ids[np.unique(rows[rows >= 0])])))
