"""``conjoin model pretrain``: a recipe on the workspace's items, judged against doing nothing."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from conjoin import catalogue
from conjoin.encoders.open import parse
from conjoin.encoders.options import Options
from conjoin.errors import ConjoinError, StateError, one_line
from conjoin.models.pretraining import recipe as recipes
from conjoin.models.pretraining.export import Exported, Known, begin_from, export
from conjoin.models.pretraining.recipe import Recipe
from conjoin.models.pretraining.saved import MODEL, Saved, load, save
from conjoin.project.models.card import Card, judge
from conjoin.project.models.corpus import Prepared, all_cut, prepare, run_folder, sources
from conjoin.project.workspace import Workspace
from conjoin.report.training import training_page
from conjoin.spaces.pairs import ABSENT
from conjoin.storage.files import FORMAT, atomic, expanded, write_json

#: What a finished run leaves beside its tensors.
CARD = "card.json"
#: Bytes a parameter takes in training: itself, its gradient, and two moments.
BYTES = 16


@dataclass(frozen=True, eq=False)
class Plan:
    """What a run will do, told before it does it.

    Parameters
    ----------
    name : of the run.
    recipe : with everything that was set.
    items : training items by view; ``paired`` have more than one.
    tokens : of a batch, on average.
    parameters : numbers that are trained.
    seconds : estimate for one core.
    bytes : most memory the parameters, their moments and gradients take.
    targets : by label, the streams it eats, or why it is left out.
    notes : what was left out, in plain sentences.
    """

    name: str
    recipe: Recipe
    items: Mapping[str, int]
    paired: int
    tokens: float
    parameters: int
    seconds: float
    bytes: int
    targets: Mapping[str, str]
    notes: tuple[str, ...]

    @property
    def steps(self) -> int:
        """Of the run."""
        return self.recipe.made_course().steps

    def to_json(self) -> dict[str, Any]:
        """One object for programs."""
        found = {k: v for k, v in vars(self).items() if k not in ("recipe", "notes")}
        return {**found, "steps": self.steps, "recipe": self.recipe.facts(),
                "notes": list(self.notes)}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Pretrained:
    """A finished run.

    Parameters
    ----------
    folder : where it lies.
    uris : by view, the encoder it became.
    stuck : targets that learnt no more than the best constant answer.
    """

    plan: Plan
    folder: Path
    uris: Mapping[str, str]
    card: Card
    ends: Mapping[str, tuple[float, float]]
    stuck: Sequence[str]
    step: int

    def to_json(self) -> dict[str, Any]:
        """The card, and beside it how training went."""
        return {
            **self.card.to_json(), "encoders": dict(self.uris), "plan": self.plan.to_json(),
            "losses": {k: {"loss": v[0], "floor": v[1]} for k, v in self.ends.items()},
            "stuck": list(self.stuck), "best_step": self.step,
        }  # fmt: skip


def named(what: str, settings: Sequence[str] = ()) -> tuple[str, Recipe]:
    """A recipe by the name of a row or the path of a TOML file, and what a run of it is called.

    Raises
    ------
    ConjoinError : neither a file nor a row; near names are given.
    """
    path = Path(what)
    if path.suffix == ".toml" or path.is_file():
        if not path.is_file():
            raise ConjoinError(what, "no such file", "name a recipe: conjoin model pretrain --list")
        try:
            text = path.read_text(encoding="utf-8")
        except (UnicodeDecodeError, OSError) as error:
            raise ConjoinError(
                what, f"cannot be read: {one_line(error, 60)}", "give TOML"
            ) from None
        name, made = path.stem, recipes.read(text, what)
    else:
        name, made = what, recipes.row(what).make()
    for text in settings:
        made = recipes.put(made, text)
    return name, made


def within(made: Recipe, plan: Plan, budget: float | None) -> Recipe:
    """The recipe with as many steps as fit a budget in seconds of one core, by the estimate.

    Raises
    ------
    ConjoinError : not one step fits.
    """
    if budget is None or plan.seconds <= budget:
        return made
    steps = int(made.made_course().steps * budget / plan.seconds)
    if steps < 1:
        raise ConjoinError("--budget", f"{budget:g} s is less than one step", "give more")
    return replace(made, course={**made.course, "steps": steps})


def planned(name: str, made: Recipe, prepared: Prepared) -> Plan:
    """What a run will do.

    Raises
    ------
    ConjoinError : its parameters need more memory than there is, or no target can run.
    """
    corpus = prepared.corpus
    fits_memory(name, made.made_body().size(tuple(corpus.columns)))
    built = made.build(corpus)
    course = made.made_course()
    rows = corpus.lines.rows != ABSENT
    per = {
        v: min(made.longest, float(np.diff(c.tokens.offsets).mean()))
        for v, c in corpus.columns.items()
    }
    each = {v: made.batch * per[v] * float(rows[:, at].mean()) for at, v in enumerate(per)}
    tokens = sum(each.values())
    every = [*made.targets]
    targets = {
        label: f"left out: {built.left[label]}" if label in built.left else "runs"
        for label in every
        if label in built.left or label in {t.label for t in built.model.targets}
    }
    cost = course.steps * recipes.seconds(built.model, each)
    most = BYTES * built.parameters
    return Plan(
        name, made, {v: int(rows[:, at].sum()) for at, v in enumerate(per)},
        int((rows.sum(1) > 1).sum()), float(tokens), built.parameters, cost, most, targets,
        prepared.notes,
    )  # fmt: skip


def fits_memory(name: str, parameters: int) -> None:
    """Refuse a model whose parameters, gradients and moments are more than the memory.

    Raises
    ------
    ConjoinError : with how much it needs and how much there is.
    """
    need, free = BYTES * parameters, memory()
    if need > free:
        raise ConjoinError(
            f"recipe {name}",
            f"{parameters:,} parameters need {need / 1e9:.1f} GB to train, {free / 1e9:.1f} GB are "
            "free", "set a smaller body (--set body.dim=…)",
        )  # fmt: skip


def memory() -> float:
    """Bytes that can be had now; a large number where the system does not say."""
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
        return 1024.0 * int(text.split("MemAvailable:")[1].split()[0])
    except (OSError, IndexError, ValueError):
        return 1e15


def run(
    ws: Workspace, plan: Plan, prepared: Prepared, *, seed: int = 0,
    start: Mapping[str, np.ndarray] | None = None,
    progress: Callable[..., None] | None = None,
) -> Pretrained:  # fmt: skip
    """Train, keep the encoder, and judge it; killed anywhere, the same call goes on.

    Raises
    ------
    StateError : the run's folder holds a run of another recipe or of other items.
    """
    made, folder = plan.recipe, run_folder(ws, plan.name)
    labels = [each.label for each in made.build(prepared.corpus).model.targets]
    page = Page(folder, labels, progress)
    fitted = made.fit(prepared.corpus, seed=seed, folder=folder, start=start, progress=page)
    assert fitted.trained is not None
    ran = fitted.trained.curves
    page.write(len(ran.loss), ran.loss, ran.floor)
    saved = Saved(fitted, prepared.specs, made.longest)
    save(saved, folder / MODEL)
    card = judge(ws, prepared, saved, seed=seed, cost=plan.seconds)
    several = len(prepared.specs) > 1
    place = shown(folder)
    uris = {v: f"pretrained:{place}" + (f"?view={v}" if several else "") for v in prepared.specs}
    done = Pretrained(
        plan, folder, uris, card, fitted.trained.curves.ends(), fitted.trained.curves.stuck(),
        fitted.trained.step,
    )  # fmt: skip
    write_json(folder / CARD, {"version": FORMAT, **done.to_json()})
    return done


def shown(folder: Path) -> str:
    """A folder as a URI names it: from here where it lies below, else whole."""
    try:
        return str(folder.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(folder.resolve())


@dataclass(frozen=True)
class Listed:
    """A recipe of the catalogue, as it would run here.

    Parameters
    ----------
    reads : what each view would read.
    cost : estimate in seconds of one core where its cells are cut already, else "?".
    cannot : why it cannot run; empty where it can.
    """

    name: str
    summary: str
    papers: tuple[str, ...]
    reads: Mapping[str, str]
    targets: tuple[str, ...]
    steps: int
    cost: str
    cannot: str

    def to_json(self) -> dict[str, Any]:
        """One row for programs."""
        return dict(vars(self))


def listed(ws: Workspace | None) -> list[Listed]:
    """Every recipe of the catalogue: what it would read of these items, and why it cannot."""
    found = []
    for row in catalogue.of_kind("recipe").values():
        made: Recipe = row.make()
        reads: dict[str, str] = {}
        cannot, cost = ("" if ws is not None else "no workspace here"), "?"
        if ws is not None:
            try:
                reads = {s.view: f"{s.column} as {s.cells}" for s in sources(ws, made)}
                if all_cut(ws, made):
                    cost = f"{planned(row.name, made, prepare(ws, made)).seconds:.0f}"
            except (ConjoinError, StateError) as error:
                cannot = f"{error.where}: {error.found}"
        found.append(Listed(
            row.name, row.summary, row.papers, reads, tuple(made.targets),
            made.made_course().steps, cost, cannot,
        ))  # fmt: skip
    return found


def begun(start: str, made: Recipe) -> Known:
    """A recipe that goes on from ``hf:FOLDER``.

    Raises
    ------
    ConjoinError : another scheme, no such folder, or another shape than a recipe's one text view.
    """
    scheme, _, rest = start.partition(":")
    if scheme != "hf" or not rest:
        raise ConjoinError("--continue-from", repr(start), "give hf:FOLDER")
    return begin_from(expanded(rest), made)


def exported(uri: str, to: str, out: Path | None) -> Exported:
    """A trained model of ``pretrained:DIR?view=…``, written in another format and read back.

    Parameters
    ----------
    out : where it goes; ``exports/`` beside the run's files if not given.

    Raises
    ------
    ConjoinError : the URI is of another scheme, or as :func:`~.export.export`.
    """
    row, rest, options = parse(uri)
    if row.name != "pretrained":
        raise ConjoinError("export", f"{uri!r} is of scheme {row.name}", "give pretrained:DIR")
    given = Options(f"pretrained:{rest}", options, ("view", "output"))
    saved = load(expanded(rest))
    if len(saved.specs) > 1 and "view" not in options:
        raise ConjoinError(uri, f"has views {', '.join(saved.specs)}", "name one: ?view=…")
    view = given.text("view", next(iter(saved.specs)))
    return export(saved, view, to, out or expanded(rest) / "exports" / f"{view}-{to}")


def ready(
    ws: Workspace, made: Recipe, *, transductive: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> Prepared:  # fmt: skip
    """The items as the recipe reads them."""
    return prepare(ws, made, transductive=transductive, progress=progress)


class Page:
    """Keeps ``curves.html`` of a run current, and tells somebody else of each step.

    Parameters
    ----------
    folder : of the run.
    told : who else is told.
    """

    def __init__(self, folder: Path, labels: Sequence[str], told: Callable[..., None] | None):
        self.path, self.labels, self.told = folder / "curves.html", list(labels), told
        self.loss = self.floor = np.empty((0, 0))
        self.written = 0.0

    def __call__(self, step: int, total: int, found: Any) -> None:
        """One step is over."""
        if len(self.loss) != total:
            self.loss = np.full((total, len(self.labels)), np.nan)
            self.floor = self.loss.copy()
        for label, (loss, floor) in found.found.items():
            at = self.labels.index(label)
            self.loss[step - 1, at], self.floor[step - 1, at] = loss, floor
        if time.monotonic() - self.written > 10:
            self.write(step, self.loss, self.floor)
        if self.told is not None:
            self.told(step, total, found)

    def write(self, done: int, loss: np.ndarray, floor: np.ndarray) -> None:
        """The page as it stands."""
        self.written = time.monotonic()
        text = training_page(self.path.parent.name, self.labels, loss, floor, done)
        with atomic(self.path) as file:
            file.write(text.encode())
