"""Does a training set evened out teach a classifier more than a random one of its size?"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import numpy as np

from conjoin.alignment.closed_form.linear import Identity
from conjoin.catalogue import Choice, Search
from conjoin.claims.tasks.decision.zero_shot import ACCURACIES, labels_of, refuse_tested, scored
from conjoin.errors import ConjoinError
from conjoin.evaluation.arms import Made, Scores
from conjoin.evaluation.benchmark import Bench, Setting, whole_setting
from conjoin.evaluation.retrieval import drawn
from conjoin.quality.curation import Curation
from conjoin.spaces.pairs import ABSENT
from conjoin.storage.digest import stable_hash

#: Steps by which the cap is found that keeps as many items as wanted.
HALVINGS = 24


@dataclass(frozen=True)
class Curating:
    """Train a logistic head on the items that a curation keeps, and ask it held-out items.

    The pool are the labelled training items of the first view as its encoder gives them. Each
    item counts towards its class (``by="labels"``, the metadata) or towards its cluster, one of
    ``clusters`` by k-means on the pool. A curation's cap is set so that it keeps ``share`` of the
    pool, as nearly as it can. The arm ``identity`` keeps a random subset of that size. Balanced
    accuracy counts classes, accuracy items; guessing draws a class as often as it is in the pool.

    Parameters
    ----------
    share : of the pool that is kept.
    by : what items count towards.
    clusters : k of k-means.
    """

    share: Annotated[float, Search(0.01, 1.0)] = 0.3
    by: Annotated[str, Choice(("labels", "clusters"))] = "labels"
    clusters: Annotated[int, Search(2, 1000, log=True)] = 50
    metrics: ClassVar[tuple[str, ...]] = ACCURACIES
    judges: ClassVar[str] = "curation"
    beside: ClassVar[tuple[str, ...]] = ("chance", "identity")

    def setting(self, bench: Bench, seed: int) -> Setting:
        """Nine tenths of the training lines; labelled held-out rows of the first view.

        Raises
        ------
        ConjoinError : the data have no classes.
        """
        if not bench.labels:
            raise ConjoinError(f"data {bench.name}", "no labels", "take data that have classes")
        whole = whole_setting(bench)
        view = next(iter(bench.spaces))
        labels = labels_of(whole.spaces[view], bench)
        rows = whole.bed.rows[view]
        asked = {**whole.bed.rows, view: rows[labels[rows] != ""]}
        bed = replace(whole.bed, rows=asked, train=drawn(whole.train, None, seed))
        setting = replace(whole, bed=bed)
        tested = setting.spaces[view].ids[asked[view]]
        refuse_tested(setting.train, setting.spaces, tested, bench)
        return setting

    def fit(self, setting: Setting, made: Made, seed: int) -> Any:
        """A head on what is kept.

        Raises
        ------
        ConjoinError : the arm is no curation, or what it keeps is of one class.
        """
        from conjoin.transfer.logistic import Logistic

        x, y = _pool(setting)
        kept = self._kept(made.aligner, x, y, seed)
        return Logistic(share=0.0, blend=0.0).fit(x[kept], y[kept], seed=seed)

    def _kept(self, method: Any, x: np.ndarray, y: np.ndarray, seed: int) -> np.ndarray:
        wanted = max(2, round(self.share * len(x)))
        if isinstance(method, Identity):
            rng = np.random.default_rng([seed, stable_hash("curating by lot")])
            return np.sort(rng.permutation(len(x))[:wanted])
        if not isinstance(method, Curation):
            raise ConjoinError("arm", "no curation", "name one, such as entry-cap")
        entries = [[str(label)] for label in (y if self.by == "labels" else self._cut(x, seed))]
        return np.flatnonzero(capped(method, entries, wanted, seed))

    def _cut(self, x: np.ndarray, seed: int) -> np.ndarray:
        """The cluster of each row."""
        from sklearn.cluster import KMeans

        count = min(self.clusters, len(x))
        return np.asarray(KMeans(count, n_init=1, random_state=seed).fit(x).labels_)

    def judge(self, setting: Setting, fitted: Any) -> Scores:
        """Right or wrong, row by row."""
        view = next(iter(setting.bench.spaces))
        rows = setting.spaces[view].take(setting.bed.rows[view])
        found = fitted.predict(np.asarray(rows.vectors, np.float32))
        return scored(setting, rows, (found == labels_of(rows, setting.bench)).astype(np.float64))

    def chance(self, setting: Setting) -> Scores:
        """A class drawn as often as it is in the pool."""
        view = next(iter(setting.bench.spaces))
        known, counts = np.unique(_pool(setting)[1], return_counts=True)
        share = dict(zip(known.tolist(), counts / counts.sum(), strict=True))
        rows = setting.spaces[view].take(setting.bed.rows[view])
        worth = [share.get(label, 0.0) for label in labels_of(rows, setting.bench).tolist()]
        return scored(setting, rows, np.array(worth, dtype=np.float64))


def capped(method: Any, entries: Sequence[Sequence[str]], wanted: int, seed: int) -> np.ndarray:
    """``[n]`` what a curation keeps at the cap that keeps as near to ``wanted`` as it can.

    Its draws stay the same while the cap moves, so a larger cap keeps more.
    """
    low, high = 1.0, float(len(entries))
    best = replace(method, t=high).keep(entries, seed)
    for _ in range(HALVINGS):
        middle = float(np.sqrt(low * high))
        kept = replace(method, t=middle).keep(entries, seed)
        if abs(int(kept.sum()) - wanted) < abs(int(best.sum()) - wanted):
            best = kept
        low, high = (middle, high) if kept.sum() < wanted else (low, middle)
    return best


def _pool(setting: Setting) -> tuple[np.ndarray, np.ndarray]:
    """Vectors and labels of the labelled training rows of the first view, each once."""
    view = next(iter(setting.bench.spaces))
    rows = np.unique(setting.train.column(view))
    rows = rows[rows != ABSENT]
    taken = setting.spaces[view].take(rows)
    labels = labels_of(taken, setting.bench)
    return np.asarray(taken.vectors, np.float32)[labels != ""], labels[labels != ""]
