"""Choosing a method and its hyper-parameters on held-out folds of the training pairs."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from conjoin import catalogue
from conjoin.alignment.choice import Choice, Kept, Trial
from conjoin.catalogue import Row, simple
from conjoin.errors import ConjoinError, nearest
from conjoin.execution.budget import SHORT, Work
from conjoin.selection.folds import Folds
from conjoin.selection.trials import Sweep, race
from conjoin.spaces import Pairs, Space, Tokens
from conjoin.spaces.given import budget_of, instance_of, mapping_of, names_of, whole_number
from conjoin.stats.bootstrap import paired_difference

#: Fewer training pairs than this teach a trained method nothing.
FEWEST_TRAINED = 50
#: Of a budget this large or larger, in units, half is kept for trained methods; a smaller one
#: would not see a single of them through, and goes to closed forms first.
LONG = 120.0
#: A closed form may climb for so many even shares of the budget that closed forms have.
SHARES = 2.0


def by_validation(
    spaces: Mapping[str, Space],
    pairs: Pairs,
    *,
    hubs: Sequence[str],
    seed: int = 0,
    methods: Sequence[str] | None = None,
    budget: float | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> Choice:
    """Pick the aligner, its fields and its hub by held-out folds of the training pairs.

    Parameters
    ----------
    hubs, methods, budget, report : as :func:`on_folds` has them.

    Raises
    ------
    ConjoinError : no method can be fed with these data.
    """
    given = mapping_of(spaces, "spaces", "give spaces by name")
    for name, space in given.items():
        if not isinstance(space, Space | Tokens):
            raise ConjoinError(f"space {name}", f"is a {type(space).__name__}", "give a Space")
    instance_of(pairs, Pairs, "pairs", "give Pairs.of(...) or Pairs.by_id(spaces)")
    lost = [name for name in pairs.names if name not in given]
    if lost:
        raise ConjoinError("spaces", f"pairs name {lost[0]!r}", nearest(lost[0], given))
    asked = hubs_of(hubs, pairs.names)
    known = None if methods is None else names_of(methods, "methods")
    for name in known or ():
        catalogue.find("aligner", name)
    folds = Folds(given, pairs, whole_number(seed, "seed"))
    return on_folds(folds, hubs=asked, methods=known, budget=budget_of(budget), report=report)


def hubs_of(hubs: Any, known: Sequence[str]) -> list[str]:
    """Modalities that could be the hub, of those that are paired.

    Raises
    ------
    ConjoinError : none is given, or one is not paired.
    """
    asked = names_of(hubs, "hubs")
    if not asked:
        raise ConjoinError("hubs", "none given", f"give one or more of {', '.join(known)}")
    for name in asked:
        if name not in known:
            raise ConjoinError("hubs", f"{name!r} is not paired", nearest(name, known))
    return asked


def on_folds(
    folds: Folds,
    *,
    hubs: Sequence[str],
    methods: Sequence[str] | None = None,
    budget: Work | float | None = None,
    incumbent: Choice | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> Choice:
    """Pick the aligner, its fields and its hub on folds that the caller keeps.

    Closed forms climb one hyper-parameter at a time from their defaults: those of the shortlist
    to their end, others for :data:`SHARES` even shares of the budget at most. Trained ones race
    at their defaults, and those that keep up with the best closed form are scored on every fold.
    Between methods whose folds do not tell them apart (paired difference below its standard
    error) the cheaper class is taken. What was in use before stays, unless the interval of the
    newcomer's gain over it lies above 0: choosing among many flatters, and a choice that changes
    with a handful of rows changes every score with it.

    Parameters
    ----------
    folds : they also remember the trained fits, for who asks the winners more.
    hubs : modalities that could be the hub; directed methods are tried with each of two, and
        with the first of more.
    methods : names to choose among; the shortlist of the catalogue when not given.
    budget : units of work (:mod:`conjoin.execution.budget`) after which nothing new is started, or
        the work to count in; what was cut short is named.
    incumbent : what is in use, with its settings and hub.

    Raises
    ------
    ConjoinError : no method can be fed with these data.
    """
    work, seed = budget if isinstance(budget, Work) else Work(budget), folds.seed
    skipped: dict[str, str] = {}
    trials = _incumbent(folds, incumbent, work, report)
    rows = feedable(folds.spaces, methods, skipped, len(folds.pairs))
    trials += _closed(folds, rows, hubs, work, skipped, report)
    trained = {r.name: Sweep(r, folds, seed, work) for r in rows if r.cost == "trained"}
    trials += _raced(trained, hubs[0], trials, work, skipped, report)
    if not trials:
        raise ConjoinError("method", f"none can be fed: {skipped}", "name one, or give more pairs")
    best = _prefer_cheap(trials)
    found = Choice(best.method, best.fields, best.hub)
    kept = _contest(folds, found, incumbent, trials)
    if kept is not None and kept.stays:
        found = Choice(kept.method, kept.fields, kept.hub)
    return Choice(
        found.method, found.fields, found.hub, tuple(trials), skipped,
        units=round(work.spent, 3), kept=kept,
    )  # fmt: skip


def _closed(
    folds: Folds,
    rows: Sequence[Row],
    hubs: Sequence[str],
    work: Work,
    skipped: dict[str, str],
    report: Callable[[str], None],
) -> list[Trial]:
    """Climbs of the closed forms: of the shortlist's always, of others while the budget lasts."""
    shared = work.budget is not None and work.budget >= LONG and rows and rows[-1].cost == "trained"
    closing = work.share(0.5) if shared else work
    closed = [row for row in rows if row.cost != "trained"]
    trials: list[Trial] = []
    for row in closed:
        own = work.open() if row.shortlist else closing.share(SHARES / len(closed))
        sweep = Sweep(row, folds, folds.seed, own)
        first = sweep.units(dict(row.settings), hubs[0], len(folds.numbers))
        if trials and not (row.shortlist or closing.allows(first)):
            skipped[row.name] = SHORT
            continue
        report(row.name)
        try:
            trials.extend(_climbed(sweep, hubs))
            if sweep.cut:
                skipped[row.name] = f"{SHORT} on its climb"
        except ConjoinError as error:
            skipped[row.name] = str(error)
    return trials


def _incumbent(
    folds: Folds, incumbent: Choice | None, work: Work, report: Callable[[str], None]
) -> list[Trial]:
    """The trial of what is in use, on all folds; none where it cannot be fitted any more."""
    if incumbent is None:
        return []
    row = catalogue.of_kind("aligner").get(incumbent.method)
    if row is None or incumbent.hub not in folds.spaces or cannot_feed(row, folds.spaces):
        return []
    report(f"{incumbent.method}, which is in use")
    try:
        sweep = Sweep(row, folds, folds.seed, work)
        return [sweep.trial(dict(incumbent.fields), incumbent.hub)]
    except (ConjoinError, ImportError):
        return []


def _contest(
    folds: Folds, found: Choice, incumbent: Choice | None, trials: Sequence[Trial]
) -> Kept | None:
    """Whether what is in use stays: it does unless the newcomer's gain is clearly above 0."""
    if incumbent is None or not any(Choice.of_trial(trial).same(incumbent) for trial in trials):
        return None
    own = (incumbent.method, incumbent.fields, incumbent.hub)
    if found.same(incumbent):
        return Kept(*own, True, found.method, 0.0, 0.0, 0.0)
    newcomer, groups = _judged(folds, found)
    gain, low, high, _ = paired_difference(
        newcomer, _judged(folds, incumbent)[0], groups, seed=folds.seed
    )
    return Kept(*own, low <= 0, found.method, gain, low, high)


def _judged(folds: Folds, choice: Choice) -> tuple[np.ndarray, np.ndarray]:
    """Hits of every held-out query under a method fitted without its fold, and their groups."""
    sweep = Sweep(catalogue.find("aligner", choice.method), folds, folds.seed)
    parts = [folds.units(n, sweep.fit(choice.fields, n, choice.hub)) for n in folds.numbers]
    values, groups = zip(*parts, strict=True)
    return np.concatenate(values), np.concatenate(groups)


def beside_baselines(
    choice: Choice, spaces: Mapping[str, Space], pairs: Pairs, *, seed: int = 0
) -> Choice:
    """A choice somebody else made, with its own trial and those of the simple baselines.

    Each runs once, at its defaults, on every fold; what cannot be fitted is skipped by name.
    """
    folds = Folds(spaces, pairs, seed)
    wanted = {name: dict(catalogue.find("aligner", name).settings) for name in simple("aligner")}
    if choice.aligner is None:
        wanted[choice.method] = dict(choice.fields)
    trials, skipped = [], dict(choice.skipped)
    for name, fields in wanted.items():
        try:
            sweep = Sweep(catalogue.find("aligner", name), folds, seed)
            trials.append(sweep.trial(fields, choice.hub))
        except ConjoinError as error:
            skipped[name] = str(error)
    return dataclasses.replace(choice, trials=tuple(trials), skipped=skipped)


def feedable(
    spaces: Mapping[str, Space],
    methods: Sequence[str] | None,
    skipped: dict[str, str],
    pairs: int,
) -> list[Row]:
    """The aligners these data can feed, cheapest class first; the others go to ``skipped``."""
    found = []
    methods = catalogue.shortlist("aligner") if methods is None else methods
    for row in catalogue.of_kind("aligner").values():
        if row.name not in methods:
            continue
        why = cannot_feed(row, spaces)
        if row.cost == "trained" and pairs < FEWEST_TRAINED:
            why = f"needs {FEWEST_TRAINED} pairs or more"
        if why:
            skipped[row.name] = why
        else:
            found.append(row)
    return sorted(found, key=lambda r: (catalogue.COSTS.index(r.cost), not r.shortlist))


def cannot_feed(row: Row, spaces: Mapping[str, Space]) -> str:
    """Why these data cannot feed a method; empty when they can."""
    if "tokens" in row.needs and not any(isinstance(s.vectors, Tokens) for s in spaces.values()):
        return "needs token sets"
    missing = row.needs - {"pairs", "tokens", "kway" if len(spaces) > 2 else "pairs"}
    return f"needs {', '.join(sorted(missing))}" if missing else ""


def _climbed(sweep: Sweep, hubs: Sequence[str]) -> list[Trial]:
    # Of two views either may be the hub at little cost; of more, each hub means new moments of all.
    for hub in hubs if _directed(sweep.row) and len(hubs) <= 2 else hubs[:1]:
        # What found no budget to climb from one hub would only cost that of the next method.
        if not sweep.cut:
            sweep.descend(hub)
    return sweep.trials()


def _directed(row: Row) -> bool:
    return bool(getattr(row.load(), "directed", False))


def _raced(
    sweeps: Mapping[str, Sweep],
    hub: str,
    before: Sequence[Trial],
    work: Work,
    skipped: dict[str, str],
    report: Callable[[str], None],
) -> tuple[Trial, ...]:
    """Trained methods against the best closed form; one that cannot run leaves the race."""
    able = {}
    for name, sweep in sweeps.items():
        if not work.allows():
            skipped[name] = SHORT
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
    done = race(able, hub, max((t.scores[0] for t in full), default=0.0), work)
    skipped |= done.unfinished
    return done.trials


def _prefer_cheap(trials: Sequence[Trial]) -> Trial:
    """The best of the cheapest cost class that the folds cannot tell from the best of all."""
    complete = max(len(trial.scores) for trial in trials)
    finalists = [trial for trial in trials if len(trial.scores) == complete]
    best = max(finalists, key=lambda t: t.mean)
    for cost in catalogue.COSTS:
        peers = [t for t in finalists if catalogue.find("aligner", t.method).cost == cost]
        if not peers:
            continue
        peer = max(peers, key=lambda t: t.mean)
        gap = np.array(best.scores) - np.array(peer.scores)
        error = gap.std(ddof=1) / np.sqrt(len(gap)) if len(gap) > 1 else 0.0
        if gap.mean() <= error:
            return peer
    return best
