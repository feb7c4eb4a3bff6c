"""What a fit decided of scores, and what they proved to be worth, as people read it."""

from typing import Any

from conjoin.cli.console import Console
from conjoin.project.fit.incumbent import reach_of
from conjoin.project.fit.stored import Fit
from conjoin.report.text import number
from conjoin.retrieval.calibration.policy import Rules
from conjoin.retrieval.calibration.reliability import Trust

#: From so many times the budget it is said that it was too small.
OVER = 1.3


def choice_lines(made: Fit, *, names: bool = True) -> list[str]:
    """What stayed, what the budget cut short, and how answers moved against the fit before.

    Parameters
    ----------
    names : list the methods that were cut short; else they are counted.
    """
    lines, choice, reach = [], made.binding.choice, reach_of(made)
    kept = choice.kept
    if kept is not None and kept.newcomer != kept.method:
        gain = f"{kept.gain:+.3f} [{kept.low:+.3f}, {kept.high:+.3f}]"
        told = "stays: the gain of" if kept.stays else "gives way to"
        lines.append(f"{kept.method}, which was in use, {told} {kept.newcomer}: {gain}")
    elif kept is not None:
        lines.append(f"{kept.method}, which was in use, stays")
    if choice.short and reach is not None:
        lines.append(
            f"cut short by a budget of {reach.budget:.0f} units: "
            f"{', '.join(choice.short) if names else counted(len(choice.short), 'method')}; a "
            "larger --budget tries them to the end"
        )
    if reach is not None and 0 < OVER * reach.budget < reach.units:
        lines.append(
            f"it took {reach.units:.0f} units: closed forms and corrections end whatever the budget"
        )
    if made.drift is not None:
        lines.append(made.drift.said())
    return lines


def work_json(made: Fit) -> dict[str, Any] | None:
    """The budget in units, what was spent of it, and what it cut short."""
    reach = reach_of(made)
    if reach is None or not reach.chosen:
        return None
    return {"budget": reach.budget, "units": reach.units, "cut_short": list(reach.short)}


def show_rules(rules: Rules, console: Console) -> None:
    """A line a direction: its hubs, the correction used or refused, what its scores mean."""
    for one in rules.decisions:
        way = f"{one['query']} → {one['target']}"
        console.say(f"{way}: {hubs_line(one)}; {correction_line(one)}")
    for edge, why in rules.uncalibrated.items():
        console.say(f"{' → '.join(edge)}: no probabilities ({why})")
    if rules.mixing.facts:
        console.say(f"several modalities in one list: mixed by {rules.mixing.method}")


def rules_line(rules: Rules) -> str:
    """How many directions are corrected for hubs, and how many have no probabilities."""
    corrected = sum(one["chosen"] is not None for one in rules.decisions)
    told = f"{counted(len(rules.decisions), 'direction')}: {corrected} corrected for hubs"
    if rules.uncalibrated:
        told += f", {len(rules.uncalibrated)} without probabilities"
    return f"{told}; --verbose says why"


def counted(count: int, word: str) -> str:
    """A count with its word."""
    return f"{count} {word}{'' if count == 1 else 's'}"


def trust_line(found: Trust) -> str:
    """How far probabilities are off where they are worst."""
    if not found.reliability:
        return "no direction has probabilities"
    worst = max(found.reliability, key=lambda one: one.error)
    return (
        f"probabilities are off by at most {number(worst.error, worst.error_low, worst.error_high)}"
        f" on average ({worst.query} → {worst.target}; {number(worst.error_ideal)} by luck alone)"
    )


def hubs_line(decision: Any) -> str:
    """How uneven the index shows a direction's items."""
    hubs = decision["index"]["hubs"]
    spread = number(hubs["skewness"], hubs["skewness_low"], hubs["skewness_high"])
    return f"hub skewness {spread}, {hubs['never']:.1%} of items never found"


def correction_line(decision: Any) -> str:
    """What the best correction does, and whether it is used."""
    best = decision["tried"][0]
    gain = f"{best['gain']:+.3f} [{best['low']:+.3f}, {best['high']:+.3f}]"
    if decision["chosen"] is not None:
        return f"corrected by {decision['chosen']['method']} ({gain})"
    inside = decision["index"]["gain"]
    if inside is not None and inside[2] < 0:
        return (
            f"not corrected: {best['method']} gains {gain} among new items and loses "
            f"{-inside[0]:.3f} in the whole index"
        )
    return f"not corrected: the best of {len(decision['tried'])} tried, {best['method']}, {gain}"


def show_trust(found: Trust, console: Console) -> None:
    """Tables of reliability, of what "nothing relevant" rejects, and of mixed lists."""
    if found.reliability:
        console.table(
            "Is a probability what it says? Best hits of held-out queries among held-out items",
            ("direction", "calibration error", "by luck alone", "answered kept",
             "rejected: answer removed", "rejected: scrambled"),
            [
                (
                    f"{r.query} → {r.target}", number(r.error, r.error_low, r.error_high),
                    number(r.error_ideal), number(*r.kept), number(*r.rejected),
                    number(*r.scrambled),
                )
                for r in found.reliability
            ],
        )  # fmt: skip
        console.table(
            "Reliability: share of best hits that are right, where the probability is about",
            ("direction", *(f"{k + 1}/{_bins(found)}" for k in range(_bins(found)))),
            [
                (f"{r.query} → {r.target}", *(f"{p:.2f}: {y:.2f}" for p, y, _ in r.table))
                for r in found.reliability
            ],
        )
    for source in dict.fromkeys(one.source for one in found.mixed):
        own = [one for one in found.mixed if one.source == source]
        names = list(own[0].exposure)
        console.table(
            f"One list over {', '.join(names)}, asked with {source} ({own[0].queries} queries)",
            ("mixed by", "recall@10", "gain over rrf", *(f"shown: {n}" for n in names)),
            [
                (
                    f"{'* ' if one.method == found.mixing else '  '}{one.method}",
                    number(one.recall), number(*one.gain),
                    *(f"{one.exposure[n]:.0%} of {one.target.get(n, 0):.0%}" for n in names),
                )
                for one in own
            ],
        )  # fmt: skip


def _bins(found: Trust) -> int:
    return max(len(one.table) for one in found.reliability)
