"""``conjoin report``: everything known of a workspace's fit, gathered into one page."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from conjoin.catalogue import find
from conjoin.errors import ConjoinError, nearest
from conjoin.execution import costs
from conjoin.execution.costs import Shape
from conjoin.metrics.retrieval.ranks import rank_queries
from conjoin.metrics.retrieval.relevance import Relevance
from conjoin.project.evaluation import evaluate
from conjoin.project.evaluation.measure import measure_workspace
from conjoin.project.fit.card import read_card
from conjoin.project.fit.stored import Fit, current_fit
from conjoin.project.report.extras import fusions, layers_of
from conjoin.project.search import render
from conjoin.project.workspace import Workspace
from conjoin.report.pages.report import REMEDIES
from conjoin.report.projection import flat
from conjoin.report.text import plain
from conjoin.retrieval.engines.exact import top_k
from conjoin.retrieval.evaluation import TestBed
from conjoin.retrieval.missing_modality import masked
from conjoin.spaces import Space
from conjoin.storage.digest import digest, stable_hash
from conjoin.storage.files import FORMAT, atomic, read_json, write_json
from conjoin.storage.renamed import current

Facts = dict[str, Any]
Note = Callable[[str], None]

#: Points of the map, bytes of sound within it, hits shown of a query, queries of each direction.
POINTS, SOUND, HITS, SHOWN = 900, 1_500_000, 4, 3
#: Values of a column by which a map can still be coloured.
COLOURS = 12
#: Fits of a learning curve as large as the last of them: six sizes that double, and draws to pair.
CURVE_FITS = 17


def facts_of(ws: Workspace, *, label: str | None, budget: float, seed: int, note: Note) -> Facts:
    """Everything the page says, as JSON-able facts; what could not be had is said in ``notes``.

    Parameters
    ----------
    label : a column that colours the map; every column of few values can be chosen on the page.
    budget : units of work; a learning curve that costs more is left out by name.

    Raises
    ------
    ConjoinError : nothing is fitted, or the column is unknown.
    """
    if label is not None and label not in ws.items.names:
        raise ConjoinError("--label", f"{label!r} is no column", nearest(label, ws.items.names))
    notes: list[str] = []
    made = current_fit(ws)
    facts: Facts = {
        "version": FORMAT, "title": ws.folder.resolve().name,
        "card": read_card(made.folder),
    }  # fmt: skip
    note("held-out items")
    try:
        bed = evaluate.test_bed(ws)
        facts["evaluation"] = evaluate.evaluate_workspace(ws, seed=seed).to_json()
        facts["trust"] = evaluate.trust_workspace(ws, seed=seed).to_json()
        if made.binding.frame.score == "maxsim":
            notes.append("the joint space holds token sets: no hits, misses or masks are shown")
        else:
            bound = _held(made, bed)
            facts["masks"] = _or_note(notes, lambda: masked(bed, bound, seed=seed).to_json())
            note("hits and misses")
            facts["queries"] = list(_queries(ws, bed, bound))
    except ConjoinError as error:
        notes.append(str(error))
    note("the joint space")
    facts["measured"] = _or_note(notes, lambda: _measured(ws, made, seed))
    facts["map"] = _map(ws, made, label, seed)
    known = _kept_at(ws, _forecast_parts(made, seed)).exists()
    if "evaluation" in facts and (known or _curve_units(made, bed) <= budget):
        note("the learning curve")
        facts["forecast"] = _or_note(notes, lambda: _forecast(ws, made, seed))
    elif "evaluation" in facts:
        notes.append(
            "the learning curve was left out: it would take "
            f"{_curve_units(made, bed):.0f} units of work; give a larger --budget"
        )
    facts["fusions"] = fusions(ws)
    facts["layers"] = layers_of(ws, notes, seed=seed)
    facts["costs"] = _costs(ws, facts["card"])
    facts["notes"] = notes
    return facts


def _curve_units(made: Fit, bed: TestBed) -> float:
    """What a learning curve costs, by the table."""
    choice = made.binding.choice
    if choice.aligner is not None:
        return 0.0
    views = (choice.hub, *(name for name in bed.train.names if name != choice.hub))
    dims = tuple(bed.spaces[name].dim for name in views)
    shape = Shape(len(bed.train), dims)
    lines = max(len(rows) for rows in bed.rows.values())
    each = costs.of_fit(find("aligner", choice.method), choice.fields, shape)
    each += costs.of_moments(shape) + costs.of_score(lines, dims)
    return CURVE_FITS * each


def _or_note(notes: list[str], job: Callable[[], Any]) -> Any:
    try:
        return job()
    except ConjoinError as error:
        notes.append(str(error))
        return None


def _kept_at(ws: Workspace, parts: Sequence[Any]) -> Path:
    return ws.state / "report" / f"{digest(list(parts))}.json"


def _forecast_parts(made: Fit, seed: int) -> list[Any]:
    return ["forecast carried on", made.folder.name, seed]


def _kept(ws: Workspace, parts: Sequence[Any], job: Callable[[], Facts]) -> Facts:
    """What was measured before on the same fit is read, not measured again."""
    path = _kept_at(ws, parts)
    if path.exists():
        raw = dict(read_json(path))
        return {**raw, "method": current(raw["method"])} if "method" in raw else raw
    found = {"version": FORMAT, **job()}
    write_json(path, found)
    return found


def _measured(ws: Workspace, made: Fit, seed: int) -> Facts:
    def job() -> Facts:
        return measure_workspace(ws, names=list(REMEDIES), seed=seed).to_json()

    return _kept(ws, ["measured", made.folder.name, sorted(made.binding.maps), seed], job)


def _forecast(ws: Workspace, made: Fit, seed: int) -> Facts:
    from conjoin.evaluation.learning_curve import forecast

    def job() -> Facts:
        choice = made.binding.choice
        return forecast(evaluate.test_bed(ws), choice, more=500, count=0, seed=seed).to_json()

    return _kept(ws, _forecast_parts(made, seed), job)


def _held(made: Fit, bed: TestBed) -> dict[str, Space]:
    return {
        name: made.binding.bind(name, bed.spaces[name].take(bed.rows[name]))
        for name in bed.spaces if name in made.binding.maps
    }  # fmt: skip


def _queries(ws: Workspace, bed: TestBed, bound: Mapping[str, Space]) -> Iterator[Facts]:
    """Of each direction the held-out queries answered first, and those answered last."""
    for query, target in bed.directions():
        if query not in bound or target not in bound:
            continue
        try:
            wanted = bed.relevance(query, target)
        except ConjoinError:
            continue
        asked, gallery = _scored(bound[query], query=True), _scored(bound[target], query=False)
        best = rank_queries(asked, gallery, wanted).best
        # of equal ranks a draw, so that hits are not all the table's first rows
        drawn = np.random.default_rng([0, stable_hash(f"shown {query} {target}")])
        order = np.lexsort((drawn.permutation(len(best)), best))
        shown = min(SHOWN, (len(order) + 1) // 2)
        for kind, lines in (("hit", order[:shown]), ("miss", order[shown:][::-1][:SHOWN])):
            for line in lines.tolist():
                row = int(wanted.queries[line])
                yield {
                    "kind": kind, "query": query, "target": target, "rank": int(best[line]),
                    **_shown(ws, query, bound[query], row),
                    "hits": list(_hits(ws, bound, (query, target), (asked, gallery), wanted, line)),
                }  # fmt: skip


def _scored(space: Space, *, query: bool) -> np.ndarray:
    """Vectors whose inner products are the frame's scores."""
    vectors = np.asarray(space.vectors, dtype=np.float32)
    return np.asarray(space.frame.query(vectors) if query else space.frame.item(vectors))


def _hits(
    ws: Workspace, bound: Mapping[str, Space], way: tuple[str, str],
    sides: tuple[np.ndarray, np.ndarray], wanted: Relevance, line: int,
) -> Iterator[Facts]:  # fmt: skip
    """The first rows found of one query; right are those whose item the pairs name."""
    asked, gallery = sides
    right = set(wanted.of(line).tolist())
    scores, found = top_k(asked[wanted.queries[line]][None], gallery, HITS)
    for score, row in zip(scores[0].tolist(), found[0].tolist(), strict=True):
        yield {
            "score": score, "right": int(wanted.item_of[row]) in right,
            **_shown(ws, way[1], bound[way[1]], row),
        }  # fmt: skip


def _shown(ws: Workspace, modality: str, space: Space, row: int) -> Facts:
    item = str(space.ids[row])
    return {"id": item, "cell": _cell(ws, modality, item, int(space.parts[row]))}


def _cell(ws: Workspace, modality: str, item: str, part: int) -> Facts:
    seen = render.cell_thumb(ws, modality, item, part)
    return {
        "kind": seen.kind, "text": seen.text, "label": ws.label(item),
        "uri": seen.uri if seen.data else "",
    }  # fmt: skip


def _map(ws: Workspace, made: Fit, label: str | None, seed: int) -> Facts:
    """A sample of the joint space laid flat, with what a reader sees of each point."""
    each = max(5, POINTS // len(made.binding.maps))
    rng = np.random.default_rng([seed, stable_hash("map")])
    parts, points, sound = [], [], 0
    for name in made.binding.maps:
        space = ws.space(name)
        rows = np.sort(rng.permutation(len(space))[:each])
        placed = made.binding.bind(name, space.take(rows)).pooled()
        parts.append(np.asarray(placed.vectors, np.float64))
        for row in rows:
            seen = _cell(ws, name, str(space.ids[row]), int(space.parts[row]))
            if seen["kind"] == "audio":
                sound += len(seen["uri"])
                seen["uri"] = seen["uri"] if sound < SOUND else ""
            points.append({"id": str(space.ids[row]), "modality": name, **seen})
    for point, (x, y) in zip(points, flat(np.concatenate(parts), seed=seed), strict=True):
        point["x"], point["y"] = round(float(x), 3), round(float(y), 3)
    columns = _columns(ws, label)
    for point in points:
        point["by"] = {name: str(ws.items.value(name, point["id"])) for name in columns}
    return {"points": points, "columns": columns}


def _columns(ws: Workspace, label: str | None) -> list[str]:
    found = [label] if label else []
    used = {entry.column for entry in ws.modalities if isinstance(entry.column, str)}
    for name in ws.items.names:
        if name not in found and name not in used:
            values = ws.items.column(name)
            if all(isinstance(v, str | int | bool) or v is None for v in values[:50]):
                count = len(set(values))
                if 2 <= count <= COLOURS:
                    found.append(name)
    return found


def _costs(ws: Workspace, card: Facts) -> Facts:
    size = lambda p: sum(f.stat().st_size for f in p.rglob("*") if f.is_file())  # noqa: E731
    return {
        "choosing": sum(float(row.get("units", 0.0)) for row in card["compared"]),
        "bytes": {
            name: size(ws.state / name)
            for name in ("spaces", "maps", "index") if (ws.state / name).exists()
        },
    }  # fmt: skip


@dataclass(frozen=True, eq=False)
class Reported:
    """A report, and where it was written.

    Parameters
    ----------
    facts : everything the page says.
    markdown : the same as a model card, where it was asked for.
    """

    facts: Facts
    out: Path
    markdown: Path | None = None

    def to_json(self) -> dict[str, Any]:
        """One object for programs; the map's points and the shown hits stay on the page."""
        facts, card = self.facts, self.facts["card"]
        return {
            "out": str(self.out), "markdown": str(self.markdown) if self.markdown else None,
            "method": card["method"], "fields": plain(card["fields"]), "notes": facts["notes"],
            "evaluation": facts.get("evaluation"), "masks": facts.get("masks"),
            "measured": facts.get("measured"), "forecast": facts.get("forecast"),
            "costs": facts["costs"],
        }  # fmt: skip


def write_report(
    ws: Workspace,
    out: Path,
    *,
    markdown: Path | None = None,
    label: str | None = None,
    budget: float = 120.0,
    seed: int = 0,
    note: Note = lambda _: None,
) -> Reported:
    """Gather the facts and write the page, and the same as Markdown where asked.

    Parameters
    ----------
    label, budget : as in :func:`facts_of`.

    Raises
    ------
    ConjoinError : nothing is fitted, the column is unknown, or a file cannot be written.
    """
    from conjoin.report.cards.hub import hub_card
    from conjoin.report.pages.report import report_page

    facts = facts_of(ws, label=label, budget=budget, seed=seed, note=note)
    with atomic(out) as file:
        file.write(report_page(facts).encode())
    if markdown is not None:
        with atomic(markdown) as file:
            file.write(hub_card(facts).encode())
    return Reported(facts, out, markdown)
