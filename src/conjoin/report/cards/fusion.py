"""The card of a fusion and the report of missing modalities, as pages."""

from collections.abc import Mapping, Sequence
from typing import Any

from conjoin.report.bibliography import cite
from conjoin.report.pages.claims import table


def figure(value: float | None, low: float | None = None, high: float | None = None) -> str:
    """A figure with its interval where there is one."""
    if value is None:
        return "-"
    text = f"{value:.3f}"
    return text if low is None or high is None else f"{text} [{low:.3f}, {high:.3f}]"


def signed(value: float | None, low: float | None = None, high: float | None = None) -> str:
    """A difference with its interval."""
    if value is None:
        return "-"
    found = [round(each, 3) + 0.0 for each in (value, low, high) if each is not None]
    if len(found) < 3:
        return f"{found[0]:+.3f}"
    return "{:+.3f} [{:+.3f}, {:+.3f}]".format(*found)


def arm_rows(facts: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The table of arms: method, score, balanced accuracy, gain over the best single modality."""
    return [
        (
            ("* " if arm["method"] == facts["use"] else "") + arm["method"],
            figure(arm["value"], arm["low"], arm["high"]), figure(arm["balanced"]),
            signed(arm["gain"], arm["gain_low"], arm["gain_high"]), figure(arm["validation"]),
        )
        for arm in facts["arms"]
    ]  # fmt: skip


ARMS = ("method", "held out", "balanced", "over the best single", "folds")


def mask_rows(missing: Mapping[str, Any], names: Sequence[str]) -> list[tuple[str, ...]]:
    """The table of subsets: a mark a modality, items, score, and score on complete items."""
    return [
        (
            *("x" if name in mask["names"] else "" for name in names), str(mask["items"]),
            figure(mask["value"], mask["low"], mask["high"]), figure(mask["whole"]),
        )
        for mask in missing["masks"]
    ]  # fmt: skip


def masks_header(names: Sequence[str]) -> tuple[str, ...]:
    """The head of :func:`mask_rows`."""
    return (*names, "items", "score", "on complete items")


def collect_rows(missing: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The table of what to collect."""
    importance = missing["importance"]
    return [
        (
            one["name"], str(one["lacking"]), signed(one["gain"], one["low"], one["high"]),
            f"{one['covered']:.0%}", signed(*importance.get(one["name"], (None,))),
        )
        for one in missing["collect"]
    ]  # fmt: skip


COLLECT = (
    "modality",
    "items lacking it",
    "expected gain there",
    "of them like others",
    "importance",
)


def missing_markdown(facts: Mapping[str, Any]) -> str:
    """The missing-modality report on one page."""
    missing, names = facts["missing"], facts["modalities"]
    absence = missing["absence"]
    parts = [
        f"# What is missing, and what it costs: {facts['label']}",
        f"By `{facts['use']}`, on {facts['held_out']} held-out items; scores are "
        f"{missing['metric']}.",
        *(f"- {line}" for line in missing["said"]),
        "## Every subset of the modalities",
        table(masks_header(names), mask_rows(missing, names)),
        "Each subset is scored on the items that have all of it, and on those that have "
        "everything, which are the same for every row.",
        "## What to collect next",
        table(COLLECT, collect_rows(missing)),
        "The gain is that of items which have the modality, decided with and without it, weighed "
        "by what the lacking items have. It holds as far as items lack things by chance. "
        "Importance is the mean gain over all subsets of the others, on items that have "
        "everything (Park et al. 2025).",
        "## Does absence tell?",
        f"Deciding by what is absent alone reaches {absence['value']:.3f} on folds, against "
        f"{absence['guess']:.3f} without; p = {absence['p']:.3f} by permutation.",
        table(("has", "items"), [(k, str(v)) for k, v in absence["patterns"].items()]),
    ]
    if missing["needs"]:
        said = missing["needs"]
        parts.append(
            f"Of the items that have everything, every modality alone decides "
            f"{said['any']:.0%} rightly, some but not all {said['some']:.0%}, only several "
            f"together {said['together']:.0%}, none {said['none']:.0%}."
        )
    return "\n\n".join(parts) + "\n"


def fusion_card(facts: Mapping[str, Any]) -> str:
    """The card: what was found, beside what, on which items, and when not to use it."""
    parts = [
        f"# Fusion: {facts['label']} from {', '.join(facts['modalities'])}",
        *(f"- {line}" for line in facts["recommendation"]),
        "## On held-out items",
        f"{facts['metric'].capitalize()} on {facts['held_out']} items; {facts['trained']} were "
        "trained on, and no group is on both sides. Intervals resample whole groups; gains are "
        "corrected for the methods shown. The method was chosen on folds of the training items.",
        table(ARMS, arm_rows(facts)),
        "## Not relied on",
        *(f"- {line}" for line in cautions(facts)),
    ]
    if facts["not_tried"]:
        parts += ["## Not tried to the end"]
        parts += [f"- {name}: {why}" for name, why in facts["not_tried"].items()]
    if facts["papers"]:
        parts += ["## Sources", *(f"- {cite(key)}" for key in facts["papers"])]
    return "\n\n".join(parts) + "\n"


def cautions(facts: Mapping[str, Any]) -> list[str]:
    """When not to use it."""
    found = list(facts["notes"])
    if facts["missing"]["absence"]["tells"]:
        found.append("what is absent tells the label here; elsewhere it may tell another one")
    if facts["trained"] < 300:
        found.append(f"it rests on {facts['trained']} training items")
    found.append("probabilities were not calibrated")
    found.append("for items unlike this table it was not tested")
    return found
