"""What every catalogue row of kind "task" keeps, tried on planted data."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy import sparse

from benches import bench
from conjoin.answering.selection.base import TopK
from conjoin.catalogue import of_kind
from conjoin.errors import ConjoinError
from conjoin.evaluation.arms import Arm, Made, Task, judges, make, run_arm
from conjoin.evaluation.benchmark import refuse_leak
from conjoin.maps.base import Affine, Composable
from conjoin.metrics.base import Reads
from conjoin.metrics.measurement import Measurement
from conjoin.models.merging.base import TensorMerge
from conjoin.retrieval.hubness.csls import Correction
from conjoin.retrieval.ranking.score_fusion import Scored
from conjoin.storage.digest import stable_hash

TWO, THREE = ("image", "text"), ("image", "text", "speech")
VIEWS = {
    "bridged": THREE, "added-later": THREE, "kway": THREE,
    "cross-lingual": ("image", "text", "de", "fr"),
    "domain-shift": ("image", "drawing", "text"), "adapting": ("image", "drawing"),
    "upgrading": ("old", "new", "image"),
    "class-upgrading": ("old", "new"),
}  # fmt: skip
TASKS = of_kind("task")
each = pytest.mark.parametrize("name", TASKS)


def data(name, noise=0.05):
    parts, kin = 2 if name == "many-to-many" else 1, 2 if name == "retrieval" else 1
    return bench(*VIEWS.get(name, TWO), parts=parts, items=160, kin=kin, noise=noise)


def task_of(name):
    quick = {"few-pairs": {"pairs": 20}, "stored": {"aligner": "cca"}}
    return TASKS[name].make(quick.get(name, {}))


def arm_of(name):
    return {
        "tracking": "centroid-distance",
        "unpaired": "mean-centering",
        "hubs": "csls",
        "fusing": "concat",
        "few-shot": "nearest-mean",
        "adapting": "match-deviation",
        "merging": "task-arithmetic",
        "distilling": "ridge-student",
        "hybrid": "cc",
        "composed": "sum",
        "parts": "mean-parts",
        "terms": "nearest-words",
        "detecting": "partner-rank",
        "curating": "entry-cap",
        "stored": "two-stage",
        "cutting": "score-threshold",
        "suggesting": "cluster-words",
        "selecting": "relevance-cut",
    }.get(name, "ridge")


def other_of(name):
    return {
        "tracking": "cka", "unpaired": "identity", "hubs": "identity", "fusing": "late",
        "few-shot": "identity", "adapting": "identity", "merging": "identity",
        "distilling": "identity",
        "hybrid": "rrf", "composed": "and", "parts": "max-part", "terms": "sliced-words",
        "detecting": "identity", "stored": "identity", "cutting": "identity",
        "suggesting": "identity", "curating": "identity", "selecting": "identity",
    }.get(name, "mean-centering")  # fmt: skip


def arm_in(name, arm):
    """An arm as a task reads it: of the kind it judges."""
    return Arm.parse(arm, judges(task_of(name)))


@dataclass(frozen=True)
class Blind:
    """A decision that knows nothing but the classes."""

    seed: int

    def fit(self, views, present, *, labels=None, weight=None, seed=0):
        object.__setattr__(self, "classes", np.unique(labels))
        return self

    def predict(self, views, present):
        rng = np.random.default_rng(self.seed)
        return rng.choice(self.classes, len(next(iter(views.values()))))


@dataclass(frozen=True)
class Lost(TensorMerge):
    """A merge that knows nothing but the shapes."""

    seed: int

    def merge(self, part, known):
        rng = np.random.default_rng([self.seed, stable_hash(part.name)])
        return rng.normal(size=len(part.base))


@dataclass(frozen=True)
class Astray:
    """A head that knows nothing but the classes, and a student that knows nothing."""

    seed: int

    def fit(self, x, y, z=None, *, prototypes=None, groups=None, seed=0):
        known = {"width": sum(t.shape[1] for t in y.values())} if isinstance(y, dict) else {
            "classes": np.unique(y)
        }  # fmt: skip
        object.__setattr__(self, "known", known)
        return self

    def predict(self, x):
        return np.random.default_rng(self.seed).choice(self.known["classes"], len(x))

    def apply(self, x):
        return np.random.default_rng(self.seed).normal(size=(len(x), self.known["width"]))


@dataclass(frozen=True)
class Adrift:
    """An adaptation that knows nothing but the classes of the head."""

    seed: int

    def fit(self, fitted, x, *, source=None, seed=0):
        return Astray(self.seed).fit(x, fitted.classes)


@dataclass(frozen=True)
class Random:
    """Maps that know nothing: another for every view and seed."""

    pairless = True
    width: int = 8

    def fit(self, views, pairs, *, frames=None, frozen=None, seed=0):
        found = {}
        for name, x in views.items():
            rng = np.random.default_rng([seed, stable_hash(name)])
            weight = rng.normal(size=(x.shape[1], self.width))
            shift = np.asarray(x, np.float64).mean(axis=0)
            made = Affine(weight, shift, np.zeros(self.width))
            found[name] = (frozen or {}).get(name, made)
        return found


@dataclass(frozen=True)
class Scatter(Composable):
    """Every row goes anywhere, all as good as at right angles."""

    seed: int
    source = target = None
    name = "scatter"

    def apply(self, x):
        drawn = np.random.default_rng(self.seed).normal(size=(len(x), 4000))
        return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)

    def state(self):
        return {}, {}

    @classmethod
    def from_state(cls, fields, arrays):
        raise NotImplementedError


@dataclass(frozen=True)
class Guess:
    """A correction that knows nothing."""

    seed: int
    name = "guess"

    def fit(self, gallery, query_bank, gallery_bank=None):
        zero, maps = np.zeros((len(gallery), 1)), [Scatter(2 * self.seed + k) for k in (0, 1)]
        return Correction("guess", 1.0, zero, None, *maps)

    def extend(self, fitted, new):
        raise NotImplementedError


@dataclass(frozen=True)
class Lottery:
    """A mixer, composer, aggregation and lexicon that knows nothing."""

    seed: int
    tunable = False
    reads = "parts"

    def mix(self, lists, weights=None):
        ids = np.unique(np.concatenate([found.ids for found in lists.values()]))
        key = stable_hash(repr([float(found.scores.sum()) for found in lists.values()]))
        return Scored(ids, np.random.default_rng([self.seed, key]).random(len(ids))).ordered()

    def fit(self, *given, seed=0):
        return self

    def restore(self, arrays):
        return self

    def arrays(self):
        return {}

    def queries(self, x):
        return x

    def items(self, x):
        return x

    def scores(self, *given):
        rng = np.random.default_rng([self.seed, stable_hash(repr(given[0]))])
        rows = len(given[2]) if len(given) == 3 else (len(given[0]), len(given[1]))
        return rng.random(rows)

    def vector(self, parts, weights):
        return None

    def weights(self, name, x):
        rng = np.random.default_rng([self.seed, stable_hash(name)])
        return sparse.csr_matrix(rng.normal(size=(len(x), 400)))


@dataclass(frozen=True)
class Suspicion:
    """A detector that suspects anything."""

    seed: int

    def __call__(self, crossed, partners):
        return np.random.default_rng(self.seed).random(np.shape(partners))


@dataclass(frozen=True)
class Luck:
    """A way of storing and of ending lists that knows nothing."""

    seed: int

    def _drawn(self, *given):
        return np.random.default_rng([self.seed, stable_hash(repr(given))])

    def find(self, q, gallery, k, *, cosine):
        return np.stack([
            self._drawn(line.tolist()).permutation(len(gallery))[:k] for line in q
        ])  # fmt: skip

    def choose(self, scores, right):
        return self

    def kept(self, scores):
        return int(self._drawn(scores).integers(11))


@dataclass(frozen=True)
class Lots(TopK):
    """A selector that knows nothing."""

    seed: int = 0

    def choose(self, question, pool, scores):
        drawn = np.random.default_rng([self.seed, stable_hash(repr(scores[:3].tolist()))])
        return drawn.permutation(len(pool))[: self.k]


#: Tasks whose arms read lists, parts or words.
RANKED = ("hybrid", "composed", "parts", "terms")


class Noise(Reads):
    """A measure that says anything."""

    name, meaning = "noise", "Nothing."

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def __call__(self, views):
        return Measurement("noise", self.rng.random(), None, None, 1, (0.0, 1.0), True, "Nothing.")


def random_scores(name, seeds):
    """A score a seed of arms that know nothing, by metric."""
    task, found = task_of(name), []
    # Parts that look alike are found together; chance is that of galleries in random order.
    setting = task.setting(data(name, 50.0 if name == "many-to-many" else 0.05), 0)
    for seed in range(seeds):
        measures = name in ("tracking", "hubs", "detecting")
        known = {
            "tracking": Noise,
            "hubs": Guess,
            "fusing": Blind,
            "detecting": Suspicion,
            "adapting": Adrift,
            "merging": Lost,
            **dict.fromkeys(("few-shot", "distilling"), Astray),
            **dict.fromkeys(RANKED, Lottery),
            **dict.fromkeys(("stored", "cutting"), Luck),
            "selecting": Lots,
        }
        arm = known.get(name, lambda _: Random())(seed)
        made = Made(arm, None, setting.train.names[0])
        # What is measured stays the same, so that the bindings are fitted once.
        fitted = task.fit(setting, made, 0 if measures else seed)
        scores = task.judge(setting, fitted)
        found.append([scores[metric].values.mean() for metric in task.metrics])
    expected = task.chance(setting)
    return np.array(found), [expected[metric].values.mean() for metric in task.metrics]


@each
def test_it_is_a_task_with_named_metrics(name):
    task = task_of(name)
    assert isinstance(task, Task)
    assert task.metrics
    setting = task.setting(data(name), 0)
    scores = task.chance(setting)
    assert set(scores) == set(task.metrics)
    for units in scores.values():
        assert len(units.values) == len(units.groups) > 0
        assert units.groups.dtype.kind == "i"


@each
def test_units_stand_in_one_order_whatever_the_arm_and_seed(name):
    task, planted = task_of(name), data(name)
    runs = [
        run_arm(task, planted, arm_in(name, arm), task.metrics[0], seed, fields).scores
        for arm, seed, fields in (
            (arm_of(name), 0, {}), (arm_of(name), 1, {}), (other_of(name), 0, {}), ("chance", 2, {})
        )
    ]  # fmt: skip
    for metric in task.metrics:
        first = runs[0][metric].groups
        for run in runs[1:]:
            np.testing.assert_array_equal(run[metric].groups, first)


@each
def test_a_seed_says_what_comes_of_it(name):
    task, planted = task_of(name), data(name)
    arm = arm_in(name, arm_of(name))
    one, two = (run_arm(task, planted, arm, task.metrics[0], 3, {}).scores for _ in range(2))
    for metric in task.metrics:
        np.testing.assert_array_equal(one[metric].values, two[metric].values)


#: No arm of these knows nothing: what is kept to train on is always trained on.
LEARNED = ("suggesting", "curating")


@pytest.mark.parametrize("name", [name for name in TASKS if name not in LEARNED])
def test_chance_is_what_maps_that_know_nothing_reach(name):
    found, expected = random_scores(name, 30)
    error = found.std(axis=0, ddof=1) / np.sqrt(len(found))
    for metric, mean, spread, chance in zip(
        task_of(name).metrics, found.mean(axis=0), error, expected, strict=True
    ):
        assert abs(mean - chance) <= 4 * spread + 0.003, metric


@each
def test_settings_are_chosen_without_the_test_rows(name):
    task = task_of(name)
    setting = task.setting(data(name), 0)
    inside = setting.inner(0)
    refuse_leak(inside.train, setting.bed.test)
    for view in inside.train.names:
        shared = np.intersect1d(inside.train.column(view), setting.bed.rows[view])
        assert len(shared) == 0, view
        if not hasattr(setting, "truth"):
            chosen = np.intersect1d(inside.bed.rows[view], setting.bed.rows[view])
            assert len(chosen) == 0, view
    fitted = task.fit(inside, make(arm_in(name, arm_of(name)), inside, {}), 0)
    for metric, units in task.judge(inside, fitted).items():
        assert np.isfinite(units.values).all(), metric
        assert metric in task.metrics


@each
def test_data_whose_split_cuts_a_group_are_refused(name):
    planted = data(name)
    pairs = planted.pairs
    leaky = replace(planted, pairs=replace(pairs, group=np.zeros(len(pairs), np.int64)))
    with pytest.raises(ConjoinError, match="trained on and tested"):
        task_of(name).setting(leaky, 0)


@each
def test_training_has_no_group_of_what_is_tested(name):
    setting = task_of(name).setting(data(name), 0)
    refuse_leak(setting.train, setting.bed.test)


#: Arms that find a planted truth where rotations do not.
PLANTED = {
    "few-shot": "nearest-mean",
    "adapting": "match-mean",
    "merging": "average",
    "distilling": "ridge-student",
    "fusing": "concat",
    "hybrid": "cc",
    "parts": "mean-parts",
    "detecting": "partner-rank",
    "stored": "int8",
    "cutting": "score-threshold",
    "selecting": "relevance-cut",
    "curating": "entry-cap",
}
#: Scores of the planted truth, which rotations find.
EASY = {
    "class-upgrading": 0.7,
    "few-shot": 0.85,
    "adapting": 0.85,
    "merging": 0.7,
    "curating": 0.8,
    "selecting": 0.6,
    "distilling": 0.9,
    "fusing": 0.8,
    "zero-shot": 0.85,
    "transfer": 0.8,
    "unseen-classes": 0.85,
}


@pytest.mark.parametrize(
    "name",
    [
        n
        for n in TASKS
        if n not in ("unpaired", "tracking", "hubs", "composed", "terms", "suggesting")
    ],
)
def test_a_planted_truth_is_found(name):
    task = task_of(name)
    found = run_arm(
        task, data(name), arm_in(name, PLANTED.get(name, "procrustes")), task.metrics[0], 0, {}
    ).scores
    for metric, units in found.items():
        best = 0.0 if metric == "rank-variance" else 1.0
        least = best - 0.05 if name != "noisy-pairs" else 0.7
        assert units.values.mean() >= EASY.get(name, least), metric
