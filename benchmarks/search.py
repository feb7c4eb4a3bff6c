"""Exact top-k against tuned faiss and the machine's bound, and recall on cross-modal queries.

Run: ``python benchmarks/search.py [--n 300000] [--dim 256] [--repeats 5] [--wordnet DIR]``.

Two galleries: clustered synthetic vectors, queried by vectors near their centres;
and WordNet's glosses by static text (``--wordnet`` names the folder of its ``data.*`` files, in
Debian's ``wordnet-base`` the default; skipped where absent), queried by pictures of emoji that a
ridge fitted on other emoji maps there. All arms run in turn in one process on one thread; ratios
are medians of paired CPU-seconds. faiss runs at the better of two settings, tried at each batch
size: ``distance_compute_blas_threshold = 20``, for its default skips BLAS at middling batches, and
that default, for with 20 a single query takes three times as long. The bound of the float arms is
the larger of the product at the GEMM rate and the gallery's bytes at the read rate, both measured
here. int8 tiles and half-precision codes are derived once, outside the timing, and their cost is
printed.
"""

import argparse
import importlib.util
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import faiss  # noqa: E402
import numpy as np  # noqa: E402

from conjoin.retrieval.engines.exact import top_k  # noqa: E402
from conjoin.retrieval.engines.kernels import Tiles  # noqa: E402
from conjoin.spaces import Pairs, unit  # noqa: E402

BATCHES = (1, 8, 32, 256, 1024)
K = 10


def cpu(work: Callable[[], object]) -> tuple[float, object]:
    """CPU-seconds of a call, and what it returned."""
    start = time.process_time()
    out = work()
    return time.process_time() - start, out


def machine() -> dict[str, float]:
    """Best of several: GEMM rate in GFLOP/s and read rate in GB/s, one thread."""
    rng = np.random.default_rng(0)
    a = rng.standard_normal((2048, 2048), dtype=np.float32)
    gemm = min(cpu(lambda: a @ a)[0] for _ in range(5))
    big = np.ones(1 << 27, dtype=np.float32)
    read = min(cpu(lambda: big.max())[0] for _ in range(5))
    return {"gflops": 2 * 2048**3 / gemm / 1e9, "gbytes": big.nbytes / read / 1e9}


def clustered(n: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors in a thousand uneven clusters with a decaying spectrum, and 1024 queries."""
    rng = np.random.default_rng(1)
    spread = np.geomspace(1, 0.1, d)
    centres = rng.standard_normal((1000, d)) * spread
    share = rng.dirichlet(np.full(1000, 0.5))
    gallery = np.empty((n, d), dtype=np.float32)
    for start in range(0, n, 8192):
        size = min(8192, n - start)
        noise = 0.6 * rng.standard_normal((size, d)) * spread
        gallery[start : start + size] = unit(centres[rng.choice(1000, size, p=share)] + noise)
    noise = 0.8 * rng.standard_normal((1024, d)) * spread
    queries = unit(centres[rng.integers(0, 1000, 1024)] + noise)
    return gallery, queries.astype(np.float32)


def glosses(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """WordNet's glosses by static text, and 1024 pictures mapped among them."""
    import pyarrow.parquet as pq

    from conjoin.alignment.closed_form.linear import Ridge
    from conjoin.encoders.open import open_encoder
    from conjoin.encoders.run import encode

    lines = [
        line.split("| ", 1)[1].strip()
        for path in sorted(folder.glob("data.*"))
        for line in path.read_text().splitlines()
        if "| " in line and not line.startswith("  ")
    ]
    words, pictures = open_encoder("builtin:text-static"), open_encoder("builtin:image")
    gallery = unit(encode(words, lines).vectors).astype(np.float32)
    found = importlib.util.find_spec("conjoin")
    assert found is not None
    assert found.origin is not None
    sample = Path(found.origin).parent / "items" / "sample" / "emoji.parquet"
    table = pq.read_table(sample, columns=["noto", "text"]).to_pydict()
    held = [place for place, cell in enumerate(table["noto"]) if cell]
    x = encode(pictures, [table["noto"][place] for place in held]).vectors
    y = encode(words, [table["text"][place] for place in held]).vectors
    order = np.random.default_rng(2).permutation(len(held))
    test, train = order[:1024], order[1024:]
    maps = Ridge().fit({"text": y, "image": x}, Pairs.of(text=train, image=train))
    return gallery, unit(maps["image"].apply(x[test])).astype(np.float32)


def measure(
    gallery: np.ndarray, queries: np.ndarray, repeats: int, rates: dict[str, float]
) -> dict[str, object]:
    """Every arm at every batch size."""
    index = faiss.IndexFlatIP(gallery.shape[1])
    index.add(gallery)
    tiles = Tiles(gallery)
    made = {
        name: cpu(lambda name=name: top_k(queries[:1], tiles, 1, backend=name))[0]
        for name in ("int8", "faiss")
    }
    out: dict[str, object] = {"n": len(gallery), "d": gallery.shape[1], "derive": made}
    settings: dict[str, int] = {}
    for size in BATCHES:
        q = queries[:size]
        settings[str(size)] = threshold = best_threshold(index, q)
        arms: dict[str, Callable[[], np.ndarray]] = {
            "faiss flat": lambda q=q, at=threshold: flat(index, q, at),
            "numpy": lambda q=q: top_k(q, gallery, K, backend="numpy")[1],
            "int8": lambda q=q: top_k(q, tiles, K, backend="int8")[1],
            "auto": lambda q=q: top_k(q, tiles, K)[1],
        }
        if size == 1:
            arms["half"] = lambda q=q: top_k(q, tiles, K, backend="faiss")[1]
        out[str(size)] = paired(arms, repeats, size, gallery, rates)
    out["recall"] = recalls(gallery, tiles, queries)
    out["faiss_threshold"] = settings
    return out


def flat(index: Any, queries: np.ndarray, threshold: int) -> np.ndarray:
    """Rows that faiss finds with a setting, which is put back: our own use of faiss has its own."""
    before = faiss.cvar.distance_compute_blas_threshold
    faiss.cvar.distance_compute_blas_threshold = threshold
    try:
        return index.search(queries, K)[1]
    finally:
        faiss.cvar.distance_compute_blas_threshold = before


def best_threshold(index: Any, queries: np.ndarray) -> int:
    """The setting with which faiss is faster on these queries: the least of three runs each."""
    settings = (faiss.cvar.distance_compute_blas_threshold, 20)
    took = {at: min(cpu(lambda at=at: flat(index, queries, at))[0] for _ in range(3))
            for at in settings}  # fmt: skip
    return min(settings, key=took.__getitem__)


def paired(
    arms: dict[str, Callable[[], np.ndarray]],
    repeats: int,
    size: int,
    gallery: np.ndarray,
    rates: dict[str, float],
) -> dict[str, object]:
    """Median CPU-seconds of each arm, its paired ratio to the first, and to the bound."""
    bound = max(
        2 * size * gallery.size / rates["gflops"] / 1e9, gallery.nbytes / rates["gbytes"] / 1e9
    )
    for work in arms.values():
        work()
    inner = 5 if size <= 8 else 1  # the clock is coarse beside a single query
    took: dict[str, list[float]] = {name: [] for name in arms}
    for _ in range(repeats):
        for name, work in arms.items():
            took[name].append(cpu(lambda work=work: [work() for _ in range(inner)])[0] / inner)
    base = np.array(next(iter(took.values())))
    return {
        name: {
            "cpu": float(np.median(seconds)),
            "ratio": float(np.median(np.array(seconds) / base)),
            "bound": float(np.median(seconds)) / bound,
        }
        for name, seconds in took.items()
    }


def recalls(gallery: np.ndarray, tiles: Tiles, queries: np.ndarray) -> dict[str, float]:
    """Recall@10 against float64 scores of everything; a row that ties the tenth counts."""
    out = {}
    for name in ("numpy", "int8", "faiss"):
        rows = top_k(queries, tiles, K, backend=name)[1]
        hit = 0.0
        for start in range(0, len(queries), 64):
            q = queries[start : start + 64].astype(np.float64)
            scores = np.concatenate(
                [
                    q @ gallery[s : s + 8192].T.astype(np.float64)
                    for s in range(0, len(gallery), 8192)
                ],
                axis=1,
            )
            tenth = np.partition(scores, -K, axis=1)[:, -K]
            mine = np.take_along_axis(scores, rows[start : start + 64], axis=1)
            hit += float((mine >= tenth[:, None] - 1e-7).sum())
        out[name] = hit / (len(queries) * K)
    return out


def show(name: str, found: dict[str, object]) -> None:
    print(f"\n{name}: {found['n']} x {found['d']}; recall@10 {found['recall']}")
    print(f"derived once, CPU s: {found['derive']}")
    print(f"{'batch':>6} {'arm':<11} {'CPU ms':>9} {'x faiss':>8} {'x bound':>8}")
    for size in BATCHES:
        for arm, figures in found[str(size)].items():  # type: ignore[attr-defined]
            print(f"{size:>6} {arm:<11} {1000 * figures['cpu']:>9.2f} {figures['ratio']:>8.2f} "
                  f"{figures['bound']:>8.2f}")  # fmt: skip


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("--n", type=int, default=300_000)
    ask.add_argument("--dim", type=int, default=256)
    ask.add_argument("--repeats", type=int, default=5)
    ask.add_argument("--wordnet", type=Path, default=Path("/usr/share/wordnet"))
    ask.add_argument("--json", action="store_true")
    asked = ask.parse_args()
    faiss.omp_set_num_threads(1)
    rates = machine()
    found: dict[str, object] = {"machine": rates}
    warm = np.eye(16, dtype=np.float32)
    top_k(warm, warm, 2, backend="int8")  # imports torch, which is no part of deriving tiles
    found["clustered"] = measure(*clustered(asked.n, asked.dim), asked.repeats, rates)
    if list(asked.wordnet.glob("data.*")):
        found["glosses"] = measure(*glosses(asked.wordnet), asked.repeats, rates)
    if asked.json:
        print(json.dumps(found, indent=1))
        return
    print(f"GEMM {rates['gflops']:.0f} GFLOP/s, read {rates['gbytes']:.1f} GB/s, one thread")
    for name in ("clustered", "glosses"):
        if name in found:
            show(name, found[name])  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
