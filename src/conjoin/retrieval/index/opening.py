"""Engines that a store's version names: opened, written whole, and kept up with added rows."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from conjoin.errors import ConjoinError, optional
from conjoin.retrieval.engines.ann import WIDE, FaissIVF, LanceIVF, append_lists
from conjoin.retrieval.engines.kernels import have
from conjoin.retrieval.engines.quantization import Storage, stored_codes
from conjoin.retrieval.engines.scan import Engine
from conjoin.retrieval.index.cache import Live
from conjoin.retrieval.index.reading import StoreReader
from conjoin.retrieval.index.versions import Held, Version
from conjoin.storage.digest import digest
from conjoin.storage.files import WHOLE, file_digest, within

#: Share of the rows that may be in no list before the lists are added to.
TAIL = 0.1


def open_engines(store: StoreReader, entry: Version, live: Mapping[str, Live]) -> dict[str, Engine]:
    """The engines a version names; rows are all scored where one cannot be opened."""
    made: dict[str, Engine] = {}
    for held in entry.held:
        told = entry.engines.get(held.modality)
        if told is not None and held.modality in live:
            engine = open_engine(store, entry, held, live[held.modality], told)
            if engine is not None:
                made[held.modality] = engine
    return made


def open_engine(
    store: StoreReader, entry: Version, held: Held, live: Live, told: Mapping[str, Any]
) -> Engine | None:
    """The engine that a manifest describes; ``None`` where it is not there or changed."""
    folder = store.cache(held.modality, entry.frame).folder
    kind = told["engine"]
    if kind == "codes":
        storage = Storage(told["storage"], told["prefix"], told["funnel"])
        segments = [(segment.path, segment.vectors) for segment in live.segments]
        return stored_codes(
            folder, storage, live.vectors, segments, live.stacked,
            cosine=entry.frame.score == "cosine",
        )  # fmt: skip
    if kind == "faiss":
        path = within(folder, told["file"])
        if not (have("faiss") and path.exists()) or _rotten(path, told.get("digest")):
            return None
        faiss = optional("faiss", "accel")
        index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY)
        return FaissIVF(
            index, live.numbers, live.vectors, told["upto"], nprobe=told["nprobe"],
            wide=told.get("wide", WIDE),
        )  # fmt: skip
    if kind == "lance" and have("lancedb"):
        table = store.table_at(held)
        return LanceIVF(table, live.numbers, nprobe=told["nprobe"], wide=told.get("wide", WIDE))
    return None


def write_lists(folder: Path, held: Held, lists: Any) -> dict[str, Any]:
    """Write lists beside the derived rows; what the manifest says of them."""
    name = f"lists-{digest([held.table, held.version, held.next])}.faiss"
    return {"file": name, "upto": held.next, "digest": _write_lists(folder / name, lists)}


def _write_lists(path: Path, lists: Any) -> str:
    """Write lists whole, and see that they open; their digest."""
    faiss = optional("faiss", "accel")
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        faiss.write_index(lists, str(temporary))
        found = faiss.read_index(str(temporary), faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY)
        if found.ntotal != lists.ntotal:
            raise RuntimeError(f"{found.ntotal} of {lists.ntotal} rows")
        mark = file_digest(temporary)
        temporary.replace(path)
    except (RuntimeError, OSError) as error:
        temporary.unlink(missing_ok=True)
        raise ConjoinError(
            str(path), "could not be written whole", "free space on the disk and run again"
        ) from error
    return mark


def _rotten(path: Path, mark: Any) -> bool:
    """Whether lists that are small enough to read are not those that were written."""
    return bool(mark) and path.stat().st_size <= WHOLE and file_digest(path) != mark


def follow(store: StoreReader, entry: Version) -> dict[str, Mapping[str, Any]]:
    """The engines of a version; lists get the rows in none where those are over :data:`TAIL`."""
    named = dict(entry.engines)
    for held in entry.held:
        told = named.get(held.modality)
        if told is None or told["engine"] != "faiss" or not have("faiss"):
            continue
        live = store.live(entry, held)
        late = int(np.searchsorted(live.numbers, told["upto"]))
        path = store.cache(held.modality, entry.frame).folder / told["file"]
        if len(live.numbers) - late <= TAIL * len(live.numbers) or not path.exists():
            continue
        if _rotten(path, told.get("digest")):
            continue
        faiss = optional("faiss", "accel")
        lists = faiss.read_index(str(path))
        append_lists(lists, live.vectors[late:], np.asarray(live.numbers[late:]))
        name = f"lists-{digest([held.table, held.version, held.next])}.faiss"
        mark = _write_lists(path.with_name(name), lists)
        named[held.modality] = {**told, "file": name, "upto": held.next, "digest": mark}
    return named
