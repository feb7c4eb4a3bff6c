"""Search from several languages into one view: how well, and how evenly."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from conjoin.alignment.binding import Binding
from conjoin.catalogue import Search
from conjoin.errors import ConjoinError
from conjoin.evaluation.arms import Made, Scores, Units, bind
from conjoin.evaluation.benchmark import Bench, Setting, whole_setting
from conjoin.evaluation.retrieval import drawn, ranked
from conjoin.metrics.geometry.rank_variance import rank_variance
from conjoin.metrics.retrieval.relevance import Relevance
from conjoin.storage.digest import stable_hash


@dataclass(frozen=True, eq=False)
class _Asked:
    """What every language asks, item by item.

    Parameters
    ----------
    items : ``[n]`` ids that every language asks for.
    wanted : right answers by language.
    owner : by language, the place in ``items`` of each of its queries, -1 where not among them.
    """

    items: np.ndarray
    wanted: dict[str, Relevance]
    owner: dict[str, np.ndarray]

    def by_item(self, values: dict[str, np.ndarray]) -> np.ndarray:
        """``[n, languages]`` the mean over an item's queries in each language."""
        columns = []
        for name, own in self.owner.items():
            live = own >= 0
            total = np.bincount(own[live], values[name][live], len(self.items))
            columns.append(total / np.bincount(own[live], minlength=len(self.items)))
        return np.stack(columns, axis=1)


@dataclass(frozen=True)
class CrossLingual:
    """Find each held-out item in the hub view by its text in every language.

    A unit is an item that has all languages. ``recall@10`` is its mean over languages.
    ``rank-variance`` is minus the variance over languages of the rank at which it is found, over
    what that variance is for ranks drawn at random: 0 where all languages find alike, -1 for
    guessing; so higher is better. Read it beside recall: all languages may find equally badly.

    Parameters
    ----------
    hub : the view searched; the first of the data where not given. All others are languages.
    pairs : training lines, whole groups first; ``None`` takes nine tenths.

    References
    ----------
    Mean rank variance: Nie et al. 2024 (nie2024onetok). The divisor, the number of languages, and
    the scale are this project's reading; for given data the scale is a constant.
    """

    hub: str | None = None
    pairs: Annotated[int | None, Search(4, 1e7, log=True)] = None
    metrics: ClassVar[tuple[str, ...]] = ("recall@10", "rank-variance")

    def setting(self, bench: Bench, seed: int) -> Setting:
        """All views, the hub first.

        Raises
        ------
        ConjoinError : there are fewer than two languages.
        """
        hub = self.hub or next(iter(bench.spaces))
        bench.view(hub)
        others = tuple(name for name in bench.spaces if name != hub)
        if len(others) < 2:
            raise ConjoinError(
                f"data {bench.name}", f"{len(others)} languages beside {hub}", "name two or more"
            )
        whole = whole_setting(bench, (hub, *others))
        return whole.with_train(drawn(whole.train, self.pairs, seed))

    def fit(self, setting: Setting, made: Made, seed: int) -> Binding:
        """A binding of the hub and every language."""
        return bind(setting, made, seed)

    def judge(self, setting: Setting, fitted: Binding) -> Scores:
        """Each item's recall and evenness."""
        asked = _questions(setting)
        hub = setting.train.names[0]
        shown = fitted.bind(hub, setting.spaces[hub].take(setting.bed.rows[hub]))
        ranks, hits = {}, {}
        for name, wanted in asked.wanted.items():
            rows = setting.spaces[name].take(setting.bed.rows[name])
            ranking = ranked(fitted.bind(name, rows), shown, wanted)
            ranks[name], hits[name] = ranking.best.astype(np.float64), ranking.hits(10)
        uneven = rank_variance(asked.by_item(ranks)) / _expected_variance(asked).mean()
        return _scores(setting, asked, asked.by_item(hits).mean(axis=1), -uneven)

    def chance(self, setting: Setting) -> Scores:
        """A gallery in random order, another for every query."""
        asked = _questions(setting)
        hits = {name: _hit_by_chance(wanted) for name, wanted in asked.wanted.items()}
        variance = _expected_variance(asked)
        return _scores(
            setting, asked, asked.by_item(hits).mean(axis=1), -variance / variance.mean()
        )


def _scores(setting: Setting, asked: _Asked, recall: np.ndarray, even: np.ndarray) -> Scores:
    groups = np.array([
        stable_hash(str(setting.bed.groups.get(str(item), str(item)))) for item in asked.items
    ])  # fmt: skip
    return {"recall@10": Units(recall, groups), "rank-variance": Units(even, groups)}


def _questions(setting: Setting) -> _Asked:
    """The queries of every language and the items all of them ask for.

    Raises
    ------
    ConjoinError : no held-out item has every language.
    """
    hub, *languages = setting.train.names
    wanted = {name: setting.bed.relevance(name, hub) for name in languages}
    ids = {
        name: setting.spaces[name].ids[setting.bed.rows[name]][w.queries]
        for name, w in wanted.items()
    }
    shared = set.intersection(*(set(own.tolist()) for own in ids.values()))
    if not shared:
        raise ConjoinError("languages", "no held-out item has all of them", "name fewer views")
    items = np.array(sorted(shared))
    owner = {}
    for name, own in ids.items():
        place = np.minimum(np.searchsorted(items, own), len(items) - 1)
        owner[name] = np.where(items[place] == own, place, -1)
    return _Asked(items, wanted, owner)


def _hit_by_chance(wanted: Relevance) -> np.ndarray:
    """``[q]`` chance of a right answer among the first ten of a random order."""
    from scipy.stats import hypergeom

    n = wanted.n_items
    return np.asarray(hypergeom.sf(0, n, wanted.counts, min(10, n)), dtype=np.float64)


def _expected_variance(asked: _Asked) -> np.ndarray:
    """``[n]`` expected variance over languages of ranks drawn at random.

    The best of r ranks among n has mean ``(n + 1) / (r + 1)`` and variance
    ``r (n + 1) (n - r) / ((r + 1)² (r + 2))``; an item's rank in a language is a mean over its
    queries there, drawn apart.
    """
    means, spreads = {}, {}
    for name, wanted in asked.wanted.items():
        n, r = wanted.n_items, wanted.counts.astype(np.float64)
        means[name] = (n + 1) / (r + 1)
        own = asked.owner[name]
        share = np.bincount(own[own >= 0], minlength=len(asked.items))[np.maximum(own, 0)]
        spreads[name] = r * (n + 1) * (n - r) / ((r + 1) ** 2 * (r + 2)) / np.maximum(share, 1)
    mean, spread = asked.by_item(means), asked.by_item(spreads)
    count = mean.shape[1]
    return np.asarray(mean.var(axis=1) + spread.mean(axis=1) * (count - 1) / count)
