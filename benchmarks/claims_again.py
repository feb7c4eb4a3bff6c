"""Run some claims again from an empty folder of scores, and say whether the verdicts agree.

``python benchmarks/claims_again.py --count 10`` takes the cheapest claims that stand in
``docs/claims.json``, one a method, runs both arms over all seeds, and judges them among the
committed results of their families.
"""

import argparse
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from conjoin.claims.engine import Claimed, Job, Store, claims_of, work
from conjoin.claims.results import judge, name_of

ROOT = Path(__file__).resolve().parents[1]


def name(each: Claimed) -> str:
    """What tells a claim from all others."""
    claim = each.claim
    return name_of({
        "method": each.row.name, "arm": each.arm, "baseline": claim.baseline, "task": claim.task,
        "data": claim.data, "metric": claim.metric, "condition": dict(claim.condition),
    })  # fmt: skip


def cheapest(facts: Mapping[str, Any], count: int) -> list[Claimed]:
    """The claims with a verdict that take least time, one a method."""
    seconds = {
        name_of(c): c["arm_seconds"] + c["baseline_seconds"]
        for c in facts["claims"] if c["task"] != "tracking"
    }  # fmt: skip
    known = sorted((c for c in claims_of() if name(c) in seconds), key=lambda c: seconds[name(c)])
    first: dict[str, Claimed] = {}
    for each in known:
        first.setdefault(each.row.name, each)
    return list(first.values())[:count]


def main() -> None:
    """Run, judge, and print a line a claim."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--count", type=int, default=10)
    asked.add_argument("--out", type=Path)
    given = asked.parse_args()
    facts = json.loads((ROOT / "docs" / "claims.json").read_text(encoding="utf-8"))
    before = {name_of(c): c for c in facts["claims"]}
    chosen = cheapest(facts, given.count)
    with tempfile.TemporaryDirectory() as folder:
        for each in chosen:
            for arm in (each.arm, each.claim.baseline):
                work(Job.of(each.claim, arm), folder, facts["seeds"])
        again = {
            name_of(c): c for c in judge(claims_of(), Store(Path(folder)), before=facts)["claims"]
        }
    lines = []
    for each in chosen:
        old, new = before[name(each)], again.get(name(each))
        lines.append({
            "claim": name(each), "was": old["said"], "is": new["said"] if new else "none",
            "effect": old["effect"], "again": new["effect"] if new else None,
        })  # fmt: skip
        print(f"{each.arm} against {each.claim.baseline}, {each.claim.task}, {each.claim.data}: "
              f"{lines[-1]['was']} → {lines[-1]['is']}")  # fmt: skip
    same = sum(line["was"] == line["is"] for line in lines)
    print(f"{same} of {len(lines)} verdicts are the same")
    if given.out:
        given.out.write_text(json.dumps({"same": same, "claims": lines}, indent=1) + "\n")


if __name__ == "__main__":
    main()
