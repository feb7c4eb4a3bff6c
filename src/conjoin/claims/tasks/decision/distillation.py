"""Does a student land where its teacher puts the same held-out items?"""

from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import numpy as np

from conjoin.alignment.closed_form.linear import Identity
from conjoin.catalogue import Search
from conjoin.claims.tasks.decision.zero_shot import groups_of, labels_of
from conjoin.errors import ConjoinError
from conjoin.evaluation.arms import Made, Scores, Units
from conjoin.evaluation.benchmark import Bench, Setting, whole_setting
from conjoin.evaluation.retrieval import drawn
from conjoin.maps.base import identity
from conjoin.spaces.pairs import ABSENT
from conjoin.storage.digest import stable_hash
from conjoin.transfer.students import own_ranks
from conjoin.transfer.teachers import side_by_side

#: How far down a hit counts, by metric.
CUTS = {"recall@1": 1, "recall@10": 10}


@dataclass(frozen=True)
class Distilling:
    """Teach a map of the first view to land where the other views put the same items.

    Several teachers are put side by side, each at unit length. Recall asks with the student's
    vector of each held-out line for the teacher's vector of that line among those of all held-out
    lines. Doing nothing leaves the student's vectors as they are, and is worth chance where widths
    differ. The teacher itself would reach 1.

    Parameters
    ----------
    pairs : training lines; ``None`` takes nine tenths.
    """

    pairs: Annotated[int | None, Search(4, 1e7, log=True)] = None
    metrics: ClassVar[tuple[str, ...]] = tuple(CUTS)
    judges: ClassVar[str] = "student"
    beside: ClassVar[tuple[str, ...]] = ("chance", "identity", "ridge-student", "cosine-student")

    def setting(self, bench: Bench, seed: int) -> Setting:
        """Training lines that have every view, and held-out lines that have.

        Raises
        ------
        ConjoinError : there is one view only, or too few lines.
        """
        if len(bench.spaces) < 2:
            raise ConjoinError(f"data {bench.name}", "one view", "name a student and a teacher")
        whole = whole_setting(bench)
        train, test = (
            part.take((part.rows != ABSENT).all(axis=1)) for part in (whole.train, whole.bed.test)
        )
        if not len(train) or not len(test):
            raise ConjoinError(f"data {bench.name}", "no line has every view", "take other views")
        bed = replace(whole.bed, train=drawn(train, self.pairs, seed), test=test)
        return replace(whole, bed=bed)

    def fit(self, setting: Setting, made: Made, seed: int) -> Any:
        """A student of the training lines."""
        student, *teachers = setting.train.names
        if isinstance(made.aligner, Identity):
            return identity(setting.spaces[student].dim)
        taught = {name: self._rows(setting, name, False) for name in teachers}
        labels = labels_of(
            setting.spaces[student].take(setting.train.column(student)), setting.bench
        )
        return made.aligner.fit(
            self._rows(setting, student, False), taught,
            labels if (labels != "").all() else None, groups=setting.train.group, seed=seed,
        )  # fmt: skip

    def _rows(self, setting: Setting, name: str, test: bool) -> np.ndarray:
        """A view's vectors, line by line."""
        lines = setting.bed.test if test else setting.train
        space = setting.spaces[name].take(lines.column(name))
        return np.asarray(space.frame.item(np.asarray(space.vectors, np.float32)))

    def judge(self, setting: Setting, fitted: Any) -> Scores:
        """Whether each held-out line finds its own."""
        student, *teachers = setting.train.names
        aim = side_by_side({name: self._rows(setting, name, True) for name in teachers})
        made = fitted.apply(self._rows(setting, student, True))
        if made.shape[1] != aim.shape[1]:
            return self.chance(setting)
        ranks = own_ranks(made, aim)
        return self._units(setting, [(ranks <= k).astype(np.float64) for k in CUTS.values()])

    def chance(self, setting: Setting) -> Scores:
        """A teacher's vector drawn at random."""
        n = len(setting.bed.test)
        return self._units(setting, [np.full(n, min(1.0, k / n)) for k in CUTS.values()])

    def _units(self, setting: Setting, values: list[np.ndarray]) -> Scores:
        student = setting.train.names[0]
        ids = setting.spaces[student].ids[setting.bed.test.column(student)]
        groups = np.array([stable_hash(g) for g in groups_of(ids, setting.bench)])
        return {name: Units(each, groups) for name, each in zip(CUTS, values, strict=True)}
