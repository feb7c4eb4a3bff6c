"""Move modules to other rooms and rewrite every import, dotted name and path that names them.

Reads ``rooms.txt`` beside it: a line holds an old and a new module, without the package's name.
Run it once, on a tree without changes; ``names.txt`` lists names that leave their module.
"""

import ast
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src"
PACKAGE = "conjoin"
TEXTS = {".py", ".md", ".toml", ".yml", ".yaml", ".json", ".in", ".html", ".js", ".cfg"}
#: Results name things that stood when they were made.
RECORDS = ("docs/claims.json", "docs/claims-before.json", "CHANGELOG.md")
#: What is no module and moves with those that read it.
DATA = {
    "binding/costs.json": "execution/costs.json",
    "doctor/precision.json": "quality/precision.json",
    "app/serve/page": "server/page",
}
IMPORT = re.compile(
    r"^(?P<lead>[ \t]*(?:>>> |\.\.\. )?)from (?P<module>conjoin[\w.]*) import "
    r"(?P<names>\([^)]*\)|[^\n(#]+)(?P<tail>[ \t]*(?:#[^\n]*)?)$",
    re.MULTILINE,
)


def read(name: str) -> list[list[str]]:
    """The words of each line that is no comment."""
    lines = Path(__file__).with_name(name).read_text(encoding="utf-8").splitlines()
    return [line.split() for line in lines if line and not line.startswith("#")]


def file_of(module: str) -> Path:
    """Where a module lies; a package's is its ``__init__.py``."""
    path = SOURCE / Path(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


class Moves:
    """Where each module and each name that leaves its module goes."""

    def __init__(self) -> None:
        self.modules = {f"{PACKAGE}.{old}": f"{PACKAGE}.{new}" for old, new in read("rooms.txt")}
        self.names = {
            (f"{PACKAGE}.{old}", name): f"{PACKAGE}.{new}"
            for old, new, *names in read("names.txt")
            for name in names
        }
        self.known = {
            ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")
            for path in (SOURCE / PACKAGE).rglob("*.py")
        }
        tails = sorted(self.modules, key=len, reverse=True)
        self.dotted = re.compile(r"(?<![\w.])(" + "|".join(map(re.escape, tails)) + r")(?![\w])")
        self.slashed = re.compile(
            r"(?<![\w])(" + "|".join(re.escape(t.replace(".", "/")) for t in tails) + r")(?![\w-])"
        )

    def module(self, old: str) -> str:
        """The new name of a module, or of the nearest package above it that moves."""
        return self.modules.get(old, old)

    def target(self, module: str, name: str) -> tuple[str, str]:
        """Module and name to import in place of ``from module import name``."""
        inner = f"{module}.{name}"
        if inner in self.known:
            room, _, last = self.module(inner).rpartition(".")
            return room, last
        return self.names.get((module, name), self.module(module)), name

    def statement(self, found: re.Match[str]) -> str:
        """One import statement as one or several."""
        inside = re.sub(r"#[^\n]*", "", found["names"].strip("()"))
        groups: dict[str, list[str]] = {}
        for part in filter(None, (piece.strip() for piece in inside.replace("\n", " ").split(","))):
            name, _, alias = (word.strip() for word in part.partition(" as "))
            room, new = self.target(found["module"], name)
            if alias:
                alias = "" if alias == new != name else alias
            elif new != name:
                alias = name
            groups.setdefault(room, []).append(f"{new} as {alias}" if alias else new)
        lead = found["lead"]
        lines = [
            f"{lead}from {room} import {_listed(names, lead)}" for room, names in groups.items()
        ]
        return "\n".join(lines) + found["tail"]

    def rewrite(self, text: str) -> str:
        """A file's text with every name of a module as it is after the moves."""
        for name, room in re.findall(r'^(_[A-Z]+) = "(conjoin(?:\.\w+)+)"$', text, re.M):
            # Engines are named whole: what shared a room no longer does.
            text = re.sub(rf'f"\{{{name}\}}\.(\w+)', lambda m, r=room: f'"{r}.{m[1]}', text)
            if f'f"{{{name}}}.{{engine}}"' in text:
                text = text.replace(f'f"{{{name}}}.{{engine}}"', "engine")
                text = re.sub(r'"(\w+):([A-Z]\w+)"', lambda m, r=room: f'"{r}.{m[1]}:{m[2]}"', text)
        kept: list[str] = []

        def hold(found: re.Match[str]) -> str:
            kept.append(self.statement(found))
            return f"\0{len(kept) - 1}\0"

        text = IMPORT.sub(hold, text)
        text = self.dotted.sub(lambda found: self.module(found[1]), text)
        text = self.slashed.sub(
            lambda found: self.module(found[1].replace("/", ".")).replace(".", "/"), text
        )
        for old, new in DATA.items():
            text = text.replace(f"{PACKAGE}/{old}", f"{PACKAGE}/{new}")
        return re.sub(r"\0(\d+)\0", lambda found: kept[int(found[1])], text)


def _listed(names: list[str], lead: str) -> str:
    """Names of an import, in brackets where a docstring's prompt does not forbid it."""
    line = ", ".join(names)
    return f"({line})" if len(line) > 60 and ">>>" not in lead and "..." not in lead else line


def texts() -> Iterable[Path]:
    """Every file under version control that may name a module."""
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    for name in listed.splitlines():
        path = ROOT / name
        if path.suffix in TEXTS and name not in RECORDS and not name.startswith("scripts/"):
            yield path
    yield ROOT / "scripts" / "make_docs.py"


def move(moves: Moves) -> None:
    """Move files, in two steps so that two may change places, with what lies beside them."""
    planned = {old: new for old, new in moves.modules.items() if old in moves.known}
    held = []
    for old, new in planned.items():
        source = file_of(old)
        last = "__init__.py" if source.name == "__init__.py" else f"{new.rpartition('.')[2]}.py"
        stem = Path(*new.split("."))
        target = SOURCE / (stem / last if last == "__init__.py" else stem.with_suffix(".py"))
        if any(other.startswith(f"{new}.") for other in moves.modules.values()):
            target = SOURCE / stem / "__init__.py"
        beside = source.with_name(f"{source.name}.moving")
        subprocess.run(["git", "mv", str(source), str(beside)], cwd=ROOT, check=True)
        held.append((beside, target))
    for beside, target in held:
        target.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["git", "mv", str(beside), str(target)], cwd=ROOT, check=True)
    for old, new in DATA.items():
        (SOURCE / PACKAGE / new).parent.mkdir(parents=True, exist_ok=True)
        source, target = SOURCE / PACKAGE / old, SOURCE / PACKAGE / new
        subprocess.run(["git", "mv", str(source), str(target)], cwd=ROOT, check=True)
    for line in read("packages.txt"):
        path = SOURCE / PACKAGE / Path(*line[0].split(".")) / "__init__.py"
        if not path.exists() or (path.stat().st_size < 80 and "import" not in path.read_text()):
            path.write_text(f'"""{" ".join(line[1:])}"""\n', encoding="utf-8")
    for folder in sorted((SOURCE / PACKAGE).rglob("*"), reverse=True):
        if folder.is_dir() and {p.name for p in folder.iterdir()} <= {"__pycache__"}:
            shutil.rmtree(folder)


def renamed(text: str) -> str:
    """Call modules by their new names where nothing else in the file is called so."""
    for room, new, old in re.findall(r"^ *from (conjoin[\w.]*) import (\w+) as (\w+)$", text, re.M):
        if new == old or not file_of(f"{room}.{new}").exists():
            continue
        bare = re.sub(rf"^ *from [\w.]+ import {new} as {old}$", "", text, flags=re.M)
        taken = re.search(rf"(?<![\w.]){new}(?!\w)", bare)
        other = re.search(rf"(?<![\w.\"'/]){old}(?![\w.\"'/])", _code(bare))
        if not taken and not other:
            text = re.sub(rf"^( *from [\w.]+ import {new}) as {old}$", r"\1", text, flags=re.M)
            text = re.sub(rf"(?<![\w.\"'/]){old}(?=\.\w)", new, text)
    return text


def _code(text: str) -> str:
    """The text without docstrings and comments."""
    text = re.sub(r"\"\"\".*?\"\"\"", "", text, flags=re.S)
    return re.sub(r"#[^\n]*", "", text)


def cut(source: Path, target: Path, names: list[str], home: str) -> None:
    """Take definitions out of one file into another, with every import; ruff takes the rest.

    Parameters
    ----------
    home : the target's name, to import back what the old file goes on using.
    """
    lines = source.read_text(encoding="utf-8").splitlines(keepends=True)
    tree = ast.parse("".join(lines))
    imports = [n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)]
    head = "".join("".join(lines[n.lineno - 1 : n.end_lineno]) for n in imports)
    taken, spans = [], []
    for node in tree.body:
        if not set(_defined(node)) & set(names):
            continue
        start = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))]) - 1
        while lines[start - 1].startswith("#"):
            start -= 1
        taken.append("".join(lines[start : node.end_lineno]))
        spans.append((start, node.end_lineno))
    for start, end in reversed(spans):
        del lines[start:end]
    body = "\n\n\n".join(taken) + "\n"
    here = ".".join(source.relative_to(SOURCE).with_suffix("").parts)
    known = [name for node in tree.body for name in _defined(node) if name not in names]
    wanted = [n for n in known if re.search(rf"(?<![\w.]){re.escape(n)}(?!\w)", body)]
    head += f"from {here} import {_listed(wanted, '')}\n" if wanted else ""
    if target.exists():
        old = target.read_text(encoding="utf-8")
        at = _after_imports(old)
        whole = old[:at] + head + old[at:] + "\n\n" + body
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        whole = f'"""{home.rpartition(".")[2]}."""\n\n{head}\n\n{body}'
    own = rf"^from {re.escape(home)} import (\([^)]*\)|[^\n]*)\n"
    target.write_text(re.sub(own, "", whole, flags=re.M), encoding="utf-8")
    left = "".join(lines)
    used = [n for n in names if re.search(rf"(?<![\w.]){re.escape(n)}(?!\w)", left)]
    if used:
        at = _after_imports(left)
        left = left[:at] + f"from {home} import {_listed(used, '')}\n" + left[at:]
    source.write_text(left, encoding="utf-8")


def _defined(node: ast.stmt) -> list[str]:
    """Names that a statement of a module binds."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return [t.id for t in targets if isinstance(t, ast.Name)]


def _after_imports(text: str) -> int:
    """Where the last import of a module ends, or its docstring where it has none."""
    tree = ast.parse(text)
    at = [n.end_lineno for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)]
    line = at[-1] if at else (tree.body[0].end_lineno if tree.body else 0)
    return len("".join(text.splitlines(keepends=True)[: line or 0]))


def main() -> None:
    """Rewrite, move, and cut out what leaves its module."""
    moves = Moves()
    for path in texts():
        before = path.read_text(encoding="utf-8")
        after = moves.rewrite(before)
        if after != before:
            path.write_text(after, encoding="utf-8")
    move(moves)
    for old, new, *names in read("names.txt"):
        source = file_of(moves.module(f"{PACKAGE}.{old}"))
        if source.name != "__init__.py":
            target = file_of(f"{PACKAGE}.{new}")
            cut(source, target, names, f"{PACKAGE}.{new}")
    for path in (path for path in texts() if path.suffix == ".py" and path.exists()):
        before = path.read_text(encoding="utf-8")
        path.write_text(renamed(before), encoding="utf-8")


if __name__ == "__main__":
    main()
