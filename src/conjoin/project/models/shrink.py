"""A cheaper copy of a modality's encoder, measured on this machine, or the word that none pays."""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from conjoin.catalogue import find, of_kind
from conjoin.display import Tabular
from conjoin.encoders.media.media import read_picture
from conjoin.encoders.open import open_encoder
from conjoin.encoders.run import encode
from conjoin.errors import ConjoinError, MissingDependency
from conjoin.evaluation.verdict import Arm, Arms
from conjoin.models.compression.footprint import Footprint, footprint
from conjoin.project.models.scoring import score_rows
from conjoin.project.models.tuning_data import Material, read_material
from conjoin.project.workspace import Workspace
from conjoin.spaces.frame import unit
from conjoin.stats.bootstrap import holm, interval, paired_difference
from conjoin.storage.files import write_json

#: Kinds of cells whose encoders can be shrunk.
KINDS = ("text", "image")
#: Cells whose rate is measured, and of which statistics are taken.
RATED, SAMPLE = 256, 1000
#: What says where a shrunk folder came from.
CARD = "shrunk.json"


@dataclass(frozen=True)
class ShrinkAsk:
    """What ``conjoin model shrink`` was asked.

    Parameters
    ----------
    modality : whose encoder.
    speed : how many times as fast it should be.
    keep : share of the original's score that may not be lost.
    methods : rows of kind ``compression``; all that know the kind of cells where empty.
    label : column of classes to score by; the workspace's pairs where not given.
    out : folder of the encoder.
    """

    modality: str
    speed: float = 2.0
    keep: float = 0.98
    methods: tuple[str, ...] = ()
    label: str | None = None
    out: Path | None = None
    seed: int = 0


@dataclass(frozen=True)
class Candidate:
    """One setting of one method, and what came of it.

    Parameters
    ----------
    name : of the arm: the row, and its settings where it has several.
    uri : of the encoder.
    footprint : what it costs; ``drift`` is 1 minus the mean cosine to the original's vectors,
        where both have one width.
    faster : its rate over the original's.
    low : lower 95 % bound of its score less that of the original.
    offered : it is faster, by more than a twentieth.
    """

    name: str
    uri: str
    footprint: Footprint
    drift: float | None
    faster: float
    low: float
    offered: bool


@dataclass(frozen=True, repr=False)
class Shrunk(Tabular):
    """What each candidate is worth, and which to use.

    Parameters
    ----------
    arms : the original first, named ``frozen``.
    candidates : by name of the arm, the original's among them.
    uri : of the encoder that the verdict is for.
    failed : by name, why a method could not be used here.
    """

    arms: Arms
    candidates: Mapping[str, Candidate]
    uri: str
    failed: Mapping[str, str]
    notes: tuple[str, ...] = field(default=())

    def table(self) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        """A row per arm, the one to use marked."""
        columns = (
            "encoder",
            self.arms.arms[0].metric,
            "times as fast",
            "per CPU-s",
            "MB",
            "peak MB",
        )
        rows = []
        for arm in self.arms.arms:
            one = self.candidates[arm.name]
            mark = "*" if arm.name == self.arms.use else " "
            cost = one.footprint
            rows.append((
                f"{mark} {arm.name}", f"{arm.value:.3f} [{arm.low:.3f}, {arm.high:.3f}]",
                f"{one.faster:.2f}" if one.offered or arm.name == "frozen" else
                f"{one.faster:.2f}: not offered",
                f"{cost.rate:.0f}", f"{cost.size / 1e6:.0f}" if cost.size else "in its package",
                f"{cost.memory / 1e6:.0f}",
            ))  # fmt: skip
        return columns, rows

    def to_json(self) -> dict[str, Any]:
        """One object for programs."""
        return {
            **self.arms.to_json(), "encoder": self.uri,
            "candidates": {name: asdict(one) for name, one in self.candidates.items()},
            "failed": dict(self.failed), "notes": list(self.notes),
        }  # fmt: skip


def speed_of(text: str) -> float:
    """A speed as typed, in multiples of the original's.

    Raises
    ------
    ConjoinError : no number, or not over 1.

    Examples
    --------
    >>> speed_of("2x"), speed_of("1.5")
    (2.0, 1.5)
    """
    try:
        speed = float(text.strip().lower().removesuffix("x"))
    except ValueError:
        speed = float("nan")
    if not 1 < speed < 1e4:
        raise ConjoinError("--to", repr(text), "give a speed over 1, as in 2x")
    return speed


def tries_of(ask: ShrinkAsk, kind: str) -> list[tuple[str, str, dict[str, Any]]]:
    """Arms as (name, row, settings) for a kind of cells.

    Raises
    ------
    ConjoinError : a method is unknown or of another kind of cells.
    """
    names = ask.methods or tuple(
        name for name, row in of_kind("compression").items() if kind in row.load().kinds
    )
    found = []
    for name in names:
        engine = find("compression", name).load()
        if kind not in engine.kinds:
            raise ConjoinError("--method", f"{name} knows no encoder of {kind}s", "leave it out")
        for settings in engine.tries:
            said = ",".join(f"{key}={_short(value)}" for key, value in settings.items())
            found.append((f"{name}[{said}]" if said else name, name, dict(settings)))
    return found


def shrink_modality(
    ws: Workspace, ask: ShrinkAsk, report: Callable[[str], None] = lambda _: None
) -> Shrunk:
    """Make the candidates, measure each, keep the one that the verdict names.

    Raises
    ------
    ConjoinError : the modality is of another kind, there is too little to judge by, no candidate
        could be made, or the folder is there already.
    """
    made = read_material(ws, ask.modality, ask.label, ask.seed, KINDS)
    folder = ask.out or ws.folder / f"shrunk-{ask.modality}"
    if folder.exists():
        raise ConjoinError(str(folder), "is there already", "name another folder: --out DIR")
    with tempfile.TemporaryDirectory(dir=ws.folder, prefix=".shrink-") as place:
        trial = _Trial(ws.modality(ask.modality).uri, made, ask, Path(place), report)
        found = trial.run()
        return _kept(found, folder, Path(place), ask, ws.modality(ask.modality).uri)


class _Trial:
    """The candidates of one modality, in a folder that goes away."""

    def __init__(
        self, uri: str, made: Material, ask: ShrinkAsk, place: Path, report: Callable[[str], None]
    ):
        self.uri, self.made, self.ask, self.place, self.report = uri, made, ask, place, report
        self.scores: dict[str, np.ndarray] = {}
        self.vectors: dict[str, np.ndarray] = {}
        self.costs: dict[str, float] = {}
        self.uris: dict[str, str] = {"frozen": uri}
        self.failed: dict[str, str] = {}

    def run(self) -> Shrunk:
        """Make, score and measure."""
        rated = list(self._rated())
        self._score("frozen", 0.0)
        sample = [self.made.texts[i] for i in self.made.train[:SAMPLE]]
        for name, row, settings in tries_of(self.ask, self.made.kind):
            self.report(f"making {name}")
            clock = time.process_time()
            try:
                method = find("compression", row).make(settings)
                made = method.write(self.uri, sample, self.place / name, seed=self.ask.seed)
                self.uris[name] = made
                self._score(name, time.process_time() - clock)
            except (ConjoinError, MissingDependency) as error:
                self.failed[name] = str(error)
        if len(self.scores) < 2:
            raise ConjoinError(
                self.uri, "cannot be shrunk: " + "; ".join(self.failed.values()),
                "distil a student: conjoin distill",
            )  # fmt: skip
        self.report("measuring each in a process of its own")
        cost = {name: footprint(self.uris[name], rated) for name in self.scores}
        return self._judged(cost)

    def _rated(self) -> Iterator[str]:
        """Cells whose rate is measured: texts, or files of pictures."""
        for place, at in enumerate(self.made.test[:RATED]):
            cell = self.made.texts[at]
            if self.made.kind == "text":
                yield cell
            else:
                path = self.place / f"{place}.png"
                read_picture(cell).save(path)
                yield str(path)

    def _score(self, name: str, cost: float) -> None:
        read = encode(open_encoder(self.uris[name]), self.made.texts, strict=True)
        x = np.asarray(read.vectors, np.float32)
        self.vectors[name], self.costs[name] = x, cost
        self.scores[name] = score_rows(
            self.made, x, self.made.train, self.made.test, seed=self.ask.seed
        )

    def _judged(self, cost: Mapping[str, Footprint]) -> Shrunk:
        groups, seed = self.made.groups[self.made.test], self.ask.seed
        base, names = self.scores["frozen"], [n for n in self.scores if n != "frozen"]
        apart = {
            name: paired_difference(self.scores[name], base, groups, seed=seed) for name in names
        }
        candidates = {}
        for name in self.scores:
            faster = cost[name].rate / cost["frozen"].rate
            candidates[name] = Candidate(
                name, self.uris[name], cost[name], self._drift(name), faster,
                0.0 if name == "frozen" else float(apart[name][1]),
                name != "frozen" and faster > 1.05,
            )  # fmt: skip
        worse = dict(zip(names, holm(np.array([apart[n][3] for n in names])), strict=True))
        use, verdict = decide(
            candidates, {n: float(s.mean()) for n, s in self.scores.items()}, worse, self.ask
        )
        arms = tuple(
            Arm(
                name, self.made.metric, float(values.mean()), *interval(values, groups, seed=seed),
                self.costs[name],
            )
            for name, values in self.scores.items()
        )  # fmt: skip
        return Shrunk(
            Arms(arms, verdict, use), candidates, self.uris[use], self.failed, self.made.notes
        )

    def _drift(self, name: str) -> float | None:
        x, z = self.vectors[name], self.vectors["frozen"]
        if x.shape != z.shape:
            return None
        return float(1 - (unit(x) * unit(z)).sum(axis=1).mean())


def decide(
    candidates: Mapping[str, Candidate], means: Mapping[str, float], worse: Mapping[str, float],
    ask: ShrinkAsk,
) -> tuple[str, str]:  # fmt: skip
    """The arm to use, and the sentence that says so.

    Of those as fast as asked for, the best score whose lower bound keeps ``keep`` of the
    original's. Where there is none: the fastest that keeps it, marked as slower than was asked;
    else the original.

    Parameters
    ----------
    means : score by arm.
    worse : by arm, the p-value of its difference, corrected for the number of arms.
    """
    base = means["frozen"]
    least = -(1 - ask.keep) * base
    sound = [c for c in candidates.values() if c.offered and c.low >= least]
    fast = [c for c in sound if c.faster >= ask.speed]
    if fast:
        one = max(fast, key=lambda c: (means[c.name], c.faster))
        return one.name, f"use {one.name}: {_said(one, means, base)}"
    if sound:
        one = max(sound, key=lambda c: c.faster)
        return one.name, (
            f"use {one.name}, or stay: nothing that keeps {ask.keep:.0%} of the score is "
            f"{ask.speed:g} times as fast here; {_said(one, means, base)}"
        )
    offered = [c for c in candidates.values() if c.offered]
    if not offered:
        return "frozen", "use frozen: nothing is faster than the original on this machine"
    one = max([c for c in offered if c.faster >= ask.speed] or offered, key=lambda c: c.low)
    said = f"use frozen: nothing that is faster surely keeps {ask.keep:.0%} of the score; nearest: "
    said += f"{one.name}, {_said(one, means, base)}"
    if worse[one.name] < 0.05 and means[one.name] < base:
        return "frozen", f"{said}, clearly worse"
    sure = np.floor(100 * (1 + one.low / base)) / 100 if base > 0 else 0.0
    return "frozen", f"{said}; --keep {sure:.2f} would take it" if sure > 0 else said


def _said(one: Candidate, means: Mapping[str, float], base: float) -> str:
    gain = means[one.name] - base
    return (
        f"{one.faster:.1f} times as fast, score {means[one.name]:.3f} against {base:.3f} "
        f"({gain:+.3f}, lower bound {one.low:+.3f})"
    )


def _kept(found: Shrunk, folder: Path, place: Path, ask: ShrinkAsk, base: str) -> Shrunk:
    """The encoder of the verdict in its folder; others are gone with theirs."""
    use = found.candidates[found.arms.use]
    made = place / use.name
    if use.name == "frozen" or not made.exists():
        return found
    write_json(made / CARD, {
        "from": base, "method": use.name, "seed": ask.seed, **found.arms.to_json(),
    })  # fmt: skip
    shutil.move(str(made), str(folder))
    uri = found.uri.replace(str(made), str(folder))
    return replace(
        found, uri=uri,
        candidates={**found.candidates, use.name: replace(use, uri=uri)},
    )  # fmt: skip


def _short(value: Any) -> str:
    return f"{value:.2g}" if isinstance(value, float) else str(value)
