"""An index kept current: what is new or changed is embedded and put in, what is gone taken out.

Nothing is fitted: rows are bound by the maps in use, so scores of all other rows stay as they are.
"""

import hashlib
import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conjoin.encoders.run import EmbedResult
from conjoin.errors import ConjoinError
from conjoin.items.reading.table import table_base
from conjoin.project.fit.joint import publish
from conjoin.project.fit.stored import current_fit
from conjoin.project.search.index import open_index, pending, serve_pending
from conjoin.project.workspace import STATE, Workspace
from conjoin.storage.files import alone

#: Share of a modality's items that may go without a question.
GONE = 0.1

Note = Callable[[str], None]
Ask = Callable[[str], None]


@dataclass(frozen=True)
class Synced:
    """What bringing an index up to date did.

    Parameters
    ----------
    embedded : by modality, what was made, kept, dropped and failed.
    added, replaced, deleted : rows of the index, by modality.
    version : the version now served; ``None`` where nothing changed, or the index has none.
    seconds : from start to visible.
    """

    embedded: Mapping[str, EmbedResult] = field(default_factory=dict)
    added: Mapping[str, int] = field(default_factory=dict)
    replaced: Mapping[str, int] = field(default_factory=dict)
    deleted: Mapping[str, int] = field(default_factory=dict)
    version: int | None = None
    seconds: float = 0.0

    @property
    def changed(self) -> bool:
        """Whether the index is another than it was."""
        return any(any(part.values()) for part in (self.added, self.replaced, self.deleted))

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "modalities": {
                name: {
                    "made": one.made, "kept": one.kept, "dropped": one.dropped,
                    "failed": len(one.failed), "unreachable": len(one.away),
                }
                for name, one in self.embedded.items()
            },
            "added": dict(self.added), "replaced": dict(self.replaced),
            "deleted": dict(self.deleted), "version": self.version,
            "seconds": round(self.seconds, 3),
        }  # fmt: skip


def bound_names(ws: Workspace) -> list[str]:
    """The modalities that the index in use holds and the configuration still has."""
    return [m.name for m in ws.modalities if m.name in current_fit(ws).binding.maps]


def sync(
    ws: Workspace,
    *,
    note: Note = lambda _: None,
    ask: Ask = lambda _: None,
    embed: Callable[[str], EmbedResult] | None = None,
) -> Synced:
    """Embed what is new or changed, and put the index in use where the table is.

    Killed anywhere, a repeat ends the same: vectors are kept as they are made, and the index
    changes in one step over all modalities.

    Parameters
    ----------
    ask : told before more than a tenth of a modality's items are taken out; raises to refuse.
    embed : embeds one modality; the workspace's own way when not given.

    Raises
    ------
    ConjoinError : nothing is in use yet, another sync runs, or ``ask`` refused.
    """
    start = time.perf_counter()
    with one_at_a_time(ws), ws.changing():
        fitted = (ws.state / "current.json").exists()
        names = bound_names(ws) if fitted else [entry.name for entry in ws.modalities]
        embedded = {}
        for name in names:
            note(f"embedding {name}")
            embedded[name] = (embed or ws.embed)(name)
        if not fitted:
            return _first(ws, embedded, start)
        wanted = pending(ws, open_index(ws), names)
        for name, items in wanted.gone.items():
            held = len(set(open_index(ws).spaces[name].ids.tolist()))
            if len(items) > GONE * held:
                ask(f"take {len(items)} of {held} items out of {name}?")
        note("index")
        version = serve_pending(ws, wanted, why="sync")
    replaced = {name: count for name, count in wanted.changed.items() if count}
    added = {name: len(rows) - wanted.changed[name] for name, rows in wanted.new.items()}
    gone = {name: len(items) for name, items in wanted.gone.items() if items}
    return Synced(
        embedded, {n: c for n, c in added.items() if c}, replaced, gone, version,
        time.perf_counter() - start,
    )  # fmt: skip


def _first(ws: Workspace, embedded: Mapping[str, EmbedResult], start: float) -> Synced:
    """What one joint encoder made is served as it is, where nothing was fitted yet.

    Raises
    ------
    ConjoinError : no encoder is joint, so that a fit is needed first.
    """
    if publish(ws) is None:
        raise ConjoinError(str(ws.folder), "nothing is fitted yet", "run: conjoin fit")
    added = {name: len(space) for name, space in open_index(ws).spaces.items()}
    return Synced(embedded, added, seconds=time.perf_counter() - start)


@contextmanager
def one_at_a_time(ws: Workspace) -> Iterator[None]:
    """Refuse a second sync of a workspace while one runs."""
    with alone(
        ws.state / "sync" / ".lock", "another process is bringing this workspace up to date"
    ):
        yield


# Following a table


def signature(ws: Workspace, most: int = 1_000_000) -> str:
    """A hash of names, sizes and times of the files that items come from.

    Of a folder all of it, of a table the table and the folder it lies in, without the state;
    at most so many files are looked at. Nothing is read.
    """
    table = ws.folder / ws.config.items.table
    hasher = hashlib.blake2b(digest_size=16)
    roots = [table] if table.is_file() else []
    for root in [*roots, table_base(table), ws.state / "items"]:
        for path in _walked(root, most):
            try:
                told = path.stat()
            except OSError:
                continue
            hasher.update(f"{path}\0{told.st_size}\0{told.st_mtime_ns}\n".encode(errors="replace"))
    return hasher.hexdigest()


def _walked(root: Path, most: int) -> Iterator[Path]:
    if root.is_file():
        yield root
        return
    left = most
    for folder, inside, files in os.walk(root):
        inside[:] = sorted(name for name in inside if name != STATE)
        for name in sorted(files):
            if left <= 0:
                return
            left -= 1
            yield Path(folder) / name


def follow(
    open_ws: Callable[[], Workspace],
    act: Callable[[Workspace], None],
    *,
    every: float,
    rounds: int | None = None,
    wait: Callable[[float], None] = time.sleep,
) -> None:
    """Call ``act`` now, and again whenever the files have changed and then stood still.

    Parameters
    ----------
    open_ws : opens the workspace anew, as its configuration may change too.
    every : seconds between two looks.
    rounds : looks at most; no end where not given.
    """
    last, seen = "", ""
    while rounds is None or rounds > 0:
        ws = open_ws()
        now = signature(ws)
        # A file that is still being copied changes between two looks: wait until none does.
        if now != last and (not last or now == seen):
            act(ws)
            last = now
        seen = now
        rounds = None if rounds is None else rounds - 1
        if rounds is None or rounds:
            wait(every)


# What a service puts in or takes out


def changed_items(
    ws: Workspace,
    put: Mapping[str, Mapping[str, Any]],
    deleted: Collection[str],
) -> Synced:
    """Put items beside the table, or take some out, and serve the index so.

    Only the cells of these items are encoded.

    Parameters
    ----------
    put : by id, values by column of the table; media as paths that the table may name.
    deleted : ids.

    Raises
    ------
    ConjoinError : an id to delete is unknown, a value does not fit, or a cell cannot be read.
    """
    start = time.perf_counter()
    with one_at_a_time(ws), ws.changing():
        known = set(map(str, ws.items.ids))
        lost = [item for item in deleted if item not in known]
        if lost:
            raise ConjoinError("id", f"{lost[0]!r} is not among the items", "give one that is")
        _journalled(ws, put, deleted)
        names = bound_names(ws)
        embedded = {name: ws.embed_items(name, [*put, *deleted]) for name in names}
        wanted = pending(ws, open_index(ws), names)
        version = serve_pending(ws, wanted, why="sync")
    added = {name: len(rows) - wanted.changed[name] for name, rows in wanted.new.items()}
    gone = {name: len(items) for name, items in wanted.gone.items() if items}
    return Synced(
        embedded, {n: c for n, c in added.items() if c},
        {n: c for n, c in wanted.changed.items() if c}, gone, version,
        time.perf_counter() - start,
    )  # fmt: skip


def _journalled(
    ws: Workspace, put: Mapping[str, Mapping[str, Any]], deleted: Sequence[str] | Collection[str]
) -> None:
    columns = set(ws.items.names)
    for item, values in put.items():
        unknown = [name for name in values if name not in columns]
        if unknown:
            raise ConjoinError(
                f"item {item}", f"no column {unknown[0]!r}",
                f"columns are {', '.join(ws.items.names)}",
            )  # fmt: skip
    ws.journal.append(put, deleted)
    try:
        ws.reread()
        _ = ws.items
    except ConjoinError:
        ws.journal.undo()
        ws.reread()
        raise
