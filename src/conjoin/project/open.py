"""A workspace in Python: what the command line does, as calls that return values."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conjoin.display import Tabular
from conjoin.project.workspace import Workspace

if TYPE_CHECKING:
    from conjoin.encoders.run import EmbedResult
    from conjoin.evaluation.compare import Comparison
    from conjoin.evaluation.placing import Placed
    from conjoin.project.evaluation.measure import Measured
    from conjoin.project.fit.stored import Fit
    from conjoin.project.report.build import Reported
    from conjoin.project.search.session import SearchSession
    from conjoin.project.search.sync import Synced
    from conjoin.project.upgrade.lifecycle import Applied
    from conjoin.quality.finding import Report
    from conjoin.retrieval.evaluation import Evaluation
    from conjoin.retrieval.hits import Hits
    from conjoin.upgrade.plan import Curve

Note = Callable[[str], None]


@dataclass(frozen=True, repr=False)
class Embedded(Tabular):
    """What embedding did, by modality."""

    results: Mapping[str, "EmbedResult"]

    def table(self) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        """A row per modality: vectors made, kept and dropped, and cells that failed."""
        return ("modality", "made", "kept", "dropped", "failed"), [
            (name, one.made, one.kept, one.dropped, len(one.failed))
            for name, one in self.results.items()
        ]


def open(folder: Path | str = ".") -> "Project":
    """Open a workspace: the folder that ``conjoin init`` made.

    Raises
    ------
    ConjoinError : it holds no ``conjoin.toml``, or one that cannot be read.
    """
    return Project(Path(folder))


@dataclass(frozen=True, repr=False)
class Project(Tabular):
    """A workspace, with a method for each command that returns a value and prints nothing.

    The table and the encoders are read once; :meth:`reload` reads them again. What is fitted is
    looked up at each call, so a fit made elsewhere is seen.

    Parameters
    ----------
    folder : that holds ``conjoin.toml``.

    Examples
    --------
    >>> def first_hit(folder, words):
    ...     project = open(folder)
    ...     project.embed()
    ...     project.fit()
    ...     return project.search(words, k=1).best[0].id
    """

    folder: Path
    _held: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.reload()

    def reload(self) -> None:
        """Read the configuration and the table again."""
        self._held.clear()
        self._held["workspace"] = Workspace(self.folder)

    @property
    def workspace(self) -> Workspace:
        """What all commands work on."""
        found: Workspace = self._held["workspace"]
        return found

    def table(self) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        """A row per modality: its encoder and how many vectors are stored."""
        stores = {one.name: self.workspace.stored(one.name) for one in self.workspace.modalities}
        return ("modality", "encoder", "stored"), [
            (one.name, one.uri, 0 if (store := stores[one.name]) is None else len(store.live()))
            for one in self.workspace.modalities
        ]

    def embed(self, *modalities: str, strict: bool = False, retry: bool = False) -> Embedded:
        """Bring stored vectors up to date with the table; all modalities where none is named.

        Raises
        ------
        ConjoinError : a modality is unknown, or ``strict`` and a cell cannot be read.
        """
        ws = self.workspace
        names = list(modalities) or [one.name for one in ws.modalities]
        ws.check(names)
        return Embedded({name: ws.embed(name, strict=strict, retry=retry) for name in names})

    def fit(
        self,
        *,
        method: str | None = None,
        hub: str | None = None,
        budget: float | None = None,
        fresh: bool = False,
        seed: int = 0,
        note: Note = lambda _: None,
    ) -> "Fit":
        """Fit, calibrate, index and publish, as ``conjoin fit``.

        Parameters
        ----------
        method : an aligner's name; folds of the training pairs choose when not given.
        budget : units of work, each about a second of one quiet core.
        fresh : choose as if nothing was in use.

        Raises
        ------
        ConjoinError : a modality is not embedded or has too few pairs, or the method is unknown.
        """
        from conjoin.project.fit import joint, pipeline

        ws = self.workspace
        if joint.unpaired(ws, ws.spaces(), method) and (made := joint.publish(ws, seed=seed)):
            return made[0]
        return pipeline.fit(
            ws, method=method, hub=hub, budget=budget, fresh=fresh, seed=seed, note=note
        )

    def session(self) -> "SearchSession":
        """The fit and index in use, opened once until another is published."""
        from conjoin.project.search.session import SearchSession

        current = self.workspace.current
        if self._held.get("current") != current:
            self._held.update(session=SearchSession.open(self.workspace), current=current)
        found: SearchSession = self._held["session"]
        return found

    def search(
        self,
        text: str | None = None,
        *,
        file: Path | str | None = None,
        item: str | None = None,
        source: str | None = None,
        into: Sequence[str] = (),
        k: int = 10,
        where: str | None = None,
    ) -> "Hits":
        """The k best items for words, for a file, or for an item's own cell.

        Parameters
        ----------
        source : the modality that reads the query; found when not given.
        into : modalities to search; all where empty.
        where : a filter such as ``"year >= 2010 and kind = 'cat'"``.

        Raises
        ------
        ConjoinError : nothing is fitted, or the query cannot be read.
        """
        from conjoin.project.search.queries import Query

        query = Query(text, None if file is None else Path(file), item, source)
        return self.session().search(query, into=into, k=k, where=where)

    def evaluate(self, *, seed: int = 0, note: Note = lambda _: None) -> "Evaluation":
        """Retrieval of held-out items in every direction, beside the simple baselines."""
        from conjoin.project.evaluation.evaluate import evaluate_workspace

        return evaluate_workspace(self.workspace, seed=seed, note=note)

    def compare(
        self, *, families: Sequence[str] = (), budget: float | None = None, seed: int = 0,
        note: Note = lambda _: None,
    ) -> "Comparison":  # fmt: skip
        """Published methods on these pairs; ``fit`` uses what is chosen."""
        from conjoin.project.evaluation.comparison import compare_workspace

        found, _ = compare_workspace(
            self.workspace, families=families, budget=budget, seed=seed, note=note
        )
        return found

    def measure(self, *names: str, seed: int = 0) -> "Measured":
        """Geometry and agreement of the modalities, before and after the fit."""
        from conjoin.project.evaluation.measure import measure_workspace

        return measure_workspace(self.workspace, names=names, seed=seed)

    def doctor(
        self, *, kinds: Sequence[str] = (), labels: Sequence[str] = (), seed: int = 0
    ) -> "Report":
        """Wrong pairs, duplicates, leaks and what is missing."""
        from conjoin.project.quality.examine import examine_workspace

        return examine_workspace(self.workspace, kinds=kinds, labels=labels, seed=seed)

    def sync(self, *, note: Note = lambda _: None) -> "Synced":
        """Embed what is new or changed, and put the index where the table is."""
        from conjoin.project.search.sync import sync

        self.reload()
        return sync(self.workspace, note=note)

    def plan_upgrade(
        self, modality: str, encoder: str, *, sample: int = 1000, seed: int = 0
    ) -> "Curve":
        """What a new encoder would gain, and what each way of going over to it would cost."""
        from conjoin.project.upgrade import lifecycle

        wanted = lifecycle.Wanted(modality, encoder, sample=sample, seed=seed)
        return lifecycle.plan(self.workspace, wanted)

    def apply_upgrade(self, arm: str | None = None) -> "Applied":
        """Apply an upgrade that was planned: the recommended arm when none is named."""
        from conjoin.project.upgrade import lifecycle, state

        chosen = lifecycle.chosen_arm(state.read_plan(self.workspace), arm)
        done = lifecycle.apply(self.workspace, chosen)
        self.reload()
        return done

    def rollback_upgrade(self) -> list[str]:
        """Put back what was in use before the last upgrade; the names of what was written."""
        from conjoin.project.upgrade import lifecycle

        written = lifecycle.rollback(self.workspace)
        self.reload()
        return written

    def placed(self) -> "Placed":
        """The fit in use as a function from cells to vectors, such as benchmarks ask.

        ``conjoin.evaluation.mteb.encoder`` makes a model of MTEB of it.
        """
        from conjoin.project.evaluation.benchmark import placed

        return placed(self.workspace)

    def report(self, out: Path | str, *, label: str | None = None, seed: int = 0) -> "Reported":
        """Write the report, one page that stands alone."""
        from conjoin.project.report.build import write_report

        return write_report(self.workspace, Path(out), label=label, seed=seed)
