"""The one registry: kinds, methods and their hyper-parameter ranges.

Each room keeps a light ``rows.py`` with a ``ROWS`` tuple; nothing heavy is imported until a row
is loaded. The command line, the docs, the laws and the tests are generated from what is here.
"""

import dataclasses
import importlib
import numbers
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from conjoin.errors import ConjoinError, nearest

ROOMS = (
    "encoders", "losses", "metrics", "alignment", "upgrade", "transfer", "fusion", "retrieval",
    "quality", "models.pretraining", "models.tuning", "models.merging",
    "models.compression", "evaluation", "answering", "claims",
)  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """What every component of one kind does, and what its engines promise.

    Parameters
    ----------
    promise : in a sentence, what goes in and what comes out.
    protocol : ``module:Class`` that declares the calls; kinds of methods have one, while maps are
        fitted values, encoders are opened and data are read.
    calls : the calls every engine takes as the protocol declares them.
    restated : each closed formula has a slow reference in the tests.
    """

    promise: str
    protocol: str = ""
    calls: tuple[str, ...] = ()
    restated: bool = True

    @property
    def sentence(self) -> str:
        """The promise as a line of text begins, without its full stop."""
        return self.promise[0].upper() + self.promise[1:]

    @property
    def is_method(self) -> bool:
        """Whether its rows are methods with hyper-parameters."""
        return bool(self.protocol)


#: Each kind of component.
KINDS: Mapping[str, Kind] = {
    "encoder": Kind("cells of one kind → vectors or token sets in a frame it mints"),
    "loss": Kind(
        "named outputs of a batch → a scalar to minimise",
        "conjoin.losses.base:Loss", ("init", "__call__"),
    ),
    "sampler": Kind(
        "lines of pairs, their groups and frozen vectors → the batches of an epoch",
        "conjoin.training.samplers:Sampler", ("prepare", "epoch"),
    ),
    "augmentation": Kind(
        "batch → batch",
        "conjoin.training.augmentations:Augmentation", ("__call__",), restated=False,
    ),
    "metric": Kind(
        "spaces → a named number with interval, range and direction",
        "conjoin.metrics.base:Geometry", ("__call__",),
    ),
    "text-metric": Kind(
        "texts of a system and references → a score of each, and one of all",
        "conjoin.metrics.generation.base:TextMetric", ("per_item", "corpus"),
    ),
    "outcome-metric": Kind(
        "results of the same items under several conditions → named numbers",
        "conjoin.metrics.outcomes.base:OutcomeMetric", ("__call__",),
    ),
    "map": Kind("vectors of a source frame → vectors of a target frame"),
    "aligner": Kind(
        "views and pairs → one map a view, all into one frame",
        "conjoin.alignment.base:Aligner", ("fit",),
    ),
    "head": Kind(
        "vectors and labels, or class prototypes → a classifier or regressor",
        "conjoin.transfer.base:Head", ("fit",),
    ),
    "adaptation": Kind(
        "a fitted head and unlabelled rows of another domain → a head for that domain",
        "conjoin.transfer.adaptation.base:Adaptation", ("fit",),
    ),
    "student": Kind(
        "vectors and teachers' vectors → a map from the first to the second",
        "conjoin.transfer.base:Student", ("fit",),
    ),
    "fusion": Kind(
        "views, some absent → one vector an item",
        "conjoin.fusion.model:Fusion", ("fit",),
    ),
    "correction": Kind(
        "gallery and query bank → a scale and an offset a gallery row",
        "conjoin.retrieval.hubness.csls:Corrector", ("fit", "extend"),
    ),
    "score-fusion": Kind(
        "scores of several lists → one score an item",
        "conjoin.retrieval.ranking.score_fusion:ScoreFusion", ("mix",),
    ),
    "query-composition": Kind(
        "several parts of a query → one query vector",
        "conjoin.retrieval.queries.composition:QueryComposition", ("fit", "restore"),
    ),
    "multi-vector": Kind(
        "several vectors an item → scores or one vector an item",
        "conjoin.retrieval.multi_vector.aggregate:MultiVector",
        ("fit", "queries", "items", "scores"),
    ),
    "sparse-encoder": Kind(
        "vectors → weights of terms in an inverted index",
        "conjoin.retrieval.sparse.sparse:SparseEncoder", ("fit",),
    ),
    "vector-codec": Kind(
        "a gallery and queries → the best rows, without scoring every row whole",
        "conjoin.retrieval.engines.two_stage:Shelving", ("find",),
    ),
    "list-truncation": Kind(
        "judged lists → a rule that says how many hits of a list stay",
        "conjoin.retrieval.ranking.truncation:Cutter", ("choose",),
    ),
    "query-suggestion": Kind(
        "a query, its hits and a cluster of them → words that ask for the cluster",
        "conjoin.retrieval.queries.suggestion:QuerySuggestion", ("words",),
    ),
    "selector": Kind(
        "a question and the pieces of documents with their scores → the pieces kept as evidence",
        "conjoin.answering.selection.base:Selector", ("fit",),
    ),
    "detector": Kind(
        "pairs as maps that have not seen them place them → how suspect each is",
        "conjoin.quality.detectors:Detector", ("__call__",),
    ),
    "curation": Kind(
        "what each item counts towards → which items to keep",
        "conjoin.quality.curation:Curation", ("keep",),
    ),
    "cells": Kind("one cell → ids or float tokens, and how many ids there are"),
    "mask": Kind(
        "counts of tokens → which of them are hidden",
        "conjoin.models.pretraining.masks:Mask", ("draw",), restated=False,
    ),
    "target": Kind(
        "forward passes over a batch → a loss, and the loss of the best constant answer",
        "conjoin.models.pretraining.targets.base:Target",
        ("lacks", "needs", "init", "__call__"),
    ),
    "recipe": Kind("items, paired or not → an encoder of each of their views"),
    "tuning": Kind(
        "a transformer → the same with some of its weights, or weights beside them, to be trained",
        "conjoin.models.tuning.base:Tuning", ("attach", "fold"), restated=False,
    ),
    "compression": Kind(
        "an encoder and a sample of its cells → a cheaper encoder of the same cells",
        "conjoin.models.compression.base:Compression", ("write",), restated=False,
    ),
    "tensor-merge": Kind(
        "a base and experts of its names and shapes → one tensor for each name",
        "conjoin.models.merging.base:TensorMerge", ("prepare", "look", "merge"),
    ),
    "foil": Kind(
        "texts → texts that are false of what the first describe, None where a rule finds no hold",
        "conjoin.evaluation.foils.base:FoilMaker", ("make",),
    ),
    "expert-store": Kind(
        "experts of one base → a bit for each of their numbers, and the experts back",
        "conjoin.models.merging.store:Packing", ("pack", "unpack"),
    ),
    "format": Kind("a published benchmark's files → a task, and back"),
    "data": Kind("a name → real spaces, pairs, groups and labels to judge methods on"),
    "task": Kind("data and an arm → scores of each held-out unit"),
}  # fmt: skip

#: What a method may need of the data; drivers skip what cannot be fed and say why.
NEEDS = frozenset({"pairs", "kway", "labels", "tokens", "graph", "model", "unpaired"})

#: Cost classes, cheapest first.
COSTS = ("free", "closed", "trained")


@dataclass(frozen=True)
class Search:
    """The range in which a hyper-parameter is looked for, ends included."""

    low: float
    high: float
    log: bool = False

    def grid(self, points: int) -> list[float]:
        """Evenly spaced values over the range (in logarithm where ``log``)."""
        import numpy as np

        space = np.geomspace if self.log else np.linspace
        return [float(v) for v in space(self.low, self.high, points)]


@dataclass(frozen=True)
class Choice:
    """The values among which a hyper-parameter is chosen."""

    values: tuple[Any, ...]


#: How near a claim's setting is to its paper.
FIDELITIES: Mapping[str, str] = {
    "formula": "the paper's formula as published",
    "restated": "the paper's method restated on frozen vectors",
    "idea": "only the paper's idea",
}


@dataclass(frozen=True)
class Claim:
    """A paper's effect restated so that it can fail: this method beats that one here.

    Parameters
    ----------
    task : name of a task row; ``condition`` holds its fields.
    data : a data row's name and the views taken from it, as in ``emoji:image+text``.
    metric : one of the task's.
    baseline : the arm it is compared with, as in ``ridge`` or ``cca+noise``.
    smallest : the smallest effect of interest, in units of the metric.
    fidelity : one of :data:`FIDELITIES`.
    differs : in words, how this setting differs from the paper's.
    reported : the paper's own figure, in words.
    condition : fields of the task, such as ``{"pairs": 300}``.
    arm : the arm where it is not the row's own name, as in ``heads+c3``.
    """

    task: str
    data: str
    metric: str
    baseline: str
    fidelity: str
    differs: str
    reported: str
    smallest: float = 0.02
    condition: Mapping[str, Any] = field(default_factory=dict)
    arm: str | None = None

    def noting(self, how: str) -> "Claim":
        """The same, with one more way in which it differs from the paper.

        Examples
        --------
        >>> made = Claim("hubs", "wine:acids+colours", "mrr", "csls", "restated", "Small", "None")
        >>> made.noting("one bank").differs
        'one bank; Small'
        """
        return dataclasses.replace(self, differs=f"{how}; {self.differs}")

    def __post_init__(self) -> None:
        if self.fidelity not in FIDELITIES:
            raise ConjoinError(
                "claim.fidelity", repr(self.fidelity), nearest(self.fidelity, FIDELITIES)
            )


@dataclass(frozen=True)
class Recovery:
    """What an aligner finds in planted data: the laws hold it to that.

    Parameters
    ----------
    map : the widest class of maps between views it can undo: ``same``, ``shift``, ``rotation``
        (about the origin), ``turn`` (a rotation and a shift) or ``linear``. Left out: ``turn`` of
        what finds its own pairs, else ``linear``.
    share : the share of held-out partners it names first, at least. Left out: .7 of what is
        trained from a random start, else what the law asks.
    bridges : views never paired meet through a third; never of what binds each view to the
        product of all others.
    """

    map: str | None = None
    share: float | None = None
    bridges: bool = True


@dataclass(frozen=True)
class Row:
    """One named method: an engine, its settings, its sources and what it needs.

    Parameters
    ----------
    kind, name : what it is and what people call it; unique together.
    target : ``module:Class`` of the engine, loaded at use.
    summary : the claim in a sentence.
    papers : keys of ``papers.bib``.
    needs : subset of :data:`NEEDS`.
    cost : one of :data:`COSTS`.
    settings : field values that make this row of an engine with several.
    extra : the optional dependency group it needs, if any.
    family : the mathematics it belongs to, by which claims and comparisons are selected.
    claims : what its papers say of it, restated so that it can fail.
    shortlist : tried where nothing else is asked for; of aligners at most eight.
    simple : a baseline: it stands beside every result, whatever was chosen.
    recovery : of an aligner, what it finds in planted data.
    """

    kind: str
    name: str
    target: str
    summary: str
    papers: tuple[str, ...] = ()
    needs: frozenset[str] = frozenset()
    cost: str = "closed"
    settings: Mapping[str, Any] = field(default_factory=dict)
    extra: str | None = None
    family: str = ""
    claims: tuple[Claim, ...] = ()
    shortlist: bool = False
    simple: bool = False
    recovery: Recovery = Recovery()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConjoinError(f"row {self.name}", f"kind {self.kind}", nearest(self.kind, KINDS))
        if not self.needs <= NEEDS or self.cost not in COSTS:
            raise ConjoinError(
                f"row {self.name}",
                f"needs {sorted(self.needs)}, cost {self.cost}",
                f"needs are {sorted(NEEDS)}, costs {COSTS}",
            )

    def load(self) -> Any:
        """Import the engine of this row."""
        module, _, name = self.target.partition(":")
        return getattr(importlib.import_module(module), name)

    def make(self, fields: Mapping[str, Any] | None = None) -> Any:
        """Build the method with its settings, overridden by ``fields``.

        Raises
        ------
        ConjoinError : a field is unknown or outside its range.
        """
        values = {**self.settings, **(fields or {})}
        engine = self.load()
        check_fields(self.name, engine, values)
        return engine(**values)


def ranges(engine: type) -> dict[str, Search | Choice]:
    """The searchable fields of a method and their ranges."""
    hints = typing.get_type_hints(engine, include_extras=True)
    found = {}
    for entry in dataclasses.fields(engine):
        for note in getattr(hints[entry.name], "__metadata__", ()):
            if isinstance(note, Search | Choice):
                found[entry.name] = note
    return found


def check_fields(name: str, engine: type, values: Mapping[str, Any]) -> None:
    """Refuse unknown fields and values outside their range."""
    known = (
        {entry.name for entry in dataclasses.fields(engine)}
        if dataclasses.is_dataclass(engine)
        else set()
    )
    hints = typing.get_type_hints(engine, include_extras=True) if known else {}
    spans = ranges(engine) if known else {}
    for key, value in values.items():
        if key not in known:
            raise ConjoinError(f"{name}.{key}", "is not a field", nearest(key, known))
        if not fits(value, hints[key]):
            raise ConjoinError(
                f"{name}.{key}", f"{repr(value)[:60]} is a {type(value).__name__}",
                f"give {_wanted(hints[key])}",
            )  # fmt: skip
        span = spans.get(key)
        if isinstance(span, Search) and value is not None and not span.low <= value <= span.high:
            raise ConjoinError(
                f"{name}.{key}", f"{value} is out of range", f"give {span.low} to {span.high}"
            )
        if isinstance(span, Choice) and value not in span.values:
            raise ConjoinError(f"{name}.{key}", f"{value!r}", f"give one of {list(span.values)}")


def fits(value: Any, hint: Any) -> bool:
    """Whether a value is of an annotated type, as far as plain types can tell.

    Whole floats pass for integers, since files of settings write them so.

    >>> fits(3, float), fits("x", float), fits(None, float | None), fits(True, int)
    (True, False, True, False)
    """
    if typing.get_origin(hint) is typing.Annotated:
        return fits(value, typing.get_args(hint)[0])
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return any(fits(value, one) for one in typing.get_args(hint))
    if hint is bool:
        return isinstance(value, bool)
    if hint in (int, float):
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            return False
        whole = isinstance(value, numbers.Integral) or float(value).is_integer()
        return hint is float or whole
    if hint is type(None):
        return value is None
    if hint is str:
        return isinstance(value, str)
    return True  # classes, sequences and literals are looked at by whoever takes them


def _wanted(hint: Any) -> str:
    if typing.get_origin(hint) is typing.Annotated:
        return _wanted(typing.get_args(hint)[0])
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return " or ".join(_wanted(one) for one in typing.get_args(hint) if one is not type(None))
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
    return words.get(hint, "another value")


#: Rows that :func:`add` gave to this process.
_added: list[Row] = []


def add(row: Row) -> None:
    """Let a method of your own stand among the others for the rest of this process.

    Every driver then sees it: choosing, comparing, claims. To stay, a row is written in its room.

    Parameters
    ----------
    row : its ``target`` names a module that can be imported.

    Raises
    ------
    ConjoinError : a row of that kind and name is there already; its engine cannot be imported.
    """
    if row.name in of_kind(row.kind):
        raise ConjoinError(f"catalogue {row.kind}", f"{row.name} twice", "rename one of them")
    try:
        row.load()
    except (ImportError, AttributeError) as error:
        raise ConjoinError(
            f"row {row.name}", str(error), "name its engine as module:class, on Python's path"
        ) from None
    _added.append(row)
    rows.cache_clear()


@cache
def rows() -> tuple[Row, ...]:
    """Every row of every room, in reading order, and after them what was added.

    Raises
    ------
    ConjoinError : two rows of one kind share a name.
    """
    found: list[Row] = []
    for room in ROOMS:
        found.extend(importlib.import_module(f"conjoin.{room}.rows").ROWS)
    found.extend(_added)
    seen: set[tuple[str, str]] = set()
    for row in found:
        if (row.kind, row.name) in seen:
            raise ConjoinError(f"catalogue {row.kind}", f"{row.name} twice", "rename one of them")
        seen.add((row.kind, row.name))
    return tuple(found)


def of_kind(kind: str) -> dict[str, Row]:
    """The rows of one kind by name."""
    if kind not in KINDS:
        raise ConjoinError("kind", f"{kind!r} is unknown", nearest(kind, KINDS))
    return {row.name: row for row in rows() if row.kind == kind}


def simple(kind: str, *, trained: bool = False) -> list[str]:
    """The baselines of a kind, simplest first: what stands beside every result.

    Parameters
    ----------
    trained : with those that are trained.

    Examples
    --------
    >>> simple("aligner")
    ['identity', 'mean-centering', 'ridge', 'procrustes', 'cca']
    """
    found = [row for row in of_kind(kind).values() if row.simple]
    return [row.name for row in found if trained or row.cost != "trained"]


def shortlist(kind: str) -> list[str]:
    """The methods of a kind that are tried where nothing else is asked for.

    Examples
    --------
    >>> "cca" in shortlist("aligner")
    True
    """
    return [row.name for row in of_kind(kind).values() if row.shortlist]


def find(kind: str, name: str) -> Row:
    """The row of that kind and name.

    Raises
    ------
    ConjoinError : there is none; near matches are named.
    """
    known = of_kind(kind)
    if not isinstance(name, str):
        raise ConjoinError(kind, f"is a {type(name).__name__}", "give the name of a method")
    if name not in known:
        raise ConjoinError(kind, f"{name!r} is unknown", nearest(name, known))
    return known[name]
