"""Two views given, the third asked for."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from conjoin.alignment.binding import Binding
from conjoin.catalogue import Choice
from conjoin.claims.tasks.alignment.multi_view import Budget, three_views
from conjoin.errors import ConjoinError
from conjoin.evaluation.arms import Made, Scores, bind
from conjoin.evaluation.benchmark import Bench, Setting, whole_setting
from conjoin.evaluation.retrieval import RECALLS, drawn, gathered
from conjoin.metrics.retrieval.ranks import rank_queries
from conjoin.metrics.retrieval.relevance import Relevance, relevance
from conjoin.metrics.retrieval.scores import metric
from conjoin.spaces import Frame, Pairs, Space
from conjoin.spaces.pairs import ABSENT
from conjoin.storage.digest import stable_hash


@dataclass(frozen=True, eq=False)
class Combined:
    """A binding and how two views together ask for the third.

    Parameters
    ----------
    product : by the coordinatewise product of their vectors, else by the sum.
    """

    binding: Binding
    product: bool


@dataclass(frozen=True)
class KWay:
    """Given two views of an item, find the third.

    A candidate scores ``Σ_d x_d y_d z_d`` by the product (Symile's multilinear inner product) or
    ``x·z + y·z`` by the sum; ``x·y`` is the same for every candidate and is left out. The authors
    score a pairwise loss by the sum of all cosines, their own by the product.

    Parameters
    ----------
    score : ``own`` takes the product for methods trained on it (attribute ``together``), the sum
        for all others; ``sum`` and ``product`` hold for every method.
    pairs : training lines, each of all three views; ``None`` takes nine tenths.

    References
    ----------
    Saporta et al. 2024 (saporta2024symile), and the authors' code for the two scores. They draw
    candidates from the test set; here they are all its rows.
    """

    score: Annotated[str, Choice(("own", "sum", "product"))] = "own"
    pairs: Budget = None
    metrics: ClassVar[tuple[str, ...]] = RECALLS

    def setting(self, bench: Bench, seed: int) -> Setting:
        """Lines that hold all three views.

        Raises
        ------
        ConjoinError : the data have not three views, or no held-out line holds all of them.
        """
        middle, one, other = three_views(bench, None, 0)
        whole = whole_setting(bench, (middle, one, other))
        train = whole.train.take((whole.train.rows != ABSENT).all(axis=1))
        setting = whole.with_train(drawn(train, self.pairs, seed))
        if not len(_complete(setting.bed.test)):
            raise ConjoinError(f"data {bench.name}", "no line of all views", "name other views")
        return setting

    def fit(self, setting: Setting, made: Made, seed: int) -> Combined:
        """A binding of the three views."""
        own = bool(getattr(made.aligner, "together", False))
        product = self.score == "product" or (self.score == "own" and own)
        return Combined(bind(setting, made, seed), product)

    def judge(self, setting: Setting, fitted: Combined) -> Scores:
        """Every two views' queries, one after the other."""
        found = []
        for target in setting.bed.test.names:
            rows, wanted, groups = _question(setting, target)
            shown = fitted.binding.bind(target, _held(setting, target))
            items = shown.frame.item(np.asarray(shown.vectors, np.float32))
            ranking = rank_queries(_together(setting, fitted, rows), items, wanted)
            found.append(({m: metric(m).per_query(ranking) for m in self.metrics}, groups))
        return gathered(found)

    def chance(self, setting: Setting) -> Scores:
        """A gallery in random order."""
        found = []
        for target in setting.bed.test.names:
            _, wanted, groups = _question(setting, target)
            worth = {m: metric(m).chance(wanted) for m in self.metrics}
            found.append(({m: np.full(len(wanted), v) for m, v in worth.items()}, groups))
        return gathered(found)


def _held(setting: Setting, name: str) -> Space:
    return setting.spaces[name].take(setting.bed.rows[name])


def _complete(pairs: Pairs) -> Pairs:
    """The lines that hold every view."""
    return pairs.take((pairs.rows != ABSENT).all(axis=1))


def _question(setting: Setting, target: str) -> tuple[dict[str, np.ndarray], Relevance, np.ndarray]:
    """Rows of the two views that ask for a third, the right answers, and clusters of queries."""
    lines = _complete(setting.bed.test)
    given = [name for name in lines.names if name != target]
    both = np.stack([lines.column(name) for name in given], axis=1)
    asked, query = np.unique(both, axis=0, return_inverse=True)
    first, second = (
        setting.spaces[name].take(rows) for name, rows in zip(given, asked.T, strict=True)
    )
    blank = Frame.mint("given", "two views", 1, {})
    content = first.content * np.uint64(0x9E3779B97F4A7C15) ^ second.content
    content[(first.content == 0) | (second.content == 0)] = 0
    queries = Space(first.ids, np.zeros((len(asked), 1), np.float32), blank, content=content)
    wanted = relevance(
        queries, setting.spaces[target],
        Pairs.of(query=query.reshape(-1), target=lines.column(target)), "query", "target",
        gallery_rows=setting.bed.rows[target],
    )  # fmt: skip
    ids = first.ids[wanted.queries]
    groups = [stable_hash(str(setting.bed.groups.get(str(i), str(i)))) for i in ids]
    return dict(zip(given, asked.T, strict=True)), wanted, np.array(groups)


def _together(setting: Setting, fitted: Combined, rows: dict[str, np.ndarray]) -> Any:
    """The vectors two views ask with, so that their inner product with an item is its score."""
    bound = [
        fitted.binding.bind(name, setting.spaces[name].take(own)) for name, own in rows.items()
    ]
    vectors = [np.asarray(space.vectors, np.float32) for space in bound]
    if fitted.product:
        one, other = (space.frame.item(x) for space, x in zip(bound, vectors, strict=True))
        return one * other
    one, other = (space.frame.query(x) for space, x in zip(bound, vectors, strict=True))
    return one + other
