"""Building, growing, reopening and querying an index of 10⁴ to 10⁶ rows.

Run: ``python benchmarks/index.py [--rows 10000 100000 1000000] [--dim 256] [--peer ROWS ...]
[--out FILE] [--plot FILE]``.

Each step runs in a process of its own, on one thread, so that its peak memory is its own. Rows lie
in a thousand uneven clusters with a decaying spectrum (``benchmarks/search.py``); half of the
queries tune the engine, the other half are those reported. ``end to end`` is ``Index.search`` of
one vector, hits included; ``engine`` is candidates and exact scores alone. The peer is hnswlib
(M 16, efConstruction 100); its queries are put one by one too, at every ef, and so are the
engine's at every number of lists, so that both are compared at the same recall. ``--plot FILE``
draws what ``--out`` wrote (needs matplotlib).
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

    from conjoin.retrieval.index import tuning
    from conjoin.retrieval.index.index import Index
    from conjoin.retrieval.index.store import IndexStore

    store = IndexStore(folder / "index")
    index = Index.build({"items": _space("gallery.npy", folder, 0)})
    tables = timed(lambda: store.build(index))
    derived = timed(store.open)
    queries = np.load(folder / "queries.npy")[:512]
    chosen = timed(lambda: tuning.tune(store, {"query": queries}))
    told = store.version().engines.get("items")
    parts = {"tables": tables, "derived": derived, "engine and its recall": chosen}
    return {
        "seconds": {name: wall for name, (wall, _, _) in parts.items()},
        "cpu": {name: cpu for name, (_, cpu, _) in parts.items()},
        "told": told, "bytes": _bytes(folder / "index"),
    }  # fmt: skip


def lists(folder: Path, rows: int, dim: int) -> dict[str, Any]:
    """The inverted lists alone: what compares to the peer's building."""
    from conjoin.retrieval.engines.ann import build_lists

    gallery = np.load(folder / "gallery.npy", mmap_mode="r")
    wall, cpu, _ = timed(lambda: build_lists(gallery, np.arange(len(gallery))))
    return {"seconds": wall, "cpu": cpu}


def asked(folder: Path, rows: int, dim: int) -> dict[str, Any]:
    """Reopening, then queries one by one."""
    from conjoin.retrieval.engines.scan import ranked
    from conjoin.retrieval.index.index import Index

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
        "curve": [] if engine is None else _curve(engine, gallery, held, wanted),
    }  # fmt: skip


def _curve(engine: Any, gallery: Any, held: np.ndarray, wanted: np.ndarray) -> list[list[float]]:
    """Recall and queries a CPU second over numbers of lists about the one chosen."""
    from conjoin.retrieval.engines.scan import ranked

    chosen, out = engine.nprobe, []
    for share in (0.25, 0.4, 0.6, 1.0, 1.6):
        engine.nprobe = max(1, round(chosen * share))
        pairs = [timed(lambda q=q: ranked(q[None], gallery, K, engine=engine)) for q in held]
        found = np.concatenate([pair[2][1] for pair in pairs])
        recall = float((found >= wanted[:, -1:] - 1e-5).mean())
        out.append([recall, len(held) / sum(pair[1] for pair in pairs)])
    engine.nprobe = chosen
    return out


def added(folder: Path, rows: int, dim: int) -> dict[str, Any]:
    """Ten thousand rows more, then reopening."""
    import lancedb  # noqa: F401

    from conjoin.retrieval.index.index import Index
    from conjoin.retrieval.index.store import IndexStore

    late = _space("late.npy", folder, rows)
    wall, cpu, _ = timed(lambda: IndexStore(folder / "index").add({"items": late}))
    again = timed(lambda: Index.open(folder / "index"))[0]
    return {"seconds": wall, "cpu": cpu, "reopen": again}


def peer(folder: Path, rows: int, dim: int) -> dict[str, Any]:
    """The peer on the same rows and queries."""
    import hnswlib

    from conjoin.retrieval.engines.exact import top_k

    gallery = np.load(folder / "gallery.npy")
    queries = np.load(folder / "queries.npy")
    index = hnswlib.Index(space="ip", dim=dim)
    index.set_num_threads(1)
    index.init_index(max_elements=rows, ef_construction=100, M=16)
    wall, cpu, _ = timed(lambda: index.add_items(gallery, num_threads=1))
    wanted = top_k(queries, gallery, K)[0]

    curve = []
    for ef in (20, 40, 56, 80, 112, 160, 224, 320):
        index.set_ef(ef)
        pairs = [timed(lambda q=q: index.knn_query(q[None], K)) for q in queries[512:]]
        near = 1 - np.concatenate([pair[2][1] for pair in pairs])
        recall = float((near >= wanted[512:, -1:] - 1e-5).mean())
        curve.append([recall, len(pairs) / sum(pair[1] for pair in pairs)])
        if recall > 0.985:
            break
    return {"seconds": wall, "cpu": cpu, "curve": curve}


def at_recall(curve: list[list[float]], recall: float) -> float:
    """Queries a CPU second at a recall, between the points measured."""
    by = sorted(curve)
    return float(np.exp(np.interp(recall, [r for r, _ in by], [np.log(q) for _, q in by])))


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
        print(f"  hnswlib                  {p['cpu']:8.1f} CPU s to build")
        for recall in (0.95, ask["recall"]) if ask["curve"] else ():
            ours, theirs = at_recall(ask["curve"], recall), at_recall(p["curve"], recall)
            print(f"  at recall {recall:.3f}          {ours:8.0f} queries a CPU second, "
                  f"hnswlib {theirs:.0f}: {ours / theirs:.2f}")  # fmt: skip


def plot(results: dict[str, Any], path: Path) -> None:
    """Growth over rows, on logarithmic scales, as SVG."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    rows = sorted(map(int, results))
    of = [results[str(n)] for n in rows]
    made = [{**r["built"]["seconds"], "inverted lists": r["lists"]["cpu"]} for r in of]
    panels = {
        "seconds to build": {
            "tables": [m["tables"] for m in made],
            "rows mapped": [m["derived"] for m in made],
            "inverted lists, CPU": [m["inverted lists"] for m in made],
            "10,000 rows more": [r["added"]["seconds"] for r in of],
        },
        "megabytes": {
            "tables": [r["built"]["bytes"]["tables"] / 1e6 for r in of],
            "derived": [r["built"]["bytes"]["derived"] / 1e6 for r in of],
            "peak memory, searching": [r["asked"]["peak"] / 1e6 for r in of],
        },
        "milliseconds": {
            "reopen": [1000 * r["asked"]["reopen"] for r in of],
            "search, p50": [1000 * r["asked"]["p50"] for r in of],
            "search, p99": [1000 * r["asked"]["p99"] for r in of],
        },
    }
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.6))
    for axis, (title, lines) in zip(axes, panels.items(), strict=True):
        for name, values in lines.items():
            axis.plot(rows, values, marker="o", label=name)
        axis.set(xscale="log", yscale="log", xlabel="rows of 256 dimensions", title=title)
        axis.legend(frameon=False, fontsize=8)
        axis.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    ask.add_argument("--dim", type=int, default=256)
    ask.add_argument("--peer", type=int, nargs="*", default=[], help="rows at which to run it")
    ask.add_argument("--plot", type=Path)
    ask.add_argument("--out", type=Path)
    ask.add_argument("--step", choices=STEPS)
    ask.add_argument("--folder", type=Path)
    asked = ask.parse_args()
    if asked.step:
        out = STEPS[asked.step](asked.folder, asked.rows[0], asked.dim)
        print(json.dumps({"peak": _peak(), **out}))
        return
    results = json.loads(asked.out.read_text()) if asked.out and asked.out.exists() else {}
    for rows in asked.rows:
        with tempfile.TemporaryDirectory() as folder:
            names = [name for name in STEPS if name != "peer" or rows in asked.peer]
            made = {name: step(name, Path(folder), rows, asked.dim) for name in names}
        results[str(rows)] = made
        show(rows, made)
        if asked.out:
            asked.out.write_text(json.dumps(results, indent=1) + "\n")
    if asked.plot:
        plot(results, asked.plot)


if __name__ == "__main__":
    main()
