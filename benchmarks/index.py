"""Building, growing, reopening and querying an index of 10⁴ to 10⁶ rows.

Run: ``python benchmarks/index.py [--rows 10000 100000] [--dim 256] [--peer] [--out FILE]``.

Each step runs in a process of its own, on one thread, so that its peak memory is its own. Rows lie
in a thousand uneven clusters with a decaying spectrum (``benchmarks/search.py``); half of the
queries tune the engine, the other half are those reported. ``end to end`` is ``Index.search`` of
one vector, hits included; ``engine`` is candidates and exact scores alone. The peer is hnswlib
(M 16, efConstruction 100) with the smallest ef whose recall on the tuning queries reaches 0.95,
as the engine's does; its queries are put one by one too.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import numpy as np  # noqa: E402

K = 10
ADDED = 10_000
GOAL = 0.95


def timed(work: Callable[[], Any]) -> tuple[float, float, Any]:
    """Wall seconds, CPU seconds and the result."""
    wall, cpu = time.perf_counter(), time.process_time()
    out = work()
    return time.perf_counter() - wall, time.process_time() - cpu, out


def drawn(folder: Path, rows: int, dim: int) -> dict[str, Any]:
    """Write the gallery, rows to add and queries."""
    from search import clustered

    gallery, queries = clustered(rows + ADDED, dim)
    np.save(folder / "gallery.npy", gallery[:rows])
    np.save(folder / "late.npy", gallery[rows:])
    np.save(folder / "queries.npy", queries)
    return {}


def _space(name: str, folder: Path, first: int) -> Any:
    from conjoin.spaces import Frame, Space

    vectors = np.load(folder / name, mmap_mode="r")
    ids = np.array([f"item{row}" for row in range(first, first + len(vectors))])
    return Space(ids, vectors, Frame.mint("given", "bench", vectors.shape[1], {}))


def built(folder: Path, rows: int, dim: int) -> dict[str, Any]:
    """The tables, the derived rows, then the engine."""
    import lancedb  # noqa: F401 - importing is no part of building

    from conjoin.search import approximate
    from conjoin.search.index import Index
    from conjoin.search.store import IndexStore

    store = IndexStore(folder / "index")
    index = Index.build({"items": _space("gallery.npy", folder, 0)})
    tables = timed(lambda: store.build(index))
    derived = timed(store.open)
    queries = np.load(folder / "queries.npy")[:512]
    chosen = timed(lambda: approximate.tune(store, {"query": queries}))
    told = store.version().engines.get("items")
    parts = {"tables": tables, "derived": derived, "engine and its recall": chosen}
    return {
        "seconds": {name: wall for name, (wall, _, _) in parts.items()},
        "cpu": {name: cpu for name, (_, cpu, _) in parts.items()},
        "told": told, "bytes": _bytes(folder / "index"),
    }  # fmt: skip


def lists(folder: Path, rows: int, dim: int) -> dict[str, Any]:
    """The inverted lists alone: what compares to the peer's building."""
    from conjoin.search.approximate import build_lists

    gallery = np.load(folder / "gallery.npy", mmap_mode="r")
    wall, cpu, _ = timed(lambda: build_lists(gallery, np.arange(len(gallery))))
    return {"seconds": wall, "cpu": cpu}


def asked(folder: Path, rows: int, dim: int) -> dict[str, Any]:
    """Reopening, then queries one by one."""
    from conjoin.search.index import Index
    from conjoin.search.scan import ranked

    opened, _, index = timed(lambda: Index.open(folder / "index"))
    space = _space("queries.npy", folder, 0)
    held = np.asarray(space.vectors[512:])
    lines = [space.take(np.array([row])) for row in range(512, 1024)]
    first = timed(lambda: index.search(lines[0], into=["items"]))[0]
    whole = [timed(lambda line=line: index.search(line, into=["items"]))[0] for line in lines]
    gallery, engine = index.gallery(("query", "items")), index.engines.get("items")
    alone = [timed(lambda q=q: ranked(q[None], gallery, K, engine=engine))[1] for q in held]
    found = np.concatenate([ranked(q[None], gallery, K, engine=engine)[1] for q in held])
    peak = _peak()
    wanted = ranked(held, gallery, K)[1]
    return {
        "reopen": opened, "first": first, "recall": float((found >= wanted[:, -1:] - 1e-5).mean()),
        "p50": float(np.percentile(whole, 50)), "p99": float(np.percentile(whole, 99)),
        "engine_qps": len(held) / sum(alone), "peak": peak, "exact": engine is None,
    }  # fmt: skip


def added(folder: Path, rows: int, dim: int) -> dict[str, Any]:
    """Ten thousand rows more, then reopening."""
    import lancedb  # noqa: F401

    from conjoin.search.index import Index
    from conjoin.search.store import IndexStore

    late = _space("late.npy", folder, rows)
    wall, cpu, _ = timed(lambda: IndexStore(folder / "index").add({"items": late}))
    again = timed(lambda: Index.open(folder / "index"))[0]
    return {"seconds": wall, "cpu": cpu, "reopen": again}


def peer(folder: Path, rows: int, dim: int) -> dict[str, Any]:
    """The peer on the same rows and queries."""
    import hnswlib

    from conjoin.search.exact import top_k

    gallery = np.load(folder / "gallery.npy")
    queries = np.load(folder / "queries.npy")
    index = hnswlib.Index(space="ip", dim=dim)
    index.set_num_threads(1)
    index.init_index(max_elements=rows, ef_construction=100, M=16)
    wall, cpu, _ = timed(lambda: index.add_items(gallery, num_threads=1))
    wanted = top_k(queries, gallery, K)[0]

    def recall(part: slice) -> float:
        near = 1 - index.knn_query(queries[part], K, num_threads=1)[1]
        return float((near >= wanted[part, -1:] - 1e-5).mean())

    for ef in (10, 14, 20, 28, 40, 56, 80, 112, 160, 224, 320, 640):
        index.set_ef(ef)
        if recall(slice(0, 512)) >= GOAL:
            break
    alone = [timed(lambda q=q: index.knn_query(q[None], K))[1] for q in queries[512:]]
    return {
        "seconds": wall, "cpu": cpu, "ef": ef, "recall": recall(slice(512, None)),
        "engine_qps": len(alone) / sum(alone),
    }  # fmt: skip


def _bytes(folder: Path) -> dict[str, int]:
    return {
        part: sum(f.stat().st_size for f in (folder / part).rglob("*") if f.is_file())
        for part in ("tables", "derived")
    }


def _peak() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


STEPS = {"drawn": drawn, "built": built, "lists": lists, "asked": asked, "added": added,
         "peer": peer}  # fmt: skip


def step(name: str, folder: Path, rows: int, dim: int) -> dict[str, Any]:
    """One step in a process of its own."""
    command = [sys.executable, __file__, "--step", name, "--folder", str(folder)]
    command += ["--rows", str(rows), "--dim", str(dim)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def show(rows: int, found: dict[str, Any]) -> None:
    made, ask, more = found["built"], found["asked"], found["added"]
    print(f"\n{rows} rows")
    for name, seconds in made["seconds"].items():
        print(f"  {name:<24} {seconds:8.1f} s")
    print(f"  lists alone              {found['lists']['cpu']:8.1f} CPU s")
    print(f"  on disk                  {sum(made['bytes'].values()) / 1e6:8.0f} MB {made['bytes']}")
    print(f"  peak memory              {made['peak'] / 1e6:8.0f} MB building, "
          f"{ask['peak'] / 1e6:.0f} MB searching")  # fmt: skip
    print(f"  reopen                   {1000 * ask['reopen']:8.0f} ms")
    print(
        f"  end to end               {1000 * ask['p50']:8.2f} ms p50, {1000 * ask['p99']:.2f} p99"
    )
    print(f"  engine                   {ask['engine_qps']:8.0f} queries a CPU second, "
          f"recall@{K} {ask['recall']:.3f}{', every row' if ask['exact'] else ''}")  # fmt: skip
    print(f"  {ADDED} rows more          {more['seconds']:8.2f} s, reopen {more['reopen']:.2f} s")
    if "peer" in found:
        p = found["peer"]
        print(f"  hnswlib                  {p['cpu']:8.1f} CPU s to build, "
              f"{p['engine_qps']:.0f} queries a CPU second, recall {p['recall']:.3f}")  # fmt: skip


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000])
    ask.add_argument("--dim", type=int, default=256)
    ask.add_argument("--peer", action="store_true")
    ask.add_argument("--out", type=Path)
    ask.add_argument("--step", choices=STEPS)
    ask.add_argument("--folder", type=Path)
    asked = ask.parse_args()
    if asked.step:
        out = STEPS[asked.step](asked.folder, asked.rows[0], asked.dim)
        print(json.dumps({"peak": _peak(), **out}))
        return
    results = {}
    for rows in asked.rows:
        with tempfile.TemporaryDirectory() as folder:
            names = [name for name in STEPS if name != "peer" or asked.peer]
            results[rows] = {name: step(name, Path(folder), rows, asked.dim) for name in names}
        show(rows, results[rows])
    if asked.out:
        asked.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
