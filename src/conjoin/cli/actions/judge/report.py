"""What ``conjoin report`` prints."""

from pathlib import Path

from conjoin.cli.console import Console
from conjoin.project.fit.stored import current_fit
from conjoin.project.report.build import write_report
from conjoin.project.workspace import Workspace


def run_report(
    ws: Workspace,
    console: Console,
    *,
    out: Path,
    markdown: Path | None,
    label: str | None,
    budget: float,
    seed: int,
    dry: bool,
) -> None:
    """Write the page, and the same as Markdown where asked."""
    if dry:
        made = current_fit(ws)
        console.say(f"would write {out} on {made.binding.choice.method}")
        console.result({"out": str(out), "dry": True})
        return
    found = write_report(
        ws, out, markdown=markdown, label=label, budget=budget, seed=seed, note=console.note
    )
    if markdown is not None:
        console.say(f"wrote {markdown}")
    for line in found.facts["notes"]:
        console.say(f"note: {line}")
    console.say(f"wrote {out} ({out.stat().st_size / 1e6:.1f} MB): open it in a browser")
    console.result(found.to_json())
