"""A recipe: views, body, targets, streams and stages, as settings; a published model is a row."""

import dataclasses
import math
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from conjoin import catalogue
from conjoin.catalogue import Row, check_fields
from conjoin.errors import ConjoinError, nearest
from conjoin.models.pretraining.batches import PAIRS, Corpus, Sides, Stepped, sides
from conjoin.models.pretraining.bodies import Body
from conjoin.models.pretraining.loop import Arrays, Course, Stage, Trained, pretrain
from conjoin.models.pretraining.model import Model, Weighed
from conjoin.models.pretraining.stems import Stem
from conjoin.models.pretraining.targets.base import World

#: What a target's table may hold beside its own fields.
_OF_TARGETS = ("weight", "every", "of")
#: Floating-point operations a second of one core in training at these sizes, measured on tiny
#: models; and operations a parameter and token (forward and backward).
RATE, FLOPS = 12e9, 6.0
#: Seconds a step costs beside its arithmetic.
OVERHEAD = 0.004


@dataclass(frozen=True)
class Recipe:
    """Settings that assemble and train a model: ``total = Σ weight · target`` over batches.

    A batch comes of a stream (``pairs``, or ``unpaired.VIEW``: that view's cells alone), streams
    take turns by their rates in ``mix``. Stages follow one another, each with its targets and its
    frozen tensors. Validation lines (a share of the training families) say when it was best.

    Parameters
    ----------
    views : by name, what its cells are cut into (``{"cells": "letters"}``) and options of the
        stem: ``mixing`` (tokens a convolution spans), ``bands`` (numbers of a spectrogram's
        frame), ``types`` (names of segments, as BERT has).
    body : fields of :class:`~conjoin.models.pretraining.bodies.Body`.
    targets : by label a weight, or a table of ``weight``, ``every``, ``of`` (the target's name
        where the label is another) and the target's fields.
    mix : rates of streams.
    stages : tables of ``share``, ``targets``, ``freeze``.
    batch : lines a step.
    longest : tokens a set is cut to.
    validation : share of the families kept aside.
    course : fields of :class:`~conjoin.models.pretraining.loop.Course`: ``steps``, ``lr``….
    """

    views: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict)
    targets: Mapping[str, Any] = field(default_factory=lambda: {"contrast": 1.0})
    mix: Mapping[str, float] = field(default_factory=lambda: {PAIRS: 1.0})
    stages: Sequence[Mapping[str, Any]] = ()
    batch: int = 64
    longest: int = 64
    validation: float = 0.1
    course: Mapping[str, Any] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """All settings as JSON."""
        found: dict[str, Any] = plain(dataclasses.asdict(self))
        return found

    def made_body(self) -> Body:
        """The body.

        Raises
        ------
        ConjoinError : a field is unknown or out of range; near ones are named.
        """
        check_fields("body", Body, self.body)
        made = Body(**self.body)
        if made.dim % made.heads:
            raise ConjoinError("body.heads", f"{made.heads} heads of dim {made.dim}",
                               "take a number of heads that divides dim")  # fmt: skip
        return made

    def made_course(self) -> Course:
        """How long and how fast."""
        check_fields("course", Course, self.course)
        made = Course(**self.course)
        if made.steps < 1:
            raise ConjoinError("course.steps", f"{made.steps}", "take one step at least")
        return made

    def made_stages(self) -> tuple[Stage, ...]:
        """The stages; one of everything where none is given."""
        found = []
        for number, table in enumerate(self.stages):
            check_fields(f"stages[{number}]", Stage, table)
            held: dict[str, Any] = {
                k: tuple(v) if isinstance(v, list) else v for k, v in table.items()
            }
            stage = Stage(**held)
            for label in stage.targets:
                if label not in self.targets:
                    raise ConjoinError(f"stages[{number}].targets", f"{label!r} is none",
                                       nearest(label, self.targets))  # fmt: skip
            found.append(stage)
        return tuple(found) or (Stage(),)

    def made_targets(self) -> tuple[Weighed, ...]:
        """The targets with a weight above 0."""
        found = []
        for label, given in self.targets.items():
            table = dict(given) if isinstance(given, Mapping) else {"weight": given}
            weight = _number(f"targets.{label}", table.pop("weight", 1.0))
            every = int(_number(f"targets.{label}.every", table.pop("every", 1)))
            row = catalogue.find("target", str(table.pop("of", label.partition(".")[0])))
            if weight > 0:
                found.append(Weighed(label, row.make(table), weight, every))
        if not found:
            raise ConjoinError("targets", "none has a weight above 0", "give one")
        return tuple(found)

    def build(self, corpus: Corpus, *, seen: Corpus | None = None) -> "Built":
        """The model for these items: targets that cannot run are left out, and said so.

        Parameters
        ----------
        seen : lines that standard units and shares of ids are taken of; all by default.

        Raises
        ------
        ConjoinError : an unknown part, or no target can run.
        """
        seen = corpus if seen is None else seen
        body, every = self.made_body(), self.made_targets()
        self.made_stages()
        world = world_of(seen, body)
        lacking = {each.label: each.target.lacks(world) for each in every}
        kept = tuple(each for each in every if not lacking[each.label])
        if not kept:
            said = "; ".join(f"{label}: {why}" for label, why in lacking.items())
            raise ConjoinError(
                "targets", f"none can run ({said})", "change the recipe or the items"
            )
        stems = {view: self._stem(view, seen, body) for view in corpus.columns}
        model = Model(stems, body, kept, world, self.facts())
        return Built(model, {label: why for label, why in lacking.items() if why})

    def _stem(self, view: str, corpus: Corpus, body: Body) -> Stem:
        column = corpus.columns[view]
        options = {
            k: v for k, v in self.views.get(view, {}).items() if k in ("mixing", "bands", "types")
        }
        shift, scale = (None, None) if column.vocabulary else corpus.spread(view)
        return Stem(
            view, column.wide, column.vocabulary, body.dim, self.longest,
            mixing=int(options.get("mixing", 0)), shift=shift, scale=scale,
            bands=int(options.get("bands", 0)), types=int(options.get("types", 0)),
            final=body.norm == "post", eps=body.eps,
        )  # fmt: skip

    def fit(
        self, corpus: Corpus, *, seed: int, folder: Path | None = None,
        start: Mapping[str, Any] | None = None,
        progress: Callable[..., None] | None = None,
    ) -> "Fitted":  # fmt: skip
        """Build and train on the lines of a corpus, which are all training lines.

        Raises
        ------
        ConjoinError : as :meth:`build` and :func:`~conjoin.models.pretraining.loop.pretrain`.
        """
        split: Sides = sides(corpus, self.validation, seed)
        built = self.build(corpus, seen=split.train)
        course = self.made_course()
        batches = Stepped(
            split.train, built.model.needs, self.mix, self.batch, self.longest, course.steps, seed
        )
        trained = pretrain(
            built.model, batches, course, stages=self.made_stages(), check=split.check,
            folder=folder, start=start, progress=progress,
        )  # fmt: skip
        return Fitted(built.model, trained.params, trained, built.left)


@dataclass(frozen=True, eq=False)
class Built:
    """A model for some items, and why targets were left out, by label."""

    model: Model
    left: Mapping[str, str]

    @property
    def parameters(self) -> int:
        """Numbers that are trained."""
        return sum(int(np.size(one.value)) for one in self.model.init(0).values())


@dataclass(frozen=True, eq=False)
class Fitted:
    """A trained model.

    Parameters
    ----------
    params : its arrays.
    trained : how it went.
    left : targets that could not run, and why.
    """

    model: Model
    params: Arrays
    trained: Trained | None = None
    left: Mapping[str, str] = field(default_factory=dict)

    def random(self, seed: int) -> "Fitted":
        """The same shape with parameters as they are before training."""
        first = {k: np.asarray(p.value, np.float32) for k, p in self.model.init(seed).items()}
        return replace(self, params=first, trained=None)


def world_of(corpus: Corpus, body: Body) -> World:
    """What targets are told of the data."""
    columns = corpus.columns
    labels = 0 if corpus.labels is None else int(corpus.labels.max(initial=-1)) + 1
    return World(
        tuple(columns), {v: c.vocabulary for v, c in columns.items()},
        {v: c.wide for v, c in columns.items()}, body.dim, body.meets, body.decoder > 0,
        corpus.paired, {v: corpus.counts(v) for v, c in columns.items() if c.vocabulary}, labels,
    )  # fmt: skip


def seconds(model: Model, tokens: Mapping[str, float]) -> float:
    """What a step will cost in seconds of one core, by arithmetic alone: no clock is read.

    Every token passes its stem and tower once a masked or plain copy of it, and the layers where
    views meet once a target that looks at them.

    Parameters
    ----------
    tokens : of a batch, by view.
    """
    sizes = {k: float(np.size(p.value)) for k, p in model.init(0).items()}

    def held(*starts: str) -> float:
        lookups = ("/table", "/position")
        return sum(n for k, n in sizes.items() if k.startswith(starts) and not k.endswith(lookups))

    copies = 1 + len({need.spec for need in model.needs if need.kind == "plan"})
    fusing = [each for each in model.targets if getattr(each.target, "fuses", True)]
    meets = len(fusing) if model.body.meets else 0
    every = sum(tokens.values())
    work = every * held("body/shared") * (copies + meets)
    for view, count in tokens.items():
        work += count * (held(f"stem/{view}/") + held(f"body/tower/{view}/")) * copies
    work += every * held("body/top", "body/link") * meets
    work += every * held("target/", "body/decoder")
    parts = len(tokens) * copies * (1 + model.body.towers) + meets * (1 + model.body.top)
    return FLOPS * work / RATE + OVERHEAD * parts + 4e-9 * sum(sizes.values())


def plain(value: Any) -> Any:
    """A value as JSON holds it."""
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return value


FIELDS = tuple(entry.name for entry in dataclasses.fields(Recipe))


def read(text: str, where: str = "recipe") -> Recipe:
    r"""A recipe from TOML: tables named as the fields of :class:`Recipe`.

    ``recipe = "NAME"`` at the top begins from a row of the catalogue; what the file has replaces
    what the row has, table by table and key by key.

    Raises
    ------
    ConjoinError : no TOML, or a table or field is unknown; near ones are named.

    Examples
    --------
    >>> read('batch = 8\\n[targets]\\nmatching = 0.5').batch
    8
    """
    try:
        given = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConjoinError(where, f"is no TOML: {error}", "fix that line") from None
    name = given.pop("recipe", None)
    base = row(str(name)).make() if name is not None else Recipe()
    return merged(base, given, where)


def merged(base: Recipe, given: Mapping[str, Any], where: str) -> Recipe:
    """A recipe with some settings replaced."""
    changed: dict[str, Any] = {}
    for name, value in given.items():
        if name not in FIELDS:
            raise ConjoinError(f"{where}: {name}", "is unknown", nearest(name, FIELDS))
        changed[name] = _laid_over(getattr(base, name), name, value, where)
    _check_views(changed.get("views", base.views), where)
    made = replace(base, **changed)
    made.made_body(), made.made_course(), made.made_targets(), made.made_stages()
    return made


def _laid_over(before: Any, name: str, value: Any, where: str) -> Any:
    """A field's new value: tables key by key, others as given and of their type."""
    if isinstance(before, Mapping):
        if not isinstance(value, Mapping):
            raise ConjoinError(f"{where}: {name}", f"is {value!r}", f"write a table [{name}]")
        return {**before, **(flat(value) if name == "mix" else value)}
    if name != "stages":
        check_fields(where, Recipe, {name: value})
    elif not isinstance(value, list | tuple) or not all(isinstance(v, Mapping) for v in value):
        raise ConjoinError(f"{where}: stages", f"is {value!r}", "write tables [[stages]]")
    return value


def _check_views(views: Mapping[str, Any], where: str) -> None:
    for view, table in views.items():
        if not isinstance(table, Mapping):
            raise ConjoinError(
                f"{where}: views.{view}", f"is {table!r}", f"write a table [views.{view}]"
            )
        for key in table:
            if key not in VIEW:
                raise ConjoinError(f"{where}: views.{view}.{key}", "is unknown", nearest(key, VIEW))
            if key in ("cells", "kind") and not isinstance(table[key], str):
                raise ConjoinError(
                    f"{where}: views.{view}.{key}", f"is {table[key]!r}", "give a name"
                )


def _number(where: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConjoinError(where, f"{repr(value)[:60]} is no number", "give a number, or a table")
    return float(value)


def flat(table: Mapping[str, Any]) -> dict[str, Any]:
    """Streams as TOML may write them, ``unpaired.text = 1`` or ``"unpaired.text" = 1``.

    >>> flat({"pairs": 1, "unpaired": {"text": 2}})
    {'pairs': 1, 'unpaired.text': 2}
    """
    found: dict[str, Any] = {}
    for name, value in table.items():
        inner = flat(value) if isinstance(value, Mapping) else None
        found |= {name: value} if inner is None else {f"{name}.{k}": v for k, v in inner.items()}
    return found


#: What the table of a view may hold.
VIEW = ("cells", "kind", "column", "mixing", "bands", "types")


def row(name: str) -> Row:
    """The catalogue row of a recipe."""
    return catalogue.find("recipe", name)


def put(recipe: Recipe, text: str) -> Recipe:
    """A recipe with one setting replaced, as in ``targets.matching=0`` or ``course.steps=200``.

    Raises
    ------
    ConjoinError : no ``=``, or an unknown field.

    Examples
    --------
    >>> put(Recipe(), "course.steps=12").made_course().steps
    12
    """
    path, sign, value = text.partition("=")
    names = path.strip().split(".")
    if not sign or not all(names):
        raise ConjoinError("--set", repr(text), "write name=value, as in course.steps=200")
    try:
        held: Any = tomllib.loads(f"x = {value}")["x"]
    except tomllib.TOMLDecodeError:
        held = value.strip()
    first, *rest = names
    if first not in FIELDS:
        raise ConjoinError(f"--set {path}", "is unknown", nearest(first, FIELDS))
    old = getattr(recipe, first)
    # A label may hold a dot (unpaired.text): the longest key that stands there is meant.
    if first == "mix" or (isinstance(old, Mapping) and ".".join(rest) in old):
        rest = [".".join(rest)]
    for at in range(len(rest) - 1, 0, -1):
        if isinstance(old, Mapping) and ".".join(rest[:at]) in old:
            rest = [".".join(rest[:at]), *rest[at:]]
            break
    return merged(recipe, _nested(old, [first, *rest], held), f"--set {path}")


def _nested(old: Any, names: Sequence[str], value: Any) -> dict[str, Any]:
    """``{a: {b: value}}``, with what stood beside it in the old tables."""
    first, *rest = names
    if not rest:
        return {first: value}
    before = old.get(rest[0]) if isinstance(old, Mapping) else None
    inner = _nested(before, rest, value)
    if len(rest) > 1:
        kept = (
            before if isinstance(before, Mapping) else {} if before is None else {"weight": before}
        )
        inner = {rest[0]: {**kept, **inner[rest[0]]}}
    return {first: inner}
