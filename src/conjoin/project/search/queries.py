"""A query of a person: read, encoded, bound, and put to the index in use."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from conjoin.encoders.open import kind_of
from conjoin.errors import ConjoinError, nearest
from conjoin.project.fit.joint import Reader, bridge_of, kinds_of, tower_of
from conjoin.project.fit.stored import Fit, current_fit, stale
from conjoin.project.workspace import Workspace
from conjoin.spaces import Space


@dataclass(frozen=True, eq=False)
class Query:
    """What is looked for: a text, a file, or an item's own cell."""

    text: str | None = None
    file: Path | None = None
    item: str | None = None
    source: str | None = None

    def shown(self) -> str:
        """What a person calls it."""
        if self.text is not None:
            return self.text
        return str(self.file) if self.file else f"item {self.item}"


@dataclass(frozen=True, eq=False)
class Asked:
    """A query as an encoder sees it.

    Parameters
    ----------
    source : what the query's side of a direction is called: the modality that read it, or the
        kind of the tower of a joint encoder, where no modality reads that kind.
    modality : whose map takes the row into the joint frame.
    space : the one row, as its encoder gave it; parts joined as the modality's are.
    placed : the same in the joint frame, where a bridge took it there.
    """

    source: str
    modality: str
    space: Space
    placed: Space | None = None

    def bound(self, made: Fit) -> Space:
        """The row in the joint frame."""
        if self.placed is not None:
            return self.placed
        return made.binding.bind(self.modality, self.space)


def encoded(ws: Workspace, made: Fit, query: Query, into: Sequence[str] = ()) -> Asked:
    """A query as its modality's encoder sees it.

    Parameters
    ----------
    into : the modalities searched; one that reads the query reads it.

    Raises
    ------
    ConjoinError : no bound modality reads it, or its encoder changed since the fit.
    """
    if query.item is not None:
        return _stored(ws, made, query.item, query.source)
    kind = "text" if query.text is not None else kind_of_file(query.file)
    if query.source is None:
        reader = bridge_of(ws, made.binding, kind)
        if reader is None and kind not in modality_kinds(ws, made):
            reader = tower_of(ws, made.binding, kind)
        if reader is not None:
            return _read(ws, made, reader, query)
    name = query.source or reader_of(ws, made, kind, into)
    if name not in made.binding.maps:
        raise ConjoinError("--from", f"{name!r} is not bound", nearest(name, made.binding.maps))
    encoder = ws.encoder(name)
    if encoder.kind != kind:
        raise ConjoinError(
            "--from", f"{name!r} reads {encoder.kind}, the query is {kind}", "name another"
        )
    if ws.frame(name) != made.binding.maps[name].source:
        raise stale(name)
    return _read(ws, made, Reader(name, encoder, name), query)


def _read(ws: Workspace, made: Fit, reader: Reader, query: Query) -> Asked:
    from conjoin.encoders.run import encode

    cell = query.text if query.text is not None else str(query.file)
    made_of = encode(reader.quick(), [cell])
    if made_of.failed:
        raise ConjoinError(query.shown(), made_of.failed[0], "give a readable query")
    row = Space(np.array(["query"]), made_of.vectors, reader.encoder.frame)
    if reader.way is not None:
        return Asked(reader.source, reader.modality, row, reader.bound(ws, made.binding, row))
    return Asked(reader.source, reader.modality, ws.joined(reader.modality, row))


def _stored(ws: Workspace, made: Fit, item: str, source: str | None) -> Asked:
    if source is not None and source not in made.binding.maps:
        raise ConjoinError("--from", f"{source!r} is not bound", nearest(source, made.binding.maps))
    for name in [source] if source else list(made.binding.maps):
        if ws.frame(name) != made.binding.maps[name].source:
            raise stale(name)
        rows = np.flatnonzero(ws.space(name).ids == item)
        if len(rows):
            return Asked(name, name, ws.space(name).take(rows[:1]))
    ws.items.row(item)
    where = f"modality {source}" if source else "any bound modality"
    raise ConjoinError("--item", f"{item!r} has no vector in {where}", "name another item")


def modality_kinds(ws: Workspace, made: Fit) -> set[str]:
    """The kinds of cell that bound modalities read."""
    return {kind_of(ws.modality(name).uri) for name in made.binding.maps}


def kinds_read(ws: Workspace) -> set[str]:
    """The kinds of query that bound modalities, or towers of their encoders, read."""
    made = current_fit(ws)
    return modality_kinds(ws, made) | kinds_of(ws, made.binding)


def reader_of(ws: Workspace, made: Fit, kind: str, into: Sequence[str] = ()) -> str:
    """The bound modality that reads a query of a kind.

    Raises
    ------
    ConjoinError : none does.
    """
    reads = {name: kind_of(ws.modality(name).uri) for name in made.binding.maps}
    found = readers(made, reads, kind, into)
    if not found:
        kinds = sorted(set(reads.values()))
        raise ConjoinError(
            "query", f"no bound modality reads {kind}, nor does a tower of its encoder",
            f"ask with {' or '.join(kinds)}, or embed with a joint encoder that reads {kind}",
        )  # fmt: skip
    return found[0]


def readers(
    made: Fit, kinds_of: Mapping[str, str], kind: str, into: Sequence[str] = ()
) -> list[str]:
    """The modalities that read a kind of query, the one to take first.

    That is the one searched into, where it alone of those searched reads the kind; else the one
    whose held-out training queries found their answers among the first ten most often, over the
    modalities that all of them were put to; else the hub.

    Parameters
    ----------
    kinds_of : the kind each bound modality reads.
    """
    found = [name for name, reads in kinds_of.items() if reads == kind]
    inside = [name for name in into if name in found]
    told = {
        name: {t: float(c.facts["answered"]) for (q, t), c in made.rules.calibrations.items()
               if q == name and "answered" in c.facts}
        for name in found
    }  # fmt: skip
    common = set.intersection(*map(set, told.values())) if told else set()
    worth = {name: sum(told[name][t] for t in common) for name in found}
    hub = made.binding.hub

    def order(name: str) -> tuple[bool, float, bool]:
        return (inside != [name], -worth[name], name != hub)

    return sorted(found, key=order)


def kind_of_file(file: Path | None) -> str:
    """What a query file holds, by its name."""
    from conjoin.items.reading.folder import kind_of_name

    if file is None:
        raise ConjoinError("query", "nothing to look for", "give a text, --query or --item")
    if not file.exists():
        raise ConjoinError(str(file), "no such file", "check the path")
    kind = kind_of_name(file.name)
    if kind is None:
        found = (
            f"{file.suffix} is not a suffix of a picture or sound" if file.suffix else "no suffix"
        )
        raise ConjoinError(str(file), found, "give a picture or a sound")
    return kind
