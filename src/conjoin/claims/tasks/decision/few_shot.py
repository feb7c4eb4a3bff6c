"""Classification of one view from a few labelled rows of it or of another, and from names."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Annotated, Any, ClassVar

import numpy as np

from conjoin.alignment.binding import Binding
from conjoin.alignment.closed_form.linear import Identity
from conjoin.catalogue import Choice, Search, find
from conjoin.claims.datasets.registry import texts
from conjoin.claims.tasks.decision.zero_shot import ACCURACIES, labels_of, refuse_tested, scored
from conjoin.errors import ConjoinError
from conjoin.evaluation.arms import Made, Scores
from conjoin.evaluation.benchmark import Bench, Setting, whole_setting
from conjoin.evaluation.few_shot import draw_shots
from conjoin.evaluation.retrieval import drawn
from conjoin.spaces import Space
from conjoin.spaces.pairs import ABSENT
from conjoin.transfer.base import Prototypes

#: Parts of class names that say nothing.
PLAIN = frozenset({"other", "and", "of", "the", "a"})


@dataclass(frozen=True)
class FewShot:
    """Fit a head to a few labelled rows a class and ask it held-out rows, all in one bound space.

    The views are bound by ``aligner`` on all training lines, the same for every arm; labels
    are read of ``shots`` training rows a class of ``source``, drawn anew for each seed. Names of
    classes are read by a view's text encoder and bound as its rows are. Tested on held-out rows of
    ``target``. Doing nothing answers with the commonest class; guessing draws classes as often as
    they were trained on.

    Parameters
    ----------
    shots : labelled rows a class at most; ``None`` takes all.
    source : the view trained on; the first of the data where not given.
    target : the view tested on; the first of the data where not given.
    attributes : the words of a class's name, each a prototype, and not the name as a whole.
    aligner : what binds the views.
    """

    shots: Annotated[int | None, Search(1, 1e5, log=True)] = None
    source: str | None = None
    target: str | None = None
    attributes: bool = False
    aligner: Annotated[str, Choice(("cca", "infonce-head"))] = "cca"
    neutral: ClassVar[Mapping[str, Any]] = {"aligner": "cca"}
    metrics: ClassVar[tuple[str, ...]] = ACCURACIES
    judges: ClassVar[str] = "head"
    beside: ClassVar[tuple[str, ...]] = (
        "chance", "identity", "zero-shot-head", "nearest-mean", "ridge-classifier", "logistic",
    )  # fmt: skip

    def setting(self, bench: Bench, seed: int) -> Setting:
        """Training lines of all views, and the labelled held-out rows of the target.

        Raises
        ------
        ConjoinError : no classes, or no view that reads their names.
        """
        source, target = self._views(bench)
        whole = whole_setting(bench)
        if not bench.labels or not any(name in bench.names for name in bench.spaces):
            raise ConjoinError(f"data {bench.name}", "no named classes", "take data that have them")
        labels = labels_of(whole.spaces[target], bench)
        rows = whole.bed.rows[target]
        asked = {**whole.bed.rows, target: rows[labels[rows] != ""]}
        bed = replace(whole.bed, rows=asked, train=drawn(whole.train, None, seed))
        setting = replace(whole, bed=bed)
        tested = setting.spaces[target].ids[setting.bed.rows[target]]
        refuse_tested(setting.train, setting.spaces, tested, bench)
        if len(np.unique(self._lines(setting, source)[1])) < 2:
            raise ConjoinError(f"data {bench.name}", "fewer than two classes", "label more items")
        return setting

    def _views(self, bench: Bench) -> tuple[str, str]:
        first = next(iter(bench.spaces))
        source, target = self.source or first, self.target or first
        bench.view(source)
        bench.view(target)
        return source, target

    def _lines(self, setting: Setting, source: str) -> tuple[np.ndarray, np.ndarray]:
        """Training rows of a view that have a label, each once, and their labels."""
        rows = np.unique(setting.train.column(source))
        rows = rows[rows != ABSENT]
        labels = labels_of(setting.spaces[source].take(rows), setting.bench)
        return rows[labels != ""], labels[labels != ""]

    def fit(self, setting: Setting, made: Made, seed: int) -> Any:
        """A head on the shots of this seed."""
        source, _ = self._views(setting.bench)
        binding = _binding(setting, self.aligner)
        rows, labels = self._lines(setting, source)
        wanted = None if self.shots is None else min(self.shots, _largest(labels))
        kept = draw_shots(labels, wanted, seed)
        x = _vectors(binding, source, setting.spaces[source].take(rows[kept]))
        if isinstance(made.aligner, Identity):
            from conjoin.transfer.linear_heads import Majority

            return Majority().fit(x, labels[kept])
        names = self._names(setting, binding, np.unique(labels))
        return made.aligner.fit(x, labels[kept], prototypes=names, seed=seed)

    def _names(self, setting: Setting, binding: Binding, classes: np.ndarray) -> Prototypes:
        view = next(name for name in setting.spaces if name in setting.bench.names)
        space = setting.bench.names[view].of_items(classes)
        labels = space.ids
        if self.attributes:
            space, labels = _words(setting, view, classes)
        return Prototypes(labels, _vectors(binding, view, space))

    def judge(self, setting: Setting, fitted: Any) -> Scores:
        """Right or wrong, row by row."""
        _, target = self._views(setting.bench)
        rows = setting.spaces[target].take(setting.bed.rows[target])
        found = fitted.predict(_vectors(_binding(setting, self.aligner), target, rows))
        right = (found == labels_of(rows, setting.bench)).astype(np.float64)
        return scored(setting, rows, right)

    def chance(self, setting: Setting) -> Scores:
        """A class drawn as often as it was trained on."""
        source, target = self._views(setting.bench)
        known, counts = np.unique(self._lines(setting, source)[1], return_counts=True)
        counts = counts if self.shots is None else np.minimum(counts, self.shots)
        share = dict(zip(known.tolist(), counts / counts.sum(), strict=True))
        rows = setting.spaces[target].take(setting.bed.rows[target])
        worth = [share.get(label, 0.0) for label in labels_of(rows, setting.bench).tolist()]
        return scored(setting, rows, np.array(worth, dtype=np.float64))


def _largest(labels: np.ndarray) -> int:
    return int(np.unique(labels, return_counts=True)[1].max())


def bound_vectors(setting: Setting, name: str, space: Space, aligner: str = "cca") -> np.ndarray:
    """Rows of a view as a setting's own lines bind them."""
    return _vectors(_binding(setting, aligner), name, space)


def bound_names(setting: Setting, classes: np.ndarray) -> Prototypes:
    """The names of classes as a setting's own lines bind them."""
    return FewShot()._names(setting, _binding(setting, "cca"), classes)


@lru_cache(maxsize=2)
def _binding(setting: Setting, aligner: str) -> Binding:
    """A setting's training lines bound; the same setting is asked again and again."""
    return Binding.fit(setting.spaces, setting.train, method=find("aligner", aligner).make())


def _vectors(binding: Binding, name: str, space: Space) -> np.ndarray:
    bound = binding.bind(name, space)
    return np.asarray(bound.frame.item(np.asarray(bound.vectors, np.float32)))


def _words(setting: Setting, view: str, classes: np.ndarray) -> tuple[Space, np.ndarray]:
    """The words of each class's name as a view's encoder reads them, and whose they are."""
    found: dict[str, list[str]] = {
        str(label): [w for w in str(label).replace("-", " ").split() if w not in PLAIN]
        or [str(label)]
        for label in classes
    }
    words = sorted({word for each in found.values() for word in each})
    space = texts({word: word for word in words}, _uri(setting, view), "words of class names")
    place = {str(word): row for row, word in enumerate(space.ids)}
    labels = [label for label, each in found.items() for _ in each]
    rows = np.array([place[word] for each in found.values() for word in each])
    return space.take(rows), np.array(labels)


def _uri(setting: Setting, view: str) -> str:
    """The text encoder whose frame a view's class names are in."""
    from conjoin.encoders.open import open_encoder

    frame = setting.bench.names[view].frame
    for uri in ("builtin:text", "builtin:text-static", "builtin:chargram"):
        if open_encoder(uri).frame == frame:
            return uri
    raise ConjoinError(f"view {view}", "names of an encoder that cannot be opened", "take text")
