"""Data sets as Hugging Face's library saves them on disk."""

import json
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from conjoin.errors import ConjoinError
from conjoin.items.reading.sources import Held, Source, first_line, with_classes


def is_saved(path: Path) -> bool:
    """Whether a folder was made by ``save_to_disk``."""
    return (path / "dataset_dict.json").exists() or (path / "state.json").exists()


def read_saved(path: Path) -> Source:
    """A data set, or the splits of a dictionary of them with a column ``split``.

    Raises
    ------
    ConjoinError : a file is missing or torn, or the data set is a selection.
    """
    one = _dataset_dict if (path / "dataset_dict.json").exists() else _dataset
    table = one(path)
    metadata: Mapping[bytes, bytes] | None = table.schema.metadata
    return with_classes(Held(table.replace_schema_metadata(None)), metadata)


def _dataset(path: Path) -> pa.Table:
    """A Hugging Face dataset as ``save_to_disk`` leaves it: a list of Arrow stream files."""
    state = path / "state.json"
    try:
        saved = json.loads(state.read_bytes())
        files = [path / entry["filename"] for entry in saved["_data_files"]]
    except (ValueError, KeyError, TypeError):
        raise ConjoinError(
            str(state), "lists no data files", "save the dataset again: save_to_disk"
        ) from None
    if saved.get("_indices_files"):
        raise ConjoinError(
            str(state), "the dataset is a selection kept apart from its rows",
            "call flatten_indices() and save_to_disk again",
        )  # fmt: skip
    tables = []
    for file in files:
        if not file.exists():
            raise ConjoinError(str(file), "no such file", "save the dataset again: save_to_disk")
        try:
            tables.append(pa.ipc.open_stream(pa.memory_map(str(file))).read_all())
        except pa.ArrowInvalid as error:
            raise ConjoinError(
                str(file), f"is torn: {first_line(error)}", "save the dataset again: save_to_disk"
            ) from None
    if not tables:
        raise ConjoinError(str(path), "has no rows", "save a dataset with one row an item")
    return pa.concat_tables(tables)


def _dataset_dict(path: Path) -> pa.Table:
    listing = path / "dataset_dict.json"
    try:
        names = list(json.loads(listing.read_bytes())["splits"])
    except (ValueError, KeyError, TypeError):
        raise ConjoinError(
            str(listing), "lists no splits", "save the dataset again: save_to_disk"
        ) from None
    tables = []
    for name in names:
        table = _dataset(path / name)
        if "split" not in table.column_names:
            table = table.append_column("split", pa.array([name] * table.num_rows))
        tables.append(table)
    return pa.concat_tables(tables, promote_options="default")
