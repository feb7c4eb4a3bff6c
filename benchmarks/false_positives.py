"""How often the statistics of claims call a method different from itself, and what they detect.

One method is fitted with many seeds on real data (halves of digits). Two hundred times, two
disjoint sets of five of its seeds are compared as if they were two methods, on a random half of
the groups: any effect called is a false one. Then hits are planted into one side, as many as the
printed minimum detectable effect says, and counted how often that is seen.

    python benchmarks/false_positives.py
"""

import json
import sys

import numpy as np

from conjoin.claims.datasets.registry import open_bench
from conjoin.evaluation.arms import Arm, make
from conjoin.evaluation.retrieval import Retrieval
from conjoin.stats.paired import LEVEL, POWER, effect

RUNS, SEEDS, POOL, METRIC = 200, 5, 80, "recall@10"


def pool() -> tuple[np.ndarray, np.ndarray]:
    """Scores ``[POOL, n]`` of one method over seeds, and the groups of its queries."""
    bench, task, arm = open_bench("digits:left+right"), Retrieval(pairs=300), Arm.parse("cca")
    found, groups = [], np.empty(0)
    for seed in range(POOL):
        setting = task.setting(bench, seed)
        units = task.judge(setting, task.fit(setting, make(arm, setting, {}), seed))[METRIC]
        found.append(units.values)
        groups = units.groups
    return np.stack(found), groups


def main() -> None:
    scores, groups = pool()
    rng = np.random.default_rng(0)
    names = np.unique(groups)
    called, errors = 0, []
    for number in range(RUNS):
        kept = np.isin(groups, rng.permutation(names)[: len(names) // 2])
        seeds = rng.permutation(POOL)[: 2 * SEEDS]
        a, b = scores[seeds[:SEEDS]][:, kept], scores[seeds[SEEDS:]][:, kept]
        found = effect(a, b, groups[kept], draws=4000, seed=number)
        low, high = found.interval()
        called += not low <= 0 <= high
        errors.append(found.detectable())
    planted, seen = float(np.mean(errors)), 0
    for number in range(RUNS):
        kept = np.isin(groups, rng.permutation(names)[: len(names) // 2])
        seeds = rng.permutation(POOL)[: 2 * SEEDS]
        a, b = scores[seeds[:SEEDS]][:, kept].copy(), scores[seeds[SEEDS:]][:, kept]
        misses = a == 0
        a[misses & (rng.random(a.shape) < planted / misses.mean())] = 1.0
        low, _ = effect(a, b, groups[kept], draws=4000, seed=number).interval()
        seen += low > 0
    result = {
        "runs": RUNS, "false_positives": called / RUNS, "level": LEVEL,
        "detectable": planted, "detected": seen / RUNS, "power": POWER,
    }  # fmt: skip
    print(f"a method against itself: called different in {called} of {RUNS} runs (level {LEVEL})")
    print(f"an effect of {planted:.3f} planted: seen in {seen} of {RUNS} runs (power {POWER})")
    if "--json" in sys.argv:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
