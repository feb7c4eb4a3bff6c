"""The house: no circle of modules, hidden imports included, and no crowded room."""

import ast
from collections.abc import Iterable, Mapping
from pathlib import Path

import conjoin

ROOT = Path(conjoin.__file__).parent
#: Files of one folder before it needs folders of its own.
MOST = 15


def modules(root: Path) -> dict[str, Path]:
    """Every module of a package by its dotted name."""
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(name: str, tree: ast.AST, known: Iterable[str]) -> set[str]:
    """Modules of ``known`` that a file imports, wherever it does: in functions and for types too.

    ``from a import b`` is an import of ``a.b`` where that is a module, else of ``a``.
    """
    package = name.split(".")[0]
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.split(".")[0] == package}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name}:{node.lineno}: write the whole name of the module"
            if (node.module or "").split(".")[0] == package:
                inner = {f"{node.module}.{alias.name}" for alias in node.names}
                found |= {one if one in known else str(node.module) for one in inner}
    return found - {name}


def graph(root: Path) -> dict[str, set[str]]:
    """By module, the modules of the same package it imports."""
    known = modules(root)
    return {name: imported(name, ast.parse(path.read_text()), known)
            for name, path in known.items()}  # fmt: skip


def circles(edges: Mapping[str, set[str]]) -> list[list[str]]:
    """Groups of modules that import one another, by Tarjan's strongly connected components."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(at: str) -> None:
        order[at] = low[at] = len(order)
        stack.append(at)
        for to in sorted(edges.get(at, ())):
            if to not in order:
                visit(to)
            if to in stack:
                low[at] = min(low[at], low[to])
        if low[at] == order[at]:
            group = stack[stack.index(at) :]
            del stack[stack.index(at) :]
            if len(group) > 1:
                found.append(sorted(group))

    for name in sorted(edges):
        if name not in order:
            visit(name)
    return found


def test_no_circle_of_modules():
    found = circles(graph(ROOT))
    assert not found, "modules import one another: " + "; ".join(map(", ".join, found))


def test_hidden_imports_count(tmp_path):
    room = tmp_path / "house"
    (room / "inner").mkdir(parents=True)
    for name, text in {
        "__init__": "", "inner/__init__": "",
        "a": "def work():\n    from house import b\n",
        "b": "import typing\nif typing.TYPE_CHECKING:\n    from house.inner.c import X\n",
        "inner/c": "import house.a\nX = 1\n",
        "d": "from house.a import work\n",
    }.items():  # fmt: skip
        (room / f"{name}.py").write_text(text)
    assert circles(graph(room)) == [["house.a", "house.b", "house.inner.c"]]
    (room / "inner/c.py").write_text("X = 1\n")
    assert circles(graph(room)) == []


def test_no_folder_is_crowded():
    folders = {path.parent for path in ROOT.rglob("*.py")}
    counts = {
        str(folder.relative_to(ROOT.parent)): sum(
            path.name != "__init__.py" for path in folder.glob("*.py")
        )
        for folder in folders
    }
    crowded = {name: count for name, count in counts.items() if count > MOST}
    assert not crowded, f"over {MOST} files, make folders by what they do: {crowded}"


def test_no_private_name_is_imported():
    found = [
        f"{name}:{node.lineno} {alias.name}"
        for name, path in modules(ROOT).items()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("conjoin")
        for alias in node.names
        if alias.name.startswith("_") and not alias.name.startswith("__")
    ]
    assert not found, f"make these names public, or move them: {found}"
