"""What ``conjoin doctor`` prints."""

from collections.abc import Sequence
from pathlib import Path

from conjoin.cli.console import Console, Progress
from conjoin.project.quality.examine import examine_workspace, said, short, take_decisions
from conjoin.project.workspace import Workspace
from conjoin.quality.finding import KINDS, Report

#: What each kind that spoils a fit or a score means, of one finding and of several.
GRAVE = {
    "mismatch": ("1 pair looks wrong", "{count} pairs look wrong"),
    "leak": (
        "1 leak between training and held-out items makes scores too good",
        "{count} leaks between training and held-out items make scores too good",
    ),
    "duplicate": ("1 duplicate", "{items} items are duplicates"),
}
#: Findings shown on a page, at most, the surest of each kind first.
SHOWN = 400


def run_doctor(
    ws: Workspace, console: Console, *, kinds: Sequence[str], least: float, html: Path | None,
    labels: Sequence[str], seed: int,
) -> None:  # fmt: skip
    """Examine a workspace and show what was found."""
    lines: dict[str, Progress] = {}

    def progress(task: str, done: int, total: int) -> None:
        lines.setdefault(task, console.progress(task))(done, total)

    found = examine_workspace(
        ws, kinds=kinds, least=least, labels=labels, seed=seed, progress=progress
    )
    if found.findings:
        console.say(answer(found))
    console.table(
        "",
        ("finding", "how many", "items", "right, about", "what to do"),
        [(one["kind"], str(one["count"]), str(one["items"]),
          _share(one["precision"], one["at_most"]), one["remedy"]) for one in found.summary()],
    ) if found.findings else console.say("nothing was found")  # fmt: skip
    _surest(ws, found, console)
    for note in found.notes:
        console.say(f"note: {note}")
    if html is not None:
        from conjoin.project.quality.page import review

        shown = review(ws, found, html, most=SHOWN)
        console.note(f"wrote {html}: {shown} of {len(found.findings)} findings to look at")
    elif found.findings:
        only = f" --kinds {','.join(kinds)}" if kinds else ""
        console.say(f"to look at them: conjoin doctor{only} --html page.html")
    console.result(found.to_json())


def run_robust(ws: Workspace, console: Console, *, dry: bool, seed: int) -> None:
    """What spoilt queries still find."""
    from conjoin.project.quality.robust import QUERIES, SEVERITIES, K, examine_robustness
    from conjoin.quality.robustness.corruptions import IMAGES, TEXTS

    if dry:
        console.say(
            f"would spoil up to {QUERIES} held-out queries of each modality of pictures "
            f"({', '.join(IMAGES)}) and texts ({', '.join(TEXTS)}) at severities "
            f"{', '.join(map(str, SEVERITIES))}"
        )
        console.result({"images": list(IMAGES), "texts": list(TEXTS), "dry": True})
        return
    found = examine_robustness(ws, seed=seed, report=console.note)
    console.say(f"{found.verdict}\n")
    console.table(f"recall@{K} of held-out queries; the gallery stays clean", *found.table())
    for name, (radius, share) in found.radius.items():
        moved = max(row.moved for row in found.rows if row.modality == name)
        console.detail().say(
            f"{name}: {share:.0%} of queries have their partner first, and half of those keep it "
            f"under any change of the vector shorter than {radius:.3f}; corruptions move a vector "
            f"by up to {moved:.2f} (median)"
        )
    for name, why in found.left_out.items():
        console.say(f"not tried: {name}: {why}")
    console.result(found.to_json())


def answer(found: Report) -> str:
    """What matters most of what was found, in a sentence: the kinds that spoil a fit or a score.

    Examples
    --------
    >>> from conjoin.quality.finding import Finding
    >>> answer(Report((Finding("mismatch", ("a",), "", 0.9, None, {}, "look"),), (), {}))
    '1 pair looks wrong.'
    """
    told = []
    for one in found.summary():
        if one["kind"] in GRAVE:
            single, many = GRAVE[one["kind"]]
            told.append((single if one["count"] == 1 else many).format(**one))
    rest = len(found.findings) - sum(len(found.of(kind)) for kind in GRAVE)
    if not told:
        return f"No wrong pair, leak or duplicate; {_others(rest)}."
    return "; ".join(told) + (f"; {_others(rest)}." if rest else ".")


def _others(count: int) -> str:
    return "1 other finding" if count == 1 else f"{count} other findings"


def _share(precision: float | None, at_most: bool) -> str:
    if precision is None:
        return "a count"
    return f"{'at most ' if at_most else ''}{100 * precision:.0f} %"


def _surest(ws: Workspace, found: Report, console: Console) -> None:
    """The surest of each kind, three where asked, by name, and why below each."""
    kinds = [kind for kind in KINDS if found.of(kind)]
    if not kinds:
        return
    wide = max(map(len, kinds)) + 2
    console.say("The surest of each: how sure, of what, and why\n")
    for kind in kinds:
        for place, one in enumerate(found.of(kind)[: 3 if console.verbose else 1]):
            items = list(dict.fromkeys(one.items))
            named = list(dict.fromkeys(short(ws.label(item)) for item in items[:2]))
            more = f", {len(items) - 2:,} more" if len(items) > 2 else ""
            where = f"{one.modality}: " if one.modality else ""
            head = (kind if place == 0 else "").ljust(wide)
            console.say(f"{head}{one.confidence:.2f}  {where}{', '.join(named)}{more}")
            console.say(f"{' ' * (wide + 6)}{said(one, ws.label)}")
    console.say("")


def run_decisions(ws: Workspace, path: Path, console: Console, *, dry: bool) -> None:
    """Take decisions from a CSV into the workspace."""
    taken = take_decisions(ws, path, dry=dry)
    told = ", ".join(f"{count} to {name}" for name, count in taken.counts.items())
    total = sum(taken.counts.values())
    console.say(f"{taken.read} decisions read; the workspace has {total}: {told}")
    if taken.counts["drop"] + taken.counts["fix"]:
        console.say("to use them: conjoin fit --with-fixes")
    console.result({**taken.to_json(), "dry": dry})
