"""Networks trained from one base on other classes each, merged into one that knows them all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import numpy as np

from conjoin.alignment.closed_form.linear import Identity
from conjoin.catalogue import Search
from conjoin.claims.tasks.decision.adaptation import drawn_groups, labelled
from conjoin.claims.tasks.decision.zero_shot import ACCURACIES, labels_of, refuse_tested, scored
from conjoin.errors import ConjoinError
from conjoin.evaluation.arms import Made, Scores
from conjoin.evaluation.benchmark import Bench, Setting, whole_setting
from conjoin.evaluation.memo import once
from conjoin.evaluation.retrieval import drawn
from conjoin.models.merging.run import merge_arrays

#: Hidden units, steps of the base and of an expert, and their step size.
HIDDEN, BASE_STEPS, STEPS, RATE = 96, 40, 120, 3e-3
#: The base is trained on one group in so many.
APART = 8

Net = Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Classes:
    """A network of one hidden layer and the classes it tells apart.

    Parameters
    ----------
    net : its weights by name.
    names : ``[c]`` classes in the order of its outputs.
    centre, spread : what is taken off its inputs, and what they are divided by.
    """

    net: Net
    names: np.ndarray
    centre: np.ndarray
    spread: np.ndarray

    def predict(self, x: np.ndarray) -> np.ndarray:
        """The class of each row."""
        scores = outputs(self.net, (x - self.centre) / self.spread)[1]
        return np.asarray(self.names[scores.argmax(axis=1)])


@dataclass(frozen=True)
class Merging:
    """Train experts from one base, each on some of the classes, merge them, and ask all classes.

    The base is a network of one hidden layer trained briefly on one group in eight. Each expert
    goes on from it with the other training rows of its own classes, dealt by turns, its softmax
    over these alone. The merged network is asked every class at once. Doing nothing is the base;
    guessing draws classes as often as they were trained on.

    Parameters
    ----------
    view : whose vectors are classified; the first where not given.
    experts : how many share the classes.
    """

    view: str | None = None
    experts: Annotated[int, Search(2, 8)] = 2
    metrics: ClassVar[tuple[str, ...]] = ACCURACIES
    judges: ClassVar[str] = "tensor-merge"
    beside: ClassVar[tuple[str, ...]] = ("chance", "identity", "average", "task-arithmetic")

    def setting(self, bench: Bench, seed: int) -> Setting:
        """Training lines, and the labelled held-out rows of the view.

        Raises
        ------
        ConjoinError : fewer than two classes an expert.
        """
        view = self._view(bench)
        if len(set(bench.labels.values())) < 2 * self.experts:
            raise ConjoinError(f"data {bench.name}", "too few classes", "take data that have more")
        whole = whole_setting(bench)
        rows = whole.bed.rows[view]
        rows = rows[labels_of(whole.spaces[view].take(rows), bench) != ""]
        bed = replace(
            whole.bed, rows={**whole.bed.rows, view: rows}, train=drawn(whole.train, None, seed)
        )
        setting = replace(whole, bed=bed)
        refuse_tested(setting.train, setting.spaces, setting.spaces[view].ids[rows], bench)
        return setting

    def _view(self, bench: Bench) -> str:
        view = self.view or next(iter(bench.spaces))
        bench.view(view)
        return view

    def fit(self, setting: Setting, made: Made, seed: int) -> Classes:
        """The merged network, or the base."""
        base, experts, known = trained(setting, self._view(setting.bench), self.experts, seed)
        if isinstance(made.aligner, Identity):
            return replace(known, net=base)
        return replace(known, net=merge_arrays(base, experts, made.aligner, seed=seed))

    def judge(self, setting: Setting, fitted: Classes) -> Scores:
        """Right or wrong, row by row."""
        space, labels = self._asked(setting)
        found = fitted.predict(np.asarray(space.vectors, np.float64))
        return scored(setting, space, (found == labels).astype(np.float64))

    def _asked(self, setting: Setting) -> tuple[Any, np.ndarray]:
        view = self._view(setting.bench)
        space = setting.spaces[view].take(setting.bed.rows[view])
        labels = labels_of(space, setting.bench)
        if (labels == "").any():
            space = space.take(np.flatnonzero(labels != ""))
            labels = labels[labels != ""]
        return space, labels

    def chance(self, setting: Setting) -> Scores:
        """A class drawn as often as it was trained on."""
        names, counts = np.unique(
            labelled(setting, self._view(setting.bench))[1], return_counts=True
        )
        share = dict(zip(names.tolist(), counts / counts.sum(), strict=True))
        space, labels = self._asked(setting)
        worth = np.array([share.get(label, 0.0) for label in labels.tolist()], dtype=np.float64)
        return scored(setting, space, worth)


@once(4)
def trained(setting: Setting, view: str, count: int, seed: int) -> tuple[Net, list[Net], Classes]:
    """The base and its experts, the same for every arm."""
    rows, labels = labelled(setting, view)
    names, y = np.unique(labels, return_inverse=True)
    x = np.asarray(setting.spaces[view].take(rows).vectors, np.float64)
    own = drawn_groups(setting, view, rows, f"base/{seed}", APART)
    centre, spread = x.mean(axis=0), x.std() + 1e-9
    x = (x - centre) / spread
    rng = np.random.default_rng([seed, 7])
    start = {
        "hidden.weight": rng.normal(size=(HIDDEN, x.shape[1])) / np.sqrt(x.shape[1]),
        "hidden.bias": np.zeros(HIDDEN),
        "out.weight": rng.normal(size=(len(names), HIDDEN)) / np.sqrt(HIDDEN),
        "out.bias": np.zeros(len(names)),
    }
    everything = np.arange(len(names))
    base = descended(start, x[own], y[own], everything, BASE_STEPS)
    turns = rng.permutation(len(names))
    experts = []
    for place in range(count):
        classes = np.sort(turns[place::count])
        mine = ~own & np.isin(y, classes)
        experts.append(descended(base, x[mine], y[mine], classes, STEPS))
    return base, experts, Classes(base, names, centre, np.asarray(spread))


def outputs(net: Net, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Hidden values after ReLU, and scores of the classes."""
    hidden = np.maximum(x @ net["hidden.weight"].T + net["hidden.bias"], 0.0)
    return hidden, hidden @ net["out.weight"].T + net["out.bias"]


def descended(
    start: Net, x: np.ndarray, y: np.ndarray, classes: Sequence[int] | np.ndarray, steps: int
) -> Net:  # fmt: skip
    """Adam on the cross-entropy of a softmax over some classes, all rows a step."""
    net = {name: value.copy() for name, value in start.items()}
    first = {name: np.zeros_like(value) for name, value in net.items()}
    second = {name: np.zeros_like(value) for name, value in net.items()}
    own = np.zeros(net["out.bias"].shape, dtype=bool)
    own[classes] = True
    for step in range(1, steps + 1):
        hidden, scores = outputs(net, x)
        scores = np.where(own, scores, -np.inf)
        scores -= scores.max(axis=1, keepdims=True)
        wrong = np.exp(scores)
        wrong /= wrong.sum(axis=1, keepdims=True)
        wrong[np.arange(len(y)), y] -= 1.0
        wrong /= len(y)
        back = (wrong @ net["out.weight"]) * (hidden > 0)
        slopes = {
            "hidden.weight": back.T @ x, "hidden.bias": back.sum(axis=0),
            "out.weight": wrong.T @ hidden, "out.bias": wrong.sum(axis=0),
        }  # fmt: skip
        for name, slope in slopes.items():
            first[name] = 0.9 * first[name] + 0.1 * slope
            second[name] = 0.999 * second[name] + 0.001 * slope**2
            mean, square = first[name] / (1 - 0.9**step), second[name] / (1 - 0.999**step)
            net[name] -= RATE * mean / (np.sqrt(square) + 1e-8)
    return net
