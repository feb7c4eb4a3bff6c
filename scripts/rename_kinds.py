"""Rename the kinds of methods and two baselines to the field's words, once.

Run from the root of a checkout; a second run changes nothing. Code, tests, benchmarks, hand-written
pages and the committed results of claims are rewritten in place. What was stored under the old
words stays readable: ``conjoin/storage/renamed.py`` keeps the table. Committed results can come
from a run of older code, so ``--claims`` rewrites those alone.
"""

import argparse
import io
import json
import re
import subprocess
import tokenize
from pathlib import Path
from typing import Any

from conjoin.storage.files import write_json

ROOT = Path(__file__).resolve().parents[1]
KINDS = {
    "objective": "loss",
    "measure": "metric",
    "binder": "aligner",
    "mixer": "score-fusion",
    "composer": "query-composition",
    "storage": "vector-codec",
    "cutoff": "list-truncation",
    "suggester": "query-suggestion",
    "sparse": "sparse-encoder",
    "aggregation": "multi-vector",
}
METHODS = {"nothing": "identity", "centring": "mean-centering"}
CLASSES = {
    "Nothing": "Identity",
    "Centring": "MeanCentering",
    "Binder": "Aligner",
    "Objective": "Loss",
    "Mixer": "ScoreFusion",
    "Composer": "QueryComposition",
    "Suggester": "QuerySuggestion",
    "Sparse": "SparseEncoder",
    "Aggregation": "MultiVector",
}
NAMES = {
    "binder": "aligner",
    "binders": "aligners",
    "_binder": "_aligner",
    "each_binder": "each_aligner",
    "BINDER": "ALIGNER",
    "BINDERS": "ALIGNERS",
    **CLASSES,
}
#: Where a kind's word stands alone as a string and means the kind, ``find("objective", …)`` aside.
OF_KINDS = (
    "src/conjoin/catalogue.py",
    "src/conjoin/cli/actions/judge/methods.py",
    "src/conjoin/claims/keys.py",
    "tests/test_catalogue.py",
    "src/conjoin/retrieval/rows/",
    "src/conjoin/losses/rows.py",
    "src/conjoin/metrics/",
)
#: Not the kind but the setting, the option or the family of that word.
NOT_KINDS = ("src/conjoin/metrics/base.py",)
#: Where ``nothing`` is a word, the arm of an upgrade that changes nothing, or a setting.
NOT_METHODS = (
    "src/conjoin/server/", "src/conjoin/report/curve.py", "src/conjoin/items/split.py",
    "src/conjoin/alignment/closed_form/whitening.py", "src/conjoin/fusion/missing.py",
    "src/conjoin/retrieval/hits.py", "src/conjoin/retrieval/calibration/reliability.py",
    "src/conjoin/project/search/index.py", "src/conjoin/upgrade/plan.py",
    "src/conjoin/cli/actions/keep/upgrade.py", "src/conjoin/cli/actions/find/index.py",
    "src/conjoin/cli/core.py", "tests/test_upgrade.py", "tests/test_upgrade_guards.py",
    "tests/test_search.py", "tests/test_serve.py", "tests/test_serve_page.py", "tests/test_web.py",
    "tests/reference/test_closed_form_reference.py", "benchmarks/imports.py",
    "benchmarks/relevance.py",
)  # fmt: skip
#: Lines of other files of which the same holds.
NOT_METHODS_LINE = re.compile(
    r'"then": "nothing"|arm = "nothing"|swaps|"nothing": \{\}|fitted\.arm == |'
    r'Arm\("nothing", 0\.5|\("nothing", "nothing", \{\}|\("centring", "centring", \{\}'
)
#: Frames keep the word they were minted with, in ``Frame.mint`` and in their ids.
MINTED = re.compile(r'Frame\.mint\("binder"|``binder`` or ``given``|binder-')
SKIPPED = {
    "scripts/rename_kinds.py", "src/conjoin/storage/renamed.py", "scripts/move_rooms.py",
    "tests/test_renamed.py", "CHANGELOG.md", "README.md",
}  # fmt: skip
GENERATED = ("docs/methods/", "docs/claims.md", "docs/claims-gallery.md", "docs/bibliography.md")
CALLED = re.compile(
    r'((?:find|of_kind|shortlist|Row)\(\s*|"--kind", |kind(?:: \w+)? ?==? ?|'
    r"judges: ClassVar\[str\] = )"
    r'"(' + "|".join(KINDS) + r')"'
)


def code(path: Path, text: str) -> str:
    """A Python file with its names, kinds and prose renamed; the layout stays."""
    name = path.relative_to(ROOT).as_posix()
    text = CALLED.sub(lambda m: f'{m[1]}"{KINDS[m[2]]}"', text)
    lines = text.splitlines(keepends=True)
    found: list[tuple[int, int, int, str]] = []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        (row, start), (last, end) = token.start, token.end
        if row == last and token.type in (tokenize.NAME, tokenize.STRING):
            found.append((row - 1, start, end, _renamed(name, token, lines[row - 1])))
    for row, start, end, new in sorted(found, reverse=True):
        lines[row] = lines[row][:start] + new + lines[row][end:]
    text = "".join(_prose(line) for line in lines)
    if name.startswith(("src/conjoin/claims/", "src/conjoin/evaluation/arms.py")):
        text = text.replace("``nothing``", "``identity``")
    return text


def _renamed(name: str, token: tokenize.TokenInfo, line: str) -> str:
    """One name or string, under the word it has from now on."""
    if token.type == tokenize.NAME:
        return NAMES.get(token.string, token.string)
    word = token.string[1:-1]
    if token.string != f'"{word}"':
        return token.string
    if word in CLASSES:
        return f'"{CLASSES[word]}"'
    if word in KINDS and _is_kind(name, line, word):
        return f'"{KINDS[word]}"'
    if word in METHODS and _is_method(name, line):
        return f'"{METHODS[word]}"'
    return token.string


def _is_kind(name: str, line: str, word: str) -> bool:
    if name in NOT_KINDS or ("family=" in line and line.count(f'"{word}"') == 1):
        return False
    return name.startswith(OF_KINDS)


def _is_method(name: str, line: str) -> bool:
    return not name.startswith(NOT_METHODS) and not NOT_METHODS_LINE.search(line)


def _prose(line: str) -> str:
    """Comments, docstrings and messages: what binds views is an aligner."""
    if MINTED.search(line):
        return line
    line = re.sub(r"\b([Aa]) ([`*]*)binder\b", r"\1n \2aligner", line)
    line = re.sub(r"\bbinder(s?)\b", r"aligner\1", line)
    line = re.sub(r"\bBinder(s?)\b", r"Aligner\1", line)
    engines = "|".join(CLASSES)
    line = re.sub(rf"(?<=[a-z:`/._])({engines})(?=[`\"])", lambda m: CLASSES[m[1]], line)
    line = line.replace('("centring", "centring"', '("centered", "mean-centering"')  # groups' order
    line = line.replace('("nothing", "nothing", {}', '("identity", "identity", {}')
    line = line.replace('(self.kind, "aligner", "measure")', '(self.kind, "aligner", "metric")')
    line = line.replace('among = ["nothing"', 'among = ["identity"')
    return re.sub(r"\b(mean-)?centring\b", "mean-centering", line)


def page(text: str) -> str:
    """A page of the documentation."""
    kept = []
    for line in text.splitlines(keepends=True):
        if line.startswith("| `nothing` | nothing"):  # the arm of an upgrade
            kept.append(line)
            continue
        line = re.sub(r"methods/(\w+)\.md", lambda m: f"methods/{KINDS.get(m[1], m[1])}.md", line)
        line = re.sub(r"of kind `(\w+)`", lambda m: f"of kind `{KINDS.get(m[1], m[1])}`", line)
        line = re.sub(r"^\| (\w+)(?= \||s? of )", lambda m: f"| {KINDS.get(m[1], m[1])}", line)
        if line.startswith("The kinds are "):
            line = re.sub(r"`(\w+)`", lambda m: f"`{KINDS.get(m[1], m[1])}`", line)
        line = re.sub(r"`(nothing|centring)`", lambda m: f"`{METHODS[m[1]]}`", line)
        line = re.sub(r'(baseline=|Choice\.of\(|method = )"(nothing|centring)"',
                      lambda m: f'{m[1]}"{METHODS[m[2]]}"', line)  # fmt: skip
        kept.append(_prose(line))
    return "".join(kept)


def facts(value: Any) -> Any:
    """Results of claims: kinds, arms and conditions; keys of scores stay."""
    if isinstance(value, list):
        return [facts(each) for each in value]
    if not isinstance(value, dict):
        return value
    made = {}
    for name, own in value.items():
        if name == "kind" and isinstance(own, str):
            own = KINDS.get(own, own)
        elif name in ("arm", "baseline", "method", "aligner", "binder") and isinstance(own, str):
            head, plus, rest = own.partition("+")
            own = METHODS.get(head, head) + plus + rest
        elif name == "why" and isinstance(own, str):
            own = re.sub(r"^(nothing|centring)(?= has not run|: )", lambda m: METHODS[m[1]], own)
        made["aligner" if name == "binder" else name] = facts(own)
    return made


def claims() -> None:
    """Rewrite the committed results."""
    for name in ("claims.json", "claims-before.json"):
        path = ROOT / "docs" / name
        old = json.loads(path.read_text(encoding="utf-8"))
        made = facts(old)
        if made != old:
            made.pop("digest", None)
            write_json(path, made)


def files() -> None:
    """Move the laws and the pages of the kinds."""
    for old, new in KINDS.items():
        for folder, was, name in (
            ("tests/laws", f"test_{old}_laws.py", f"test_{new.replace('-', '_')}_laws.py"),
            ("docs/methods", f"{old}.md", f"{new}.md"),
        ):
            place = ROOT / folder / was
            if place.exists():
                subprocess.run(["git", "mv", place, place.with_name(name)], check=True, cwd=ROOT)


def rewritten(path: Path, name: str) -> str | None:
    """What a file holds from now on; ``None`` where this leaves it alone."""
    if path.suffix not in (".py", ".md", ".yml", ".txt"):
        return None
    text = path.read_text(encoding="utf-8")
    if name.endswith(".py"):
        return code(path, text)
    if name == "mkdocs.yml" or name.endswith(".md"):
        return page(text)
    if name == "tests/skips.txt":
        for old, word in KINDS.items():
            text = text.replace(f"test_{old}_laws", f"test_{word.replace('-', '_')}_laws")
        return text
    return None


def main() -> None:
    """Rename everywhere."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--claims", action="store_true", help="the results of claims alone")
    only = parser.parse_args().claims
    claims()
    if only:
        return
    files()
    listed = subprocess.run(
        ["git", "ls-files"], check=True, capture_output=True, text=True, cwd=ROOT
    ).stdout.split()
    for name in listed:
        path = ROOT / name
        if name in SKIPPED or name.startswith(GENERATED) or not path.exists():
            continue
        new = rewritten(path, name)
        if new is not None and new != path.read_text(encoding="utf-8"):
            path.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
