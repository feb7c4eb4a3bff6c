"""Verbs on a full disk and in a read-only folder; the counts are kept.

``python benchmarks/faults/disks.py`` (as root, on Linux: it mounts small file systems in memory)

Each of twelve verbs starts twice on a disk with room for a seeded share of what it writes, once
where no file may grow beyond 2 KiB, and once on a read-only disk. It must end, or be refused in one
line; what was in use must stand; and once there is room the verb given again must end as it does
undisturbed.
"""

import argparse
import contextlib
import json
import random
import resource
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import children
from children import RESULTS, Told, UnreadableError, bases, call, held, named, scratch, verbs

PAGE = 4096
ROOM = 64 * 2**20


@contextlib.contextmanager
def disk(place: Path) -> Iterator[Path]:
    """A small file system in memory."""
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def again(place: Path, option: str) -> None:
    """Change how the file system is mounted."""
    subprocess.run(["mount", "-o", f"remount,{option}", place], check=True)


def used(place: Path) -> int:
    """Bytes in use on a file system."""
    return shutil.disk_usage(place).used


class Trial:
    """One verb: where it starts, its words, what it leaves and how much that takes."""

    def __init__(self, place: Path, name: str, made: dict[str, Path]):
        base, self.words = verbs()[name]
        self.name, self.base, self.place = name, made[base], place
        with disk(place / "disk") as room:
            folder = shutil.copytree(self.base, room / "ws")
            self.before, self.start = held(folder), used(room)
            told = call(folder, *named(self.words, folder))
            if told.code:
                raise SystemExit(f"{name}: undisturbed: {told}")
            self.wanted, self.grows = held(folder), max(PAGE, used(room) - self.start)
        (place / "disk").rmdir()

    def hindered(self, how: str, share: float) -> tuple[str, list[str]]:
        """Run it hindered, look, and run it with room; how it ended and what is wrong."""
        wrong = []
        with disk(self.place / "disk") as room:
            folder = shutil.copytree(self.base, room / "ws")
            before: Callable[[], None] | None = None
            if how == "full":
                again(room, f"size={self.start + int(share * self.grows / PAGE) * PAGE}")
            elif how == "read_only":
                again(room, "ro")
            else:
                before = _small
            told = children.verb(folder, *named(self.words, folder), before=before).go().wait()
            again(room, f"rw,size={ROOM}")
            if not told.plain:
                wrong.append(f"{told}")
            try:
                wrong += self._after(folder, told)
            except UnreadableError as error:
                wrong.append(f"unreadable: {error}: {told}")
        (self.place / "disk").rmdir()
        return "ended" if told.code == 0 else "refused", wrong

    def _after(self, folder: Path, told: Told) -> list[str]:
        seen, wrong = held(folder), []
        for key in ("index", "answers"):
            if seen[key] not in (self.before[key], self.wanted[key]):
                wrong.append(f"half a {key}: {told}")
        one = call(folder, *named(self.words, folder))
        done = one.code == 2 and one.plain and _same(seen, self.wanted)
        if one.code and not done:
            wrong.append(f"again: {one}; first {told}")
        if not _same(held(folder), self.wanted):
            wrong.append(f"ends in another result: {told}")
        return wrong


def _small() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (2048, 2048))


def _same(seen: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """The same workspace, but for comments of its configuration, which may tell its folder."""
    return all(seen[key] == wanted[key] for key in ("stored", "index", "answers"))


def run_all() -> None:
    """Run, print and write."""
    asks = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asks.add_argument("--seed", type=int, default=0)
    asks.add_argument("--out", type=Path, default=RESULTS / "faults-disks.json")
    given = asks.parse_args()
    began, dice, defects = time.monotonic(), random.Random(given.seed), []
    counts: dict[str, Counter[str]] = {how: Counter() for how in ("full", "limited", "read_only")}
    with scratch() as place:
        made = bases(place / "bases")
        for name in verbs():
            trial = Trial(place, name, made)
            for how in ("full", "full", "limited", "read_only"):
                share = dice.uniform(0.0, 0.9)
                ended, wrong = trial.hindered(how, share)
                counts[how][ended] += 1
                for line in wrong:
                    defects.append(f"{name}, {how} {share:.2f}: {line}")
                    print(defects[-1][:1500], flush=True)
    found = {
        "seed": given.seed, "verbs": len(verbs()),
        **{how: dict(sorted(one.items())) for how, one in counts.items()},
        "defects": len(defects), "minutes": round((time.monotonic() - began) / 60, 1),
    }  # fmt: skip
    print(json.dumps(found, indent=1))
    given.out.write_text(json.dumps(found, indent=1) + "\n")
    raise SystemExit(1 if defects else 0)


if __name__ == "__main__":
    run_all()
