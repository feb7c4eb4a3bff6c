"""Tune a copy of a text modality's encoder, and say whether that pays."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from conjoin.catalogue import find
from conjoin.display import Tabular
from conjoin.errors import ConjoinError
from conjoin.evaluation.verdict import Arms, judge
from conjoin.models.tuning.loop import Aim, LabelAim, Outcome, Pace, PairAim, mixed, tune
from conjoin.models.tuning.methods import library
from conjoin.models.tuning.saved import save_tuned
from conjoin.models.tuning.text_model import TextModel
from conjoin.project.models.scoring import K, hits, score_rows
from conjoin.project.models.tuning_data import Material, read_keep, read_material
from conjoin.project.workspace import Workspace
from conjoin.spaces.frame import unit
from conjoin.transfer.linear_heads import RidgeRegressor
from conjoin.transfer.logistic import Logistic

#: Shares of the tuned weights tried where ``--keep`` says what must not be lost.
ALPHAS = (0.25, 0.5, 0.75)
#: Texts whose vectors are compared before a folder is called saved.
SAMPLE = 64


@dataclass(frozen=True)
class TuneAsk:
    """What ``conjoin model tune`` was asked.

    Parameters
    ----------
    modality : whose encoder.
    peft : a row of kind ``tuning``.
    settings : its fields.
    label : column of classes; the workspace's pairs where not given.
    keep : file of texts, or pairs of texts, that should stay as well placed.
    budget : seconds that steps may take.
    steps, batch : of the tuning.
    out : folder of the tuned encoder.
    """

    modality: str
    peft: str = "lora"
    settings: Mapping[str, Any] = field(default_factory=dict)
    label: str | None = None
    keep: Path | None = None
    budget: float | None = None
    steps: int = 64
    batch: int = 32
    out: Path | None = None
    seed: int = 0


@dataclass(frozen=True, eq=False, repr=False)
class TunedResult(Tabular):
    """The table of arms, and what else a reader must know.

    Parameters
    ----------
    arms : ``frozen`` first.
    kept : before, after and, where mixed, with the mix: what ``--keep`` measures; or nothing.
    outcome : of the steps.
    alpha : the share of the tuned weights in what was saved; 1 is all.
    more : labels that it would take until tuning pays, where two sizes allow a guess.
    folder : of the tuned encoder.
    """

    arms: Arms
    kept: Mapping[str, float]
    outcome: Outcome
    alpha: float
    more: int | None
    folder: Path
    notes: tuple[str, ...]

    def table(self) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        """A row per arm, the one to use marked."""
        return self.arms.table()

    def to_json(self) -> dict[str, Any]:
        """One object for programs."""
        o = self.outcome
        return {
            **self.arms.to_json(), "keep": dict(self.kept), "alpha": self.alpha,
            "more_labels": self.more, "encoder": f"st:{self.folder}", "folder": str(self.folder),
            "steps": o.steps, "best_step": o.best, "trained_parameters": o.trained,
            "budget_over": o.stopped, "cpu_seconds": round(o.cpu, 2), "notes": list(self.notes),
        }  # fmt: skip


Report = Callable[[str], None]


def plan_tuning(ws: Workspace, ask: TuneAsk) -> dict[str, Any]:
    """What would be done, from the table alone.

    Raises
    ------
    ConjoinError : as :func:`tune_modality`, as far as can be seen without the model.
    """
    find("tuning", ask.peft).make(dict(ask.settings))
    made = read_material(ws, ask.modality, ask.label, ask.seed)
    return {
        "train": len(made.learn), "validation": len(made.look), "test": len(made.test),
        "steps": ask.steps, "batch": ask.batch, "peft": ask.peft, "notes": list(made.notes),
    }  # fmt: skip


def tune_modality(ws: Workspace, ask: TuneAsk, report: Report = lambda _: None) -> TunedResult:
    """Tune, judge beside the frozen vectors, and write the tuned encoder.

    Raises
    ------
    ConjoinError : the modality is no text, its encoder cannot be tuned, there is too little to
        learn from, or the folder is there already.
    """
    method = find("tuning", ask.peft).make(dict(ask.settings))
    made = read_material(ws, ask.modality, ask.label, ask.seed)
    folder = ask.out or ws.folder / f"tuned-{ask.modality}-{ask.peft}"
    if folder.exists():
        raise ConjoinError(str(folder), "is there already", "name another folder: --out DIR")
    keep = None if ask.keep is None else read_keep(ask.keep)
    model = TextModel.open(ws.modality(ask.modality).uri)
    trial = Trial(model, made, ask, keep, report)
    return trial.run(method, folder)


class Trial:
    """One tuning from start to folder.

    Parameters
    ----------
    keep : texts, and their partners where they have some.
    """

    def __init__(
        self, model: TextModel, made: Material, ask: TuneAsk, keep: Any, report: Report
    ):  # fmt: skip
        self.model, self.made, self.ask, self.keep, self.report = model, made, ask, keep, report
        self.scores: dict[str, np.ndarray] = {}
        self.costs: dict[str, float] = {}
        self.kept: dict[str, float] = {}

    def run(self, method: Any, folder: Path) -> TunedResult:
        """Frozen, tuned and mixed vectors judged; the better of the last two saved."""
        self.report(f"reading {len(self.made.texts)} texts by {self.model.name}")
        clock = time.process_time()
        frozen = self.model.encode(self.made.texts)
        self._judged("frozen", frozen, clock)
        before = self.model.tensors()
        near = None if self.keep is None else self._keep_start()
        self.report(f"tuning by {self.ask.peft}, at most {self.ask.steps} steps")
        clock = time.process_time()
        outcome = self._tuned(method, frozen, self.made.learn)
        tuned = self.model.encode(self.made.texts)
        self._judged(self.ask.peft, tuned, clock)
        sample = self.made.texts[:SAMPLE]
        expected = self.model.encode(sample)
        adapter = _writer(self.model.transformer)
        self.model.put(method.fold(self.model.transformer))
        alpha = 1.0
        if near is not None:
            self.kept["after"] = near()
            alpha = self._mix(before, near, frozen)
            if alpha < 1:
                expected, adapter = self.model.encode(sample), None
        arms = judge(
            self.scores, self.made.groups[self.made.test], metric=self.made.metric,
            costs=self.costs, seed=self.ask.seed,
        )  # fmt: skip
        facts = {
            **arms.to_json(), "method": self.ask.peft, "settings": dict(self.ask.settings),
            "alpha": alpha, "keep": self.kept, "seed": self.ask.seed, "steps": outcome.steps,
        }  # fmt: skip
        save_tuned(self.model, folder, adapter=adapter, expected=(sample, expected), facts=facts)
        more = self._more(method, frozen, arms, before)
        notes = (*self.made.notes, *_said(outcome, self.ask))
        return TunedResult(arms, self.kept, outcome, alpha, more, folder, notes)

    def _judged(self, name: str, vectors: np.ndarray, clock: float) -> None:
        self.scores[name] = self._score(vectors, self.made.train, self.made.test)
        self.costs[name] = time.process_time() - clock

    def _score(self, x: np.ndarray, train: np.ndarray, test: np.ndarray) -> np.ndarray:
        return score_rows(self.made, x, train, test, seed=self.ask.seed)

    def _tuned(self, method: Any, frozen: np.ndarray, rows: np.ndarray) -> Outcome:
        made, look = self.made, self.made.look
        aim, score = self._aim(frozen, rows)
        texts = [made.texts[i] for i in look]
        pace = Pace(self.ask.steps, self.ask.batch, self.ask.budget)
        return tune(
            self.model, made.texts, rows, aim, method, pace=pace, seed=self.ask.seed,
            validate=lambda: score(self.model.encode(texts)),
        )  # fmt: skip

    def _aim(self, x: np.ndarray, rows: np.ndarray) -> tuple[Aim, Callable[[np.ndarray], float]]:
        """What is tuned towards, and a score of the validation texts' vectors."""
        made, look = self.made, self.made.look
        if made.classes is not None:
            classes, owner = np.unique(made.classes, return_inverse=True)
            start = Logistic(standardise=False).fit(x[rows], made.classes[rows])
            weight, bias = np.zeros((x.shape[1], len(classes))), np.full(len(classes), -4.0)
            place = np.searchsorted(classes, start.classes)
            weight[:, place], bias[place] = start.weight, start.bias
            named = LabelAim(weight, bias, owner.reshape(-1))
            return named, partial(_likely, named, owner.reshape(-1)[look])
        z = np.asarray(made.partners)
        slope = RidgeRegressor(0.3).fit(x[rows], z[rows]).weight
        same = np.unique(z, axis=0, return_inverse=True)[1].reshape(-1)
        paired = PairAim(slope, z, same)
        return paired, partial(_ranked, paired, z[look])

    # What must not be lost

    def _keep_start(self) -> Callable[[], float]:
        texts, partners = self.keep
        if partners is not None:

            def found() -> float:
                return float(hits(self.model.encode(texts), self.model.encode(partners)).mean())
        else:
            first = nearest(self.model.encode(texts))

            def found() -> float:
                now = nearest(self.model.encode(texts))
                return float(np.mean([len(set(a) & set(b)) / len(a)
                                      for a, b in zip(first, now, strict=True)]))  # fmt: skip

        self.kept["before"] = found()
        return found

    def _mix(self, before: Mapping[str, Any], near: Callable[[], float], x: np.ndarray) -> float:
        """Leave the model at the share of the tuned weights that both sides like best."""
        after = self.model.tensors()
        made, best = self.made, (1.0, self._inner_score() + self.kept["after"])
        for alpha in ALPHAS:
            self.model.transformer.load_state_dict(mixed(before, after, alpha))
            worth = self._inner_score() + near()
            if worth > best[1] + 1e-9:
                best = (alpha, worth)
        alpha = best[0]
        self.model.transformer.load_state_dict(mixed(before, after, alpha) if alpha < 1 else after)
        if alpha < 1:
            self.kept["mixed"] = near()
            clock = time.process_time()
            self._judged("mixed", self.model.encode(made.texts), clock)
            self.costs["mixed"] += self.costs[self.ask.peft]
        return alpha

    def _inner_score(self) -> float:
        """Validation's score of the model as it is, fitted to what steps are taken on."""
        made = self.made
        learn, look = made.learn[:1000], made.look[:500]
        both = self.model.encode([made.texts[i] for i in (*learn, *look)])
        x, asked = both[: len(learn)], both[len(learn) :]
        if made.classes is not None:
            head = Logistic(standardise=False).fit(x, made.classes[learn])
            return float((head.predict(asked) == made.classes[look]).mean())
        z = np.asarray(made.partners)
        return float(hits(RidgeRegressor(0.3).fit(x, z[learn]).predict(asked), z[look]).mean())

    def _more(
        self, method: Any, frozen: np.ndarray, arms: Arms, before: Mapping[str, Any]
    ) -> int | None:  # fmt: skip
        """Labels until tuning pays: the gain at half the labels and at all, by their logarithm."""
        if self.made.classes is None or arms.use != "frozen" or self.ask.budget is not None:
            return None
        self.report("tuning on half of the labels, to tell how many more it would take")
        self.model.transformer.load_state_dict(before)
        half = self.made.learn[::2]
        if len(np.unique(self.made.classes[half])) < 2:
            return None
        self._tuned(method, frozen, half)
        train = np.sort(np.concatenate([half, self.made.look]))
        tuned = self.model.encode(self.made.texts)
        gap = (
            self._score(tuned, train, self.made.test) - self._score(frozen, train, self.made.test)
        ).mean()
        self.model.put(method.fold(self.model.transformer))
        whole = self.scores[self.ask.peft] - self.scores["frozen"]
        error = float(whole.std() / np.sqrt(len(whole)))
        return labels_until(float(gap), float(whole.mean()), len(train), len(self.made.train),
                            2 * error)  # fmt: skip


def labels_until(half: float, whole: float, few: int, many: int, pays: float) -> int | None:
    """How many more labels until a gain that grows with their logarithm reaches ``pays``.

    Parameters
    ----------
    half, whole : gains with ``few`` and with ``many`` labels.

    Returns
    -------
    ``None`` where the gain does not grow, or it would take over a hundred times as many.

    Examples
    --------
    >>> labels_until(0.0, 0.01, 100, 200, 0.02), labels_until(0.02, 0.01, 100, 200, 0.03)
    (200, None)
    """
    slope = (whole - half) / np.log2(many / few)
    if slope <= 0:
        return None
    doublings = max(0.0, (pays - whole) / slope)
    return int(np.ceil(many * 2**doublings - many)) if doublings < np.log2(100) else None


def nearest(x: np.ndarray) -> np.ndarray:
    """``[n, k]`` the other rows nearest to each."""
    scores = unit(x) @ unit(x).T
    np.fill_diagonal(scores, -np.inf)
    return np.argsort(-scores, axis=1, kind="stable")[:, : min(K, len(x) - 1)]


def _likely(aim: LabelAim, owner: np.ndarray, x: np.ndarray) -> float:
    """The mean logarithm of the right class's probability, by the head that is trained along."""
    logits = x @ aim.weight.detach().numpy() + aim.bias.detach().numpy()
    logits = logits - logits.max(axis=1, keepdims=True)
    own = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return float(own[np.arange(len(owner)), owner].mean())


def _ranked(aim: PairAim, z: np.ndarray, x: np.ndarray) -> float:
    """The mean reciprocal rank of the right partner, by the map that is trained along."""
    scores = unit(x @ aim.map.detach().numpy()) @ unit(z).T
    own = scores[np.arange(len(z)), np.arange(len(z))]
    return float((1 / (1 + (scores > own[:, None]).sum(axis=1))).mean())


def _writer(transformer: Any) -> Callable[[Path], None] | None:
    """A function that writes the adapter, with its numbers as they are now."""
    if not hasattr(transformer, "peft_config"):
        return None
    from safetensors.torch import save_file

    held = library().get_peft_model_state_dict(transformer)
    tensors = {k: v.detach().clone().contiguous() for k, v in held.items()}
    config = transformer.peft_config["default"]

    def write(folder: Path) -> None:
        folder.mkdir(parents=True)
        config.save_pretrained(str(folder))
        save_file(tensors, str(folder / "adapter_model.safetensors"))

    return write


def _said(outcome: Outcome, ask: TuneAsk) -> list[str]:
    found = []
    if outcome.stopped:
        found.append(f"the budget ended it after {outcome.steps} of {ask.steps} steps: best so far")
    if not outcome.best and outcome.steps:
        found.append("no step was better on validation than the start: the copy is the original")
    return found
