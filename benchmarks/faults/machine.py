"""Random verbs against a plain model, as many as asked for; the counts are kept.

``python benchmarks/faults/machine.py --verbs 10000 --out benchmarks/results/machine.json``

Workspaces of two or three modalities of vectors start fresh, with a store, or with a snapshot
that was fitted without the database. Verbs of ``tests/world.py`` follow at random: the table
changes, is away and is back, the database comes and goes, and a third of the verbs that write are
killed at a random write and given again. After each one what lies on disk is read and compared
with the model; the first difference ends the run.
"""

import argparse
import json
import os
import sys
import time
from collections import Counter
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from machine import Workspaces

#: Verbs of one workspace.
STEPS = 50


def main() -> None:
    """Run until so many verbs were given, or until the time is over."""
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("--verbs", type=int, default=10_000)
    ask.add_argument("--seed", type=int, default=0)
    ask.add_argument("--minutes", type=float, default=600.0)
    ask.add_argument("--out", type=Path)
    given = ask.parse_args()
    began, total, rounds = time.monotonic(), Counter(), 0
    while sum(total.values()) < given.verbs and time.monotonic() - began < 60 * given.minutes:
        Workspaces.counts.clear()
        Workspaces.salt = given.seed + rounds
        run_state_machine_as_test(Workspaces, settings=settings(
            max_examples=1, stateful_step_count=STEPS, deadline=None, derandomize=True,
            database=None, phases=(Phase.generate,), suppress_health_check=list(HealthCheck),
        ))  # fmt: skip
        rounds += 1
        total.update({k: v for k, v in Workspaces.counts.items() if k not in ("killed", "refused")})
        apart = {k: v for k, v in Workspaces.counts.items() if k in ("killed", "refused")}
        _SIDE.update(apart)
    told = {
        "verbs": sum(total.values()), "by_verb": dict(sorted(total.items())), "differences": 0,
        "killed": _SIDE["killed"], "refused": _SIDE["refused"], "workspaces": rounds,
        "seed": given.seed, "minutes": round((time.monotonic() - began) / 60, 1),
    }  # fmt: skip
    text = json.dumps(told, indent=1)
    sys.stdout.write(text + "\n")
    if given.out:
        given.out.write_text(text + "\n")


_SIDE: Counter = Counter()

if __name__ == "__main__":
    main()
