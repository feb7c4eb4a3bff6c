"""MTEB's folder of Parquet tables: ``corpus/``, ``queries/`` and ``default/``.

Layout read in ``mteb/abstasks/retrieval_dataset_loaders.py`` of the package ``mteb`` 2.26: a
configuration each for the corpus, the queries and the judgements (``default``, else ``qrels``);
``id`` (or ``_id``) beside ``text`` (documents may have ``title``), ``image`` or ``audio``;
``query-id``, ``corpus-id`` and a whole ``score``.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from conjoin.errors import ConjoinError, nearest
from conjoin.evaluation.formats.base import Cells, Rank, check_judged
from conjoin.storage.files import atomic

_KINDS = ("text", "image", "audio")


class MtebFolder:
    """A retrieval task of texts, pictures or sounds as MTEB loads it from a folder."""

    title = "MTEB folder"
    looks_for = "corpus/*.parquet, queries/*.parquet, default/*.parquet"

    def recognises(self, path: Path) -> bool:
        """A folder with a corpus or queries in Parquet."""
        return any(any(path.glob(f"{name}/*.parquet")) for name in ("corpus", "queries"))

    def open(self, path: Path, split: str = "test") -> Rank:
        """The ranking task of a split; a configuration with one split has it whatever its name."""
        corpus, queries = (_cells(path / name, split) for name in ("corpus", "queries"))
        qrels = next((path / n for n in ("default", "qrels") if (path / n).is_dir()), None)
        if qrels is None:
            raise ConjoinError(str(path), "no folder of judgements", "give default/ or qrels/")
        relevance: dict[str, dict[str, int]] = {}
        for file, table in _tables(qrels, split):
            asked, shown, score = (
                _column(file, table, name) for name in ("query-id", "corpus-id", "score")
            )
            for query, document, value in zip(asked, shown, score, strict=True):
                relevance.setdefault(str(query), {})[str(document)] = int(value)
        asked_of = {query: queries.values[query] for query in queries.values if query in relevance}
        groups = {q: str(cell) for q, cell in asked_of.items()} if queries.kind == "text" else {}
        kept = Cells(queries.kind, asked_of)
        return check_judged(str(path), Rank(path.name, relevance, kept, corpus, {}, groups))

    def write(self, task: Rank, path: Path) -> None:
        """Write a folder that ``mteb`` and ``datasets`` load without network.

        Raises
        ------
        ConjoinError : the task has no cells.
        """
        if task.queries is None or task.corpus is None:
            raise ConjoinError(task.name, "has judgements but no cells", "write them as TREC")
        for name, cells in (("corpus", task.corpus), ("queries", task.queries)):
            _write(path / name / "test.parquet", _table(cells))
        rows = [(q, d, g) for q, judged in task.relevance.items() for d, g in judged.items()]
        names = ("query-id", "corpus-id", "score")
        kinds = (pa.string(), pa.string(), pa.int32())
        columns = [pa.array([row[i] for row in rows], kinds[i]) for i in range(3)]
        _write(path / "default" / "test.parquet", pa.table(dict(zip(names, columns, strict=True))))
        told = "".join(
            f"- config_name: {name}\n"
            f"  data_files:\n  - split: test\n    path: {name}/test.parquet\n"
            for name in ("corpus", "queries", "default")
        )
        with atomic(path / "README.md") as file:
            file.write(f"---\nconfigs:\n{told}---\n\n# {task.name}\n".encode())


def _write(path: Path, table: pa.Table) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as file:
        pq.write_table(table, file)


def _table(cells: Cells) -> pa.Table:
    """Ids and cells; pictures and sounds as bytes, declared as ``datasets`` declares them."""
    ids = pa.array(list(cells.values), pa.string())
    if cells.kind == "text":
        return pa.table({"id": ids, "text": pa.array(list(cells.values.values()), pa.string())})
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    found = pa.array([_packed(each) for each in cells.values.values()], kind)
    feature = {"image": {"_type": "Image"}, "audio": {"_type": "Audio"}}[cells.kind]
    features = {"id": {"dtype": "string", "_type": "Value"}, cells.kind: feature}
    said = json.dumps({"info": {"features": features}})
    return pa.table({"id": ids, cells.kind: found}).replace_schema_metadata({"huggingface": said})


def _packed(cell: Any) -> Mapping[str, Any]:
    if isinstance(cell, bytes):
        return {"bytes": cell, "path": None}
    return {"bytes": Path(cell).read_bytes(), "path": Path(cell).name}


def _tables(folder: Path, split: str) -> Iterator[tuple[Path, pa.Table]]:
    files = sorted(folder.glob("*.parquet"))
    named = [file for file in files if file.stem.split("-")[0] == split]
    splits = sorted({file.stem.split("-")[0] for file in files})
    if not named and len(splits) != 1:
        raise ConjoinError(str(folder), f"no split {split!r}", nearest(split, splits))
    for file in named or files:
        try:
            yield file, pq.read_table(file)
        except pa.ArrowInvalid as error:
            raise ConjoinError(str(file), str(error).split("\n")[0], "write Parquet") from None


def _column(file: Path, table: pa.Table, name: str) -> list[Any]:
    if name not in table.column_names:
        said = nearest(name, table.column_names)
        raise ConjoinError(str(file), f"no field {name!r}", f"its fields: {said}")
    return table.column(name).to_pylist()


def _cells(folder: Path, split: str) -> Cells:
    found: dict[str, Any] = {}
    kind = ""
    for file, table in _tables(folder, split):
        own = [name for name in _KINDS if name in table.column_names]
        if not own:
            said = ", ".join(table.column_names)
            raise ConjoinError(str(file), "no text, image or audio", f"its fields: {said}")
        kind = own[-1]  # a picture beside its words is a picture
        ids = _column(file, table, "_id" if "_id" in table.column_names else "id")
        cells = table.column(kind).to_pylist()
        if kind != "text":
            cells = [c["bytes"] or str(folder / c["path"]) for c in cells]
        elif "title" in table.column_names:
            titles = table.column("title").to_pylist()
            cells = [f"{t or ''} {c}".strip() for t, c in zip(titles, cells, strict=True)]
        found.update(zip(map(str, ids), cells, strict=True))
    return Cells(kind, found)
