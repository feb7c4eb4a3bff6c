"""What every catalogue row and every file of the package keeps."""

import ast
import dataclasses
import importlib
import inspect
import re
import tomllib
from functools import cache
from pathlib import Path

import pytest

from conjoin import catalogue
from conjoin.app import pages
from conjoin.catalogue import KINDS, of_kind, ranges, rows
from conjoin.errors import ConjoinError
from conjoin.report import bibliography

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted((ROOT / "src" / "conjoin").rglob("*.py"))
#: Kinds whose rows are methods with hyper-parameters; maps are fitted values, encoders are opened.
METHODS = (
    "objective",
    "augmentation",
    "measure",
    "binder",
    "correction",
    "head",
    "student",
    "fusion",
    "mixer",
    "composer",
    "aggregation",
    "sparse",
    "detector",
    "curation",
    "storage",
    "cutoff",
    "suggester",
)
#: Kinds whose engines are compared with a slow restatement of their formula.
RESTATED = (
    "objective", "measure", "binder", "correction", "head", "student", "fusion",
    "mixer", "composer", "aggregation", "sparse", "detector", "curation", "storage", "cutoff",
    "suggester",
)  # fmt: skip


def each(found):
    return pytest.mark.parametrize("row", found, ids=lambda row: f"{row.kind}/{row.name}")


each_row = each(rows())
each_method = each([row for row in rows() if row.kind in METHODS])
#: What is trained has no formula of its own: what it minimises is restated as an objective.
each_formula = each([
    row for row in rows()
    if row.kind in RESTATED
    and not (row.kind in ("binder", "head", "student") and row.cost == "trained")
])  # fmt: skip
each_file = pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))


@each_row
def test_a_row_loads(row):
    engine = row.load()
    assert callable(engine)
    assert row.summary.endswith(".")
    assert engine.__doc__, "an engine says what it does"


@each_method
def test_a_method_is_a_frozen_dataclass_that_its_settings_make(row):
    engine = row.load()
    assert dataclasses.is_dataclass(engine)
    assert engine.__dataclass_params__.frozen
    made = row.make()
    for name, span in ranges(engine).items():
        value = getattr(made, name)
        if isinstance(span, catalogue.Choice):
            assert value in span.values
        elif value is not None:
            assert span.low <= value <= span.high


@each_method
def test_a_method_says_its_formula_and_its_fields(row):
    said = row.load().__doc__
    assert row.kind == "measure" or "`" in said, "the formula, as code"
    searched = set(ranges(row.load())) - set(row.settings)
    explained = {entry["name"] for entry in pages.fields_of(row) if entry["meaning"]}
    spoken = {name for name in searched if re.search(rf"\b{name}\b", said)}
    assert searched <= explained | spoken


#: Where the promise of each kind is written, and the calls it names.
PROMISES = {
    "binder": ("conjoin.maps.base:Binder", ("fit",)),
    "objective": ("conjoin.objectives.base:Objective", ("init", "__call__")),
    "augmentation": ("conjoin.objectives.augment:Augmentation", ("__call__",)),
    "correction": ("conjoin.search.correction:Corrector", ("fit", "extend")),
    "fusion": ("conjoin.fusion.fused:Fusion", ("fit",)),
    "detector": ("conjoin.doctor.detectors:Detector", ("__call__",)),
    "curation": ("conjoin.doctor.curation:Curation", ("keep",)),
    "measure": ("conjoin.measures.retrieval:Metric", ("per_query", "chance")),
    "head": ("conjoin.transfer.base:Head", ("fit",)),
    "student": ("conjoin.transfer.base:Student", ("fit",)),
    "mixer": ("conjoin.search.mixers:Mixer", ("mix",)),
    "composer": ("conjoin.search.composed:Composer", ("fit", "restore")),
    "aggregation": ("conjoin.search.aggregate:Aggregation", ("fit", "queries", "items", "scores")),
    "sparse": ("conjoin.search.sparse:Sparse", ("fit",)),
    "storage": ("conjoin.search.shelves:Shelving", ("find",)),
    "cutoff": ("conjoin.search.cutting:Cutter", ("choose",)),
    "suggester": ("conjoin.search.suggest:Suggester", ("words",)),
}


def promise_of(row):
    """Measures promise one of two things: to read a ranking, or to read vectors."""
    if row.kind == "measure" and not row.target.startswith("conjoin.measures.retrieval:"):
        return "conjoin.measures.geometry:Geometry", ("__call__",)
    return PROMISES[row.kind]


@each_method
def test_a_method_takes_what_its_kind_promises(row):
    place, calls = promise_of(row)
    module, _, name = place.partition(":")
    promise = getattr(importlib.import_module(module), name)
    for call in calls:
        wanted = list(inspect.signature(getattr(promise, call)).parameters)
        taken = list(inspect.signature(getattr(row.load(), call)).parameters)
        if row.kind == "head" and "weight" in taken:  # may weigh rows, as estimators ask
            taken.remove("weight")
        assert taken == wanted, f"{row.load().__name__}.{call}"


@each_row
def test_a_page_is_made(row):
    page = pages.method_page(row)
    assert page.startswith(f"# {row.name}\n")
    assert pages.install_line(row) in page
    for key in row.papers:
        assert bibliography.cite(key) in page
    assert pages.row_json(row)["name"] == row.name


@pytest.mark.parametrize("kind", [kind for kind in KINDS if of_kind(kind)])
def test_every_kind_has_its_laws(kind):
    assert (ROOT / "tests" / "laws" / f"test_{kind}_laws.py").exists()


@cache
def restatements() -> str:
    files = (ROOT / "tests" / "reference").glob("*.py")
    return "\n".join(path.read_text(encoding="utf-8") for path in files)


@each_formula
def test_an_engine_has_a_slow_reference(row):
    name = row.target.partition(":")[2]
    named = rf"\b{name}\b|{row.kind}\", \"{row.name}\""
    assert re.search(named, restatements()), f"write one for {name} in tests/reference/"


@each_row
def test_its_sources_are_in_the_bibliography(row):
    for key in row.papers:
        assert {"title", "author", "year"} <= bibliography.entry(key).keys()


def test_every_source_is_used():
    used = {key for row in rows() for key in row.papers}
    assert set(bibliography.papers()) - used == set()


def test_every_extra_exists():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = set(project["optional-dependencies"])
    assert {row.extra for row in rows() if row.extra} <= extras


def test_extras_that_the_code_names_exist():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = set()
    for path in SOURCES:
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "optional":
                named |= {a.value for a in call.args[1:] if isinstance(a, ast.Constant)}
    assert named <= set(project["optional-dependencies"])


def test_a_broken_bibliography_is_refused_by_line():
    for text, said in (
        ("@book{a, title={x}", "braces|no end"),
        ("nonsense", ":1"),
        ("@book{a, title={x}}\n@book{a, title={y}}", "papers.bib:2.*twice"),
        ("@book{a, title={x {y}}", "never closed|no end"),
    ):
        with pytest.raises(ConjoinError, match=said):
            bibliography.parse(text)
    with pytest.raises(ConjoinError, match=r"hotelling1936.*did you mean"):
        bibliography.cite("hotelling1936ca")


def test_accents_and_lists_of_authors_are_read():
    text = r"@misc{a, author={Sch{\"u}tze, H. and {\'A}l, B. and \v{S}ik, C. and D, E}, year={1}}"
    found = bibliography.parse(text)["a"]
    assert found["author"].startswith("Schütze, H. and Ál, B. and Šik")
    assert bibliography.authors(found["author"]) == "Schütze et al."
    assert bibliography.authors("A, B and C, D") == "A and C"


@pytest.fixture
def guest():
    row = dataclasses.replace(catalogue.find("binder", "ridge"), name="guest-ridge", claims=())
    yield row
    catalogue._added.clear()
    catalogue.rows.cache_clear()


def test_a_row_of_ones_own_stands_among_the_others(guest):
    catalogue.add(guest)
    assert catalogue.find("binder", "guest-ridge") is guest
    with pytest.raises(ConjoinError, match="guest-ridge twice"):
        catalogue.add(guest)


def test_a_row_whose_engine_is_not_there_is_refused(guest):
    with pytest.raises(ConjoinError, match=r"Nobody.*module:class"):
        catalogue.add(dataclasses.replace(guest, target="conjoin.maps.linear:Nobody"))
    assert "guest-ridge" not in catalogue.of_kind("binder")


def test_a_misspelt_method_gets_near_matches():
    with pytest.raises(ConjoinError, match="did you mean procrustes"):
        pages.find_anywhere("procrusted", rows())
    assert pages.find_anywhere("binder/cca", rows()).kind == "binder"


# Sizes


@cache
def functions(path: Path) -> list[ast.FunctionDef]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


@each_file
def test_a_file_is_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 600


@each_file
def test_functions_are_short(path):
    for node in functions(path):
        assert node.end_lineno - node.lineno + 1 <= 60, node.name


@each_file
def test_functions_take_few_parameters(path):
    if path.name.startswith("cli"):
        pytest.skip("a command's parameters are the options it offers, each typed by a person")
    for node in functions(path):
        every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        named = [a.arg for a in every if a.arg not in ("self", "cls", "ctx")]
        assert len(named) <= 8, node.name


@each_file
def test_no_keywords_are_passed_along(path):
    for node in functions(path):
        if node.args.kwarg is None:
            continue
        own = node.args.kwarg.arg
        for call in ast.walk(node):
            if isinstance(call, ast.Call):
                passed = [k.value for k in call.keywords if k.arg is None]
                assert own not in [getattr(v, "id", "") for v in passed], node.name


@each_file
def test_annotations_stay_objects(path):
    assert "from __future__ import annotations" not in path.read_text(encoding="utf-8")
