"""What held-out queries still find when their cells are spoilt."""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from conjoin.display import Tabular
from conjoin.encoders.media.media import read_picture
from conjoin.encoders.run import encode
from conjoin.errors import ConjoinError
from conjoin.project.evaluation.evaluate import test_bed
from conjoin.project.fit.stored import current_fit, stale
from conjoin.project.workspace import Workspace
from conjoin.quality.robustness.corruptions import IMAGES, TEXTS, Corruption
from conjoin.quality.robustness.margins import radii
from conjoin.retrieval.evaluation import TestBed
from conjoin.spaces import Space
from conjoin.spaces.frame import unit
from conjoin.stats.bootstrap import interval, paired_difference
from conjoin.storage.digest import stable_hash

#: Severities tried, of five.
SEVERITIES = (1, 3, 5)
#: Queries of each modality, and places in which a partner is found.
QUERIES, K = 200, 10
Report = Callable[[str], None]


@dataclass(frozen=True)
class Spoilt:
    """Recall of one modality's queries under one corruption.

    Parameters
    ----------
    modality, target : who asks and who answers.
    corruption, severity : severity 0 is the cells as they are.
    value, low, high : recall@10 and its 95 % interval over groups.
    loss, loss_low, loss_high : recall lost, paired with severity 0.
    moved : median change of a query's vector in the joint frame, both at unit length.
    """

    modality: str
    target: str
    corruption: str
    severity: int
    value: float
    low: float
    high: float
    loss: float
    loss_low: float
    loss_high: float
    moved: float


@dataclass(frozen=True, repr=False)
class Robustness(Tabular):
    """What corruptions cost, the dearest first.

    Parameters
    ----------
    rows : of each modality its clean cells, then the corruptions by what they cost.
    radius : by modality, the median smallest change of a vector that takes its partner from the
        first place, over queries whose partner is first; and the share of such queries.
    verdict : a sentence.
    left_out : by modality, why it was not tried.
    """

    rows: tuple[Spoilt, ...]
    radius: Mapping[str, tuple[float, float]]
    verdict: str
    left_out: Mapping[str, str]

    def table(self) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        """A row per corruption; recall at each severity."""
        made: dict[tuple[str, str], list[Spoilt]] = {}
        clean = {row.modality: row for row in self.rows if not row.severity}
        for row in self.rows:
            if row.severity:
                made.setdefault((row.modality, row.corruption), []).append(row)
        lines = []
        for (modality, name), rows in made.items():
            worst = rows[-1]
            lines.append((
                f"{modality} → {worst.target}", name, f"{clean[modality].value:.3f}",
                *(f"{row.value:.3f}" for row in rows),
                f"{-worst.loss:+.3f} [{-worst.loss_high:+.3f}, {-worst.loss_low:+.3f}]",
            ))  # fmt: skip
        columns = (
            "query → gallery", "corruption", "clean", *(f"severity {s}" for s in SEVERITIES),
            f"change at {SEVERITIES[-1]}",
        )  # fmt: skip
        return columns, lines

    def to_json(self) -> dict[str, Any]:
        """One object for programs."""
        return {
            "verdict": self.verdict, "rows": [asdict(row) for row in self.rows],
            "radius": {name: {"median": r, "first": share} for name, (r, share) in
                       self.radius.items()},
            "left_out": dict(self.left_out),
        }  # fmt: skip


def examine_robustness(
    ws: Workspace, *, seed: int = 0, report: Report = lambda _: None
) -> Robustness:
    """Spoil held-out cells of pictures and texts, and search with them.

    Every query is asked clean and under each corruption of its kind at severities 1, 3 and 5; the
    gallery stays as it is.

    Raises
    ------
    ConjoinError : nothing is fitted, or no bound modality reads pictures or texts.
    """
    made, bed = current_fit(ws), test_bed(ws)
    maps = made.binding.maps
    left_out: dict[str, str] = {}
    rows: list[Spoilt] = []
    radius: dict[str, tuple[float, float]] = {}
    for name in maps:
        if bed.spaces[name].frame != maps[name].source:
            raise stale(name)
        kind = ws.kind(name)
        if kind not in ("image", "text"):
            left_out[name] = f"no corruption of cells of kind {kind}"
            continue
        target = next((other for other in maps if other != name), None)
        if target is None:
            raise ConjoinError(
                "workspace", "one modality is bound", "bind a second one: conjoin add"
            )
        asked = _Asked.of(ws, bed, made.binding, name, target, seed)
        radius[name] = asked.radius()
        rows += asked.spoilt(report)
    if not rows:
        raise ConjoinError(
            "doctor --robust", "no bound modality reads pictures or texts",
            "only their cells can be spoilt",
        )  # fmt: skip
    return Robustness(tuple(rows), radius, verdict_of(rows), left_out)


@dataclass(frozen=True, eq=False)
class _Asked:
    """Held-out queries of one modality, and the gallery they are asked of."""

    ws: Workspace
    binding: Any
    name: str
    target: str
    rows: np.ndarray
    gallery: np.ndarray
    right: list[np.ndarray]
    item_of: np.ndarray
    groups: np.ndarray
    seed: int

    @classmethod
    def of(
        cls, ws: Workspace, bed: TestBed, binding: Any, name: str, target: str, seed: int
    ) -> "_Asked":  # fmt: skip
        wanted = bed.relevance(name, target)
        places, groups = np.arange(len(wanted)), bed.clusters(name, wanted)
        if len(places) > QUERIES:
            rng = np.random.default_rng([seed, stable_hash(f"robust/{name}")])
            places = np.sort(rng.choice(places, QUERIES, replace=False))
        gallery = binding.bind(target, bed.spaces[target].take(bed.rows[target]))
        right = [wanted.items[wanted.offsets[i] : wanted.offsets[i + 1]] for i in places]
        return cls(
            ws, binding, name, target, bed.rows[name][wanted.queries[places]],
            unit(np.asarray(gallery.vectors, np.float64)), right, wanted.item_of, groups[places],
            seed,
        )  # fmt: skip

    def spoilt(self, report: Report) -> Iterator[Spoilt]:
        """The clean cells, then every corruption of their kind, dearest first."""
        clean = self._bound(None)
        base = self._found(clean)
        found = [self._row("none", 0, base, base, 0.0)]
        for name in IMAGES if self.ws.kind(self.name) == "image" else TEXTS:
            report(f"{self.name}: {name}")
            for severity in SEVERITIES:
                vectors = self._bound(Corruption(name, severity))
                moved = float(np.median(np.linalg.norm(vectors - clean, axis=1)))
                found.append(self._row(name, severity, self._found(vectors), base, moved))
        worst = {row.corruption: row.loss for row in found if row.severity == SEVERITIES[-1]}
        yield found[0]
        yield from sorted(
            found[1:], key=lambda row: (-worst[row.corruption], row.corruption, row.severity)
        )

    def radius(self) -> tuple[float, float]:
        """The median radius of queries whose partner is first, and their share."""
        own = np.array([np.flatnonzero(np.isin(self.item_of, r))[0] for r in self.right])
        found = radii(self._bound(None), self.gallery, own)
        first = found > 0
        return (float(np.median(found[first])) if first.any() else 0.0), float(first.mean())

    def _bound(self, spoil: Corruption | None) -> np.ndarray:
        """``[n, d]`` of the queries in the joint frame, at unit length."""
        space = self.ws.space(self.name).take(self.rows)
        if spoil is not None:
            kind = self.ws.kind(self.name)
            cells = self.ws.cells(self.name, kind)
            made = [
                spoil(_raw(cells.get(str(item), int(part)), kind), f"{item}:{part}")
                for item, part in zip(space.ids, space.parts, strict=True)
            ]
            read = encode(self.ws.encoder(self.name), made, strict=True)
            space = Space(space.ids, np.asarray(read.vectors), space.frame, space.parts)
        return unit(np.asarray(self.binding.bind(self.name, space).vectors, np.float64))

    def _found(self, vectors: np.ndarray) -> np.ndarray:
        """``[n]`` whether a right item is among the first K; an item scores as its best row."""
        scores = vectors @ self.gallery.T
        items = np.full((len(scores), int(self.item_of.max()) + 1), -np.inf)
        for row, item in enumerate(self.item_of):
            items[:, item] = np.maximum(items[:, item], scores[:, row])
        out = np.empty(len(scores))
        for i, right in enumerate(self.right):
            out[i] = (items[i] > items[i, right].max()).sum() < K
        return out

    def _row(
        self, name: str, severity: int, found: np.ndarray, base: np.ndarray, moved: float
    ) -> Spoilt:  # fmt: skip
        low, high = interval(found, self.groups, seed=self.seed)
        loss, loss_low, loss_high = float((base - found).mean()), 0.0, 0.0
        if severity:
            loss, loss_low, loss_high, _ = paired_difference(
                base, found, self.groups, seed=self.seed
            )
        return Spoilt(
            self.name, self.target, name, severity, float(found.mean()), float(low), float(high),
            float(loss), float(loss_low), float(loss_high), moved,
        )  # fmt: skip


def verdict_of(rows: Sequence[Spoilt]) -> str:
    """What costs most, and what surely costs nothing to speak of, in a sentence."""
    last = [row for row in rows if row.severity == SEVERITIES[-1]]
    worst = max(last, key=lambda row: row.loss)
    if worst.loss_low <= 0:
        return (
            "no corruption surely costs recall, even at severity "
            f"{SEVERITIES[-1]} (most: {worst.corruption} of {worst.modality}, {-worst.loss:+.3f})"
        )
    said = (
        f"{worst.corruption} of {worst.modality} costs most: recall@{K} "
        f"{worst.value + worst.loss:.3f} → {worst.value:.3f} at severity {SEVERITIES[-1]}"
    )
    sound = sorted({row.corruption for row in last if row.loss_high < 0.05})
    return said + (f"; {', '.join(sound)} cost less than .05" if sound else "")


def _raw(cell: Any, kind: str) -> Any:
    """A text, or the bytes of a picture."""
    if kind == "text" or isinstance(cell, bytes):
        return cell
    out = io.BytesIO()
    read_picture(cell).save(out, "PNG")
    return out.getvalue()
