"""A head fitted in one domain and taken to another that has no labels."""

from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import numpy as np

from conjoin.alignment.closed_form.linear import Identity
from conjoin.catalogue import Choice, Search
from conjoin.claims.tasks.decision.few_shot import bound_names, bound_vectors
from conjoin.claims.tasks.decision.zero_shot import ACCURACIES, labels_of, refuse_tested, scored
from conjoin.errors import ConjoinError, FrameError
from conjoin.evaluation.arms import Made, Scores
from conjoin.evaluation.benchmark import Bench, Setting, whole_setting
from conjoin.evaluation.memo import once
from conjoin.evaluation.retrieval import drawn
from conjoin.spaces.pairs import ABSENT
from conjoin.storage.digest import stable_hash
from conjoin.transfer.adaptation.base import Source
from conjoin.transfer.linear_heads import ZeroShot
from conjoin.transfer.logistic import Logistic

#: One group in so many is the target's; of the others, one in so many is not fitted to.
APART, FRESH = 3, 4
#: Strengths tried for the head, on the part it is not fitted to.
LAMS = (0.003, 0.03, 0.3)


@dataclass(frozen=True)
class Adapting:
    """Fit a head to labelled rows of one view, adapt it to unlabelled rows of another, test there.

    Both views come from one encoder. Training groups are dealt anew for each seed: of two thirds
    the source's rows are labelled, of the others the target's rows are there without labels, so
    that no item is on both sides. The head is logistic regression on three quarters of the former,
    its strength chosen on the rest, which is also what an adaptation may count errors on. Settings
    of arms are chosen without the target: on source rows held out, adapted to source rows. Doing
    nothing is the head as it is; guessing draws classes as often as they were trained on.

    Parameters
    ----------
    source, target : the views; the first, and the first other one, where not given. They may be
        the same view where ``spoil`` or ``tilt`` makes the difference.
    spoil : Gaussian noise put on the target's numbers, in units of their mean deviation.
    tilt : the share of rows that every second class loses in the target.
    named : the head is that of the classes' names in a space bound by CCA, and no label is read.
    """

    source: str | None = None
    target: str | None = None
    spoil: Annotated[float, Search(0.0, 10.0)] = 0.0
    tilt: Annotated[float, Search(0.0, 0.95)] = 0.0
    named: Annotated[bool, Choice((False, True))] = False
    metrics: ClassVar[tuple[str, ...]] = ACCURACIES
    judges: ClassVar[str] = "adaptation"
    beside: ClassVar[tuple[str, ...]] = ("chance", "unchanged", "match-mean", "match-deviation")

    def setting(self, bench: Bench, seed: int) -> Setting:
        """Training lines of all views, and the labelled held-out rows of the target.

        Raises
        ------
        FrameError : the views were read by two encoders.
        ConjoinError : no classes, or source and target are the same.
        """
        source, target = self._views(bench)
        if bench.view(source).frame != bench.view(target).frame and not self.named:
            raise FrameError(
                f"data {bench.name}", f"{source} and {target} come from two encoders",
                "name two views of one encoder",
            )  # fmt: skip
        if not bench.labels:
            raise ConjoinError(f"data {bench.name}", "no classes", "take data that have them")
        whole = whole_setting(bench)
        labels = labels_of(whole.spaces[target], bench)
        rows = whole.bed.rows[target]
        rows = rows[(labels[rows] != "") & self._kept(whole.spaces[target].ids[rows], labels[rows])]
        bed = replace(
            whole.bed, rows={**whole.bed.rows, target: rows}, train=drawn(whole.train, None, seed)
        )
        setting = replace(whole, bed=bed)
        refuse_tested(setting.train, setting.spaces, setting.spaces[target].ids[rows], bench)
        return setting

    def _views(self, bench: Bench) -> tuple[str, str]:
        names = list(bench.spaces)
        same = bool(self.spoil or self.tilt or self.named)
        source = self.source or names[0]
        target = self.target or (source if same else names[min(1, len(names) - 1)])
        if source == target and not same:
            raise ConjoinError(f"data {bench.name}", "one view only", "name two of one encoder")
        bench.view(source)
        bench.view(target)
        return source, target

    def _kept(self, ids: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Which rows of the target stay where every second class loses some."""
        if not self.tilt:
            return np.ones(len(ids), bool)
        share = np.array([stable_hash(f"tilt/{item}") / 2**63 for item in ids])
        odd = np.searchsorted(np.unique(labels), labels) % 2 == 1
        return ~odd | (share >= self.tilt)

    def _inner(self, setting: Setting) -> bool:
        """Whether settings are being chosen: what is asked is not of the frozen test set."""
        source, _ = self._views(setting.bench)
        rows = setting.bed.rows[source]
        return not setting.bench.held(source)[rows].all()

    def fit(self, setting: Setting, made: Made, seed: int) -> Any:
        """The head, adapted."""
        head, source = _started(setting, self.named, self._views(setting.bench)[0], seed)
        if isinstance(made.aligner, Identity):
            return head
        return made.aligner.fit(head, self._unlabelled(setting, seed), source=source, seed=seed)

    def _unlabelled(self, setting: Setting, seed: int) -> np.ndarray:
        source, target = self._views(setting.bench)
        if self._inner(setting):
            rows, _ = labelled(setting, source)
            rows = rows[drawn_groups(setting, source, rows, f"apart/{seed}", APART)]
            return vectors_of(setting, source, rows, self.named)
        rows, labels = labelled(setting, target)
        kept = self._kept(setting.spaces[target].ids[rows], labels)
        rows = rows[kept & drawn_groups(setting, target, rows, f"apart/{seed}", APART)]
        return self._spoilt(setting, vectors_of(setting, target, rows, self.named), rows)

    def _spoilt(self, setting: Setting, x: np.ndarray, rows: np.ndarray) -> np.ndarray:
        if not self.spoil:
            return x
        _, target = self._views(setting.bench)
        size = float(np.asarray(setting.spaces[target].vectors).std(axis=0).mean())
        ids = setting.spaces[target].ids[rows]
        noise = [
            np.random.default_rng(stable_hash(f"spoil/{item}")).normal(size=x.shape[1])
            for item in ids
        ]
        return (x + self.spoil * size * np.array(noise)).astype(np.float32)

    def judge(self, setting: Setting, fitted: Any) -> Scores:
        """Right or wrong, row by row."""
        source, target = self._views(setting.bench)
        inner = self._inner(setting)
        view = source if inner else target
        rows = setting.bed.rows[view]
        if inner:
            rows = rows[labels_of(setting.spaces[view], setting.bench)[rows] != ""]
        x = vectors_of(setting, view, rows, self.named)
        if not inner:
            x = self._spoilt(setting, x, rows)
        space = setting.spaces[view].take(rows)
        right = (fitted.predict(x) == labels_of(space, setting.bench)).astype(np.float64)
        return scored(setting, space, right)

    def chance(self, setting: Setting) -> Scores:
        """A class drawn as often as it was trained on."""
        source, target = self._views(setting.bench)
        known, counts = np.unique(labelled(setting, source)[1], return_counts=True)
        share = dict(zip(known.tolist(), counts / counts.sum(), strict=True))
        rows = setting.spaces[target].take(setting.bed.rows[target])
        worth = [share.get(label, 0.0) for label in labels_of(rows, setting.bench).tolist()]
        return scored(setting, rows, np.array(worth, dtype=np.float64))


def labelled(setting: Setting, view: str) -> tuple[np.ndarray, np.ndarray]:
    """Training rows of a view that have a label, each once, and their labels."""
    rows = np.unique(setting.train.column(view))
    rows = rows[rows != ABSENT]
    labels = labels_of(setting.spaces[view].take(rows), setting.bench)
    return rows[labels != ""], labels[labels != ""]


def vectors_of(setting: Setting, view: str, rows: np.ndarray, bound: bool) -> np.ndarray:
    """Rows of a view: as its encoder made them, or in a space bound by CCA."""
    space = setting.spaces[view].take(rows)
    if bound:
        return bound_vectors(setting, view, space)
    return np.asarray(space.vectors, np.float32)


def drawn_groups(
    setting: Setting, view: str, rows: np.ndarray, role: str, parts: int
) -> np.ndarray:  # fmt: skip
    """``[n]`` whether the group of each row is of one part in ``parts``."""
    ids = setting.spaces[view].ids[rows]
    groups = [setting.bench.groups[str(item)] for item in ids]
    return np.array([stable_hash(f"{role}/{g}") % parts == 0 for g in groups])


@once(4)
def _started(setting: Setting, named: bool, source: str, seed: int) -> tuple[Any, Source]:
    """The head that every arm begins with, and the source's rows."""
    rows, labels = labelled(setting, source)
    own = ~drawn_groups(setting, source, rows, f"apart/{seed}", APART)
    rows, labels = rows[own], labels[own]
    x = vectors_of(setting, source, rows, named)
    if named:
        names = bound_names(setting, np.unique(labels))
        head: Any = ZeroShot().fit(np.empty((0, x.shape[1])), np.empty(0, str), prototypes=names)
        return head, Source.of(x, labels)
    fresh = drawn_groups(setting, source, rows, f"fresh/{seed}", FRESH)
    fits = [Logistic(lam=lam, standardise=False).fit(x[~fresh], labels[~fresh]) for lam in LAMS]
    right = [float((head.predict(x[fresh]) == labels[fresh]).mean()) for head in fits]
    return fits[int(np.argmax(right))], Source.of(x, labels, fresh)
