"""How long a comparison of every method takes on ten thousand pairs, and how much memory.

    python benchmarks/compare.py [--pairs 10000] [--budget 600] [--out FILE]

The vectors are drawn, at the widths of the built-in encoders (1280 and 384), since only time and
memory are asked; what is recommended means nothing here. They are noisy enough for methods to
differ (ridge finds some 30 %, CCA 48 %): where all find all, no race could end early. The goal:
every method the catalogue has for pairs, five seeds, in ten minutes of two cores and 2 GB.
"""

import argparse
import json
import os
import resource
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np

from conjoin.evaluation.compare import compare
from conjoin.retrieval.evaluation import TestBed
from conjoin.selection.choose import feedable
from conjoin.spaces import Pairs, Space


def drawn(pairs: int, seed: int = 0) -> TestBed:
    """Two views of one latent table, each half drowned in noise of its own."""
    rng = np.random.default_rng(seed)
    count = pairs + 1000
    latent = rng.normal(size=(count, 96)).astype(np.float32)
    ids = np.arange(count).astype(str)
    spaces = {}
    for name, width in (("image", 1280), ("text", 384)):
        mixed = latent @ rng.normal(size=(96, width)).astype(np.float32)
        mixed += 30 * rng.standard_normal(size=mixed.shape, dtype=np.float32)
        spaces[name] = Space.of(mixed, ids, name=name)
    lines = np.arange(count)
    whole = replace(Pairs.of(image=lines, text=lines), group=lines)
    held = lines >= pairs
    rows = {name: np.flatnonzero(held) for name in spaces}
    groups = {item: item for item in ids.tolist()}
    return TestBed(spaces, whole.take(~held), whole.take(held), rows, groups)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--pairs", type=int, default=10_000)
    asked.add_argument("--budget", type=float, default=600.0)
    asked.add_argument("--out", help="write the figures there, as JSON")
    given = asked.parse_args()
    bed = drawn(given.pairs)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = compare(
        bed,
        hubs=["text", "image"],
        budget=given.budget,
        report=lambda text: print(text, flush=True),
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    late = {name: why for name, why in found.untried.items() if "time" in why}
    methods = len(feedable(bed.spaces, None, {}, given.pairs))
    result = {
        "date": date.today().isoformat(), "cores": os.cpu_count(), "load": os.getloadavg()[0],
        "pairs": given.pairs, "methods": methods,
        "decided": methods - len(late), "late": late,
        "trials": len(found.choice.trials), "finalists": len(found.ranked),
        "seconds": round(found.seconds), "peak_gb": round(peak / 1e6, 2),
        "data_gb": round(before / 1e6, 2),
    }  # fmt: skip
    print(
        f"{result['methods']} methods, {result['trials']} trials, {result['finalists']} finalists "
        f"at five seeds on {given.pairs} pairs: {result['seconds']} s (goal 600), "
        f"peak {result['peak_gb']} GB (goal 2)"
    )
    for name, why in late.items():
        print(f"not finished: {name}: {why}")
    if given.out:
        Path(given.out).write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
