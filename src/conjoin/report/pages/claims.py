"""The page of claims: what held on real data and what did not, with equal weight."""

from collections.abc import Mapping, Sequence
from typing import Any

from conjoin.claims.results import name_of
from conjoin.report.bibliography import cite

Facts = Mapping[str, Any]

INTRO = """# Claims

What papers claim, restated on frozen vectors so that it can fail, and checked on small real data
sets. A verdict judges the trick **here**, on these data and encoders, not its authors: read how
the setting differs before carrying it further.

- **holds here**: the corrected lower end of the effect is above zero and the estimate reaches the
  smallest effect of interest.
- **does not hold here**: the corrected upper end is below the smallest effect of interest.
- **undecided**: neither; `detectable` is the effect these data would show four times in five.
- **these data cannot tell**: neither, and `detectable` is more than five times the smallest effect
  of interest.
- **beats doing nothing only**: it holds against doing nothing, and a simple arm of the same table
  does better.

Where a claim holds and a simple arm of the same table does better than the winner, the verdict's
line names it. No interval ends beyond what its metric allows.

Both arms of a claim choose their settings on validation with the same number of tries, train on
the same lines and are asked the same held-out rows. Effects are paired over {seeds} seeds and
whole groups ({draws:,} resamples); Holm's correction runs within a family, q is the share of false
discoveries over the whole page. A unit is a query, or what the task says. Run again with
`conjoin claims`.
"""


def claims_page(facts: Facts, record: Facts | None = None) -> str:
    """Results of ``conjoin claims`` as Markdown.

    Parameters
    ----------
    record : verdicts from before a change of rules or methods, with why they were judged again.
    """
    intro = INTRO.format(seeds=facts["seeds"], draws=facts["draws"]).rstrip()
    parts = [intro, _counted(facts)]
    if record:
        parts.append(_changes(facts, record))
    for family in dict.fromkeys(c["family"] for c in facts["claims"]):
        own = [c for c in facts["claims"] if c["family"] == family]
        parts.append(f"## {family.capitalize()}\n\n{_overview(own)}")
        parts.extend(_claim(each) for each in own)
    if facts.get("stale"):
        parts.append(_waiting(facts["stale"]))
    if facts["open"]:
        rows = [(o["arm"], o["baseline"], o["task"], o["data"], o["why"]) for o in facts["open"]]
        parts.append(
            "## Without a verdict\n\n" + table(("method", "against", "task", "data", "why"), rows)
        )
    parts.append(
        "## Every arm\n\nSettings are those validation chose. *before*: what decides the scores of "
        "an arm has changed since it ran."
    )
    parts.extend(_table(each) for each in facts["tables"])
    touched = [(name, str(count)) for name, count in facts["touches"].items()]
    parts.append(
        "## Touches\n\nHow many times an arm was judged on the held-out rows of each data set.\n\n"
        + table(("data", "touches"), touched)
    )
    return "\n\n".join(parts) + "\n"


def _counted(facts: Facts) -> str:
    said = [claim["said"] for claim in facts["claims"]]
    verdicts = dict.fromkeys(
        ("holds here", "does not hold here", "undecided", "these data cannot tell",
         "beats doing nothing only")
    )  # fmt: skip
    counts = ", ".join(f"{said.count(verdict)} {verdict}" for verdict in verdicts)
    carried = sum(bool(claim.get("carried")) for claim in facts["claims"])
    waiting, none = len(facts.get("stale", ())), len(facts["open"])
    more = [
        f"{carried} of them keep the numbers of an earlier run, nothing that decides them having "
        "changed" if carried else "",
        f"{waiting} more [wait for a run](#waiting-for-a-run)" if waiting else "",
        f"{none} have no verdict" if none else "",
    ]  # fmt: skip
    return f"{len(said)} claims: {counts}." + "".join(
        f" {line[0].upper()}{line[1:]}." for line in more if line
    )


def _changes(facts: Facts, record: Facts) -> str:
    """What was judged again, and what came of it."""
    now = {name_of(c): c for c in facts["claims"]}
    waiting = {name_of(c) for c in facts.get("stale", ())}
    none = {name_of(c): c["why"] for c in facts["open"]}
    rows, same, gone = [], 0, list[str]()
    for old in record["verdicts"]:
        name = name_of(old)
        if name in now and now[name]["said"] == old["said"]:
            same += not now[name].get("carried")
        elif name in now or name in none:
            new = now.get(name)
            said = f"{new['said']} ({new['effect']:+.3f})" if new else f"none: {none[name]}"
            rows.append((
                f"`{old['arm']}`", f"`{old['baseline']}`", asked(old), old["data"],
                f"{old['said']} ({old['effect']:+.3f})", said, _why(old, new, record),
            ))  # fmt: skip
        elif name not in waiting:
            gone.append(
                f"`{old['arm']}` against `{old['baseline']}` ({old['task']}, {old['data']})"
            )
    lines = ["## What changed, and why", record["about"]]
    lines.append("\n".join(f"- {each}" for each in record["rules"]))
    lines.append(
        f"{len(rows)} verdicts changed; {same} were judged again and came out the same; "
        f"{len(waiting)} wait for a run."
    )
    if rows:
        columns = ("method", "against", "task", "data", "was", "is", "why")
        lines.append(table(columns, rows))
    if gone:
        lines.append("No longer claimed: " + "; ".join(gone) + ".")
    return "\n\n".join(lines)


def _why(old: Facts, new: Facts | None, record: Facts) -> str:
    """Why a claim was judged again."""
    if new and new.get("carried"):
        return str(record["why"]["rule"])
    for name in (f"{old['arm']}/{old['baseline']}", old["arm"], old["baseline"]):
        if name in record["why"]:
            return str(record["why"][name])
    return str(record["why"]["tries"])


def _waiting(claims: Sequence[Facts]) -> str:
    rows = [
        (f"`{c['arm']}`", f"`{c['baseline']}`", asked(c), c["data"], c["metric"],
         f"{c['effect']:+.3f} {span(c['low'], c['high'])}", c["said"])
        for c in claims
    ]  # fmt: skip
    columns = ("method", "against", "task", "data", "metric", "effect then", "verdict then")
    return (
        "## Waiting for a run\n\nWhat decides the scores of these has changed since they were "
        "judged, and they have not run again. The verdicts are those of before.\n\n"
        + table(columns, rows)
    )


def _overview(claims: Sequence[Facts]) -> str:
    columns = ("method", "against", "task", "data", "metric", "effect", "95 %", "q", "verdict")
    rows = [
        (
            f"`{c['arm']}`", f"`{c['baseline']}`", asked(c), c["data"], c["metric"],
            f"{c['effect']:+.3f}", span(c["low"], c["high"]), f"{c['share']:.3f}",
            f"**{c['said']}**{_better(c)}",
        )
        for c in claims
    ]  # fmt: skip
    return table(columns, rows)


def _better(c: Facts) -> str:
    """The simple arm that does better than the winner."""
    best = c.get("outdone")
    return f"; `{best['arm']}` does better: {best['value']:.3f}" if best else ""


def asked(facts: Facts) -> str:
    """The task and its condition in words."""
    said = ", ".join(f"{name} {value:g}" if isinstance(value, int | float) else f"{name} {value}"
                     for name, value in facts["condition"].items())  # fmt: skip
    return facts["task"] + (f" ({said})" if said else "")


def _claim(c: Facts) -> str:
    lines = [
        f"### {c['arm']} against {c['baseline']}: {asked(c)}, {c['data']} {{#{anchor(c)}}}",
        f"**{c['said']}**{_better(c)}: {c['metric']} {c['arm_value']:.3f} against "
        f"{c['baseline_value']:.3f}, effect {c['effect']:+.3f} {span(c['low'], c['high'])}, "
        f"corrected {span(c['least'], c['most'])}, smallest of interest {c['smallest']:g}, "
        f"detectable {c['detectable']:.3f}. {c['seeds']} seeds, {c['units']} units in "
        f"{c['groups']} groups. "
        f"A run takes {c['arm_seconds']:.2g} s against {c['baseline_seconds']:.2g} s.",
        f"- The paper: {c['reported']}",
        f"- Fidelity: {c['fidelity']} ({c['fidelity_means']}). {c['differs']}",
        f"- Settings chosen: {plain(c['arm_fields'])}; baseline {plain(c['baseline_fields'])}.",
    ]
    if c["papers"]:
        lines.append("- Source: " + " ".join(cite(key) for key in c["papers"]))
    return f"{lines[0]}\n\n{lines[1]}\n\n" + "\n".join(lines[2:])


def anchor(c: Facts) -> str:
    """A name for a claim's heading, unique on the page."""
    text = f"{c['arm']}-{c['baseline']}-{asked(c)}-{c['data']}-{c['metric']}"
    return "".join(char if char.isalnum() else "-" for char in text).lower()


def _table(facts: Facts) -> str:
    rows = []
    for arm in facts["arms"]:
        name = f"`{arm['arm']}`" + (" *before*" if arm.get("stale") else "")
        if "failed" in arm:
            rows.append((name, "", "", "", arm["failed"]))
        else:
            rows.append((
                name, f"{arm['value']:.3f}", span(arm["low"], arm["high"]),
                f"{arm['seconds']:.2g}", plain(arm["fields"]),
            ))  # fmt: skip
    title = f"{asked(facts)}, {facts['data']}"
    return f"### {title}: {facts['metric']}\n\n" + table(
        ("arm", facts["metric"], "95 %", "s a run", "settings"), rows
    )


def plain(fields: Mapping[str, Any]) -> str:
    """Settings in a line; the defaults where none was changed."""
    said = (f"{k} {v:g}" if isinstance(v, float) else f"{k} {v}" for k, v in fields.items())
    return ", ".join(said) or "defaults"


def span(low: float, high: float) -> str:
    """An interval as people read it."""
    return f"[{low:.3f}, {high:.3f}]"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |"
                     for line in lines)  # fmt: skip
