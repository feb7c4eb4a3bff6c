"""Pairs of writers at once on one workspace; the counts are kept.

``python benchmarks/faults/writers.py --pairs 80``

Two forked children are let go together, the second after a seeded part of the first's usual
seconds. Each must end, or be refused in one line because another process is writing. What lies
there then must be what the accepted one alone, or both in either order, would have made; one that
was refused and is given again must then end.
"""

import argparse
import json
import os
import random
import shutil
import time
from collections import Counter
from pathlib import Path
from typing import Any

import children
from children import RESULTS, Told, UnreadableError, bases, call, held, left_over, named, scratch

DELETE = ["index", "delete", "i1", "i2", "--yes"]
#: Where a pair starts, and the words of both.
PAIRS = {
    "delete and delete": ("fitted", DELETE, ["index", "delete", "i3", "--yes"]),
    "delete and compact": ("thinned", ["index", "delete", "i7", "--yes"],
                           ["index", "compact", "--yes"]),
    "add and delete": ("grown", ["index", "add"], ["index", "delete", "i7", "--yes"]),
    "sync and sync": ("changed", ["sync", "--yes"], ["sync", "--yes"]),
    "sync and delete": ("changed", ["sync", "--yes"], ["index", "delete", "i7", "--yes"]),
    "embed and embed": ("configured", ["embed"], ["embed"]),
    "embed a and embed b": ("configured", ["embed", "a"], ["embed", "b"]),
    "fit and fit": ("embedded", ["fit"], ["fit"]),
    "fit and delete": ("grown", ["fit"], ["index", "delete", "i7", "--yes"]),
    "remove and delete": ("three", ["remove", "c", "--yes"], DELETE),
    "add c and delete": ("widened", ["add", "c"], DELETE),
    "rollback and compact": ("thinned", ["index", "rollback", "1", "--yes"],
                             ["index", "compact", "--yes"]),
    "clean and fit": ("littered", ["clean", "--yes"], ["fit"]),
    "remove and remove": ("three", ["remove", "c", "--yes"], ["remove", "c", "--yes"]),
    "upgrade and delete": ("planned", ["upgrade", "apply", "--arm", "re-embed", "--yes"], DELETE),
    "sync and compact": ("changed", ["sync", "--yes"], ["index", "compact", "--yes"]),
}  # fmt: skip


class Trial:
    """A pair: where it starts, and what either order makes."""

    def __init__(self, place: Path, name: str, made: dict[str, Path]):
        base, *self.words = PAIRS[name]
        self.name, self.base, self.place = name, made[base], place
        self.counts: Counter[str] = Counter()
        self.ends: dict[tuple[int, ...], Any] = {}
        self.usual = 1.0
        for first in (0, 1):
            folder = self._copy()
            told = call(folder, *named(self.words[first], folder))
            self.usual = self.usual if first else told.seconds
            self.ends[(first,)] = held(folder)
            call(folder, *named(self.words[1 - first], folder))
            self.ends[first, 1 - first] = held(folder)
            shutil.rmtree(folder)

    def _copy(self) -> Path:
        return shutil.copytree(self.base, self.place / f"pair-{os.urandom(4).hex()}")

    def together(self, share: float) -> list[str]:
        """Both at once; what is wrong."""
        folder = self._copy()
        both = [children.verb(folder, *named(words, folder)) for words in self.words]
        both[0].go()
        time.sleep(share * self.usual)
        both[1].go()
        told = [child.wait() for child in both]
        wrong = [f"{words[0]}: {one}" for words, one in zip(self.words, told, strict=True)
                 if not one.plain]  # fmt: skip
        busy = [at for at, one in enumerate(told) if one.code == 2]
        self.counts["refused" if busy else "both"] += 1
        try:
            seen = held(folder)
            good = [at for at in (0, 1) if at not in busy]
            if seen not in self._allowed(good):
                wrong.append(f"no serial order: {[(one.code, one.err) for one in told]}")
            wrong += self._again(folder, busy, told)
        except UnreadableError as error:
            wrong.append(f"unreadable: {error}: {told}")
        if not wrong:
            shutil.rmtree(folder)
        return wrong

    def _allowed(self, good: list[int]) -> list[Any]:
        """What may lie there: of one that was refused, as in an order in which it is refused."""
        orders = [order for order in self.ends if set(good) <= set(order)]
        if len(good) == 1:
            orders = [tuple(good), *(one for one in orders if len(one) == 2)]
        return [self.ends[order] for order in orders if len(good) < 2 or len(order) == 2]

    def _again(self, folder: Path, busy: list[int], told: list[Told]) -> list[str]:
        """Refused because of the other one, a verb given again ends, or has nothing left to do."""
        wrong = []
        for at in busy:
            one = call(folder, *named(self.words[at], folder))
            if not one.plain:
                wrong.append(f"again: {one}")
        if busy and held(folder) not in [self.ends[0, 1], self.ends[1, 0]]:
            wrong.append(f"again, no serial order: {[(one.code, one.err) for one in told]}")
        if over := {path for path in left_over(folder) if path.endswith(".tmp")}:
            wrong.append(f"left over: {sorted(over)}")
        return wrong


def run_all() -> None:
    """Run, print and write."""
    asks = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asks.add_argument("--pairs", type=int, default=80)
    asks.add_argument("--seed", type=int, default=0)
    asks.add_argument("--minutes", type=float, default=60.0)
    asks.add_argument("--only", choices=PAIRS)
    asks.add_argument("--out", type=Path, default=RESULTS / "faults-writers.json")
    given = asks.parse_args()
    began, dice, defects = time.monotonic(), random.Random(given.seed), []
    with scratch() as place:
        made = bases(place / "bases")
        trials = [Trial(place, name, made) for name in ([given.only] if given.only else PAIRS)]
        turn = 0
        while turn < given.pairs and time.monotonic() - began < 60 * given.minutes:
            trial, share = trials[turn % len(trials)], dice.choice((0.0, dice.uniform(0, 0.9)))
            turn += 1
            for line in trial.together(share):
                defects.append(f"{trial.name} at {share:.2f}: {line}")
                print(defects[-1][:1200], flush=True)
    found = {
        "asked": given.pairs, "pairs": turn, "seed": given.seed,
        "both_ended": sum(one.counts["both"] for one in trials),
        "one_refused": sum(one.counts["refused"] for one in trials),
        "by_pair": {one.name: dict(one.counts) for one in trials},
        "defects": len(defects), "minutes": round((time.monotonic() - began) / 60, 1),
    }  # fmt: skip
    print(json.dumps(found, indent=1))
    given.out.write_text(json.dumps(found, indent=1) + "\n")
    raise SystemExit(1 if defects else 0)


if __name__ == "__main__":
    run_all()
