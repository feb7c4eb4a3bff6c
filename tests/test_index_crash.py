"""Killed at random during additions, compaction and building, an index is the old or the new."""

import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("lancedb")

from conjoin.retrieval.index.store import IndexStore
from crash_child import rows, whole

JOBS = ["add"] * 8 + ["compact"] * 6 + ["build"] * 6
#: Steps on files after which a child is killed at the latest.
MOMENTS = 24


@pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forked")
def test_twenty_kills_lose_nothing_and_show_nothing_half(tmp_path):
    store = IndexStore(tmp_path)
    store.build(whole("first", 1500, 0))
    dice = random.Random(5)
    done = interrupted = 0
    with subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("crash_child.py"))],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as server:  # fmt: skip
        for seed, job in enumerate(dice.sample(JOBS, len(JOBS))):
            before = store.version()
            old = {n: set(s.ids.tolist()) for n, s in store.open().spaces.items()}
            server.stdin.write(f"{job} {tmp_path} {seed} {dice.randint(1, MOMENTS)}\n")
            server.stdin.flush()
            assert server.stdout.readline() == "over\n"
            interrupted += _tables_beyond(store)
            done += store.version().number - before.number
            _check(store, job, old)
            tag = f"retry{seed}"
            store.add({"text": rows(tag, 10, seed), "image": rows(tag, 10, seed)}, why=tag)
            assert all(f"{tag}-0" in set(s.ids.tolist()) for s in store.open().spaces.values())
        server.stdin.close()
    assert done > 5, "the children were killed before they did anything"
    assert interrupted > 2, "no child was killed within a change"


def _tables_beyond(store):
    """Whether the kill left something that no version names."""
    import lancedb

    newest = store.version()
    named = {h.table: h.version for v in store.versions() for h in v.held if v == newest}
    history = {h.table for v in store.versions() for h in v.held}
    found = {path.stem for path in (store.folder / "tables").glob("*.lance")}
    if found - history:
        return True
    db = lancedb.connect(str(store.folder / "tables"))
    return any(db.open_table(name).version > version for name, version in named.items())


def _check(store, job, old):
    index, version = store.open(), store.version()
    now = {name: set(space.ids.tolist()) for name, space in index.spaces.items()}
    assert now["text"] == now["image"], "half of a change is visible"
    assert {name: len(s) for name, s in index.spaces.items()} == version.rows
    sizes = {"add": 300, "compact": 20, "build": 1500}
    tags: dict[str, int] = {}
    for item in now["text"]:
        tags[item.rsplit("-", 1)[0]] = tags.get(item.rsplit("-", 1)[0], 0) + 1
    for tag, count in tags.items():
        if tag.startswith(job):
            assert count == sizes[job], "a change is there in part"
    if job != "build" or version.why != "build":
        assert now["text"] >= old["text"], "rows were lost"
    assert len(index.corrections["text", "image"]) == len(index.spaces["image"])
    query = index.spaces["text"].take(np.array([0]))
    assert len(index.search(query, "text", k=3).best) == 3
