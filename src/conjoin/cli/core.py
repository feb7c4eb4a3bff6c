"""Each verb as a person or a program meets it: run the job, print the result."""

import shlex
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from conjoin.cli.console import Console, confirm
from conjoin.errors import ConjoinError, nearest
from conjoin.project.workspace import CONFIG, Workspace
from conjoin.report.text import number, plain


def run_init(
    table: Path, folder: Path, console: Console, *, encoder: str | None, dry: bool, yes: bool
) -> None:
    """Write a commented ``conjoin.toml`` from a look at a table."""
    from conjoin.cli.actions import joint as joint_verbs
    from conjoin.items.reading.guess import look
    from conjoin.project.trust import MADE, trust
    from conjoin.storage.files import atomic

    path = folder / CONFIG
    found = look(table, folder, encoders=joint_verbs.towers_of(encoder) if encoder else {})
    told = {
        "path": str(path), "toml": found.toml, "left_out": dict(found.left_out),
        "notes": list(found.notes),
    }  # fmt: skip
    for note in found.notes:
        console.note(note)
    for line in found.said_left_out():
        console.note(line)
    if dry:
        console.say(found.toml.rstrip("\n"))
        console.result({**told, "dry": True})
        return
    if path.exists():
        confirm(f"replace {path}?", yes=yes)
    with atomic(path) as file:
        file.write(found.toml.encode())
    trust(folder, [MADE])
    there = "" if folder.resolve() == Path.cwd() else f" -w {shlex.quote(str(folder))}"
    console.say(f"wrote {path}: look it over, then run: conjoin embed{there}")
    console.result(told)


def run_embed(
    ws: Workspace,
    names: Sequence[str],
    console: Console,
    *,
    strict: bool,
    retry: bool,
    dry: bool,
    yes: bool = False,
    prune: bool = False,
) -> bool:
    """Embed modalities; says which items failed and why. Returns whether none did.

    What cannot be read now keeps its vectors unless ``prune``; where that is more than a tenth of
    a modality, ``yes`` is asked for before anything changes.
    """
    from conjoin.cli.actions import embed as embedding
    from conjoin.cli.actions import joint as joint_verbs

    chosen = list(names) or [m.name for m in ws.modalities]
    ws.check(chosen)
    for name in () if dry else chosen:  # opened first: the walk is not told of as slow
        ws.encoder(name)
    watched = sys.stderr.isatty()
    seen = {
        name: ws.survey(name, console.progress(f"{name}, looking") if watched else None)
        for name in chosen
    }
    if dry:
        plans = [embedding.planned(ws, name, seen[name]) for name in chosen]
        for entry in plans:
            console.say("{modality}: {wanted} cells, {have} vectors stored".format(**entry))
        console.result({"modalities": plans})
        return True
    for name in chosen:
        question = embedding.question(ws, name, seen[name], prune=prune)
        if question:
            confirm(question, yes=yes)
    summary: list[dict[str, Any]] = []
    changed: list[str] = []
    for name in chosen:
        found = seen[name].pruned() if prune else seen[name]
        progress = console.progress(name)
        made = ws.embed(name, strict=strict, retry=retry, progress=progress, seen=found)
        summary.append(embedding.entry(name, made))
        embedding.show(name, made, console, timed=ws.modality(name).timed)
        changed += [name] if made.made or made.dropped else []
    served = joint_verbs.serve_as_it_is(ws, console)
    notes = list(ws.items.notes)
    for note in notes:
        console.say(f"note: {note}")
    embedding.show_remarks(summary, console)
    hint = None if served else _unseen(ws, changed)
    if hint and not console.silent:
        console.note(hint)
    more = {"served": served} if served else {}
    console.result({"modalities": summary, "notes": notes, **more})
    return not any(entry["failed"] or entry["unreachable"] for entry in summary)


def _unseen(ws: Workspace, changed: Sequence[str]) -> str | None:
    """What makes new vectors seen by search; ``None`` where nothing changed or is fitted."""
    from conjoin.project.fit.stored import fit_as_it_is

    if not changed or not (ws.state / "current.json").exists():
        return None
    try:
        bound = fit_as_it_is(ws).binding.maps
    except ConjoinError:
        return "what is fitted cannot be read; run: conjoin clean, then: conjoin fit"
    new = [name for name in changed if name not in bound]
    if len(new) == len(changed):
        return f"search does not know {', '.join(new)} yet; run: conjoin add"
    return "search still sees the last fit; run: conjoin fit, or conjoin index add to keep the fit"


def _show_suspect(report: Any, console: Console) -> None:
    """Which source of pairs the other paths contradict, where one does."""
    if report and report.suspect:
        console.say(
            f"suspect pairs: {'–'.join(report.suspect)} disagrees with the other paths "
            f"(error {report.blame[report.suspect]:.2f}); check that table"
        )


def run_fit(
    ws: Workspace,
    console: Console,
    *,
    method: str | None,
    hub: str | None,
    budget: float,
    seed: int,
    dry: bool,
    ways: Collection[str] = (),
) -> None:
    """Fit, and show what was tried on the held-out folds of the training pairs.

    Parameters
    ----------
    ways : ``fixes`` follows the decisions about findings, ``fresh`` forgets what is in use.
    """
    from conjoin.cli.actions import calibration as scores
    from conjoin.cli.actions import joint as joint_verbs
    from conjoin.cli.actions.changes import show_change
    from conjoin.project.fit import decisions, joint
    from conjoin.project.fit import pipeline as jobs
    from conjoin.project.fit.card import FACTS, PAGE
    from conjoin.storage.files import read_json

    fixes = "fixes" in ways
    if fixes:
        decisions.require_fixes(ws)
    ws.fixes = fixes
    spaces = ws.spaces()
    if joint.unpaired(ws, spaces, method):
        joint_verbs.fit_nothing(ws, console, seed=seed, dry=dry)
        return
    train, test = ws.pairs(spaces)
    if dry:
        joined = ", ".join(spaces)
        console.say(f"{len(train)} training and {len(test)} held-out pairs of {joined}")
        console.result({"train": len(train), "test": len(test), "modalities": list(spaces)})
        return
    made = jobs.fit(
        ws, method=method, hub=hub, budget=budget, seed=seed, note=console.steps("trying"),
        fixes=fixes, fresh="fresh" in ways,
    )  # fmt: skip
    choice = made.binding.choice
    _show_trials(choice, console)
    was = "" if made.fresh else "; nothing has changed since it was fitted"
    if made.mended:
        was = f"; the fit is as it was, its index was built again ({made.mended})"
    console.say(f"{choice.method} ({plain(choice.fields)}), hub {made.binding.hub}{was}")
    for line in scores.choice_lines(made):
        console.say(line)
    joint_verbs.show_beside(made, console)
    scores.show_rules(made.rules, console)
    card = read_json(made.folder / FACTS)
    console.say(f"{card['verdict']}; card: {made.folder / PAGE}")
    report = jobs.cycles(ws, seed=seed) if len(spaces) > 2 else None
    _show_suspect(report, console)
    if told := decisions.change(ws, made, seed=seed) if fixes else None:
        show_change(told, console)
    console.result({**_fit_json(made, report), **({"fixes": told} if told else {})})


def _show_trials(choice: Any, console: Console) -> None:
    """The best trial of each method on the folds."""
    best = choice.best_of()
    if best:
        console.table(
            "Held-out folds of the training pairs (mean of recall@1, @5, @10)",
            ("method", "score", "fields", "tried"),
            [
                (name, number(one.mean), plain(one.fields),
                 sum(other.method == name for other in choice.trials))
                for name, one in best.items()
            ],
        )  # fmt: skip


def _fit_json(made: Any, report: Any) -> dict[str, Any]:
    from conjoin.cli.actions import calibration as scores

    value = {
        "method": made.binding.choice.method,
        "fields": dict(made.binding.choice.fields),
        "hub": made.binding.hub,
        "frame": made.binding.frame.id,
        "folder": str(made.folder),
        "card": str(made.folder / "card.md"),
        "index_rebuilt": made.mended,
        "corrections": [
            {"query": q, "target": t, "method": rule.name}
            for (q, t), rule in made.corrections.items()
        ],
        "trials": made.binding.choice.to_json()["trials"],
        "skipped": dict(made.binding.choice.skipped),
        "kept": made.binding.choice.to_json()["kept"],
        "work": scores.work_json(made),
        "drift": None if made.drift is None else made.drift.to_json(),
    }
    if report:
        value["cycles"] = {
            "blame": [{"edge": list(e), "error": v} for e, v in report.blame.items()],
            "suspect": list(report.suspect) if report.suspect else None,
        }
    return value


def run_add(ws: Workspace, names: Sequence[str], console: Console, *, dry: bool) -> None:
    """Embed and bind modalities that the binding lacks."""
    from conjoin.project.fit import pipeline as jobs
    from conjoin.project.fit import stored as fits

    bound = fits.current_fit(ws).binding.maps
    new = list(names) or [m.name for m in ws.modalities if m.name not in bound]
    if dry:
        console.say(f"would add {', '.join(new) or 'nothing'}")
        console.result({"add": new})
        return
    for name in new:
        ws.modality(name)
    if new:
        run_embed(ws, new, console.hushed(), strict=False, retry=False, dry=False)
    made = jobs.add(ws, new)
    console.say(f"added {', '.join(new)} to frame {made.binding.frame.id}; search sees it")
    console.result({"added": new, "frame": made.binding.frame.id})


def run_search(
    ws: Workspace,
    parts: Sequence[Any],
    how: Any,
    console: Console,
    *,
    html: Path | None,
    suggesting: bool,
) -> None:
    """Search, and show the hits in the terminal, as JSON, or as a page."""
    from conjoin.cli.actions.hits import suggestions, terminal
    from conjoin.project.search import ranking as ranked
    from conjoin.project.search import render

    found = ranked.answer(ws, parts, how, suggesting=suggesting)
    if html is not None:
        render.page(ws, parts[0].query, found.hits, html)
        console.note(f"wrote {html}")
    if console.as_json:
        console.result(found.to_json())
        return
    terminal(ws, found.hits, console)
    if found.read_by:
        console.note(found.read_by)
    if suggesting:
        suggestions(found.suggestions, console)


def run_evaluate(ws: Workspace, console: Console, *, seed: int, dry: bool) -> None:
    """Evaluate, and show a table a direction."""
    from conjoin.cli.actions import calibration as scores
    from conjoin.project.fit import pipeline as jobs

    if dry:
        held = {name: len(rows) for name, rows in jobs.test_bed(ws).rows.items()}
        console.say("would score held-out " + ", ".join(f"{n} {name}" for name, n in held.items()))
        console.result({"held": held, "dry": True})
        return
    found = jobs.evaluate_workspace(ws, seed=seed, note=console.note)
    trust = jobs.trust_workspace(ws, seed=seed, note=console.note)
    show_evaluation(found, console)
    scores.show_trust(trust, console)
    console.result({**found.to_json(), "trust": trust.to_json()})


def show_evaluation(found: Any, console: Console) -> None:
    """One table a direction: chance and baselines first, what was chosen last and marked."""
    columns = ("recall@1", "recall@5", "recall@10", "mrr", "ndcg@10", "median_rank")
    for query, target in dict.fromkeys((row.query, row.target) for row in found.results):
        rows = [r for r in found.results if (r.query, r.target) == (query, target)]
        values = {(r.method, r.chosen, r.metric): r for r in rows}
        order = dict.fromkeys((r.method, r.chosen) for r in sorted(rows, key=lambda r: r.chosen))
        body = []
        for method, chosen in order:
            cells = [values.get((method, chosen, metric)) for metric in columns]
            mark = "* " if chosen else "  "
            body.append([mark + method, *(_cell(cell) for cell in cells)])
        count = max(r.n for r in rows)
        console.table(f"{query} → {target} ({count} held-out queries)", ("method", *columns), body)
    for note in found.notes:
        console.say(f"note: {note}")
    console.say("* chosen on validation; brackets are 95 % intervals by group; --json has them all")


def _cell(row: Any) -> str:
    """A figure; with its interval where people look first."""
    if row is None:
        return "-"
    if row.metric == "recall@10":
        return number(row.value, row.low, row.high)
    return number(row.value)


def show_summary(found: Any, console: Console) -> None:
    """Recall@10 of every direction: chance, the simple baselines, what was chosen."""
    rows = [r for r in found.results if r.metric == "recall@10"]
    methods = list(dict.fromkeys(r.method for r in rows if not r.chosen))
    body = []
    for query, target in dict.fromkeys((r.query, r.target) for r in rows):
        own = {r.method: r for r in rows if (r.query, r.target) == (query, target) and not r.chosen}
        best = next(r for r in rows if (r.query, r.target) == (query, target) and r.chosen)
        cells = [number(own[m].value) if m in own else "" for m in methods]
        shown = number(best.value, best.low, best.high)
        body.append([f"{query} → {target}", *cells, best.method, shown])
    columns = ("recall@10", *methods, "chosen", "its recall@10")
    console.table("Held-out items; 95 % intervals by group in brackets", columns, body)
    for note in found.notes:
        console.say(f"note: {note}")


def run_methods(name: str | None, kind: str | None, console: Console) -> None:
    """List the catalogue, or show one method in full."""
    from conjoin.catalogue import of_kind, rows
    from conjoin.cli.actions import methods as pages

    listed = [row for row in (of_kind(kind).values() if kind else rows())]
    if name is not None:
        row = pages.find_anywhere(name, listed)
        console.say(pages.method_page(row))
        console.result(pages.row_json(row))
        return
    console.table(
        "", ("method", "kind", "cost", "needs", "what it does"),
        [(r.name, r.kind, r.cost, ", ".join(sorted(r.needs)), r.summary) for r in listed],
    )  # fmt: skip
    console.result({"methods": [pages.row_json(row, brief=True) for row in listed]})


def run_info(ws: Workspace, console: Console) -> None:
    """What the workspace holds and what is in use."""
    from conjoin.project.fit import pipeline as jobs
    from conjoin.project.fit import stored as fits

    stored = []
    for modality in ws.modalities:
        try:
            store = ws.stored(modality.name)
            space = None if store is None else store.open()
            count, frame = (0, None) if space is None else (len(space), space.frame.id)
            problem = None
        except ConjoinError as error:
            count, frame, problem = 0, None, str(error)
        stored.append(
            {"modality": modality.name, "encoder": modality.uri, "rows": count, "frame": frame,
             "problem": problem}
        )  # fmt: skip
    value: dict[str, Any] = {"modalities": stored, "versions": jobs.versions(), "bound": None}
    if (ws.state / "current.json").exists():
        made = fits.fit_as_it_is(ws)
        value["bound"] = {
            "frame": made.binding.frame.id, "method": made.binding.choice.method,
            "hub": made.binding.hub, "modalities": list(made.binding.maps),
        }  # fmt: skip
    size = sum(f.stat().st_size for f in ws.state.rglob("*") if f.is_file())
    value["state_bytes"] = size
    console.table(
        "", ("modality", "encoder", "rows", "frame"),
        [(s["modality"], s["encoder"], s["rows"], s["problem"] or s["frame"] or "-")
         for s in stored],
    )  # fmt: skip
    bound = value["bound"]
    console.say(f"bound: {bound['method']}, hub {bound['hub']}" if bound else "bound: nothing yet")
    console.say(f"state: {size / 1e6:.1f} MB in {ws.state}")
    console.say("versions: " + ", ".join(f"{k} {v}" for k, v in value["versions"].items()))
    console.result(value)


def run_trust(ws: Workspace, console: Console, *, dry: bool) -> None:
    """Let a workspace's own code run from now on."""
    from conjoin.project.trust import runs_code, trust

    uris = [modality.uri for modality in ws.modalities if runs_code(modality.uri)]
    if uris and not dry:
        trust(ws.folder, uris)
    said = "may run" if not dry else "would be let run"
    console.say(f"{', '.join(uris)} {said}" if uris else "it names no code: nothing to trust")
    console.result({"code": uris, "dry": dry})


def run_weights_list(console: Console) -> None:
    """List weight sets."""
    from conjoin.encoders.open import cache_folder
    from conjoin.encoders.weights import available

    found = available(cache_folder())
    console.table(
        "", ("weights", "size", "licence", "here"),
        [(w.name, f"{w.size / 1e6:.0f} MB", w.licence, "yes" if w.installed else "no")
         for w in found],
    )  # fmt: skip
    console.result({"weights": [dict(w.__dict__) for w in found]})


def run_weights_add(
    name: str, console: Console, *, source: Path | None, dry: bool, yes: bool
) -> None:
    """Fetch and convert a weight set."""
    from conjoin.encoders.open import cache_folder
    from conjoin.encoders.weights import add, available

    known = {w.name: w for w in available(cache_folder())}
    if name not in known:
        raise ConjoinError("weights", f"{name!r} is unknown", nearest(name, known))
    if dry:
        there = "is here already" if known[name].installed else "would be fetched"
        console.say(f"{name} {there}")
        console.result({"weights": name, "installed": known[name].installed, "dry": True})
        return
    if name in known and source is None and not known[name].installed:
        confirm(f"fetch {name} ({known[name].size / 1e6:.0f} MB, {known[name].licence})?", yes=yes)
    made = add(name, cache_folder(), source)
    console.say(f"{name}: {made}")
    console.result({"weights": name, "path": str(made)})
