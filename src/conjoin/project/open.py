"""A workspace in Python: what the command line does, as calls that return values."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conjoin.display import Tabular
from conjoin.project.workspace import Workspace

if TYPE_CHECKING:
    from conjoin.answering.answer import Answer
    from conjoin.encoders.run import EmbedResult
    from conjoin.evaluation.compare import Comparison
    from conjoin.evaluation.learning_curve import Forecast
    from conjoin.evaluation.placing import Placed
    from conjoin.evaluation.published import Result
    from conjoin.project.evaluation.measure import Measured
    from conjoin.project.fit.negatives import Exported
    from conjoin.project.fit.stored import Fit
    from conjoin.project.fit.text_bridge import Bridged
    from conjoin.project.models.open import Models
    from conjoin.project.quality.robust import Robustness
    from conjoin.project.report.build import Reported
    from conjoin.project.search.session import SearchSession
    from conjoin.project.search.sync import Synced
    from conjoin.project.transfer.distill import MadeStudent
    from conjoin.project.transfer.fusion import MadeFusion
    from conjoin.project.transfer.heads import MadeHead
    from conjoin.project.upgrade.lifecycle import Applied
    from conjoin.quality.finding import Report
    from conjoin.retrieval.evaluation import Evaluation
    from conjoin.retrieval.hits import Hits
    from conjoin.retrieval.ranking.explain import Explained
    from conjoin.retrieval.ranking.hybrid import Fusion
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

    def add(self, *modalities: str) -> "Fit":
        """Embed and bind further modalities; the maps and vectors of others stay as they are.

        Parameters
        ----------
        modalities : those that are not bound yet; all such where none is named.

        Raises
        ------
        ConjoinError : nothing is fitted, or a modality shares no items with those that are bound.
        """
        from conjoin.project.fit import pipeline
        from conjoin.project.fit.stored import current_fit

        bound = current_fit(self.workspace).binding.maps
        new = list(modalities) or [
            one.name for one in self.workspace.modalities if one.name not in bound
        ]
        if new:
            self.embed(*new)
        return pipeline.add(self.workspace, new)

    def bridge(
        self, texts: Sequence[str], encoder: str, *, apply: bool = False, seed: int = 0
    ) -> "Bridged":
        """Bring another text encoder into a joint space by texts alone, as ``conjoin bridge``.

        Parameters
        ----------
        encoder : URI of the other encoder.
        apply : read queries by it from now on.

        Raises
        ------
        ConjoinError : the encoder reads no text, or nothing in use is a joint encoder's frame.
        """
        from conjoin.project.fit.text_bridge import bridge_texts

        return bridge_texts(self.workspace, texts, encoder, seed=seed, apply=apply)

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

    def compose(
        self, text: str | None = None, *, files: Sequence[Path | str] = (),
        items: Sequence[str] = (), without: Sequence[str] = (), into: Sequence[str] = (),
        k: int = 10, method: str | None = None,
    ) -> "Hits":  # fmt: skip
        """The k best items for several parts at once: their sum, less half of what is unwanted.

        Parameters
        ----------
        text, files, items : what is wanted: words, files, and items' own cells.
        without : words that are not wanted.
        method : a row of kind ``query-composition``; ``sum`` when not given.

        Raises
        ------
        ConjoinError : nothing is wanted, or a part cannot be read.
        """
        from conjoin.project.search.ranking import Ranking, parts_asked

        given: dict[str, Sequence[Any]] = {
            "query": [Path(one) for one in files], "like": list(items), "not": list(without),
        }  # fmt: skip
        how = Ranking(k=k, into=tuple(into), combine=method)
        return self.session().answer(parts_asked(text, given, (), None), how).hits

    def explain(
        self, hit: str, text: str | None = None, *, item: str | None = None,
        into: str | None = None, count: int = 10,
    ) -> "Explained":  # fmt: skip
        """Why a hit has its score: the parts that sum to it, and the training pairs behind it.

        Parameters
        ----------
        hit : id of the item found.
        text, item : what was asked: one of them.

        Raises
        ------
        ConjoinError : no such item, or not one thing was asked.
        """
        from conjoin.project.search.explain import explained
        from conjoin.project.search.queries import Query

        query = Query(text, None, item)
        return explained(self.workspace, query, hit, into=into, count=count, refit=False)

    def tune(
        self, fusion: str = "cc", *, queries: Path | str | None = None, seed: int = 0
    ) -> "Fusion":
        """Whether items' words help vectors find, and with which weights; search then does so.

        Parameters
        ----------
        queries : a table of queries and the ids that answer them; held-out training pairs when
            not given.

        Raises
        ------
        ConjoinError : no such table, or the items have no words.
        """
        from conjoin.project.search.tune import keep_fusion, tune_mixer

        path = None if queries is None else Path(queries)
        found = tune_mixer(self.workspace, fusion, path, source=None, seed=seed)
        keep_fusion(self.workspace, found)
        return found

    def ask(self, question: str, *, model: str = "none") -> "Answer":
        """Answer from documents that ``conjoin read`` cut, with citations, or refuse.

        Parameters
        ----------
        model : ``none`` quotes; else the URI of an OpenAI-compatible endpoint.

        Raises
        ------
        ConjoinError : the table is not one of documents, or the endpoint fails.
        """
        from conjoin.answering.model import Model
        from conjoin.project.answering.ask import Documents

        opened = Documents.open(self.workspace)
        return opened.ask(question, model=None if model == "none" else Model.open(model))

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

    def robustness(self, *, seed: int = 0) -> "Robustness":
        """What held-out pictures and texts still find when they are spoilt."""
        from conjoin.project.quality.robust import examine_robustness

        return examine_robustness(self.workspace, seed=seed)

    def forecast(self, *, more: int = 500, method: str | None = None, seed: int = 0) -> "Forecast":
        """Recall at more pairs than there are, and which items to pair next.

        Parameters
        ----------
        more : pairs beyond those there are.
        method : an aligner; the one in use when not given.
        """
        from conjoin.evaluation.learning_curve import forecast, method_of
        from conjoin.project.evaluation.evaluate import test_bed
        from conjoin.project.fit.stored import current_fit

        choice = method_of(method, current_fit(self.workspace).binding.choice)
        return forecast(test_bed(self.workspace), choice, more=more, seed=seed)

    def benchmark(
        self, *paths: Path | str, encoders: Sequence[str] = (), seed: int = 0
    ) -> "list[Result]":
        """The workspace, and encoders beside it, on published benchmarks' folders.

        Raises
        ------
        ConjoinError : a path is no known benchmark, or a field is missing.
        """
        from conjoin.project.evaluation.benchmark import benchmark

        return benchmark([Path(p) for p in paths], encoders, self.workspace, seed=seed)

    def fuse(
        self, label: str, *, modalities: Sequence[str] = (), task: str | None = None, seed: int = 0
    ) -> "MadeFusion":
        """Predict a column from whatever modalities an item has, as ``conjoin fuse``.

        Parameters
        ----------
        task : ``classification`` or ``regression``; as the column looks when not given.

        Raises
        ------
        ConjoinError : a column or modality is missing, or too little is labelled.
        """
        from conjoin.project.transfer.fusion import FuseAsk, fuse, kind_of_task, plan_fusion

        ask = FuseAsk(label, tuple(modalities), kind=kind_of_task(task), seed=seed)
        return fuse(plan_fusion(self.workspace, ask))

    def head(
        self, label: str | None = None, *, names: Path | str | None = None,
        shots: Sequence[int] = (), source: str | None = None, target: str | None = None,
        seed: int = 0,
    ) -> "MadeHead":  # fmt: skip
        """A classifier on the vectors, from labels, class names or both, as ``conjoin head``.

        Parameters
        ----------
        label : column of classes.
        names : file of class names.
        shots : labelled items a class; all where empty.
        source, target : modality trained on, and modality it is used on.

        Raises
        ------
        ConjoinError : neither labels nor names are given, or there are too few.
        """
        from conjoin.project.transfer.heads import HeadAsk, fit_head

        ask = HeadAsk(
            None if names is None else Path(names), label, tuple(shots), source, target, seed=seed
        )
        return fit_head(self.workspace, ask)

    def distill(
        self, modality: str, *, student: str | None = None, teachers: Sequence[str] = (),
        method: str = "auto", use: bool = False, seed: int = 0,
    ) -> "MadeStudent":  # fmt: skip
        """Teach a cheaper encoder, or a modality, where others put the same items.

        Parameters
        ----------
        student : encoder URI that the student reads by; the modality's own when not given.
        teachers : modalities; found when empty.
        use : bind the modality by the student.

        Raises
        ------
        ConjoinError : a modality or method is unknown, or too few items have both.
        """
        from conjoin.project.transfer.distill import DistillAsk, fit_student, use_student

        ask = DistillAsk(modality, student, tuple(teachers), method, use, seed)
        made = fit_student(self.workspace, ask)
        if use:
            use_student(self.workspace, ask, made)
        return made

    def negatives(
        self, path: Path | str, *, anchor: str | None = None, positive: str | None = None,
        count: int = 5, margin: float = 0.05, relative: bool = True,
    ) -> "Exported":  # fmt: skip
        """Write training pairs with hard negatives for other trainers.

        Parameters
        ----------
        path : a ``.jsonl``, ``.csv`` or ``.parquet`` file.
        margin : of the partner's score (``relative``), or a difference, within which nothing is
            a negative.

        Raises
        ------
        ConjoinError : nothing is fitted, or a modality is not bound.
        """
        from conjoin.project.fit.negatives import NegativesAsk, export_negatives

        ask = NegativesAsk(anchor, positive, count, margin, relative)
        return export_negatives(self.workspace, Path(path), ask)

    @property
    def models(self) -> "Models":
        """What makes or changes encoders: pretrain, tune, adapt, shrink, export, transcribe."""
        from conjoin.project.models.open import Models

        return Models(self.workspace)

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
