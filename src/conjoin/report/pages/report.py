"""A report on one fit: a page that needs nothing else."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from conjoin.errors import optional
from conjoin.report import plots
from conjoin.report.cards import fusion

Facts = Mapping[str, Any]

#: What the joint space's numbers are called on the page, with what to do where they are poor.
REMEDIES: Mapping[str, str] = {
    "centroid-distance": "A gap alone costs no recall; where one list mixes modalities, it does.",
    "linear-separability": "Near 1 a plane tells modalities apart: mixed lists need calibration.",
    "hub-skewness": "Above 1 a few items crowd every list; fit takes a correction where one helps.",
    "anti-hubs": "Items nobody finds: a correction, or more of their kind among the pairs.",
    "alignment": "Far partners: more pairs or cleaner ones (conjoin forecast, conjoin doctor).",
    "uniformity": "Near 0 all vectors point one way: another encoder, or whitening.",
    "effective-rank": "Few directions in use: a wider encoder, or more pairs.",
}

#: And what people call them.
PLAIN: Mapping[str, str] = {
    "centroid-distance": "Gap",
    "linear-separability": "Gap, as a plane sees it",
    "hub-skewness": "Hubs",
    "anti-hubs": "Items never found",
    "alignment": "Distance of partners",
    "uniformity": "Spread",
    "effective-rank": "Directions in use",
}


def report_page(facts: Facts) -> str:
    """The page as HTML: figures drawn by the inlined plotting library, everything else plain.

    Raises
    ------
    ConjoinError : the plotting library is not installed.
    """
    plotly = optional("plotly.offline", "report")
    from jinja2 import Environment, PackageLoader, StrictUndefined

    pages = Environment(
        loader=PackageLoader("conjoin.report"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    figures = list(figures_of(facts))
    drawn = {
        "figures": [f.to_json() for f in figures],
        "map": facts["map"], "colours": plots.COLOURS, "shapes": plots.SHAPES,
    }  # fmt: skip
    source, _, _ = pages.loader.get_source(pages, "report.js")  # type: ignore[union-attr]
    return pages.get_template("report.html").render(
        title=facts["title"], card=facts["card"], words=in_words(facts),
        beaten=[n for n in (facts.get("evaluation") or {}).get("notes", ()) if BEATEN in n],
        figures=figures, geometry=geometry(facts),
        fusions=deciding(facts.get("fusions") or ()), layers=by_layer(facts.get("layers") or ()),
        queries=grouped(facts.get("queries") or ()), notes=facts["notes"], costs=facts["costs"],
        columns=facts["map"]["columns"], drawn=embedded(drawn), plotly=plotly.get_plotlyjs(),
        script=source, facts=embedded({k: v for k, v in facts.items() if k not in BULKY}),
    )  # fmt: skip


#: What a note says where a baseline does better on held-out items.
BEATEN = "beats what was chosen"
#: Left out of the downloadable facts: pictures and sounds.
BULKY = ("map", "queries")


def embedded(value: Any) -> str:
    """JSON that can stand inside a script element: no sign in it can close one."""
    said = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        said = said.replace(sign, f"\\u{ord(sign):04x}")
    return said


def figures_of(facts: Facts) -> Iterator[plots.Figure]:
    """Those figures for which there are facts."""
    if facts.get("evaluation"):
        yield plots.retrieval(facts["evaluation"])
    if facts.get("forecast"):
        yield plots.learning(facts["forecast"])
    if facts.get("trust") and (found := plots.reliability(facts["trust"])):
        yield found
    if facts.get("masks"):
        yield plots.masks(facts["masks"])


def in_words(facts: Facts) -> str:
    """How often the best and the worst direction find an answer, in a sentence anyone can read."""
    rows = [
        r for r in (facts.get("evaluation") or {}).get("results", ()) if r["metric"] == "recall@10"
    ]
    chosen = sorted((r for r in rows if r["chosen"]), key=lambda r: -r["value"])
    if not chosen:
        return ""
    by_chance = {(r["query"], r["target"]): r["value"] for r in rows if r["method"] == "chance"}

    def said(r: Facts) -> str:
        chance = by_chance.get((r["query"], r["target"]))
        return f"{100 * r['value']:.0f}" + (
            "" if chance is None else f" ({100 * chance:.0f} by chance)"
        )

    best, worst = chosen[0], chosen[-1]
    told = f"Of 100 queries {best['query']} → {best['target']}, {said(best)} find a right answer "
    told += "among their first ten"
    if len(chosen) > 1:
        told += (
            f"; in the weakest direction, {worst['query']} → {worst['target']}, {said(worst)} do"
        )
    return told + "."


def geometry(facts: Facts) -> list[Facts]:
    """Measures of the joint space in words: what each says and what to do, and its values."""
    rows = (facts.get("measured") or {}).get("measured", ())
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        if row["stage"] != "after binding":
            continue
        one = found.setdefault(row["metric"], {
            "name": row["metric"], "plain": PLAIN.get(row["metric"], row["metric"]),
            "meaning": row["meaning"], "remedy": REMEDIES.get(row["metric"], ""),
            "better": "higher" if row["higher_is_better"] else "lower", "rows": [],
        })  # fmt: skip
        value = plots.shown(row["value"], row["low"], row["high"])
        one["rows"].append((" – ".join(row["views"]), value))
    return list(found.values())


def deciding(found: Sequence[Facts]) -> list[Facts]:
    """Fusions' tables of every subset of modalities, and of what to collect next."""
    return [
        {
            "title": f"{one['label']} by {one['use']}: {one['metric']} on {one['held_out']} "
            "held-out items",
            "said": one["missing"]["said"],
            "masks_head": fusion.masks_header(one["modalities"]),
            "masks": fusion.mask_rows(one["missing"], one["modalities"]),
            "collect_head": fusion.COLLECT,
            "collect": fusion.collect_rows(one["missing"]),
        }
        for one in found
    ]  # fmt: skip


def by_layer(found: Sequence[Facts]) -> list[tuple[str, ...]]:
    """One line a layer and modality it is held against."""
    return [
        (
            f"{one['modality']} {'output' if one['layer'] == -1 else one['layer']}", one["other"],
            plots.shown(one["value"], one["low"], one["high"]), plots.shown(one["chance"]),
            str(one["n"]),
        )
        for one in found
    ]  # fmt: skip


def grouped(queries: Sequence[Facts]) -> list[Facts]:
    """Hits and misses by direction."""
    ways = dict.fromkeys((q["query"], q["target"]) for q in queries)
    return [
        {
            "query": query, "target": target,
            "rows": [q for q in queries if (q["query"], q["target"]) == (query, target)],
        }
        for query, target in ways
    ]  # fmt: skip
