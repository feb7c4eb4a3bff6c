"""How long a comparison of every method takes on ten thousand pairs, and how much memory.

    python benchmarks/compare.py [--pairs 10000] [--budget 600] [--json]

The vectors are drawn, at the widths of the built-in encoders (1280 and 384), since only time and
memory are asked; what is recommended means nothing here. They are noisy enough for methods to
differ (ridge finds some 30 %, CCA 48 %): where all find all, no race could end early. The goal:
every method the catalogue has for pairs, five seeds, in ten minutes of two cores and 2 GB.
"""

import argparse
import json
import resource
from dataclasses import replace

import numpy as np

from conjoin.binding.choose import feedable
from conjoin.claims.compare import compare
from conjoin.search.evaluation import TestBed
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
    asked.add_argument("--json", action="store_true")
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
    result = {
        "pairs": given.pairs, "methods": len(feedable(bed.spaces, None, {}, given.pairs)),
        "finished": len({t.method for t in found.choice.trials}), "late": late,
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
    if given.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
