"""State files damaged at random, asked in process: the same answers or a refusal; counted.

``python benchmarks/faults/rots.py --rots 400 --flips 200``

Two workspaces of 60 items hold an index of three versions. Each case copies one of them, damages
one file of its state (cut short, a page of zeros, random bytes, nothing left, the other
workspace's file in its place; or one bit turned) and runs two searches, ``info`` and ``doctor
--system``: hits and scores must be as before, or the verb is refused in one line; nothing may trace
back. Of those refused every sixteenth is mended as it is told, and must then answer as before.
"""

import argparse
import contextlib
import io
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from children import RESULTS, Told, lay, must, scratch

from conjoin.cli.main import main

ASKED = (
    ("search", "--item", "i3", "--from", "a", "--into", "b", "--json"),
    ("search", "--item", "i7", "--from", "b", "--into", "a", "--json"),
)
BESIDE = (("info", "--json"), ("doctor", "--system", "--json"))
PAGE = 4096


@contextlib.contextmanager
def errors_of_libraries() -> Iterator[Callable[[], bytes]]:
    """What libraries write past Python to the process's own stderr."""
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)

        def said() -> bytes:
            file.seek(0)
            text = file.read()
            file.seek(0)
            file.truncate()
            return text

        try:
            yield said
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def call(folder: Path, *words: str) -> Told:
    """A verb in this process."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    sys.argv = ["conjoin", *words, "-w", str(folder)]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
    return Told(code, out.getvalue(), err.getvalue(), 0.0)


def cut(rng: random.Random, data: bytes, other: bytes | None) -> bytes:
    """Cut short."""
    return data[: rng.randrange(1, len(data))] if len(data) > 1 else b""


def zeroed(rng: random.Random, data: bytes, other: bytes | None) -> bytes:
    """A page of zeros; of a small file, a part of it."""
    size = min(PAGE, max(1, len(data) // 2))
    at = rng.randrange(max(1, len(data) - size + 1))
    return data[:at] + bytes(len(data[at : at + size])) + data[at + size :]


def noise(rng: random.Random, data: bytes, other: bytes | None) -> bytes:
    """Random bytes over a part."""
    size = rng.randrange(1, len(data) + 1)
    at = rng.randrange(len(data) - size + 1)
    return data[:at] + rng.randbytes(size) + data[at + size :]


def emptied(rng: random.Random, data: bytes, other: bytes | None) -> bytes:
    """Nothing left."""
    return b""


def swapped(rng: random.Random, data: bytes, other: bytes | None) -> bytes:
    """The other workspace's file of the same kind; noise where it has none."""
    return noise(rng, data, None) if other is None or other == data else other


def flipped(rng: random.Random, data: bytes, other: bytes | None) -> bytes:
    """One bit turned."""
    torn = bytearray(data)
    torn[rng.randrange(len(torn))] ^= 1 << rng.randrange(8)
    return bytes(torn)


ROTS = (cut, zeroed, noise, emptied, swapped)


def kind(path: Path) -> tuple[str, ...]:
    """What a state file is, without the names that tell its content."""
    at = path.parts.index(".conjoin")
    part = path.parts[at + 1 :]
    return (part[0], str(len(part)), *(p for p in part[1:-1] if len(p) < 13), path.suffix,
            path.stem.split("-")[0] if "-" in path.stem else "")  # fmt: skip


def state(folder: Path) -> list[Path]:
    """State files that hold something."""
    found = (folder / ".conjoin").rglob("*")
    return sorted(path for path in found if path.is_file() and path.stat().st_size)


def two(place: Path) -> tuple[list[Path], list[list[str]]]:
    """Two workspaces with an index of three versions, and what each answered at the first."""
    made, fresh = [], []
    for name, seed in (("mine", 0), ("theirs", 5)):
        folder = lay(place / name, seed=seed)
        for words in (["embed"], ["fit"]):
            must(folder, *words)
        fresh.append([must(folder, *words).out for words in ASKED])
        for words in (["index", "delete", "i1", "i2", "--yes"], ["index", "add"], *ASKED):
            must(folder, *words)
        made.append(folder)
    return made, fresh


class Trial:
    """Damages to two workspaces, and what came of them."""

    def __init__(self, place: Path, bases: list[Path], fresh: list[list[str]]):
        self.place, self.bases, self.fresh = place, bases, fresh
        self.said = [[call(base, *words).out for words in ASKED] for base in self.bases]
        self.counts: Counter[str] = Counter()
        self.kinds: set[tuple[str, ...]] = set()
        self.defects: list[str] = []

    def damage(self, rng: random.Random, number: int, how: Callable[..., bytes]) -> None:
        """One case."""
        which = rng.randrange(2)
        base, other = self.bases[which], self.bases[1 - which]
        files = state(base)
        # In turn, so that every file is met; a large prime step mixes kinds.
        path = files[(number * 31) % len(files)]
        alike = [one for one in state(other) if kind(one) == kind(path)]
        data = path.read_bytes()
        torn = how(rng, data, rng.choice(alike).read_bytes() if alike else None)
        if torn == data:
            torn = flipped(rng, data, None)
        folder = shutil.copytree(base, self.place / f"case-{number}")
        (folder / path.relative_to(base)).write_bytes(torn)
        self.kinds.add(kind(path))
        self.counts["cases"] += 1
        where = f"{how.__name__} {number}: {path.relative_to(base)}"
        with errors_of_libraries() as beside:
            self._ask(folder, which, where)
            said = beside()
        if b"panicked" in said or b"Traceback" in said:
            self.defects.append(f"{where}: a library said {said[:300]!r}")
        shutil.rmtree(folder)

    def _ask(self, folder: Path, which: int, where: str) -> None:
        refused = False
        for words, wanted in zip(ASKED, self.said[which], strict=True):
            told = call(folder, *words)
            if told.code == 0 and told.out != wanted:
                self.defects.append(f"{where}: another answer: {told}")
            refused |= told.code != 0
            self._plain(told, where, words)
        noticed = refused
        for words in BESIDE:
            told = call(folder, *words)
            self._plain(told, where, words)
            if words[0] == "doctor" and told.code == 0:
                noticed |= bool(json.loads(told.out)["workspace"]["faults"])
        self.counts["refused" if refused else "noticed" if noticed else "same"] += 1
        if refused and self.counts["refused"] % 16 == 1:
            self.counts["mended"] += self._mended(folder, which, where)

    def _plain(self, told: Told, where: str, words: Any) -> None:
        loud = any(word in told.out + told.err for word in ("Traceback", "defect in"))
        lines = told.err.count("\n")
        if loud or told.code not in (0, 1, 2) or (told.code == 2 and lines != 1):
            self.defects.append(f"{where}: {words[0]}: {told}")

    def _mended(self, folder: Path, which: int, where: str) -> bool:
        """Clean, embed and fit, as refusals tell; then the answers are those of before."""
        for words in (["clean", "--yes"], ["embed"], ["fit"]):
            told = call(folder, *words)
            if told.code:
                self.defects.append(f"{where}: not mended: {words}: {told}")
                return False
        # What was deleted and added again is corrected otherwise than what is fitted anew.
        said = [call(folder, *words).out for words in ASKED]
        same = said in (self.said[which], self.fresh[which])
        if not same:
            self.defects.append(f"{where}: mended to another answer")
        return same

    def told(self) -> dict[str, Any]:
        """The counts."""
        return {**{key: self.counts[key] for key in ("cases", "refused", "noticed", "same",
                                                     "mended")},
                "kinds_of_files": len(self.kinds), "defects": len(self.defects)}  # fmt: skip


def run_all() -> None:
    """Run, print and write."""
    asks = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asks.add_argument("--rots", type=int, default=400)
    asks.add_argument("--flips", type=int, default=200)
    asks.add_argument("--seed", type=int, default=0)
    asks.add_argument("--out", type=Path, default=RESULTS / "faults-rots.json")
    given = asks.parse_args()
    began, found = time.monotonic(), {"seed": given.seed}
    with scratch() as place:
        made = two(place)  # by forked children, before this process asks the database itself
        for name, count, ways in (("rots", given.rots, ROTS), ("flips", given.flips, (flipped,))):
            trial, rng = Trial(place, *made), random.Random(f"{given.seed}/{name}")
            for number in range(count):
                told = len(trial.defects)
                trial.damage(rng, number, ways[number % len(ways)])
                for line in trial.defects[told:]:
                    print(line[:900], flush=True)
            found[name] = trial.told()
    found["minutes"] = round((time.monotonic() - began) / 60, 1)
    print(json.dumps(found, indent=1))
    given.out.write_text(json.dumps(found, indent=1) + "\n")
    raise SystemExit(1 if found["rots"]["defects"] + found["flips"]["defects"] else 0)


if __name__ == "__main__":
    run_all()
