"""Cards of heads and students: baselines first, then what was fitted, and when not to use it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from conjoin.catalogue import find
from conjoin.report.bibliography import cite
from conjoin.report.pages.claims import plain, span, table

Facts = Mapping[str, Any]
#: Fewer held-out items than this decide little.
FEW = 100


def sources_of(kind: str, names: Iterable[str]) -> list[dict[str, str]]:
    """The papers behind these methods, and nothing else."""
    used: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        for key in find(kind, name).papers:
            used.setdefault(key, []).append(name)
    return [{"key": k, "cited": cite(k), "for": ", ".join(v)} for k, v in used.items()]


def gain_said(method: str, gain: Facts, what: str) -> str:
    """Whether a method beats the best simple baseline, in a sentence."""
    size = f"{gain['value']:+.3f} {span(gain['low'], gain['high'])}"
    if gain["low"] > 0:
        return f"{method} beats {gain['baseline']} by {size} in {what}"
    if gain["high"] < 0:
        return f"{method} is worse than {gain['baseline']}: {size} in {what}"
    return f"{method} is not clearly better than {gain['baseline']}: {size} in {what}"


def head_cautions(facts: Facts) -> list[str]:
    """When not to use a head."""
    said = list(facts["notes"])
    if facts["points"] and facts["test"] < FEW:
        said.append(f"{facts['test']} held-out items decide little")
    if facts["source"] != facts["target"]:
        said.append(
            f"trained on {facts['source']} and used on {facts['target']}: it is as good as the "
            "binding that joins them"
        )
    if not facts["points"]:
        said.append("nothing was measured: give --label to see how often the names are right")
    if facts["rejection"] is None:
        said.append("it names a class for anything, also for what is of none: see --reject")
    said.append("for data unlike this table it was not tested")
    return said


def head_markdown(facts: Facts) -> str:
    """The card of a head as people read it."""
    trained = facts["source"] if facts["train"] else "names alone"
    parts = [
        f"# {facts['method']}: {facts['what']} of {facts['target']}",
        f"**Verdict: {facts['verdict']}.**",
        *_points(facts),
        *_rejection(facts),
        "## When not to use it\n\n" + "\n".join(f"- {line}." for line in facts["cautions"]),
        "## Data\n\n"
        f"{len(facts['classes'])} classes; {facts['train']} items of {facts['source']} to train "
        f"on, {facts['test']} held-out items of {facts['target']}; "
        f"{facts['names']} prompts name the classes. Vectors: {facts['space']}.",
        f"## Method\n\n{find('head', facts['method']).summary} Settings: "
        f"{plain(facts['fields'])}; trained on {trained}; seed {facts['seed']}, frame "
        f"`{facts['frame']}`. Made with {_versions(facts)}.",
        *_sources(facts),
    ]
    return "\n\n".join(parts) + "\n"


def _points(facts: Facts) -> Iterable[str]:
    if not facts["points"]:
        return
    rows = []
    for one in facts["points"]:
        name = f"**{one['method']}**" if one["chosen"] else one["method"]
        shots = "all" if one["shots"] is None else str(one["shots"])
        value = f"{one['value']:.3f} {span(one['low'], one['high'])}"
        rows.append((shots, name, value, f"{one['balanced']:.3f}", str(one["rows"])))
    yield (
        "## Baselines first\n\nAccuracy on held-out items; 95 % intervals by group; the chosen "
        "head in bold.\n\n"
        + table(("shots", "head", "accuracy", "classes weighed alike", "labelled items"), rows)
    )


def _rejection(facts: Facts) -> Iterable[str]:
    found = facts["rejection"]
    if found is None:
        return
    yield (
        "## What it refuses\n\n"
        f"What is unsure is refused, by {_told_by(found)}: the threshold is set so that at most "
        f"{found['rate']:.0%} of training items of known classes are refused by a head that had "
        f"not seen them. With {len(found['kept_out'])} classes kept out of training "
        f"({', '.join(found['kept_out'][:8])}) {found['unknown']:.1%} of their held-out items "
        f"were refused, and {found['known']:.1%} of all others; of those it named "
        f"{found['accuracy']:.1%} were right. By the largest probability alone, "
        f"{found['by_probability'][1]:.1%} of the kept out and {found['by_probability'][0]:.1%} of "
        "the others would have been."
    )


def _told_by(found: Facts) -> str:
    near = " and how near the nearest item trained on is" if found["nearness"] else ""
    return f"the largest probability{near}"


def student_markdown(facts: Facts) -> str:
    """The card of a student as people read it."""
    rows = []
    for one in facts["compared"]:
        name = f"**{one['method']}**" if one["method"] == facts["method"] else one["method"]
        rows.append((name, _cell(one["own"]), _cell(one["search"]), _cell(one["retention"])))
    against = f", in search of {facts['gallery']}" if facts["gallery"] else ""
    parts = [
        f"# {facts['method']}: {facts['modality']} taught by {', '.join(facts['teachers'])}",
        f"**Verdict: {facts['verdict']}.**",
        "## Baselines first\n\n"
        f"Recall@10 on held-out items; 95 % intervals by group. *Own* finds the teacher's vector "
        f"of the same item; *search* finds its partner{against or ' (no other modality is bound)'};"
        " *retention* is the student's over the teacher's.\n\n"
        + table(("student", "own", "search", "retention"), rows),
        "## When not to use it\n\n" + "\n".join(f"- {line}." for line in facts["cautions"]),
        f"## Data\n\n{facts['train']} training items, {facts['test']} held out. The student reads "
        f"{facts['reads']} ({facts['width']} numbers, frame `{facts['source_frame']}`).",
        f"## Method\n\n{find('student', facts['method']).summary} Settings: "
        f"{plain(facts['fields'])}; seed {facts['seed']}; it leads to frame "
        f"`{facts['target_frame']}`. Made with {_versions(facts)}.",
        *_sources(facts),
    ]
    return "\n\n".join(parts) + "\n"


def _cell(value: Sequence[float] | None) -> str:
    return "" if value is None else f"{value[0]:.3f} {span(value[1], value[2])}"


def _versions(facts: Facts) -> str:
    return ", ".join(f"{name} {value}" for name, value in facts["versions"].items())


def _sources(facts: Facts) -> Iterable[str]:
    if facts["sources"]:
        yield "## Sources\n\n" + "\n".join(f"- {s['cited']} ({s['for']})" for s in facts["sources"])
