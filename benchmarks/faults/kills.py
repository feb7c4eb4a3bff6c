"""Verbs killed and interrupted at random moments, then given again; the counts are kept.

``python benchmarks/faults/kills.py --kills 80 --interrupts 30``

Twelve verbs on workspaces of 60 items (140 for an upgrade), each in a forked child. A child is
sent SIGKILL or SIGINT after a seeded share of the seconds the verb takes undisturbed; one that
ended before its signal is not counted. What lies there then must be what was or what was to be;
the verb given again must end as undisturbed (or say in one line that it is done), with nothing lost
and no table left over that no version names. A half-written file goes with the next verb that
changes the workspace; one that the verb given again had no change for must go with
``conjoin clean``, and is counted.
"""

import argparse
import json
import os
import random
import shutil
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import children
from children import RESULTS, Told, UnreadableError, bases, call, held, left_over, named, scratch


class Trial:
    """One verb: where it starts, its words, and what an undisturbed run leaves."""

    def __init__(self, place: Path, name: str, made: dict[str, Path]):
        base, self.words = children.verbs()[name]
        self.name, self.base, self.place = name, made[base], place
        self.until_clean = 0
        folder = self._copy()
        self.before = held(folder)
        self.usual = call(folder, *named(self.words, folder))
        if self.usual.code:
            raise SystemExit(f"{name}: undisturbed: {self.usual}")
        self.wanted, self.left = held(folder), left_over(folder)
        shutil.rmtree(folder)

    def _copy(self) -> Path:
        return shutil.copytree(self.base, self.place / f"kill-{os.urandom(4).hex()}")

    def stopped(self, number: int, share: float) -> tuple[Told, list[str]]:
        """Send a signal after a share of the usual seconds, then do it again; what is wrong."""
        folder = self._copy()
        child = children.verb(folder, *named(self.words, folder)).go()
        told = child.wait((number, share * self.usual.seconds))
        wrong = []
        try:
            if number == signal.SIGINT and told.code not in (0, 130):
                wrong.append(f"interrupted: {told}")
            seen = held(folder)
            wrong += self._half(seen)
            again = call(folder, *named(self.words, folder))
            done = again.code == 2 and again.plain and self._same(seen)
            if not done and again.code:
                wrong.append(f"again: {again}")
            if not self._same(held(folder)):
                wrong.append("ends in another result")
            wrong += self._over(folder)
        except UnreadableError as error:
            wrong.append(f"unreadable: {error}")
        if not wrong:
            shutil.rmtree(folder)
        return told, wrong

    def _over(self, folder: Path) -> list[str]:
        """What the verb given again left of the killed one, and ``clean`` did not remove."""
        if not left_over(folder) - self.left:
            return []
        self.until_clean += 1
        call(folder, "clean", "--yes")
        over = left_over(folder) - self.left
        wrong = [f"left over: {sorted(over)}"] if over else []
        return wrong if self._same(held(folder)) else [*wrong, "clean took more"]

    def _same(self, seen: dict[str, Any]) -> bool:
        return _plain(seen) == _plain(self.wanted)

    def _half(self, seen: dict[str, Any]) -> list[str]:
        """What lies there and is neither what was nor what was to be."""
        ends = (self.before, self.wanted)
        wrong = [f"half a {key}" for key in ("index", "answers")
                 if seen[key] not in [end[key] for end in ends]]  # fmt: skip
        if _plain(seen)["config"] not in [_plain(end)["config"] for end in ends]:
            wrong.append("half a configuration")
        for name, rows in seen["stored"].items():
            old, new = (end["stored"].get(name, {}) for end in ends)
            if any(row not in (old.get(item), new.get(item)) for item, row in rows.items()):
                wrong.append(f"other vectors of {name}")
        for name in self.before["stored"].keys() & self.wanted["stored"].keys():
            old, new = (end["stored"][name] for end in ends)
            kept = {item for item in old if old[item] == new.get(item)}
            if kept - seen["stored"].get(name, {}).keys():
                wrong.append(f"lost vectors of {name}")
        return wrong


def _plain(seen: dict[str, Any]) -> dict[str, Any]:
    """Without the folder's own name, which a configuration may tell."""
    text = seen["config"]
    return {**seen, "config": None if text is None else [
        line for line in text.splitlines() if not line.startswith("#")
    ]}  # fmt: skip


def run(
    trials: list[Trial], number: int, count: int, dice: random.Random, until: float
) -> dict[str, Any]:
    """Signals until so many met a verb at work, or until the time is over."""
    met: Counter[str] = Counter()
    early, defects, turn, swept = 0, [], 0, sum(one.until_clean for one in trials)
    while sum(met.values()) < count and turn < 4 * count and time.monotonic() < until:
        trial = trials[turn % len(trials)]
        turn += 1
        share = dice.uniform(0.02, 0.98)
        told, wrong = trial.stopped(number, share)
        if told.code in (-number, 130):
            met[trial.name] += 1
        else:
            early += 1
        for line in wrong:
            defects.append(f"{trial.name} at {share:.2f} (exit {told.code}): {line}")
            print(defects[-1], flush=True)
    return {"asked": count, "met": sum(met.values()), "ended_before": early,
            "by_verb": dict(sorted(met.items())),
            "half_written_until_clean": sum(one.until_clean for one in trials) - swept,
            "defects": len(defects)}  # fmt: skip


def run_all() -> None:
    """Run, print and write."""
    asks = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asks.add_argument("--kills", type=int, default=80)
    asks.add_argument("--interrupts", type=int, default=30)
    asks.add_argument("--seed", type=int, default=0)
    asks.add_argument("--minutes", type=float, default=60.0, help="Of each kind of signal.")
    asks.add_argument("--only", help="One verb.")
    asks.add_argument("--out", type=Path, default=RESULTS / "faults-kills.json")
    given = asks.parse_args()
    began = time.monotonic()
    with scratch() as place:
        made = bases(place / "bases")
        names = [given.only] if given.only else list(children.verbs())
        trials = [Trial(place, name, made) for name in names]
        found = {
            "seed": given.seed,
            "usual_seconds": {one.name: round(one.usual.seconds, 2) for one in trials},
            "kills": run(trials, signal.SIGKILL, given.kills, random.Random(given.seed),
                         time.monotonic() + 60 * given.minutes),
            "interrupts": run(trials, signal.SIGINT, given.interrupts,
                              random.Random(given.seed + 1), time.monotonic() + 60 * given.minutes),
        }  # fmt: skip
    found["minutes"] = round((time.monotonic() - began) / 60, 1)
    print(json.dumps(found, indent=1))
    given.out.write_text(json.dumps(found, indent=1) + "\n")
    raise SystemExit(1 if found["kills"]["defects"] + found["interrupts"]["defects"] else 0)


if __name__ == "__main__":
    run_all()
