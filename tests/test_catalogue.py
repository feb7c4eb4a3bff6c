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
from conjoin.catalogue import KINDS, of_kind, ranges, rows
from conjoin.cli.actions.judge import methods as pages
from conjoin.errors import ConjoinError
from conjoin.report import bibliography

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted((ROOT / "src" / "conjoin").rglob("*.py"))
ROWS = rows()
OF_METHODS = [row for row in ROWS if KINDS[row.kind].is_method]
#: What is trained has no formula of its own: what it minimises is restated as a loss.
FORMULAS = [
    row for row in OF_METHODS
    if KINDS[row.kind].restated
    and not (row.kind in ("aligner", "head", "adaptation", "student") and row.cost == "trained")
]  # fmt: skip


def offenders(found, broken) -> list[str]:
    """A line for each row that breaks a rule; all are tried, so one failure lists them all.

    ``broken(row)`` gives what is wrong, or nothing; what it raises is wrong too.
    """
    lines = []
    for row in found:
        try:
            wrong = broken(row)
        except Exception as error:
            wrong = f"{type(error).__name__}: {error}"
        if wrong:
            lines.append(f"{row.kind}/{row.name}: {wrong}")
    return lines


def test_offenders_lists_every_row_that_breaks_a_rule():
    lost = dataclasses.replace(ROWS[0], target="conjoin.catalogue:Nobody")
    assert "Nobody" in offenders([lost, *ROWS[1:3]], lambda row: row.load() and None)[0]
    assert offenders(ROWS[:2], lambda row: "wrong") == [
        f"{row.kind}/{row.name}: wrong" for row in ROWS[:2]
    ]
    assert offenders(ROWS[:3], lambda row: None) == []


def test_every_row_loads():
    def broken(row):
        engine = row.load()
        if not callable(engine):
            return "its engine cannot be called"
        if not row.summary.endswith("."):
            return "its summary is no sentence; end it with a full stop"
        return None if engine.__doc__ else "its engine has no docstring"

    assert offenders(ROWS, broken) == []


def test_methods_are_frozen_dataclasses_that_their_settings_make():
    def broken(row):
        engine = row.load()
        if not (dataclasses.is_dataclass(engine) and engine.__dataclass_params__.frozen):
            return "no frozen dataclass"
        made = row.make()
        for name, span in ranges(engine).items():
            value = getattr(made, name)
            if isinstance(span, catalogue.Choice):
                if value not in span.values:
                    return f"{name}={value!r} is none of {span.values}"
            elif value is not None and not span.low <= value <= span.high:
                return f"{name}={value} is outside [{span.low}, {span.high}]"
        return None

    assert offenders(OF_METHODS, broken) == []


def test_methods_say_their_formula_and_their_fields():
    def broken(row):
        said = row.load().__doc__
        if row.kind != "metric" and "`" not in said:
            return "its docstring has no formula, as code"
        searched = set(ranges(row.load())) - set(row.settings)
        explained = {entry["name"] for entry in pages.fields_of(row) if entry["meaning"]}
        spoken = {name for name in searched if re.search(rf"\b{name}\b", said)}
        silent = searched - explained - spoken
        return f"its docstring says nothing of {sorted(silent)}" if silent else None

    assert offenders(OF_METHODS, broken) == []


def promise_of(row):
    """Metrics promise one of two things: to read a ranking, or to read vectors."""
    if row.kind == "metric" and row.target.startswith("conjoin.metrics.retrieval.scores:"):
        return "conjoin.metrics.retrieval.scores:Metric", ("per_query", "chance")
    return KINDS[row.kind].protocol, KINDS[row.kind].calls


def test_methods_take_what_their_kind_promises():
    def broken(row):
        place, calls = promise_of(row)
        module, _, name = place.partition(":")
        promise = getattr(importlib.import_module(module), name)
        for call in calls:
            wanted = list(inspect.signature(getattr(promise, call)).parameters)
            taken = list(inspect.signature(getattr(row.load(), call)).parameters)
            if row.kind == "head" and "weight" in taken:  # may weigh rows, as estimators ask
                taken.remove("weight")
            if taken != wanted:
                return f"{call}({', '.join(taken)}) should take ({', '.join(wanted)})"
        return None

    assert offenders(OF_METHODS, broken) == []


def test_every_row_has_a_page():
    def broken(row):
        page = pages.method_page(row)
        if not page.startswith(f"# {row.name}\n"):
            return "its page does not begin with its name"
        if pages.install_line(row) not in page:
            return "its page does not say how to install it"
        uncited = [key for key in row.papers if bibliography.cite(key) not in page]
        if uncited:
            return f"its page does not cite {uncited}"
        return None if pages.row_json(row)["name"] == row.name else "its JSON has another name"

    assert offenders(ROWS, broken) == []


def test_every_kind_has_its_laws():
    laws = ROOT / "tests" / "laws"
    kinds = [kind for kind in KINDS if of_kind(kind)]
    assert [
        kind for kind in kinds if not (laws / f"test_{kind.replace('-', '_')}_laws.py").exists()
    ] == []


@cache
def restatements() -> str:
    files = (ROOT / "tests" / "reference").glob("*.py")
    return "\n".join(path.read_text(encoding="utf-8") for path in files)


def test_engines_have_a_slow_reference():
    def broken(row):
        name = row.target.partition(":")[2]
        named = rf"\b{name}\b|{row.kind}\", \"{row.name}\""
        found = re.search(named, restatements())
        return None if found else f"write one for {name} in tests/reference/"

    assert offenders(FORMULAS, broken) == []


def test_sources_are_in_the_bibliography():
    def broken(row):
        parts = {"title", "author", "year"}
        poor = [key for key in row.papers if not parts <= bibliography.entry(key).keys()]
        return f"no title, author or year: {poor}" if poor else None

    assert offenders(ROWS, broken) == []


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
    row = dataclasses.replace(catalogue.find("aligner", "ridge"), name="guest-ridge", claims=())
    yield row
    catalogue._added.clear()
    catalogue.rows.cache_clear()


def test_a_row_of_ones_own_stands_among_the_others(guest):
    catalogue.add(guest)
    assert catalogue.find("aligner", "guest-ridge") is guest
    with pytest.raises(ConjoinError, match="guest-ridge twice"):
        catalogue.add(guest)


def test_a_row_whose_engine_is_not_there_is_refused(guest):
    with pytest.raises(ConjoinError, match=r"Nobody.*module:class"):
        catalogue.add(
            dataclasses.replace(guest, target="conjoin.alignment.closed_form.linear:Nobody")
        )
    assert "guest-ridge" not in catalogue.of_kind("aligner")


def test_a_misspelt_method_gets_near_matches():
    with pytest.raises(ConjoinError, match="did you mean procrustes"):
        pages.find_anywhere("procrusted", rows())
    assert pages.find_anywhere("aligner/cca", rows()).kind == "aligner"


# Sizes


@cache
def functions(path: Path) -> list[ast.FunctionDef]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_files_are_short():
    lines = {named(path): len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    assert {path: count for path, count in lines.items() if count > 600} == {}


def test_functions_are_short():
    assert [
        f"{named(path)}:{node.lineno} {node.name}"
        for path in SOURCES
        for node in functions(path)
        if node.end_lineno - node.lineno + 1 > 60
    ] == []


def passes_its_keywords_on(node: ast.FunctionDef) -> bool:
    if node.args.kwarg is None:
        return False
    calls = [call for call in ast.walk(node) if isinstance(call, ast.Call)]
    passed = [k.value for call in calls for k in call.keywords if k.arg is None]
    return node.args.kwarg.arg in [getattr(value, "id", "") for value in passed]


def test_no_keywords_are_passed_along():
    assert [
        f"{named(path)}:{node.lineno} {node.name}"
        for path in SOURCES
        for node in functions(path)
        if passes_its_keywords_on(node)
    ] == []


def test_annotations_stay_objects():
    late = "from __future__ import annotations"
    assert [named(path) for path in SOURCES if late in path.read_text(encoding="utf-8")] == []
