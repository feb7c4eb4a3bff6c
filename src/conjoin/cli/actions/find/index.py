"""What ``conjoin index`` does and prints."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from conjoin.cli.console import Console, confirm
from conjoin.errors import ConjoinError, StateError, nearest
from conjoin.project.fit.stored import current_fit
from conjoin.project.search.index import (
    add_rows,
    index_folder,
    is_store,
    open_index,
    open_store,
    pending,
    storage_of,
    tune_index,
)
from conjoin.project.state.check import index_problems
from conjoin.project.state.forget import forget, refuse_unproved, traces
from conjoin.project.workspace import Workspace
from conjoin.report.text import number
from conjoin.retrieval.engines.kernels import Picked, have
from conjoin.retrieval.index.export import Layout, export_faiss
from conjoin.retrieval.index.index import Index
from conjoin.retrieval.index.recall import recall_of, storage_losses
from conjoin.retrieval.index.remote import open_remote
from conjoin.retrieval.index.store import Change, IndexStore

#: Queries of a modality that a check puts.
QUERIES = 256
NO_VERSIONS = "the index is a snapshot without versions"
WITH_SEARCH = '(with pip install "conjoin[search]", conjoin fit keeps them)'


def run_info(ws: Workspace, console: Console) -> None:
    """What the index in use holds."""
    folder, index = index_folder(ws), open_index(ws)
    version = IndexStore(folder).version() if is_store(folder) else None
    size = {part: _bytes(folder / part) for part in ("tables", "derived")}
    if version is None:
        size = {"snapshot": _bytes(folder)}
    body: list[dict[str, Any]] = []
    for name, space in index.spaces.items():
        told = dict(version.engines.get(name, {})) if version else {}
        into = sorted(f"{q}: {c.method}" for (q, t), c in index.corrections.items() if t == name)
        body.append(
            {"modality": name, "rows": len(space), "engine": _engine(index, name, told),
             "recall": told.get("recall"), "corrections": into}
        )  # fmt: skip
    console.table(
        "", ("modality", "rows", "finds candidates", "recall@10 when built", "corrections"),
        [(b["modality"], b["rows"], b["engine"], _recall(b["recall"]), ", ".join(b["corrections"]))
         for b in body],
    )  # fmt: skip
    kind = f"version {version.number} of {version.when}" if version else "a snapshot, no versions"
    console.say(f"{kind}; frame {index.frame.id}, {index.frame.dim} dimensions")
    held = ", ".join(f"{part} {count / 1e6:.1f} MB" for part, count in size.items())
    console.say(f"on disk: {held} in {folder}")
    columns = {name: str(kind) for name, kind in index.columns.items()}
    console.say("filters: " + (", ".join(f"{k} ({v})" for k, v in columns.items()) or "none"))
    console.result({
        "version": version.number if version else None, "frame": index.frame.to_json(),
        "modalities": body, "bytes": size, "columns": columns,
    })  # fmt: skip


def _engine(index: Index, name: str, told: dict[str, Any]) -> str:
    if name not in index.engines:
        return "every row" + (f" ({told['engine']} cannot be opened)" if told else "")
    if told["engine"] == "codes":
        first = f", first {told['prefix']} dimensions" if told["prefix"] else ""
        return f"{told['storage']} codes{first}{', funnel' if told['funnel'] else ''}"
    return f"{told['engine']} lists, {told['nprobe']} looked into"


def _recall(told: Any) -> str:
    return number(told["value"], told["low"], told["high"]) if told else "exact"


def _bytes(folder: Path) -> int:
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())


def run_check(ws: Workspace, console: Console, *, k: int, storage: bool, seed: int) -> None:
    """Whether all files are as written, recall against every row, what each storage loses.

    The first screen says whether searches find what they should; the table of storage choices
    stands behind ``--verbose``.
    """
    problems = index_problems(ws)
    if problems and not problems[0].found.startswith("it is a snapshot"):
        first, more = problems[0], len(problems) - 1
        raise StateError(
            first.where, first.found + (f" (and {more} more files)" if more else ""), first.remedy
        )  # fmt: skip
    for problem in problems:
        console.note(str(problem))
    index, queries = open_index(ws), held_queries(ws, seed)
    if index.frame.score == "maxsim":
        raise ConjoinError("index", "token sets are all scored", "there is nothing to check")
    found, losses = [], []
    for target in index.spaces:
        into = {name: q for name, q in queries.items() if name != target} or queries
        for source, q in into.items():
            recall = recall_of(
                index, target, {source: q}, index.engines.get(target), k=k, seed=seed
            )
            found.append({"query": source, "target": target, "exact": target not in index.engines,
                          **recall.to_json()})  # fmt: skip
        if storage:
            losses += [x.to_json() for x in storage_losses(index, target, into, k=k, seed=seed)]
    console.say("files: all as they were written")
    console.say(_reach(found, k))
    console.table(
        f"What is in use against every row (recall@{k}, 95 % intervals)",
        ("direction", "queries", "recall", "ms a query", "ms exact"),
        [(f"{f['query']} → {f['target']}", f["queries"],
          "1, every row" if f["exact"] else number(f["value"], f["low"], f["high"]),
          f"{f['ms']:.2f}", f"{f['exact_ms']:.2f}") for f in found],
    )  # fmt: skip
    if losses:
        _show_losses(console.detail(), losses, k)
        console.say(
            f"storage in use: {storage_of(ws)}; change it by [index] in conjoin.toml, then conjoin "
            "index tune" + ("" if console.verbose else "; --verbose shows what each choice keeps")
        )
    console.result({"recall": found, "storage": losses})


def _reach(found: list[dict[str, Any]], k: int) -> str:
    """How much of what exact search would list is listed, in a sentence."""
    if all(one["exact"] for one in found):
        return "search is exact: every row is scored in each direction"
    worst = min(found, key=lambda one: one["value"])
    return (
        f"search lists {worst['value']:.1%} of the true {k} nearest or more ({worst['query']} → "
        f"{worst['target']} is the least of {len(found)} directions)"
    )


def _show_losses(console: Console, losses: list[dict[str, Any]], k: int) -> None:
    def named(part: dict[str, Any]) -> str:
        first = f", prefix {part['prefix']}" if part["prefix"] else ""
        return f"{part['kind']}{first}{', funnel' if part['funnel'] else ''}"

    console.table(
        f"What each storage choice keeps (recall@{k})",
        ("into", "storage", "bytes a row", "by codes alone", "ranked by float32"),
        [(x["modality"], named(x["storage"]), x["bytes"],
          number(x["codes"]["value"], x["codes"]["low"], x["codes"]["high"]),
          number(x["reranked"]["value"], x["reranked"]["low"], x["reranked"]["high"]))
         for x in losses],
    )  # fmt: skip


def run_tune(ws: Workspace, console: Console, *, dry: bool) -> None:
    """Apply the configuration's storage and engine, and say what they reach."""
    part = ws.config.index
    if dry:
        rows = {name: len(space) for name, space in open_index(ws).spaces.items()}
        console.say(f"would apply storage {storage_of(ws)}, engine {part.engine}")
        console.result({"storage": str(storage_of(ws)), "engine": part.engine, "rows": rows,
                        "dry": True})  # fmt: skip
        return
    version = tune_index(ws).version()
    for name in version.rows:
        told = version.engines.get(name)
        shown = f"recall@10 {_recall(told['recall'])}" if told else "every row is scored"
        console.say(f"{name}: {_engine(open_index(ws), name, dict(told or {}))}; {shown}")
    console.result({"version": version.number, "engines": dict(version.engines)})


def held_queries(ws: Workspace, seed: int) -> dict[str, np.ndarray]:
    """By modality, up to :data:`QUERIES` held-out rows as queries; others where none is held."""
    made = current_fit(ws)
    found = {}
    for name in made.binding.maps:
        space = ws.space(name)
        rows = np.flatnonzero(ws.split.is_test(space.ids))
        rows = rows if len(rows) else np.arange(len(space))
        rows = np.sort(np.random.default_rng([seed, 7]).permutation(rows)[:QUERIES])
        bound = made.binding.bind(name, space.take(rows))
        if made.binding.frame.score == "maxsim":
            found[name] = np.empty((0, 0))
            continue
        vectors = np.asarray(bound.vectors, dtype=np.float32)
        found[name] = made.binding.frame.query(vectors)
    return found


def run_add(
    ws: Workspace, names: Sequence[str], console: Console, *, prune: bool, dry: bool, yes: bool
) -> None:
    """Bring the index up to date with what is embedded, by the binding in use."""
    wanted = pending(ws, open_index(ws), names)
    gone = sorted({item for items in wanted.gone.values() for item in items})
    counts = {name: len(rows) for name, rows in wanted.new.items()}
    told = {"rows": counts, "replacing": dict(wanted.changed), "gone": gone, "prune": prune}
    shown = ", ".join(f"{n} of {name}" for name, n in counts.items() if n) or "nothing"
    if dry:
        console.say(f"would add {shown}" + _left(gone, prune))
        console.result({**told, "dry": True})
        return
    if prune and gone:
        confirm(f"delete the rows of {len(gone)} items that are no longer embedded?", yes=yes)
    change = add_rows(ws, wanted, prune=prune)
    console.say(f"added {shown}" + _left(gone, prune))
    console.result({**told, "version": change.version})


def _left(gone: list[str], prune: bool) -> str:
    if not gone:
        return ""
    if prune:
        return f"; deleted {len(gone)} items that are no longer embedded"
    return f"; {len(gone)} items are no longer embedded: --prune deletes their rows"


def _deleted(ws: Workspace, ids: Sequence[str], where: str | None, into: Sequence[str]) -> Change:
    with ws.changing():
        store = open_store(ws)
        change = store.delete(ids, where=where, into=into)
        store.open()
    return change


def run_delete(
    ws: Workspace,
    ids: Sequence[str],
    console: Console,
    *,
    where: str | None,
    into: Sequence[str],
    dry: bool,
    yes: bool,
) -> None:
    """Delete the rows of items, or those that meet a filter."""
    if not ids and where is None:
        raise ConjoinError("index delete", "names nothing", "give ids or --where")
    store = open_store(ws, convert=False)
    index = open_index(ws)
    for name in into:
        if name not in index.spaces:
            raise ConjoinError("--into", f"{name!r} is not indexed", nearest(name, index.spaces))
    rows = store.matching(index, ids, where=where, into=into)
    shown = ", ".join(f"{len(found)} of {name}" for name, found in rows.items()) or "nothing"
    told: dict[str, Any] = {"rows": {name: len(found) for name, found in rows.items()}}
    if dry or not rows:
        console.say(f"would delete {shown}")
        console.result({**told, "version": None, "dry": dry})
        return
    confirm(f"delete {shown}?", yes=yes)
    change = _deleted(ws, ids, where, into)
    console.say(f"deleted {shown}; conjoin index rollback brings them back until a compact")
    console.result({**told, "version": change.version})


def run_compact(ws: Workspace, console: Console, *, dry: bool, yes: bool) -> None:
    """Drop dead rows and earlier versions."""
    store = open_store(ws, convert=False)
    folder = index_folder(ws)
    before, count = _bytes(folder), len(store.versions()) if is_store(folder) else 1
    if dry:
        console.say(f"would rewrite {before / 1e6:.1f} MB and forget {count - 1} versions")
        console.result({"bytes": before, "forgotten": count - 1, "dry": True})
        return
    confirm(f"forget {count - 1} earlier versions?", yes=yes or count == 1)
    with ws.changing():
        made = open_store(ws).compact()
        store.open()
    after = _bytes(folder)
    told = forget(ws)
    console.say(f"{before / 1e6:.1f} MB, now {after / 1e6:.1f} MB; forgot {count - 1} versions")
    if any(told.values()):
        console.say(
            f"also rewritten without what is gone: {told['vectors']} stored vectors, "
            f"{told['items']} changes of items, {told['records']} records"
        )
    console.result({"bytes": after, "before": before, "forgotten": count - 1,
                    "version": made.number, "rewritten": told})  # fmt: skip


def run_absent(ws: Workspace, items: Sequence[str], console: Console) -> None:
    """Whether any file of the state still names these items; refuses where one does."""
    found = traces(ws, items)
    for item, left in found.items():
        console.say(f"{item}: " + ("in no file of the state" if not left else "still named in"))
        for trace in left:
            console.say(f"  {trace.path}; remedy: {trace.remedy}")
    console.result({
        "absent": {
            item: [{"file": str(t.path), "remedy": t.remedy} for t in left]
            for item, left in found.items()
        }
    })  # fmt: skip
    refuse_unproved(found)


def run_versions(ws: Workspace, console: Console) -> None:
    """List what was served."""
    index = open_index(ws)  # a history of what cannot be read is none
    history = IndexStore(index_folder(ws)).versions() if is_store(index_folder(ws)) else []
    there = {name: len(space) for name, space in index.spaces.items()}
    if history and history[-1].rows != there:
        raise StateError(
            str(index_folder(ws)), f"holds {there} rows, its manifest says {history[-1].rows}",
            "run: conjoin fit",
        )  # fmt: skip
    names = list(history[-1].rows) if history else []
    console.table(
        "", ("version", "when", "why", *names),
        [(v.number, v.when, v.why, *(v.rows.get(name, "-") for name in names)) for v in history],
    )  # fmt: skip
    if not history:
        console.say(NO_VERSIONS if have("lancedb") else f"{NO_VERSIONS} {WITH_SEARCH}")
    console.result({
        "versions": [
            {"version": v.number, "when": v.when, "why": v.why, "rows": v.rows} for v in history
        ]
    })  # fmt: skip


def run_rollback(ws: Workspace, wanted: int, console: Console, *, dry: bool, yes: bool) -> None:
    """Serve an earlier version again."""
    if not is_store(index_folder(ws)):
        raise ConjoinError(f"version {wanted}", NO_VERSIONS, "run: conjoin fit")
    store = open_store(ws, convert=False)
    back = store.version(wanted)
    shown = ", ".join(f"{rows} of {name}" for name, rows in back.rows.items())
    if dry:
        console.say(f"would serve version {wanted} again: {shown}")
        console.result({"version": wanted, "rows": back.rows, "dry": True})
        return
    confirm(f"serve version {wanted} of {back.when} again ({shown})?", yes=yes)
    with ws.changing():
        store = open_store(ws, convert=False)
        made = store.rollback(wanted)
        store.open()
    console.say(f"version {made.number} serves what {wanted} did: {shown}")
    console.result({"version": made.number, "of": wanted, "rows": made.rows})


def run_export(
    ws: Workspace, folder: Path, console: Console, *, into: Sequence[str], plain: bool, dry: bool
) -> None:
    """Write faiss files with ids, metadata and layout."""
    layouts = _layouts(ws, into, plain)
    if dry:
        console.say(f"would write {', '.join(x.target for x in layouts)} to {folder}")
        console.result({"modalities": [x.target for x in layouts], "dry": True})
        return
    written = {layout.target: export_faiss(layout, folder) for layout in layouts}
    for layout in layouts:
        directions = ", ".join(layout.corrections) or "none"
        console.say(
            f"{layout.target}: {written[layout.target]['faiss']}, {layout.width} coordinates, "
            f"corrections from {directions}"
        )
    console.result({"files": written})


def run_push(
    ws: Workspace, to: str, console: Console, *, into: Sequence[str], plain: bool, dry: bool
) -> None:
    """Push rows and payload to another index, and see that it answers as this one does."""
    layouts = _layouts(ws, into, plain)
    if dry:
        rows = {x.target: len(x.index.spaces[x.target]) for x in layouts}
        shown = ", ".join(f"{n} of {name}" for name, n in rows.items())
        console.say(f"would push {shown} to {to}")
        console.result({"rows": rows, "dry": True})
        return
    remote = open_remote(to)
    pushed, same = {}, {}
    for layout in layouts:
        pushed[layout.target] = remote.push(layout)
        same[layout.target] = _agreement(layout, remote)
        console.say(
            f"{layout.target}: {pushed[layout.target]} rows; {same[layout.target]:.0%} of the "
            "first ten answers to sampled queries are the same"
        )
    console.result({"rows": pushed, "agreement": same})


def _agreement(layout: Layout, remote: Any, queries: int = 10, k: int = 10) -> float:
    """Share of the first k rows that both find, its own rows being the queries."""
    space = layout.index.spaces[layout.target]
    picked = np.linspace(0, len(space) - 1, min(queries, len(space))).astype(int)
    q = np.asarray(Picked(space.vectors, picked)[:], dtype=np.float32)
    wide = layout.queries(layout.index.frame.query(q), None)
    whole = np.concatenate([rows @ wide.T for _, rows in layout.rows()])
    worst = -np.sort(-whole, axis=0)[min(k, len(space)) - 1]
    found = remote.nearest(layout, wide, k)
    hits = [score >= worst[at] - 1e-4 for at, line in enumerate(found) for _, score in line]
    return float(np.mean(hits))


def _layouts(ws: Workspace, into: Sequence[str], plain: bool) -> list[Layout]:
    index = open_index(ws)
    return [Layout.of(index, name, plain=plain) for name in into or list(index.spaces)]


def run_check_edits(
    ws: Workspace, console: Console, *, modality: str | None, items: int, k: int, seed: int
) -> None:
    """Four rates of edits, on a copy of the index."""
    from conjoin.project.search.edits import check_edits

    found = check_edits(ws, modality, items=items, k=k, seed=seed)
    rows = [(one.name, number(one.value), str(one.n), one.meaning) for one in found.rates]
    title = f"{found.items} items of {found.modality} with new texts, on a copy"
    console.table(title, ("rate", "value", "asked", "what it says"), rows)
    for query in found.moved[:5]:
        console.say(f"moved though nothing of it was edited: {query}")
    console.result(found.to_json())
