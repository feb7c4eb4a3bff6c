"""LaserTagger's predictions: tab-separated ``source``, ``prediction`` and one or more ``targets``.

Layout read in ``score_main.py`` and ``score_lib.py`` of github.com/google-research/lasertagger,
with which sentence fusion (DiscoFuse), splitting and simplification are scored. There is no header.
A folder holds one file for each system; sources and targets are the same in all. That code scores
deletions in SARI by F1, ours by precision, as the paper of SARI does.
"""

from collections.abc import Iterator
from pathlib import Path

from conjoin.errors import ConjoinError
from conjoin.evaluation.formats.base import Generate, lines_of
from conjoin.storage.files import atomic


class TextEditing:
    """Texts that systems rewrote, beside what they were made from and what they should be."""

    title = "LaserTagger's predictions"
    looks_for = "*.tsv of source, prediction, targets"

    def recognises(self, path: Path) -> bool:
        """A folder with tab-separated files of three columns or more."""
        for file in _files(path):
            with file.open(encoding="utf-8", errors="replace") as lines:
                if next(lines, "").count("\t") >= 2:
                    return True
        return False

    def open(self, path: Path, split: str = "test") -> Generate:
        """Every system of a folder; items are numbered by their line.

        Raises
        ------
        ConjoinError : a line has fewer columns, or files differ in sources or targets.
        """
        sources: dict[str, str] = {}
        targets: dict[str, tuple[str, ...]] = {}
        outputs: dict[str, dict[str, str]] = {}
        for file in _files(path):
            own = outputs.setdefault(file.stem, {})
            for number, where, (source, text, *wanted) in _lines(file):
                if sources.setdefault(number, source) != source or (
                    targets.setdefault(number, tuple(wanted)) != tuple(wanted)
                ):
                    first = next(iter(outputs))
                    raise ConjoinError(where, f"has another source or target than {first}.tsv",
                                       "score the same lines in the same order")  # fmt: skip
                own[number] = text
            if len(own) < len(sources):
                raise ConjoinError(str(file), f"{len(own)} lines of {len(sources)}", "give all")
        if not sources:
            raise ConjoinError(str(path), "holds no predictions", f"give {self.looks_for}")
        return Generate(path.name, targets, outputs, sources=sources)

    def write(self, task: Generate, path: Path) -> None:
        """Write a file for each system.

        Raises
        ------
        ConjoinError : the task has no sources, or a text holds a tab or a line's end.
        """
        path.mkdir(parents=True, exist_ok=True)
        for name, texts in task.outputs.items():
            with atomic(path / f"{name}.tsv") as file:
                for item, targets in task.references.items():
                    cells = [task.sources.get(item, ""), texts.get(item, ""), *targets]
                    if not task.sources or any(set(cell) & set("\t\n\r") for cell in cells):
                        raise ConjoinError(f"item {item}", "has no source, or a tab in a text",
                                           "write another format")  # fmt: skip
                    file.write(("\t".join(cells) + "\n").encode())


def _files(path: Path) -> list[Path]:
    return sorted(f for f in path.glob("*.tsv") if f.is_file())


def _lines(file: Path) -> Iterator[tuple[str, str, list[str]]]:
    with lines_of(file, newline="\n") as lines:
        for number, line in enumerate(lines, 1):
            cells = line.rstrip("\r\n").split("\t")
            if len(cells) < 3:
                said = f"{len(cells)} columns"
                raise ConjoinError(f"{file}:{number}", said, "give source, prediction, targets")
            yield str(number), f"{file}:{number}", cells
