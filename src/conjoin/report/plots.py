"""Figures of a report: traces for the plotting library, the same figures as a table, in words."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

Facts = Mapping[str, Any]

#: Okabe and Ito's colours, told apart by people who see red and green alike, and a shape for each.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F", "#B59F00")
SHAPES = ("circle", "diamond", "square", "triangle-up", "cross", "star", "x", "hexagon")


@dataclass(frozen=True)
class Figure:
    """One figure, drawn in the browser, and all it shows as a table.

    Parameters
    ----------
    key, short : its anchor, and its name among the links.
    title, says : what it shows, and how to read it, in a sentence.
    traces, layout : of plotly; colours of text and ground are the page's.
    columns, rows : what is shown, as text.
    """

    key: str
    short: str
    title: str
    says: str
    traces: Sequence[Facts]
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    layout: Facts = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """JSON-able fields."""
        return asdict(self)


def style(place: int) -> dict[str, Any]:
    """Colour and shape of a series."""
    return {"color": COLOURS[place % len(COLOURS)], "symbol": SHAPES[place % len(SHAPES)]}


def shown(value: float | None, low: float | None = None, high: float | None = None) -> str:
    """A figure with its interval where there is one."""
    if value is None:
        return "–"
    if low is None or high is None:
        return f"{value:.3f}"
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


def _spread(rows: Sequence[Facts]) -> dict[str, Any]:
    """Intervals of horizontal bars, none where a row has none."""
    ends = [(r["low"], r["high"], r["value"]) for r in rows]
    up = [0.0 if high is None else high - value for _, high, value in ends]
    down = [0.0 if low is None else value - low for low, _, value in ends]
    return {"type": "data", "symmetric": False, "array": up, "arrayminus": down, "thickness": 1.5}


def retrieval(evaluation: Facts, metric: str = "recall@10") -> Figure:
    """Every direction: chance and baselines, and what was chosen, with intervals."""
    rows = [r for r in evaluation["results"] if r["metric"] == metric]
    ways = list(dict.fromkeys((r["query"], r["target"]) for r in rows))
    names = list(dict.fromkeys("chosen" if r["chosen"] else r["method"] for r in rows))
    names = [n for n in names if n != "chosen"] + ["chosen"] * ("chosen" in names)
    traces = []
    for place, name in enumerate(names):
        own = [r for r in rows if ("chosen" if r["chosen"] else r["method"]) == name]
        step = (place - (len(names) - 1) / 2) * 0.8 / max(len(names), 1)
        traces.append({
            "type": "scatter", "mode": "markers", "name": name,
            "x": [r["value"] for r in own],
            "y": [ways.index((r["query"], r["target"])) - step for r in own],
            "text": [f"{r['query']} → {r['target']}: {r['method']}" for r in own],
            "error_x": _spread(own),
            "marker": {**style(len(names) - 1 - place), "size": 11 if name == "chosen" else 8},
            "hovertemplate": "%{text} %{x:.3f}<extra></extra>",
        })  # fmt: skip
    labels = [f"{query} → {target}" for query, target in ways]
    direct = ' "direct pairs" is what pairs of the two themselves would give.'
    direct = direct if "direct pairs" in names else ""
    layout = {
        "xaxis": {"title": {"text": metric}, "rangemode": "tozero"},
        "yaxis": {"tickvals": list(range(len(ways))), "ticktext": labels, "autorange": "reversed"},
        "height": 150 + 90 * len(ways),
    }  # fmt: skip
    table = [
        (f"{r['query']} → {r['target']}", ("* " if r["chosen"] else "") + r["method"],
         shown(r["value"], r["low"], r["high"]), str(r["n"]))
        for r in rows
    ]  # fmt: skip
    return Figure(
        "retrieval", "Retrieval", f"Retrieval by direction: {metric} on held-out items",
        "Bars are 95 % intervals by group. What was chosen should lie right of chance and of the "
        "baselines; where intervals overlap much, the simpler one does." + direct,
        traces, ("direction", "method", metric, "queries"), table, layout,
    )  # fmt: skip


def learning(forecast: Facts) -> Figure:
    """Recall by number of pairs, measured and forecast."""
    points = sorted(forecast["points"], key=lambda p: p["pairs"])
    traces = []
    for place, (measured, name) in enumerate(((True, "measured"), (False, "forecast"))):
        own = [p for p in points if p["measured"] is measured]
        ends = [(p["value"] if p[e] is None else p[e], p["value"]) for p in own for e in ("high",)]
        lows = [p["value"] - (p["value"] if p["low"] is None else p["low"]) for p in own]
        traces.append({
            "type": "scatter", "mode": "lines+markers", "name": name,
            "x": [p["pairs"] for p in own], "y": [p["value"] for p in own],
            "line": {"dash": "solid" if measured else "dot", "color": COLOURS[place]},
            "error_y": {"type": "data", "symmetric": False,
                        "array": [high - value for high, value in ends], "arrayminus": lows},
            "marker": {**style(place), "size": 9},
        })  # fmt: skip
    rows = [
        (str(p["pairs"]), shown(p["value"], p["low"], p["high"]),
         "measured" if p["measured"] else "forecast")
        for p in points
    ]  # fmt: skip
    return Figure(
        "learning", "More pairs", "What more pairs would bring",
        f"{forecast['said']}.".replace("..", "."),
        traces, ("pairs", "recall@10", ""), rows,
        {"xaxis": {"title": {"text": "training pairs"}}, "yaxis": {"title": {"text": "recall@10"}},
         "height": 380},
    )  # fmt: skip


def reliability(trust: Facts) -> Figure | None:
    """Probabilities against how often they were right."""
    found = trust.get("reliability") or []
    if not found:
        return None
    traces: list[dict[str, Any]] = [
        {"type": "scatter", "mode": "lines", "name": "as said", "x": [0, 1], "y": [0, 1],
         "line": {"dash": "dot", "color": "#888888"}, "hoverinfo": "skip"}
    ]  # fmt: skip
    rows = []
    for place, one in enumerate(found):
        way = f"{one['query']} → {one['target']}"
        traces.append({
            "type": "scatter", "mode": "lines+markers", "name": way,
            "x": [cell[0] for cell in one["table"]], "y": [cell[1] for cell in one["table"]],
            "marker": {**style(place), "size": 8}, "line": {"color": style(place)["color"]},
        })  # fmt: skip
        rows.append((
            way, shown(one["error"], one["error_low"], one["error_high"]),
            shown(*one["kept"]), shown(*one["rejected"]), shown(*one["scrambled"]),
        ))  # fmt: skip
    return Figure(
        "reliability", "Probabilities", "Is a probability what it says?",
        "On the dotted line a probability is right as often as it says. The table has the share "
        "of answerable queries kept, and of queries without an answer that are told so.",
        traces,
        ("direction", "calibration error", "answerable kept", "answer removed: rejected",
         "scrambled: rejected"),
        rows,
        {"xaxis": {"title": {"text": "probability said"}, "range": [0, 1]},
         "yaxis": {"title": {"text": "share that was right"}, "range": [0, 1]}, "height": 420},
    )  # fmt: skip


def masks(found: Facts) -> Figure:
    """Every mask of what is present, into what is absent."""
    rows = found["masks"]
    targets = list(dict.fromkeys(r["target"] for r in rows))
    labels = [f"{' + '.join(r['present'])} → {r['target']}" for r in rows]
    traces = []
    for place, target in enumerate(targets):
        own = [(label, r) for label, r in zip(labels, rows, strict=True) if r["target"] == target]
        traces.append({
            "type": "scatter", "mode": "markers", "name": f"into {target}",
            "x": [r["value"] for _, r in own], "y": [label for label, _ in own],
            "error_x": _spread([r for _, r in own]), "marker": {**style(place), "size": 9},
        })  # fmt: skip
    gains = [
        (f"collect {g['modality']}", f"{g['value']:+.3f} [{g['low']:+.3f}, {g['high']:+.3f}]", "")
        for g in found["gains"]
    ]
    table = [
        (label, shown(r["value"], r["low"], r["high"]), str(r["n"]))
        for label, r in zip(labels, rows, strict=True)
    ]
    return Figure(
        "masks", "Missing modalities", "What is found when modalities are missing",
        f"Queries are the mean of what is present. {found['said'].capitalize()}.",
        traces, ("present → searched", "recall@10", "queries"), [*table, *gains],
        {"xaxis": {"title": {"text": "recall@10"}, "rangemode": "tozero"},
         "yaxis": {"automargin": True, "autorange": "reversed"}, "height": 140 + 34 * len(rows)},
    )  # fmt: skip
