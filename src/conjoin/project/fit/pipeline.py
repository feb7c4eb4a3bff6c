"""What each verb does: from a workspace to a value; printing is the command line's."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from conjoin.alignment.binding import Binding, pairs_digest
from conjoin.alignment.choice import Choice
from conjoin.catalogue import find
from conjoin.errors import ConjoinError, StateError
from conjoin.execution import costs
from conjoin.execution.budget import FIT_BUDGET, Work, WorkProgress
from conjoin.project.evaluation.comparison import compared
from conjoin.project.fit import joint
from conjoin.project.fit.card import write_card
from conjoin.project.fit.crops import cuttable, pieces_of
from conjoin.project.fit.extend import extend, joined_parts
from conjoin.project.fit.incumbent import Reach, Standing, drift, in_use, reach_of, standing
from conjoin.project.fit.relevance import grades_of, named
from conjoin.project.fit.stored import Fit, current_fit, open_fit, write_facts
from conjoin.project.search.index import build_index, index_of, open_index, problem_of
from conjoin.project.workspace import Workspace
from conjoin.retrieval.calibration.cross_fit import Rehearsal
from conjoin.retrieval.calibration.policy import Rules
from conjoin.retrieval.index.index import Index
from conjoin.selection.choose import beside_baselines, on_folds
from conjoin.selection.folds import Folds
from conjoin.selection.frozen import for_frozen
from conjoin.spaces import Pairs, Space
from conjoin.storage.digest import digest
from conjoin.storage.renamed import hashed

Note = Callable[[str], None]
#: Steps a rehearsal tells of, a couple of modalities; only the progress shown hangs on it.
STEPS = 6


def fit(
    ws: Workspace,
    *,
    method: str | None = None,
    hub: str | None = None,
    seed: int = 0,
    budget: float | None = None,
    note: Note = lambda _: None,
    fixes: bool = False,
    fresh: bool = False,
) -> Fit:
    """Fit a binding on the training pairs, choose corrections, build the index, publish both.

    The same inputs give the same folder: a repeated fit only opens it, unless a larger budget
    would now reach further. Method ``auto`` takes what ``compare`` chose on these very pairs;
    without one it chooses on folds of them, and keeps the method and the corrections in use where
    a newcomer is not better by its interval.

    Parameters
    ----------
    budget : units of work that all of it may take (:mod:`conjoin.execution.budget`), ``FIT_BUDGET``
        when not given. Closed forms of the shortlist and corrections always end.
    fixes : follow the decisions about the doctor's findings.
    fresh : choose as if nothing was in use.

    Raises
    ------
    ConjoinError : a modality is not embedded or has too few pairs, or the method is unknown.
    """
    ws.fixes = fixes
    ws.sweep()
    budget = budget or FIT_BUDGET
    spaces = ws.spaces()
    alone = _as_it_is(ws, spaces, method, note, seed)
    if alone is not None:
        return alone
    train, _ = ws.pairs(spaces)
    kept = joint.group_of(ws) if (method or ws.config.fit.method) == "auto" else None
    if kept is not None and kept.names and kept.others:
        return _beside_joint(ws, kept, (spaces, train), seed, fixes, note)
    job = _Job.of(ws, spaces, train, (method, hub), seed)
    before = in_use(ws)
    reach = None if before is None else reach_of(before)
    same = reach is not None and reach.serves(job.facts, budget) and not (fresh and reach.held)
    if before is not None and same:
        return _published(ws, before, spaces, train, fixes)
    stands = standing(ws, spaces, fresh=fresh) if job.free else None
    key = job.facts
    if job.free:
        key = digest([key, budget, None if stands is None else stands.to_json()])
    folder = ws.state / "maps" / key
    made = not (folder / "fit.json").exists()
    if made:
        _make(ws, folder, job, stands, (spaces, train), budget, note)
    old = None if not made or before is None else index_of(ws, before)
    done = _published(ws, open_fit(folder), spaces, train, fixes)
    moved = None
    if old is not None and before is not None:
        moved = drift((before, old), (done, open_index(ws)), spaces)
    return replace(done, fresh=made, drift=moved, repaired=None if made else done.repaired)


@dataclass(frozen=True, eq=False)
class _Job:
    """What a fit is made from.

    Parameters
    ----------
    facts : hash of all that decides it, the budget and what is in use aside.
    compared : what a comparison on these very pairs chose.
    among : methods the configuration lets auto choose among.
    """

    facts: str
    method: str
    hub: str | None
    fields: Mapping[str, Any]
    seed: int
    compared: Choice | None
    among: Sequence[str] | None

    @classmethod
    def of(
        cls, ws: Workspace, spaces: Mapping[str, Space], train: Pairs,
        named: tuple[str | None, str | None], seed: int,
    ) -> "_Job":  # fmt: skip
        """Read the configuration, and what was compared before."""
        method, hub = named[0] or ws.config.fit.method, named[1] or ws.config.fit.hub
        fields = dict(ws.config.fit.fields)
        if method != "auto":
            find("aligner", method)
        elif fields:
            raise ConjoinError(
                "[fit] fields", "are given without a method", 'name the method: method = "ridge"'
            )
        before = compared(ws, spaces, train) if method == "auto" else None
        before = before if before and hub in (None, before.hub) else None
        among = _among(ws) if method == "auto" else None
        rows = [pairs_digest(spaces, train), _rows(spaces)]
        facts: list[Any] = [hashed(method), hub, seed, fields, *rows]
        facts += [[hashed(name) for name in among]] if among else []
        facts += [*_cut(ws, train), *_graded(ws)]
        key = digest([*facts, [t.facts() for t in before.trials]] if before else facts)
        return cls(key, method, hub, fields, seed, before, among)

    @property
    def free(self) -> bool:
        """Whether folds of the pairs choose the method."""
        return self.method == "auto" and self.compared is None


def _make(
    ws: Workspace,
    folder: Path,
    job: _Job,
    stands: Standing | None,
    data: tuple[Mapping[str, Space], Pairs],
    budget: float,
    note: Note,
) -> None:
    """Choose, fit and rehearse, and write the fit into its folder."""
    (spaces, train), work = data, Work(budget)
    told = WorkProgress(note, lambda: work.spent, budget)
    chosen = find("aligner", job.method).make(job.fields) if job.fields else job.method
    chooser = _Chooser(job, stands, work, told)
    binding = Binding.fit(
        spaces, train, method=chosen, hub=job.hub, seed=job.seed, chooser=chooser
    )  # fmt: skip
    told.budget = chooser.until or budget
    binding = _beside(binding, spaces, train, job.seed, told)
    steps = STEPS * len(train.names) ** 2

    def report(text: str) -> None:
        told(text)
        work.spend(min(chooser.rest / steps, max(0.0, chooser.until - work.spent)))

    rehearsal = Rehearsal(
        binding, spaces, train, seed=job.seed, pieces=_pieces(ws, spaces, train),
        folds=chooser.folds, report=report,
    )  # fmt: skip
    rules = Rules.decided(
        rehearsal, {} if stands is None else stands.correctors, report, grades_of(ws)
    )
    reach = Reach(
        job.facts, job.free, budget, round(chooser.until, 3), binding.choice.short,
        stands is not None,
    )  # fmt: skip
    binding.save(folder)
    write_card(ws, folder, binding, rules, spaces, train)
    rows = {name: len(spaces[name]) for name in binding.maps}
    _write_fit(folder, rules, reach, job.seed, joined_parts(ws, binding.maps), rows)


def _published(
    ws: Workspace, made: Fit, spaces: Mapping[str, Space], train: Pairs, fixes: bool
) -> Fit:
    """A fit with its index, made the one in use; an index that is spoilt is built again."""
    key = made.folder.name
    counts = {name: len(spaces[name]) for name in made.binding.maps}
    problem = problem_of(ws.state / "index" / key, counts, made.binding.frame.id)
    if problem:
        build_index(ws, made, spaces, train)
    entry: dict[str, Any] = {"maps": f"maps/{key}", "index": f"index/{key}"}
    ws.publish({**entry, "fixes": True} if fixes else entry)
    return replace(made, repaired=problem)


def _as_it_is(
    ws: Workspace, spaces: Mapping[str, Space], method: str | None, note: Note, seed: int
) -> Fit | None:
    """A joint encoder's own frame, where there are too few pairs to fit anything to."""
    if not joint.unpaired(ws, spaces, method):
        return None
    note("nothing: there are no pairs, and one encoder's modalities need none")
    kept = {name: spaces[name] for name in joint.group_of(ws).names}
    return joint.put(ws, Binding.as_it_is(kept), kept, seed=seed)[0]


def _beside_joint(
    ws: Workspace,
    group: joint.Group,
    data: tuple[Mapping[str, Space], Pairs],
    seed: int,
    fixes: bool,
    note: Note,
) -> Fit:
    """A joint encoder's own frame, and modalities of other encoders bound to it by pairs."""
    spaces, train = data
    facts = ["beside", group.names, seed, pairs_digest(spaces, train), _rows(spaces)]
    key = digest([*facts, *_cut(ws, train)])
    folder = ws.state / "maps" / key
    fresh = not (folder / "fit.json").exists()
    if fresh:
        note("the joint encoder's frame as it is; " + ", ".join(group.others) + " bound to it")
        binding = joint.with_others(group, spaces, train, seed=seed)
        binding = replace(
            binding, choice=beside_baselines(binding.choice, spaces, train, seed=seed)
        )
        rules = Rules.rehearse(binding, spaces, train, seed=seed, pieces=_pieces(ws, spaces, train))
        binding.save(folder)
        write_card(ws, folder, binding, rules, spaces, train)
        rows = {name: len(space) for name, space in spaces.items()}
        _write_fit(folder, rules, Reach(key), seed, joined_parts(ws, binding.maps), rows)
    return replace(_published(ws, open_fit(folder), spaces, train, fixes), fresh=fresh)


def _cut(ws: Workspace, pairs: Pairs) -> list[list[str]]:
    """Which modalities are told of by pieces; a fit that knew of none is another."""
    names = cuttable(ws, list(pairs.names))
    return [["pieces", *names]] if names else []


def _graded(ws: Workspace) -> list[Any]:
    """What says which items are relevant; a fit told otherwise is another."""
    columns = named(ws)
    values = {name: list(map(str, ws.items.column(name))) for name in columns.values()}
    return [["relevance", columns, digest(values)]] if columns else []


def _pieces(ws: Workspace, spaces: Mapping[str, Space], pairs: Pairs) -> dict[str, Space]:
    """Pieces of cells that pairs join, by which queries into their own modality are rehearsed."""
    rows = {name: np.unique(pairs.column(name)) for name in pairs.names}
    return pieces_of(ws, spaces, {name: own[own >= 0] for name, own in rows.items()}, "train")


def _among(ws: Workspace) -> list[str] | None:
    """What auto chooses among, where the configuration says; each is an aligner."""
    for name in ws.config.fit.among or ():
        find("aligner", name)
    return ws.config.fit.among


def _beside(
    binding: Binding, spaces: Mapping[str, Space], train: Pairs, seed: int, note: Note
) -> Binding:
    """Where nothing was compared: the same binding, measured beside the baselines."""
    if binding.choice.trials:
        return binding
    note("baselines")
    return replace(binding, choice=beside_baselines(binding.choice, spaces, train, seed=seed))


class _Chooser:
    """What decides ``auto``: a comparison made before, else folds of the training pairs.

    Parameters
    ----------
    folds : of the choice, kept for the rehearsal; what was fitted there is not fitted again.
    rest, until : units kept free for what follows the choice, and all units at its end.
    """

    def __init__(self, job: _Job, stands: Standing | None, work: Work, told: WorkProgress):
        self.job, self.stands, self.work, self.told = job, stands, work, told
        self.folds: Folds | None = None
        self.rest = self.until = 0.0

    def __call__(
        self, spaces: Mapping[str, Space], pairs: Pairs, *, hubs: Sequence[str], seed: int
    ) -> Choice:
        """The choice."""
        if self.job.compared is not None:
            return self.job.compared
        self.folds = Folds(spaces, pairs, seed)
        self.rest = costs.of_rest(self.folds.shape(hubs[0]), len(self.folds.numbers))
        found = on_folds(
            self.folds, hubs=hubs, methods=self.job.among,
            budget=Work(max(0.0, self.work.left - self.rest), self.work), report=self.told,
            incumbent=None if self.stands is None else self.stands.choice,
        )  # fmt: skip
        self.until = self.work.spent + self.rest
        return found


def _rows(spaces: Mapping[str, Space]) -> dict[str, list[str]]:
    """What each space was made from: its frame, and which cells its rows show."""
    return {
        name: [space.frame.id, digest([space.ids.tolist(), space.parts.tolist(),
                                       space.content.tolist()])]
        for name, space in spaces.items()
    }  # fmt: skip


def _write_fit(
    folder: Path, rules: Rules, reach: Reach, seed: int, parts: Mapping[str, str],
    rows: Mapping[str, int],
) -> None:  # fmt: skip
    listed = [[*edge, rule.name] for edge, rule in sorted(rules.correctors.items())]
    facts = {
        "corrections": listed, "seed": seed, "rules": rules.to_json(), "reach": reach.to_json(),
    }  # fmt: skip
    write_facts(folder, {**facts, "parts": dict(parts)} if parts else facts, rows)


def add(ws: Workspace, names: Sequence[str]) -> Fit:
    """Fit maps for modalities that the binding lacks, to its frozen frame.

    Stored vectors of the others stay byte for byte. Stopped anywhere, it may be done again.

    Raises
    ------
    ConjoinError : a modality is bound already, or none is left to add.
    """
    ws.sweep()
    made = current_fit(ws)
    new = list(names) or [m.name for m in ws.modalities if m.name not in made.binding.maps]
    for name in new:
        ws.modality(name)
        if name in made.binding.maps:
            raise ConjoinError("modality", f"{name!r} is bound already", "name a new one")
    unfinished = [n for n in made.binding.maps if n not in _indexed(ws)]
    if unfinished and not new:  # an earlier conjoin, stopped between the map and the index
        spaces = ws.spaces(list(made.binding.maps))
        build_index(ws, made, spaces, ws.pairs(spaces)[0])
        return made
    if not new:
        raise ConjoinError("add", "every modality is bound", "add one to conjoin.toml first")
    spaces = ws.spaces([*made.binding.maps, *new])
    train, _ = ws.pairs(spaces)
    return extend(ws, made, made.binding.extend(spaces, train, chooser=for_frozen), spaces, train)


def _indexed(ws: Workspace) -> Collection[str]:
    try:
        return Index.open(ws.state / ws.current["index"]).spaces.keys()
    except StateError:
        return ()
