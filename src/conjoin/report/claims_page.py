"""The page of claims: what held on real data and what did not, with equal weight."""

from collections.abc import Mapping, Sequence
from typing import Any

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

Both arms of a claim choose their settings on validation with the same number of tries, train on
the same lines and are asked the same held-out rows. Effects are paired over {seeds} seeds and
whole groups ({draws:,} resamples); Holm's correction runs within a family, q is the share of false
discoveries over the whole page. A unit is a query, or what the task says. Run again with
`conjoin claims`.
"""


def claims_page(facts: Facts) -> str:
    """Results of ``conjoin claims`` as Markdown."""
    intro = INTRO.format(seeds=facts["seeds"], draws=facts["draws"]).rstrip()
    parts = [intro, _counted(facts)]
    for family in dict.fromkeys(c["family"] for c in facts["claims"]):
        own = [c for c in facts["claims"] if c["family"] == family]
        parts.append(f"## {family.capitalize()}\n\n{_overview(own)}")
        parts.extend(_claim(each) for each in own)
    if facts["open"]:
        rows = [(o["method"], o["task"], o["data"], o["why"]) for o in facts["open"]]
        parts.append("## Without a verdict\n\n" + table(("method", "task", "data", "why"), rows))
    parts.append("## Every arm\n\nSettings are those validation chose.")
    parts.extend(_table(each) for each in facts["tables"])
    touched = [(name, str(count)) for name, count in facts["touches"].items()]
    parts.append(
        "## Touches\n\nHow many times an arm was judged on the held-out rows of each data set.\n\n"
        + table(("data", "touches"), touched)
    )
    return "\n\n".join(parts) + "\n"


def _counted(facts: Facts) -> str:
    said = [claim["said"] for claim in facts["claims"]]
    counts = ", ".join(
        f"{said.count(verdict)} {verdict}"
        for verdict in ("holds here", "does not hold here", "undecided")
    )
    return f"{len(said)} claims: {counts}."


def _overview(claims: Sequence[Facts]) -> str:
    columns = ("method", "against", "task", "data", "metric", "effect", "95 %", "q", "verdict")
    rows = [
        (
            f"`{c['arm']}`", f"`{c['baseline']}`", asked(c), c["data"], c["metric"],
            f"{c['effect']:+.3f}", span(c["low"], c["high"]), f"{c['share']:.3f}",
            f"**{c['said']}**",
        )
        for c in claims
    ]  # fmt: skip
    return table(columns, rows)


def asked(facts: Facts) -> str:
    """The task and its condition in words."""
    said = ", ".join(f"{name} {value:g}" if isinstance(value, int | float) else f"{name} {value}"
                     for name, value in facts["condition"].items())  # fmt: skip
    return facts["task"] + (f" ({said})" if said else "")


def _claim(c: Facts) -> str:
    lines = [
        f"### {c['arm']} against {c['baseline']}: {asked(c)}, {c['data']} {{#{anchor(c)}}}",
        f"**{c['said']}**: {c['metric']} {c['arm_value']:.3f} against {c['baseline_value']:.3f}, "
        f"effect {c['effect']:+.3f} {span(c['low'], c['high'])}, corrected "
        f"{span(c['least'], c['most'])}, smallest of interest {c['smallest']:g}, detectable "
        f"{c['detectable']:.3f}. {c['seeds']} seeds, {c['units']} units in {c['groups']} groups. "
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
        if "failed" in arm:
            rows.append((f"`{arm['arm']}`", "", "", "", arm["failed"]))
        else:
            rows.append((
                f"`{arm['arm']}`", f"{arm['value']:.3f}", span(arm["low"], arm["high"]),
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
