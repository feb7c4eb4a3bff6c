"""What is served at one moment: a fit, its index, and how queries are read and answered."""

import datetime
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from conjoin.encoders.base import Encoder, Quick
from conjoin.encoders.run import encode
from conjoin.errors import CellError, ConjoinError, nearest
from conjoin.project.fit.joint import BRIDGE, Reader, tower_of
from conjoin.project.fit.stored import Fit, current_fit, stale
from conjoin.project.search.cascade import stage_of
from conjoin.project.search.queries import readers
from conjoin.project.search.ranking import Ranking
from conjoin.project.search.session import Lookup, Read, SearchSession, Wanted
from conjoin.project.workspace import LABELS, STATE, Workspace
from conjoin.retrieval.hits import Hits
from conjoin.retrieval.index.index import Index
from conjoin.retrieval.ranking.explain import Behind, Explained, explain
from conjoin.server.limits import Problem
from conjoin.server.prometheus import Metrics
from conjoin.server.requests import MOST, Ask, ExplainBody, Piece
from conjoin.spaces import Space, Tokens

#: Distinct values of a column that are listed for filters.
LISTED = 60
#: Characters of a text shown with a hit.
SNIPPET = 280


def stamp(folder: Path) -> tuple[Any, ...]:
    """What changes when another index, or another version of it, is in use."""
    from conjoin.storage.files import read_json

    state = folder / STATE
    try:
        index = read_json(state / "current.json", ("index",))["index"]
    except (OSError, ConjoinError, TypeError):
        index = ""
    return tuple(map(_mark, (state / "current.json", state / str(index) / "manifest.json")))


def _mark(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


@dataclass(frozen=True, eq=False)
class Found:
    """An answer: the hits, or the vector that was asked for, and the state it was made by."""

    live: "Live"
    hits: Hits | None = None
    space: Space | None = None
    source: str | None = None
    why: Explained | None = None


@dataclass(frozen=True, eq=False)
class Live:
    """One fit and its index, opened.

    Parameters
    ----------
    session : how queries are ranked, as on the command line.
    mark : :func:`stamp` of what was opened.
    """

    ws: Workspace
    fit: Fit
    session: SearchSession
    mark: tuple[Any, ...] = ()
    _readers: dict[str, Encoder] = field(default_factory=dict, repr=False)
    _towers: dict[str, Reader | None] = field(default_factory=dict, repr=False)

    @classmethod
    def open(cls, folder: Path, before: "Live | None" = None) -> "Live":
        """What is in use in a workspace.

        Parameters
        ----------
        before : what was open so far: encoders that are the same are not loaded anew.

        Raises
        ------
        ConjoinError : nothing is fitted, or an encoder has changed since.
        """
        mark = stamp(folder)
        ws = Workspace(folder, writes=False)
        made = current_fit(ws)
        for name, map_ in made.binding.maps.items():
            if ws.frame(name) != map_.source:
                raise stale(name)
        stage_of(made)  # read while it is there
        kept = {} if before is None else before._readers
        same = {n: r for n, r in kept.items() if n in made.binding.maps
                and r.frame == ws.encoder(n).frame}  # fmt: skip
        return cls(ws, made, SearchSession.of(ws, made), mark, same)

    def warm(self) -> None:
        """Load what the first query would wait for.

        An encoder that was taken over is not called: it may be answering meanwhile.
        """
        first = next(str(space.ids[0]) for space in self.index.spaces.values() if len(space))
        self.answer([Ask((Piece("item", first),), k=1)], Metrics())
        text = next((name for name, kind in self.kinds.items() if kind == "text"), None)
        known = text is not None and self.reader("text", None) in self._readers
        if not known and (text is not None or self.tower("text") is not None):
            self.answer([Ask((Piece("text", "warm"),), k=1)], Metrics())
        if self.session.fusion is not None and self.session.fusion.helps:
            self.session.lexical.search("warm", 1)

    # Items

    @cached_property
    def kinds(self) -> dict[str, str]:
        """The kind each bound modality reads, in the order of the configuration."""
        names = [each.name for each in self.ws.modalities if each.name in self.fit.binding.maps]
        return {name: self.ws.kind(name) for name in names}

    @cached_property
    def name(self) -> str:
        """What the index in use is called."""
        return str(self.ws.current["index"]).rpartition("/")[2]

    @cached_property
    def _labels(self) -> list[Any] | None:
        column = next((name for name in LABELS if name in self.ws.items.names), None)
        return None if column is None else self.ws.items.column(column)

    def row(self, item: str) -> int:
        """The row of an item.

        Raises
        ------
        Problem : there is none.
        """
        try:
            return self.ws.items.row(item)
        except ConjoinError:
            found = f"there is no item {item[:60]!r}"
            raise Problem("not-found", "item", found, "give one of its ids") from None

    def label(self, item: str) -> str:
        """What people call an item."""
        try:
            value = self._labels[self.ws.items.row(item)] if self._labels is not None else None
        except ConjoinError:  # indexed, but gone from the table since
            value = None
        return item if value is None else str(value)

    @cached_property
    def table(self) -> pa.Table:
        """The items' single values, but for columns that a modality is made of."""
        used = {self.ws.config.items.id}
        for entry in self.ws.modalities:
            used |= {entry.column} if isinstance(entry.column, str) else set(entry.column)
        whole = self.ws.items.scalars
        return whole.select([name for name in whole.column_names if name not in used])

    @cached_property
    def columns(self) -> list[dict[str, Any]]:
        """What filters may name, with the values of those that have few."""
        found = []
        for name, kind in self.index.columns.items():
            entry: dict[str, Any] = {"name": name, "type": str(kind)}
            if name in self.table.column_names and _worded(kind):
                values = pc.unique(self.table.column(name).drop_null())
                if len(values) <= LISTED:
                    entry["values"] = sorted(map(str, values.to_pylist()))
            found.append(entry)
        return found

    def item(self, item: str) -> dict[str, Any]:
        """An item as JSON: label, metadata, and its modalities."""
        row = self.row(item)
        meta = {n: _json(self.table.column(n)[row].as_py()) for n in self.table.column_names}
        held = {}
        for name, kind in self.kinds.items():
            space = self.index.spaces.get(name)
            parts = 0 if space is None else int((space.ids == item).sum())
            if parts:
                held[name] = {"kind": kind, "parts": parts, "media": media_path(item, name)}
        return {"id": item, "label": self.label(item), "meta": meta, "modalities": held}

    def text(self, modality: str, item: str, part: int) -> str | None:
        """The first words of a cell of text."""
        return self._snippet(modality, item, part)

    @cached_property
    def _snippet(self) -> Any:
        @lru_cache(maxsize=20_000)
        def read(modality: str, item: str, part: int) -> str | None:
            try:
                words = str(self.ws.cells(modality, "text").get(item, part))
            except (CellError, ConjoinError):
                return None
            words = " ".join(words.split())
            return words if len(words) <= SNIPPET else words[: SNIPPET - 1] + "…"

        return read

    # Queries

    def reader(self, kind: str, source: str | None, into: Sequence[str] = ()) -> str:
        """The modality that reads a query of a kind, as on the command line.

        Raises
        ------
        Problem : none does, or the one named reads another kind.
        """
        if source is not None:
            if source not in self.kinds:
                raise Problem("bad-argument", "source", f"{source[:60]!r} is not bound",
                              nearest(source, self.kinds))  # fmt: skip
            if self.kinds[source] != kind:
                found = f"{source} reads {self.kinds[source]}, the query is {kind}"
                raise Problem("bad-argument", "source", found, "name another, or none")
            return source
        able = readers(self.fit, self.kinds, kind, into)
        reader = self.tower(kind) if not able or (self.ws.state / BRIDGE).exists() else None
        if reader is not None and (not able or reader.way is not None):
            return kind
        if not able:
            kinds = " or ".join(sorted(set(self.kinds.values())))
            raise Problem(
                "bad-argument", "query", f"nothing here reads {kind}", f"ask with {kinds}"
            )
        return able[0]

    def tower(self, kind: str) -> Reader | None:
        """The tower of a joint encoder that reads a kind which no modality here does."""
        if kind not in self._towers:
            self._towers[kind] = tower_of(self.ws, self.fit.binding, kind)
        return self._towers[kind]

    def towered(self, name: str, kind: str) -> bool:
        """Whether :meth:`reader` gave a tower's kind and not a modality's name."""
        reader = self._towers.get(kind)
        return reader is not None and name == kind and (
            self.kinds.get(name) != kind or reader.way is not None
        )  # fmt: skip

    def _encoder(self, name: str) -> Encoder:
        if name not in self._readers:
            encoder = self.ws.encoder(name)
            self._readers[name] = encoder.for_queries() if isinstance(encoder, Quick) else encoder
        return self._readers[name]

    def answer(self, asks: Sequence[Ask], metrics: Metrics) -> list[Any]:
        """Answers of a batch in order: :class:`Found`, or the exception of an ask that is wrong."""
        import time

        began = time.perf_counter()
        terms = self._bound(asks)
        encoded = time.perf_counter()
        found = self._searched(asks, terms)
        metrics.add("conjoin_encode_seconds_total", encoded - began)
        metrics.add("conjoin_search_seconds_total", time.perf_counter() - encoded)
        metrics.add("conjoin_queries_total", len(asks))
        return found

    def _bound(self, asks: Sequence[Ask]) -> list[Any]:
        """For every ask its terms in the joint frame, or the exception; one call a modality."""
        out: list[Any] = [[None] * len(ask.pieces) for ask in asks]
        jobs: dict[tuple[str, bool], list[tuple[int, int, Any]]] = {}
        for at, ask in enumerate(asks):
            try:
                for place, piece in enumerate(ask.pieces):
                    if piece.kind in ("item", "vector"):
                        read = self._stored if piece.kind == "item" else self._given
                        source, space = read(piece)
                        out[at][place] = Read(space, source, piece.weight, piece.kind)
                    else:
                        name = self.reader(piece.kind, piece.source, ask.into)
                        own = piece.source is not None or not self.towered(name, piece.kind)
                        jobs.setdefault((name, own), []).append((at, place, piece))
            except (Problem, ConjoinError) as error:
                out[at] = error
        for (name, own), wanted in jobs.items():
            there = [job for job in wanted if isinstance(out[job[0]], list)]
            reader = None if own else self.tower(name)
            if there and reader is not None:
                self._encode(reader, there, out)
            elif there:
                self._encode(Reader(name, self._encoder(name), name), there, out)
        return out

    def _encode(
        self, reader: Reader, jobs: Sequence[tuple[int, int, Piece]], out: list[Any]
    ) -> None:
        encoder = reader.encoder
        made = encode(encoder, [piece.cell for _, _, piece in jobs])
        good = [job for place, job in enumerate(jobs) if place not in made.failed]
        for place, reason in made.failed.items():
            at, _, piece = jobs[place]
            argument = "text" if piece.kind == "text" else "file"
            out[at] = Problem("bad-argument", argument, reason, "give one that can be read")
        if not good:
            return
        space = Space(np.arange(len(good)).astype(str), made.vectors, encoder.frame)
        bound = reader.bound(self.ws, self.fit.binding, space)
        space = space if reader.way is not None else self.ws.joined(reader.modality, space)
        for row, (at, place, piece) in enumerate(good):
            if isinstance(out[at], list):
                here = np.array([row])
                name = reader.source
                raw = space.take(here)
                out[at][place] = Read(bound.take(here), name, piece.weight, name, raw)

    def _stored(self, piece: Piece) -> tuple[str, Space]:
        self.row(piece.cell)
        if piece.source is not None and piece.source not in self.index.spaces:
            raise Problem("bad-argument", "source", f"{piece.source[:60]!r} is not indexed",
                          nearest(piece.source, self.index.spaces))  # fmt: skip
        bound = [name for name in self.fit.binding.maps if name in self.index.spaces]
        for name in [piece.source] if piece.source else bound:
            rows = np.flatnonzero(self.index.spaces[name].ids == piece.cell)
            if len(rows):
                return name, self.index.spaces[name].take(rows[:1])
        where = f"modality {piece.source}" if piece.source else "any modality"
        raise Problem("bad-argument", "item", f"{piece.cell[:60]!r} has no vector in {where}",
                      "name another item")  # fmt: skip

    def _given(self, piece: Piece) -> tuple[str | None, Space]:
        """A given vector: as it is in the joint frame, bound where it is in a modality's own."""
        maps, joint = self.fit.binding.maps, self.index.frame
        if piece.source is not None and piece.source not in maps:
            raise Problem("bad-argument", "source", f"{piece.source[:60]!r} is not bound",
                          nearest(piece.source, maps))  # fmt: skip
        near = [piece.source] if piece.source else list(maps)
        own = next((each for each in near if maps[each].source.id == piece.frame), None)
        if own is None and piece.frame != joint.id:
            raise Problem(
                "other-frame", "frame", f"{str(piece.frame)[:60]!r} is not a frame of this index",
                f"embed the query anew: POST /embed; its frame is {joint.id}",
            )  # fmt: skip
        frame = joint if own is None else maps[own].source
        values = np.asarray([piece.cell], dtype=np.float64)
        if values.shape[1] != frame.dim:
            raise Problem("bad-argument", "vector", f"{values.shape[1]} numbers",
                          f"give {frame.dim}, as its frame has")  # fmt: skip
        if not values.any() or np.abs(values).max() > MOST:
            raise Problem("bad-argument", "vector", "is zero, or far too long", "give another")
        space = Space(np.array(["query"]), values.astype(np.float32), frame)
        return piece.source or own, (space if own is None else self.fit.binding.bind(own, space))

    def _searched(self, asks: Sequence[Ask], terms: list[Any]) -> list[Any]:
        """Asks that differ in the query only go through the index together."""
        out: list[Any] = list(terms)
        groups: dict[tuple[Any, ...], list[tuple[int, Wanted, Lookup]]] = {}
        for at, ask in enumerate(asks):
            if isinstance(terms[at], Exception):
                continue
            try:
                self._sort(at, ask, out, groups)
            except (Problem, ConjoinError) as error:
                out[at] = error
        for (source, into, k, where, gone), group in groups.items():
            try:
                joined = stacked([each.space for _, _, each in group if each.space is not None])
                found = self.index.search_many(
                    joined, source, into=into, k=k, exclude=gone, where=where
                )
            except ConjoinError as error:
                wrong = {at for at, _, _ in group}
                out = [error if at in wrong else old for at, old in enumerate(out)]
                continue
            for (at, wanted, _), hits in zip(group, found, strict=True):
                out[at] = self._finished(wanted, hits, source)
        return out

    def _sort(self, at: int, ask: Ask, out: list[Any], groups: dict[Any, Any]) -> None:
        """Answer an ask that is alone in its kind, or put it to those like it."""
        reads: list[Read] = out[at]
        if ask.hit is not None:
            out[at] = self._explained(ask, reads[0].source, self._raw(ask, reads[0]), ask.hit)
            return
        if stage_of(self.fit) is not None and len(reads) == 1:
            reads = [replace(reads[0], raw=self._raw(ask, reads[0]))]
        how = Ranking(ask.k, self._targets(ask), ask.where, ask.combine, ask.fusion)
        wanted = Wanted(tuple(reads), how, ask.words, ask.items, ask.exclude, self._shown(ask))
        asked = self.session.lookup(wanted)
        if ask.only_vector:
            out[at] = Found(self, space=asked.space, source=asked.source)
        elif asked.alone:
            out[at] = self._finished(wanted, self.session.found(wanted, asked), asked.source)
        else:
            key = (asked.source, how.into, asked.depth, how.where, asked.gone)
            groups.setdefault(key, []).append((at, wanted, asked))

    def _raw(self, ask: Ask, read: Read) -> Space | None:
        """A query's row as its encoder gave it, where that is known."""
        if read.raw is not None or ask.pieces[0].kind != "item" or read.source is None:
            return read.raw
        space = self.ws.space(read.source)
        rows = np.flatnonzero(space.ids == ask.pieces[0].cell)
        return space.take(rows[:1]) if len(rows) else None

    @cached_property
    def _behind(self) -> Behind:
        spaces = self.ws.spaces(list(self.fit.binding.maps))
        return Behind(self.fit.binding, spaces, self.ws.pairs(spaces)[0])

    def _explained(
        self, ask: Ask, source: str | None, raw: Space | None, asked: ExplainBody
    ) -> Found:
        """What a hit's score is made of, and the training pairs behind it."""
        self.row(asked.hit)
        if raw is None or source is None:
            raise Problem("bad-argument", "vector", "is of the joint frame", "give what it is of")
        others = [name for name in self.index.spaces if name != source]
        held = (n for n in others if (self.index.spaces[n].ids == asked.hit).any())
        target = asked.into or next(held, None)
        if target is None or target not in self.index.spaces:
            found = f"{str(target)[:60]!r} is not indexed"
            raise Problem("bad-argument", "into", found, nearest(str(target), self.index.spaces))
        why = explain(self.index, self._behind, raw, source, target, asked.hit, count=asked.pairs)
        return Found(self, source=source, why=why)

    def _targets(self, ask: Ask) -> tuple[str, ...]:
        for name in ask.into:
            if name not in self.index.spaces:
                raise Problem("bad-argument", "into", f"{name[:60]!r} is not indexed",
                              nearest(name, self.index.spaces))  # fmt: skip
        return ask.into

    @property
    def index(self) -> Index:
        """The index in use."""
        return self.session.index

    def _finished(self, wanted: Wanted, hits: Hits, source: str | None = None) -> Any:
        """Hits with words mixed in, cut, and named; or the exception."""
        try:
            asked = {"shown": wanted.shown, "modality": source, "id": None}
            hits = self.session.mixed(wanted, replace(hits, query=asked))
            lists = {name: own[: wanted.how.k] for name, own in hits.lists.items()}
        except (Problem, ConjoinError) as error:
            return error
        return Found(self, hits=replace(hits, lists=lists), source=source)

    def _shown(self, ask: Ask) -> str:
        """What a person calls a query."""
        said = [(self._said(piece), piece.weight) for piece in ask.pieces]
        first = "".join(f" {'+' if w > 0 else '−'} {text}" for text, w in said)
        return first.removeprefix(" + ").strip()

    def _said(self, piece: Piece) -> str:
        if piece.kind == "item":
            return self.label(piece.cell)
        fixed = {"vector": "a vector", "image": "a picture", "audio": "a sound"}
        return fixed.get(piece.kind) or str(piece.cell)

    # What is said of it

    def dressed(self, found: Found) -> dict[str, Any]:
        """Hits as JSON, each with its label, its kind, and where its media are."""
        hits = found.hits
        if hits is None:
            raise TypeError("an answer without hits")
        said = hits.to_json()
        for hit in (hit for listed in said["lists"].values() for hit in listed):
            kind = self.kinds.get(hit["modality"], "")
            path = media_path(hit["id"], hit["modality"], hit["part"])
            hit |= {"label": self.label(hit["id"]), "kind": kind, "media": path,
                    "meaning": hits.meaning.get(hit["modality"])}  # fmt: skip
            if kind == "text":
                hit["text"] = self.text(hit["modality"], hit["id"], hit["part"])
            hit["meta"] = {key: _json(value) for key, value in hit["meta"].items()}
        return {**said, "index": self.name}


def reasons(found: Found) -> dict[str, Any]:
    """Why a hit is a hit, as JSON; training pairs with their labels."""
    if found.why is None:
        raise TypeError("an answer without reasons")
    said = found.why.to_json()
    for pair in said["pairs"]:
        pair["labels"] = {name: found.live.label(item) for name, item in pair["ids"].items()}
    return {"version": 1, **said, "index": found.live.name}


def media_path(item: str, modality: str, part: int = 0) -> str:
    """Where the media of a cell are served."""
    from urllib.parse import quote

    path = f"/items/{quote(item, safe='')}/media/{quote(modality, safe='')}"
    return f"{path}?part={part}" if part else path


def _worded(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_boolean(kind)


def _json(value: Any) -> Any:
    """A value of metadata as JSON has it."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, datetime.date | datetime.datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): _json(inside) for key, inside in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_json(inside) for inside in list(value)[:20]]
    return str(value)[:200]


def stacked(spaces: Sequence[Space]) -> Space:
    """Queries of one row each as one space."""
    if len(spaces) == 1:
        return spaces[0]
    ids = np.arange(len(spaces)).astype(str)
    first: Any = spaces[0].vectors
    if hasattr(first, "offsets"):
        flat = [np.asarray(space.vectors.vectors) for space in spaces]  # type: ignore[union-attr]
        ends = np.cumsum([0, *map(len, flat)])
        return Space(ids, Tokens(np.concatenate(flat), ends), spaces[0].frame)
    return Space(ids, np.concatenate([np.asarray(s.vectors) for s in spaces]), spaces[0].frame)
