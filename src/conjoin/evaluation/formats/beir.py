"""BEIR: ``corpus.jsonl``, ``queries.jsonl`` and ``qrels/SPLIT.tsv``.

Layout read in ``beir/datasets/data_loader.py`` of github.com/beir-cellar/beir: documents have
``_id``, ``title`` and ``text``, queries ``_id`` and ``text``; the tab-separated judgements have a
header line and then query, document and a whole score.
"""

import json
from pathlib import Path

from conjoin.errors import ConjoinError
from conjoin.evaluation.formats.base import (
    Cells,
    Rank,
    check_judged,
    grade,
    lines,
    lines_of,
    text_of,
)
from conjoin.storage.files import atomic

_HEAD = "query-id\tcorpus-id\tscore"


class Beir:
    """Text retrieval as BEIR publishes it; title and text of a document are joined by a space."""

    title = "BEIR"
    looks_for = "corpus.jsonl, queries.jsonl, qrels/test.tsv"

    def recognises(self, path: Path) -> bool:
        """A folder with a corpus or queries as JSON lines, or judgements by split."""
        names = ("corpus.jsonl", "queries.jsonl")
        return any((path / name).is_file() for name in names) or any(path.glob("qrels/*.tsv"))

    def open(self, path: Path, split: str = "test") -> Rank:
        """The ranking task of a split."""
        corpus = {}
        for where, record in lines(path / "corpus.jsonl"):
            text = text_of(where, record, "text")
            title = record.get("title") or ""
            corpus[text_of(where, record, "_id")] = f"{title} {text}".strip()
        queries = {
            text_of(where, record, "_id"): text_of(where, record, "text")
            for where, record in lines(path / "queries.jsonl")
        }
        relevance = _judgements(path / "qrels" / f"{split}.tsv")
        asked = {query: queries[query] for query in queries if query in relevance}
        groups = {query: text for query, text in asked.items()}
        found = Rank(path.name, relevance, Cells("text", asked), Cells("text", corpus), {}, groups)
        return check_judged(str(path), found)

    def write(self, task: Rank, path: Path) -> None:
        """Write a ranking task of texts.

        Raises
        ------
        ConjoinError : it has no texts.
        """
        sides = (("corpus", task.corpus), ("queries", task.queries))
        for name, cells in sides:
            if cells is None or cells.kind != "text":
                raise ConjoinError(task.name, f"{name} are no texts", "write another format")
        (path / "qrels").mkdir(parents=True, exist_ok=True)
        for name, cells in sides:
            records = cells.values.items() if cells else ()
            with atomic(path / f"{name}.jsonl") as file:
                for key, text in records:
                    line = json.dumps({"_id": key, "text": text}, ensure_ascii=False)
                    file.write(f"{line}\n".encode())
        with atomic(path / "qrels" / "test.tsv") as file:
            file.write(f"{_HEAD}\n".encode())
            for query, judged in task.relevance.items():
                for document, score in judged.items():
                    file.write(f"{query}\t{document}\t{score}\n".encode())


def _judgements(path: Path) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    with lines_of(path) as file:
        for number, line in enumerate(file, 1):
            cells, where = line.rstrip("\r\n").split("\t"), f"{path}:{number}"
            if number == 1:
                if len(cells) > 2 and cells[2].lstrip("-").isdigit():
                    raise ConjoinError(where, "a judgement", f"begin with a header line: {_HEAD}")
                continue
            if not line.strip():
                continue
            if len(cells) < 3:
                raise ConjoinError(where, f"{len(cells)} columns", "give three, set apart by tabs")
            found.setdefault(cells[0], {})[cells[1]] = grade(where, cells[2])
    return found
