"""How soon a change of a table is searched, and that no other score moves.

100 of 100,000 items (given vectors of 128 and 96, two modalities) get new vectors, and 100 leave;
measured are the seconds of ``sync`` from a cold workspace, of the first search after it, and what
a change put over the library takes, on the clock and of the processor. To renew ``sync.json``, run
``python benchmarks/sync.py --write``.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

OUT = Path(__file__).with_suffix(".json")
CONFIG = """version = 1
[items]
table = "t.parquet"
id = "id"
[modalities.left]
column = "left"
encoder = "builtin:vector"
[modalities.right]
column = "right"
encoder = "builtin:vector"
[fit]
method = "ridge"
"""


def table(n: int, seed: int, changed: int = 0, gone: int = 0) -> pa.Table:
    """Rows of two views of one latent; the first ``changed`` are drawn anew, the last leave."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, 16)).astype(np.float32)
    maps = [rng.normal(size=(16, d)).astype(np.float32) for d in (128, 96)]
    if changed:
        z[:changed] = np.random.default_rng(seed + 1).normal(size=(changed, 16))
    sides = [z @ m + 0.1 * np.random.default_rng(7).normal(size=(n, m.shape[1])) for m in maps]
    kept = n - gone
    columns = {
        name: pa.FixedSizeListArray.from_arrays(
            pa.array(side[:kept].astype(np.float32).ravel()), side.shape[1]
        )
        for name, side in zip(("left", "right"), sides, strict=True)
    }
    return pa.table({"id": [f"item{i:06d}" for i in range(kept)], **columns})


def scores(folder: Path, items: list[str]) -> dict[str, float]:
    """Scores of some queries against one item each, in the index in use."""
    from conjoin.project.search.index import open_index
    from conjoin.project.workspace import Workspace

    index = open_index(Workspace(folder))
    rows = {str(i): at for at, i in enumerate(index.spaces["left"].ids.tolist())}
    held = {name: np.asarray(space.vectors) for name, space in index.spaces.items()}
    there = {str(i): at for at, i in enumerate(index.spaces["right"].ids.tolist())}
    return {i: float(held["left"][rows[i]] @ held["right"][there[i]]) for i in items}


def served(ws: Any) -> None:
    """Embed, fit ridge and publish, without the rehearsal of corrections that a verb would do."""
    from conjoin.alignment.binding import Binding
    from conjoin.project.fit.stored import open_fit, write_facts
    from conjoin.project.search.index import keep_index
    from conjoin.retrieval.index.index import Index

    for name in ("left", "right"):
        ws.embed(name)
    spaces = ws.spaces()
    train, _ = ws.pairs(spaces)
    binding = Binding.fit(spaces, train, method="ridge")
    folder = ws.state / "maps" / "first"
    binding.save(folder)
    write_facts(folder, {"corrections": []})
    bound = {name: binding.bind(name, space) for name, space in spaces.items()}
    ws.publish({"maps": "maps/first", "index": "index/first"})
    keep_index(ws, open_fit(folder), Index.build(bound), spaces, train)


def binding_query(index: Any) -> Any:
    """One bound row as a query."""
    space = index.spaces["left"]
    return space.take(np.arange(1))


def measured(n: int) -> dict[str, float]:
    """One run at ``n`` items."""
    from conjoin.project.search.index import open_index
    from conjoin.project.search.sync import changed_items, sync
    from conjoin.project.workspace import Workspace

    found: dict[str, float] = {"items": n}
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "conjoin.toml").write_text(CONFIG)
        pq.write_table(table(n, 0), folder / "t.parquet")
        served(Workspace(folder))
        still = [f"item{i:06d}" for i in range(200, 400)]
        before = scores(folder, still)
        pq.write_table(table(n, 0, changed=100, gone=100), folder / "t.parquet")
        start, cpu = time.perf_counter(), time.process_time()
        told = sync(Workspace(folder))
        found |= {
            "sync_seconds": time.perf_counter() - start,
            "sync_cpu": time.process_time() - cpu,
            "replaced": sum(told.replaced.values()), "deleted": sum(told.deleted.values()),
        }  # fmt: skip
        start = time.perf_counter()
        index = open_index(Workspace(folder))
        query = binding_query(index)
        index.search(query, "left", into=["right"], k=10)
        found["first_search_seconds"] = time.perf_counter() - start
        after = scores(folder, still)
        found["scores_that_moved"] = float(sum(before[i] != after[i] for i in still))
        rng = np.random.default_rng(3)
        put = {
            f"new{i:03d}": {"left": rng.normal(size=128).tolist(),
                            "right": rng.normal(size=96).tolist()}
            for i in range(100)
        }  # fmt: skip
        ws = Workspace(folder)
        ws.items  # noqa: B018  a service has read its table already
        start, cpu = time.perf_counter(), time.process_time()
        changed_items(ws, put, ())
        found["put_seconds"] = time.perf_counter() - start
        found["put_cpu"] = time.process_time() - cpu
    return {key: round(value, 3) for key, value in found.items()}


def main() -> None:
    """Run and print, or write beside this file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    found = measured(args.items)
    print(json.dumps(found, indent=1))
    if args.write:
        OUT.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
