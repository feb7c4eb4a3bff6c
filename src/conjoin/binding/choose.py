"""Choosing a method and its hyper-parameters on held-out folds of the training pairs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from conjoin import catalogue
from conjoin.binding.folds import Folds
from conjoin.binding.trials import Clock, Sweep, Trial, race
from conjoin.catalogue import Row
from conjoin.errors import ConjoinError
from conjoin.spaces import Pairs, Space, Tokens

#: Tried where nothing else is asked for: seconds, not minutes.
QUICK = ("nothing", "centring", "ridge", "procrustes", "cca", "heads")
#: Fewer training pairs than this teach a trained method nothing.
FEWEST_TRAINED = 50
#: Of a budget this long or longer, in seconds, half is kept for trained methods; a shorter one
#: would not see a single of them through, and goes to closed forms first.
LONG = 120.0
#: A closed form may climb for so many even shares of the time that closed forms have.
SHARES = 2.0
#: Shown beside every result, whatever was chosen.
BASELINES = ("nothing", "centring", "ridge", "procrustes", "cca")


@dataclass(frozen=True)
class Choice:
    """A method with its fields and hub, and the trials it won against.

    Parameters
    ----------
    method : a binder's name in the catalogue.
    binder : the binder itself where it was given and is not in the catalogue.
    skipped : methods that could not be fed, and why.
    """

    method: str
    fields: Mapping[str, Any]
    hub: str
    trials: tuple[Trial, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)
    binder: Any = None

    @classmethod
    def of(cls, method: Any, hub: str) -> "Choice":
        """The choice a user made by naming a method or giving a binder."""
        if isinstance(method, str):
            return cls(method, dict(catalogue.find("binder", method).settings), hub)
        rows = [r for r in catalogue.of_kind("binder").values() if r.load() is type(method)]
        known = [r for r in rows if all(getattr(method, k) == v for k, v in r.settings.items())]
        if known:
            # Of rows that share an engine, the one that says most of these fields.
            row = max(known, key=lambda r: len(r.settings))
            return cls(row.name, asdict(method), hub)
        return cls(type(method).__name__, {}, hub, binder=method)

    def make(self) -> Any:
        """The binder, ready to fit."""
        if self.binder is not None:
            return self.binder
        return catalogue.find("binder", self.method).make(self.fields)

    def best_of(self) -> dict[str, Trial]:
        """The best trial of each method among those on most folds, best method first."""
        best: dict[str, Trial] = {}
        for trial in sorted(self.trials, key=lambda t: (-len(t.scores), -t.mean)):
            best.setdefault(trial.method, trial)
        return best

    def to_json(self) -> dict[str, Any]:
        """The choice and its trials as JSON-able fields."""
        return {
            "method": self.method,
            "fields": dict(self.fields),
            "hub": self.hub,
            "trials": [asdict(trial) for trial in self.trials],
            "skipped": dict(self.skipped),
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "Choice":
        """Read back what :meth:`to_json` wrote."""
        trials = tuple(Trial(**{**t, "scores": tuple(t["scores"])}) for t in raw["trials"])
        return cls(raw["method"], raw["fields"], raw["hub"], trials, raw["skipped"])


def by_validation(
    spaces: Mapping[str, Space],
    pairs: Pairs,
    *,
    hubs: Sequence[str],
    seed: int = 0,
    methods: Sequence[str] | None = QUICK,
    budget: float | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> Choice:
    """Pick the binder, its fields and its hub by held-out folds of the training pairs.

    Parameters
    ----------
    hubs, methods, budget, report : as :func:`on_folds` has them.

    Raises
    ------
    ConjoinError : no method can be fed with these data.
    """
    folds = Folds(spaces, pairs, seed)
    return on_folds(folds, hubs=hubs, seed=seed, methods=methods, budget=budget, report=report)


def on_folds(
    folds: Folds,
    *,
    hubs: Sequence[str],
    seed: int = 0,
    methods: Sequence[str] | None = QUICK,
    budget: float | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> Choice:
    """Pick the binder, its fields and its hub on folds that the caller keeps.

    Closed forms climb one hyper-parameter at a time from their defaults, none for longer than
    :data:`SHARES` even shares of their time; trained ones race at their defaults, and those that
    keep up with the best closed form are scored on every fold. Between methods whose folds do not
    tell them apart (paired difference below its standard error) the cheaper class is taken.

    Parameters
    ----------
    folds : they also remember the trained fits, for who asks the winners more.
    hubs : modalities that could be the hub; directed methods are tried with each of two, and
        with the first of more.
    methods : names to choose among; ``None`` for every binder of the catalogue.
    budget : seconds after which nothing new is started; what was not tried is named.

    Raises
    ------
    ConjoinError : no method can be fed with these data.
    """
    clock = Clock(budget)
    skipped: dict[str, str] = {}
    trials: list[Trial] = []
    rows = feedable(folds.spaces, methods, skipped, len(folds.pairs))
    shared = budget is not None and budget >= LONG and rows and rows[-1].cost == "trained"
    closing = Clock(budget / 2) if budget is not None and shared else clock
    closed = [r for r in rows if r.cost != "trained"]
    for row in closed:
        if trials and not closing.allows():
            skipped[row.name] = "time ran out"
            continue
        report(row.name)
        try:
            sweep = Sweep(row, folds, seed, closing.share(SHARES / len(closed)))
            trials.extend(_climbed(sweep, hubs))
            if sweep.cut:
                skipped[row.name] = "time ran out on its climb"
        except ConjoinError as error:
            skipped[row.name] = str(error)
    trained = {r.name: Sweep(r, folds, seed, clock) for r in rows if r.cost == "trained"}
    trials.extend(_raced(trained, hubs[0], trials, clock, skipped, report))
    if not trials:
        raise ConjoinError("method", f"none can be fed: {skipped}", "name one, or give more pairs")
    chosen = _prefer_cheap(trials)
    return Choice(chosen.method, chosen.fields, chosen.hub, tuple(trials), skipped)


def beside_baselines(
    choice: Choice, spaces: Mapping[str, Space], pairs: Pairs, *, seed: int = 0
) -> Choice:
    """A choice somebody else made, with its own trial and those of the simple baselines.

    Each runs once, at its defaults, on every fold; what cannot be fitted is skipped by name.
    """
    folds = Folds(spaces, pairs, seed)
    wanted = {name: dict(catalogue.find("binder", name).settings) for name in BASELINES}
    if choice.binder is None:
        wanted[choice.method] = dict(choice.fields)
    trials, skipped = [], dict(choice.skipped)
    for name, fields in wanted.items():
        try:
            sweep = Sweep(catalogue.find("binder", name), folds, seed)
            # Without the clock: a method that was named gives the same bytes every time.
            trials.append(replace(sweep.trial(fields, choice.hub), seconds=0.0))
        except ConjoinError as error:
            skipped[name] = str(error)
    return replace(choice, trials=tuple(trials), skipped=skipped)


def feedable(
    spaces: Mapping[str, Space],
    methods: Sequence[str] | None,
    skipped: dict[str, str],
    pairs: int,
) -> list[Row]:
    """The binders these data can feed, cheapest class first; the others go to ``skipped``."""
    found = []
    for row in catalogue.of_kind("binder").values():
        if methods is not None and row.name not in methods:
            continue
        why = cannot_feed(row, spaces)
        if row.cost == "trained" and pairs < FEWEST_TRAINED:
            why = f"needs {FEWEST_TRAINED} pairs or more"
        if why:
            skipped[row.name] = why
        else:
            found.append(row)
    return sorted(found, key=lambda r: (catalogue.COSTS.index(r.cost), r.name not in QUICK))


def cannot_feed(row: Row, spaces: Mapping[str, Space]) -> str:
    """Why these data cannot feed a method; empty when they can."""
    if "tokens" in row.needs and not any(isinstance(s.vectors, Tokens) for s in spaces.values()):
        return "needs token sets"
    missing = row.needs - {"pairs", "tokens", "kway" if len(spaces) > 2 else "pairs"}
    return f"needs {', '.join(sorted(missing))}" if missing else ""


def _climbed(sweep: Sweep, hubs: Sequence[str]) -> list[Trial]:
    # Of two views either may be the hub at little cost; of more, each hub means new moments of all.
    for hub in hubs if _directed(sweep.row) and len(hubs) <= 2 else hubs[:1]:
        # What found no time to climb from one hub would only cost the time of the next method.
        if not sweep.cut:
            sweep.descend(hub)
    return sweep.trials()


def _directed(row: Row) -> bool:
    return bool(getattr(row.load(), "directed", False))


def _raced(
    sweeps: Mapping[str, Sweep],
    hub: str,
    before: Sequence[Trial],
    clock: Clock,
    skipped: dict[str, str],
    report: Callable[[str], None],
) -> tuple[Trial, ...]:
    """Trained methods against the best closed form; one that cannot run leaves the race."""
    able = {}
    for name, sweep in sweeps.items():
        if not clock.allows():
            skipped[name] = "time ran out"
            continue
        report(name)
        try:
            sweep.row.load()
            able[name] = sweep
        except ImportError:
            skipped[name] = f"needs conjoin[{sweep.row.extra}]"
    if not able:
        return ()
    full = [t for t in before if len(t.scores) == len(next(iter(able.values())).folds.numbers)]
    done = race(able, hub, max((t.scores[0] for t in full), default=0.0), clock)
    skipped |= done.unfinished
    return done.trials


def _prefer_cheap(trials: Sequence[Trial]) -> Trial:
    """The best of the cheapest cost class that the folds cannot tell from the best of all."""
    complete = max(len(trial.scores) for trial in trials)
    finalists = [trial for trial in trials if len(trial.scores) == complete]
    best = max(finalists, key=lambda t: t.mean)
    for cost in catalogue.COSTS:
        peers = [t for t in finalists if catalogue.find("binder", t.method).cost == cost]
        if not peers:
            continue
        peer = max(peers, key=lambda t: t.mean)
        gap = np.array(best.scores) - np.array(peer.scores)
        error = gap.std(ddof=1) / np.sqrt(len(gap)) if len(gap) > 1 else 0.0
        if gap.mean() <= error:
            return peer
    return best
