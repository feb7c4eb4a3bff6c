"""The card of a fit: baselines first, then what was fitted, and when not to use it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from conjoin.alignment.choice import Choice, Trial
from conjoin.catalogue import Row, find, of_kind
from conjoin.report.bibliography import cite
from conjoin.report.pages.claims import plain, span, table

#: Fewer training pairs than this are called few.
FEW = 300
#: A fold is called uneven when scores differ more than this share of their mean.
UNEVEN = 0.25
#: The baseline every method is held against.
BASELINE = "ridge"

Facts = dict[str, Any]


def card_facts(
    choice: Choice, chance: float, data: Mapping[str, Any], made: Mapping[str, Any]
) -> Facts:
    """Everything a card says, as JSON-able facts.

    Parameters
    ----------
    chance : the score of a random order on the same folds.
    data : ``modalities`` (name, encoder, rows, dim, frame), ``pairs`` by couple, ``items``,
        ``groups``, ``held_out``.
    made : ``frame``, ``seed``, ``corrections``, ``versions``.
    """
    best = choice.best_of()
    own = best.get(choice.method)
    listed = [_compared(trial, own) for trial in best.values()]
    return {
        "method": choice.method, "fields": dict(choice.fields), "hub": choice.hub,
        "score": "mean of recall@1, @5 and @10 over all directions, on held-out folds of the "
        "training pairs",
        "chance": chance, "compared": listed, "skipped": dict(choice.skipped),
        "data": dict(data), **made,
        "verdict": verdict(choice), "cautions": list(cautions(choice, data)),
        "sources": sources(choice, data, made),
    }  # fmt: skip


def _compared(trial: Trial, own: Trial | None) -> Facts:
    low, high = fold_interval(trial.scores)
    found = {
        "method": trial.method, "fields": dict(trial.fields), "folds": len(trial.scores),
        "value": trial.mean, "low": low, "high": high, "units": trial.units,
        "gap": None, "gap_low": None, "gap_high": None,
    }  # fmt: skip
    if own is not None and own is not trial and len(own.scores) == len(trial.scores):
        gap = np.array(own.scores) - np.array(trial.scores)
        found["gap"] = float(gap.mean())
        found["gap_low"], found["gap_high"] = fold_interval(gap)
    return found


def fold_interval(scores: Sequence[float] | np.ndarray) -> tuple[float | None, float | None]:
    """95 % interval of a mean over folds by Student's t; nothing for a single fold.

    Folds share training pairs, so it is somewhat too short (Bengio and Grandvalet 2004).
    """
    values = np.asarray(scores, dtype=np.float64)
    if len(values) < 2:
        return None, None
    from scipy.stats import t as student  # half a second to import, for one figure

    half = float(student.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    return float(values.mean()) - half, float(values.mean()) + half


def verdict(choice: Choice) -> str:
    """Whether the method beats the baseline, in a sentence."""
    best = choice.best_of()
    own, base = best.get(choice.method), best.get(BASELINE)
    if own is None:
        return f"{choice.method} was not compared with anything: do not rely on it yet"
    if choice.method == BASELINE:
        return f"{BASELINE} is the baseline itself; nothing tried was clearly better"
    if base is None or len(base.scores) != len(own.scores):
        return f"{choice.method} was not compared with {BASELINE}"
    gap = np.array(own.scores) - np.array(base.scores)
    low, high = fold_interval(gap)
    if low is None or high is None or low <= 0:
        return (
            f"do not prefer {choice.method} to {BASELINE}: "
            f"the difference is {gap.mean():+.3f}{_span(low, high)}"
        )
    return f"{choice.method} beats {BASELINE} by {gap.mean():+.3f}{_span(low, high)}"


def _span(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f" {span(low, high)}"


def cautions(choice: Choice, data: Mapping[str, Any]) -> Iterable[str]:
    """When not to use it."""
    for couple, count in data["pairs"].items():
        if count < FEW:
            yield (
                f"{couple} rests on {count} pairs; `conjoin forecast` says what more would bring"
            )
    names = [each["name"] for each in data["modalities"]]
    paired = {frozenset(couple.split("–")) for couple in data["pairs"]}
    for place, a in enumerate(names):
        for b in names[place + 1 :]:
            if frozenset((a, b)) not in paired:
                yield f"{a} and {b} were never paired: they meet only through others"
    own = choice.best_of().get(choice.method)
    if own is not None and len(own.scores) > 1:
        spread = float(np.ptp(own.scores))
        if spread > UNEVEN * max(own.mean, 1e-9):
            yield f"folds differ by {spread:.3f}: groups are unlike each other, expect surprises"
    yield "for data unlike this table (other pictures, languages, recordings) it was not tested"
    yield "a new item competes in the index with items that were trained on, which lie nearer"


def sources(
    choice: Choice, data: Mapping[str, Any], made: Mapping[str, Any]
) -> list[dict[str, str]]:
    """The papers behind what ran, and nothing else."""
    ran: list[Row] = []
    aligners = of_kind("aligner")
    for name in (choice.method, *choice.best_of()):
        if name in aligners:
            ran.append(aligners[name])
    known = of_kind("encoder")
    ran += [known[e] for e in (m["encoder"] for m in data["modalities"]) if e in known]
    ran += [find("correction", name) for name in made.get("corrections", {}).values()]
    ran.append(find("metric", "recall@10"))
    used: dict[str, list[str]] = {}
    for row in ran:
        for key in row.papers:
            used.setdefault(key, []).append(row.name)
    return [
        {"key": key, "cited": cite(key), "for": ", ".join(dict.fromkeys(names))}
        for key, names in used.items()
    ]


def card_markdown(facts: Mapping[str, Any]) -> str:
    """The card as people read it."""
    data = facts["data"]
    rows = [("chance", "", f"{facts['chance']:.3f}", "", "")]
    for one in sorted(facts["compared"], key=lambda c: (c["folds"], c["value"])):
        own = one["method"] == facts["method"]
        gap = (
            ""
            if one["gap"] is None
            else f"{one['gap']:+.3f}{_span(one['gap_low'], one['gap_high'])}"
        )
        name = f"**{one['method']}**" if own else one["method"]
        value = f"{one['value']:.3f}{_span(one['low'], one['high'])}"
        rows.append((name, plain(one["fields"]), value, gap, str(one["folds"])))
    parts = [
        f"# {facts['method']} over {', '.join(m['name'] for m in data['modalities'])}",
        f"**Verdict: {facts['verdict']}.**",
        "## Baselines first\n\n"
        f"{facts['score'][0].upper()}{facts['score'][1:]}; 95 % intervals over folds.\n\n"
        + table(("method", "settings", "score", "what the fitted method adds", "folds"), rows),
        *_skipped(facts["skipped"]),
        "## When not to use it\n\n" + "\n".join(f"- {line}." for line in facts["cautions"]),
        *_scores(facts.get("scores")),
        "## Data\n\n" + _data(data),
        "## Method\n\n" + _method(facts),
        "## Sources\n\n" + "\n".join(f"- {s['cited']} ({s['for']})" for s in facts["sources"]),
    ]
    return "\n\n".join(parts) + "\n"


def _skipped(skipped: Mapping[str, str]) -> Iterable[str]:
    if skipped:
        lines = "\n".join(f"- {name}: {why}" for name, why in skipped.items())
        yield f"## Not tried to the end\n\n{lines}"


def _scores(scores: Mapping[str, Any] | None) -> Iterable[str]:
    """Hubs before and after each correction, what is used, what probabilities were worth."""
    if not scores or not scores["decisions"]:
        return
    yield "## Scores\n\n" + "\n\n".join(_direction(one) for one in scores["decisions"])
    known = [
        (f"{q} → {t}", one["curve"], f"{facts['queries']}", f"{facts['right']:.3f}",
         f"{facts['kept']:.0%}", f"{facts['rejected'][0]:.0%} {span(*facts['rejected'][1:])}")
        for q, t, one in scores["calibrations"] for facts in [one["facts"]]
    ]  # fmt: skip
    if known:
        yield (
            "P(match | score), fitted to held-out queries among held-out items; where the best "
            "hit's is below the threshold, the list is said to hold nothing relevant.\n\n"
            + table(("direction", "curve", "queries", "best hit right", "answered lists kept",
                     "told so with the answer removed"), known)
        )  # fmt: skip
    yield f"Lists of several modalities are mixed by {scores['mixing']['method']}."


def _direction(one: Mapping[str, Any]) -> str:
    """A direction's corrections, best first, each at its best setting."""
    first: dict[str, Any] = {}
    for tried in one["tried"]:
        first.setdefault(tried["method"], tried)
    used = one["chosen"]["method"] if one["chosen"] else None
    rows = [("none", f"{one['plain']:.3f}", *_hubs(one["hubs"]))]
    for name, tried in first.items():
        gain = f"{tried['gain']:+.3f}{_span(tried['low'], tried['high'])}"
        rows.append((f"**{name}**" if name == used else name, gain, *_hubs(tried["hubs"])))
    index = one["index"]
    said = [
        f"{one['query']} → {one['target']}: in the whole index hub skewness is "
        f"{_hubs(index['hubs'])[0]}, and {index['hubs']['never']:.1%} of the items are never found"
    ]
    if index["after"] is not None:
        gain = f"{index['gain'][0]:+.3f}{_span(index['gain'][1], index['gain'][2])}"
        said.append(f"; {first_safe(one)} makes it {_hubs(index['after'])[0]}, the score {gain}")
    if used is None:
        worst = min(one["tried"], key=lambda t: t["gain"])
        said.append(
            f". No correction is used; {worst['method']} would change the score by "
            f"{worst['gain']:+.3f}{_span(worst['low'], worst['high'])}"
        )
    return (
        "".join(said) + ".\n\n"
        + table(("correction", "gain among new items", "hub skewness", "never found"), rows)
    )  # fmt: skip


def first_safe(one: Mapping[str, Any]) -> str:
    """The correction that was put to the whole index."""
    return str(next(t["method"] for t in one["tried"] if t["low"] > 0))


def _hubs(hubs: Mapping[str, Any]) -> tuple[str, str]:
    skew = f"{hubs['skewness']:.2f}{_span(hubs['skewness_low'], hubs['skewness_high'])}"
    return skew, f"{hubs['never']:.1%}"


def _data(data: Mapping[str, Any]) -> str:
    modalities = table(
        ("modality", "encoder", "rows", "width", "frame"),
        [
            (m["name"], _reader(m), str(m["rows"]), str(m["dim"]), f"`{m['frame']}`")
            for m in data["modalities"]
        ],
    )
    pairs = "\n".join(
        f"- {couple}: {count} training pairs" for couple, count in data["pairs"].items()
    )
    return (
        f"{data['items']} items in {data['groups']} groups; {data['held_out']} items held out and "
        f"not used here.\n\n{modalities}\n\n{pairs}"
    )


def _reader(modality: Mapping[str, Any]) -> str:
    joined = f", parts joined: {modality['parts']}" if "parts" in modality else ""
    return f"{modality['encoder']}{joined}"


def _method(facts: Mapping[str, Any]) -> str:
    row = of_kind("aligner").get(facts["method"])
    said = f"{row.summary} " if row else ""
    fixes = ", ".join(f"{way}: {name}" for way, name in facts["corrections"].items()) or "none"
    versions = ", ".join(f"{name} {value}" for name, value in facts["versions"].items())
    return (
        f"{said}Settings: {plain(facts['fields'])}. Hub {facts['hub']}, seed {facts['seed']}, "
        f"frame `{facts['frame']}`. Corrections: {fixes}. Made with {versions}."
    )
