"""TREC: judgements ``qid iter docno rel`` and runs ``qid Q0 docno rank sim run``.

Layout read in ``get_qrels.c`` and ``get_trec_results.c`` of github.com/usnistgov/trec_eval: fields
are set apart by white space, ``iter``, ``Q0`` and ``rank`` are ignored, a line that begins with
``#`` is a comment. A folder holds one file of judgements (``qrels*`` or ``*.qrels``) and runs
(``run*``, ``results*``, ``*.run``), as the test files there are named.
"""

from collections.abc import Iterator
from pathlib import Path

from conjoin.errors import ConjoinError
from conjoin.evaluation.formats.base import Rank, grade, lines_of
from conjoin.storage.files import atomic


class Trec:
    """Judgements and runs; nothing is embedded, the runs are scored."""

    title = "TREC qrels and runs"
    looks_for = "one qrels* file, run* or results* files"

    def recognises(self, path: Path) -> bool:
        """A folder with a file of judgements of that name."""
        return path.is_dir() and bool(_files(path, ("qrels*", "*.qrels")))

    def open(self, path: Path, split: str = "test") -> Rank:
        """The judgements of a folder and every run beside them."""
        judged = _files(path, ("qrels*", "*.qrels"))
        if len(judged) != 1:
            said = ", ".join(each.name for each in judged) or "none"
            raise ConjoinError(str(path), f"files of judgements: {said}", "keep one qrels file")
        relevance: dict[str, dict[str, int]] = {}
        for where, cells in _rows(judged[0], 4, "qid iter docno rel"):
            relevance.setdefault(cells[0], {})[cells[2]] = grade(where, cells[3])
        runs: dict[str, dict[str, dict[str, float]]] = {}
        for file in _files(path, ("run*", "results*", "*.run")):
            own = runs.setdefault(file.stem, {})
            for where, cells in _rows(file, 6, "qid Q0 docno rank sim run"):
                own.setdefault(cells[0], {})[cells[2]] = _number(where, cells[4])
        if not any(g > 0 for one in relevance.values() for g in one.values()):
            raise ConjoinError(str(judged[0]), "nothing is relevant", "give grades above 0")
        return Rank(path.name, relevance, runs=runs)

    def write(self, task: Rank, path: Path) -> None:
        """Write the judgements, and the runs best first."""
        path.mkdir(parents=True, exist_ok=True)
        with atomic(path / "qrels.txt") as file:
            for query, judged in task.relevance.items():
                for document, grade_of in judged.items():
                    file.write(f"{query} 0 {document} {grade_of}\n".encode())
        for name, run in task.runs.items():
            stem = name if name.startswith("run") else f"run-{name}"
            with atomic(path / f"{stem}.txt") as file:
                for query, found in run.items():
                    best = sorted(found.items(), key=lambda one: -one[1])
                    for rank, (document, score) in enumerate(best, 1):
                        file.write(f"{query} Q0 {document} {rank} {score!r} {name}\n".encode())


def _files(path: Path, patterns: tuple[str, ...]) -> list[Path]:
    return sorted({f for each in patterns for f in path.glob(each) if f.is_file()})


def _rows(path: Path, width: int, wanted: str) -> Iterator[tuple[str, list[str]]]:
    with lines_of(path) as file:
        for number, line in enumerate(file, 1):
            cells = line.split()
            if not cells or cells[0].startswith("#"):
                continue
            if len(cells) < width:
                raise ConjoinError(f"{path}:{number}", f"{len(cells)} fields", f"give {wanted}")
            yield f"{path}:{number}", cells


def _number(where: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConjoinError(where, f"sim {text!r}", "write a number") from None
