"""Does a correction find more partners, and show the gallery more evenly?"""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from conjoin.alignment.binding import Binding
from conjoin.alignment.closed_form.linear import Identity
from conjoin.catalogue import Choice
from conjoin.errors import ConjoinError
from conjoin.evaluation.arms import Made, Scores, Units
from conjoin.evaluation.benchmark import Bench, Setting, whole_setting
from conjoin.evaluation.memo import once
from conjoin.evaluation.retrieval import answers, by_chance, directions, drawn, gathered
from conjoin.metrics.retrieval.ranks import rank_queries
from conjoin.metrics.retrieval.scores import metric
from conjoin.retrieval.calibration.cross_fit import bank_of
from conjoin.retrieval.engines.exact import top_k
from conjoin.retrieval.hubness.csls import Correction, Corrector
from conjoin.retrieval.hubness.report import K, blocks_of, left_out, skewness

#: Metrics of single queries; evenness is that of a whole gallery.
RECALLS = ("recall@10", "recall@1")


@dataclass(frozen=True, eq=False)
class Corrected:
    """A binding with the correction of each direction, ``None`` where there is none."""

    binding: Binding
    corrections: dict[tuple[str, str], Correction | None]


@dataclass(frozen=True)
class Hubs:
    """Search both ways with a correction of the scores, the aligner being the same for every arm.

    A correction is fitted to the held-out gallery and to banks of all training queries and
    items. ``evenness`` is the skewness of how often each gallery row is among the first ten,
    turned round: 0 where every row turns up equally often. Its units are blocks of query groups:
    with ``S`` of all queries and ``S₋ⱼ`` without block j of b the value of j is
    ``−(S + (b − 1) (mean S₋ − S₋ⱼ))``, whose mean is ``−S`` and whose spread is the jackknife's.

    Parameters
    ----------
    aligner : closed form whose scores are corrected.
    """

    aligner: Annotated[str, Choice(("cca", "ridge", "procrustes"))] = "cca"
    metrics: ClassVar[tuple[str, ...]] = (*RECALLS, "evenness")
    judges: ClassVar[str] = "correction"
    beside: ClassVar[tuple[str, ...]] = ("chance", "identity", "csls")

    def setting(self, bench: Bench, seed: int) -> Setting:
        """Nine tenths of the training lines."""
        whole = whole_setting(bench)
        return whole.with_train(drawn(whole.train, None, seed))

    def fit(self, setting: Setting, made: Made, seed: int) -> Corrected:
        """The binding with the arm's correction of each direction.

        Raises
        ------
        ConjoinError : the arm is no correction.
        """
        binding = _bound(setting, self.aligner, seed)
        found: dict[tuple[str, str], Correction | None] = {}
        banks = {
            name: bank_of(binding, setting.spaces, setting.train, name)
            for name in setting.train.names
        }
        for query, target in directions(setting):
            if isinstance(made.aligner, Identity):
                found[query, target] = None
                continue
            if not isinstance(made.aligner, Corrector):
                raise ConjoinError("arm", "no correction", "name one, such as csls")
            x = _rows(setting, binding, target)
            found[query, target] = made.aligner.fit(x, banks[query], banks[target])
        return Corrected(binding, found)

    def judge(self, setting: Setting, fitted: Corrected) -> Scores:
        """Recall of every query both ways, and evenness of both galleries."""
        recalls, units, blocks = [], [], []
        for query, target, wanted, groups in answers(setting, directions(setting)):
            q = fitted.binding.frame.query(_rows(setting, fitted.binding, query))
            x = _rows(setting, fitted.binding, target)
            correction = fitted.corrections[query, target]
            if correction is None:
                ranking, k = rank_queries(q, x, wanted), min(K, len(x))
                lists = top_k(q[wanted.queries], x, k)[1]
            else:
                x = np.asarray(correction.items(x))
                ranking = correction.rank(q, x, wanted)
                lists = correction.top_k(q[wanted.queries], x, min(K, len(x)))[1]
            recalls.append(({m: metric(m).per_query(ranking) for m in RECALLS}, groups))
            own = blocks_of(groups)
            whole, without = left_out(lists, len(x), own)
            units.append(-pseudo(float(skewness(whole)), skewness(without)))
            blocks.append(np.unique(own))
        even = Units(np.concatenate(units), np.concatenate(blocks))
        return {**gathered(recalls), "evenness": even}

    def chance(self, setting: Setting) -> Scores:
        """Random orders: a row is among the first ten of ``n`` as often as a coin says."""
        ways = directions(setting)
        units, blocks = [], []
        for _, target, wanted, groups in answers(setting, ways):
            share = min(1.0, K / len(setting.bed.rows[target]))
            spread = np.sqrt(len(wanted) * share * (1 - share))
            own = np.unique(blocks_of(groups))
            units.append(np.full(len(own), -(1 - 2 * share) / spread if spread > 0 else 0.0))
            blocks.append(own)
        even = Units(np.concatenate(units), np.concatenate(blocks))
        return {**by_chance(setting, ways, RECALLS), "evenness": even}


def pseudo(whole: float, without: np.ndarray) -> np.ndarray:
    """Pseudo-values of the jackknife."""
    return np.asarray(whole + (len(without) - 1) * (without.mean() - without))


def _rows(setting: Setting, binding: Binding, name: str) -> Any:
    held = setting.spaces[name].take(setting.bed.rows[name])
    return binding.frame.item(np.asarray(binding.bind(name, held).vectors, dtype=np.float32))


@once(4)
def _bound(setting: Setting, aligner: str, seed: int) -> Binding:
    names = setting.train.names
    spaces = {name: setting.spaces[name].pooled() for name in names}
    return Binding.fit(spaces, setting.train, method=aligner, hub=names[0], seed=seed)
