"""Bound spaces of one frame, searchable, on disk or in memory."""

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from conjoin.errors import ConjoinError, StateError, nearest
from conjoin.retrieval.calibration.calibration import (
    READ,
    Calibration,
    check_calibration,
    nothing_of,
    told,
)
from conjoin.retrieval.calibration.out_of_distribution import nearness, spread
from conjoin.retrieval.engines.exact import top_sets
from conjoin.retrieval.engines.kernels import Tiles
from conjoin.retrieval.engines.scan import Engine, ranked
from conjoin.retrieval.hits import MIXED, Hit, Hits
from conjoin.retrieval.hubness.csls import Correction
from conjoin.retrieval.index.filters import parse
from conjoin.retrieval.index.opening import open_engines
from conjoin.retrieval.index.reading import StoreReader
from conjoin.retrieval.ranking.modality_fair import Edge, Mixing
from conjoin.spaces import Frame, Space, Tokens, require_same, unit
from conjoin.spaces.space import require_spaces
from conjoin.storage.digest import digest
from conjoin.storage.files import (
    FORMAT,
    check_arrays,
    check_marks,
    map_arrays,
    mark_of,
    pack_strings,
    read_json,
    stream_arrays,
    unpack_strings,
    within,
    write_json,
)


@dataclass(frozen=True, eq=False)
class Index:
    """One space a modality, all in one frame, with the corrections of their rankings.

    Make one by :meth:`build` or :meth:`open`.

    Parameters
    ----------
    frame : the frame of every vector here.
    spaces : vectors as ``Frame.item`` gives them, by modality.
    corrections : by ``(query modality, target modality)``; rows as in the target's space.
    meta : item id → what is known of it, shown with hits.
    calibrations : what scores mean, by direction as the corrections.
    mixing : how several lists become one.
    about : by modality, a line of metadata a row.
    engines : by modality, what finds candidates; every row is scored where there is none.
    finders : by modality, rows of items by id; ids are looked through where there is none.
    familiar : by modality, rows that queries are compared with; those indexed where not given.
    timed : modalities whose parts are milliseconds of recordings.
    """

    frame: Frame
    spaces: Mapping[str, Space]
    corrections: Mapping[Edge, Correction] = field(default_factory=dict)
    meta: Callable[[str], Mapping[str, Any]] | None = None
    calibrations: Mapping[Edge, Calibration] = field(default_factory=dict)
    mixing: Mixing = field(default_factory=Mixing)
    about: Callable[[str], pa.Table] | None = None
    engines: Mapping[str, Engine] = field(default_factory=dict)
    finders: Mapping[str, Callable[[Sequence[str]], np.ndarray]] = field(default_factory=dict)
    familiar: Mapping[str, Space] = field(default_factory=dict)
    timed: frozenset[str] = frozenset()
    _tiles: dict[Any, Tiles] = field(default_factory=dict, repr=False)

    @classmethod
    def build(
        cls,
        spaces: Mapping[str, Space],
        corrections: Mapping[Edge, Correction] | None = None,
        meta: Callable[[str], Mapping[str, Any]] | None = None,
        *,
        calibrations: Mapping[Edge, Calibration] | None = None,
        mixing: Mixing | None = None,
    ) -> "Index":
        """An index of bound spaces.

        Vectors already as the index holds them are not copied: memory maps stay on disk.

        Raises
        ------
        FrameError : the spaces, or a calibration, are of several frames.
        ConjoinError : there is none, one holds token sets its frame does not score, or a
            correction is of other rows.
        """
        require_spaces({} if spaces is None else spaces, "index")
        if not spaces:
            raise ConjoinError("index", "no space was given", "bind at least one modality")
        frame = next(iter(spaces.values())).frame
        for name, space in spaces.items():
            require_same(space.frame, frame, f"index {name}")
        corrections = dict(corrections or {})
        for edge, correction in corrections.items():
            _check_correction(edge, correction, spaces, frame)
        held = {name: as_items(name, space) for name, space in spaces.items()}
        made = cls(frame, held, corrections, meta, calibrations or {}, mixing or Mixing())
        return made._checked()

    def _checked(self) -> "Index":
        """Itself, where its calibrations are of its frame and its scores."""
        for edge, calibration in self.calibrations.items():
            check_calibration(edge, calibration, self.frame.id, self.scored_by(edge))
        return self

    def scored_by(self, edge: Edge) -> str:
        """The name of the score a direction is ordered by."""
        correction = self.corrections.get(edge)
        return self._plain if correction is None else correction.method

    def search(
        self,
        query: Space,
        source: str | None = None,
        *,
        into: Sequence[str] = (),
        k: int = 10,
        exclude: Collection[str] = (),
        shown: str | None = None,
        where: str | None = None,
    ) -> Hits:
        """The items nearest to one query, a list a target modality.

        Parameters
        ----------
        query : one row in this index's frame.
        source : the query's modality; chooses the correction.
        into : target modalities; all where empty. Several add a list ``mixed``, ordered as
            ``mixing`` says: scores of two modalities do not compare before calibration.
        k : items a list.
        exclude : item ids to leave out.
        shown : what a person calls the query.
        where : a filter on metadata, as :mod:`conjoin.retrieval.index.filters` reads it.

        Raises
        ------
        FrameError : the query is of another frame.
        ConjoinError : it is not one row, a target is not indexed, or the filter names a column
            that is not among :attr:`columns`.
        """
        if len(query) != 1:
            raise ConjoinError("query", f"{len(query)} rows", "give one, or call search_many")
        found = self.search_many(query, source, into=into, k=k, exclude=exclude, where=where)[0]
        return found if shown is None else replace(found, query={**found.query, "shown": shown})

    def search_many(
        self,
        queries: Space,
        source: str | None = None,
        *,
        into: Sequence[str] = (),
        k: int = 10,
        exclude: Collection[str] = (),
        where: str | None = None,
    ) -> list[Hits]:
        """:meth:`search` for every row of a space at once."""
        require_same(queries.frame, self.frame, "query")
        targets = list(dict.fromkeys(into)) or list(self.spaces)
        for name in targets:
            if name not in self.spaces:
                raise ConjoinError("into", f"{name!r} is not indexed", nearest(name, self.spaces))
        if k < 1:
            raise ConjoinError("k", str(k), "give 1 or more")
        q = self._asked(queries)
        gone = {str(item) for item in exclude}
        known = {t: c for (s, t), c in self.calibrations.items() if s == source and t in targets}
        allowed = {name: self.allowed(name, where) for name in targets}
        columns = {
            name: self._list(
                q, (source or "", name), max(k, READ) if name in known else k, gone,
                allowed[name],
            )
            for name in targets
        }  # fmt: skip
        unmet = {
            name: self._unmet(name, str(where))
            for name, rows in allowed.items()
            if rows is not None and len(rows) == 0
        }
        near = self.near(queries, q, source, known)
        meaning = {name: one.meaning for name, one in known.items()}
        answers = []
        for place, item in enumerate(queries.ids):
            lists = {
                name: told(column[place], known.get(name), len(self.spaces[name]))
                for name, column in columns.items()
            }
            sizes = {name: len(self.spaces[name]) for name in known}
            nothing = nothing_of(lists, known, sizes, None if near is None else float(near[place]))
            lists = {name: found[:k] for name, found in lists.items()}
            if len(targets) > 1:
                lists[MIXED] = self.mixing.mix(lists, k, source)
            asked = {"shown": str(item), "modality": source, "id": str(item)}
            answers.append(Hits(asked, lists, self.frame.id, {**nothing, **unmet}, meaning))
        return answers

    def near(
        self, queries: Space, q: Any, source: str | None, known: Mapping[str, Calibration]
    ) -> np.ndarray | None:
        """How familiar queries are, where a calibration has a threshold for it.

        The bank is as many rows of the query's modality as it was fitted with, without its own.
        """
        counts = [int(c.facts["bank"]) for c in known.values() if "near" in c.facts]
        held = self.familiar.get(source or "", self.spaces.get(source or ""))
        if not counts or held is None or self.frame.score == "maxsim":
            return None
        key = ("familiar", source)
        rows = spread(len(held), max(counts))
        if key not in self._tiles:
            bank = np.asarray(held.take(rows).vectors, dtype=np.float32)
            self._tiles[key] = Tiles(unit(bank))
        bank = np.asarray(self._tiles[key].gallery)
        return nearness(q, bank, queries.ids[:, None] == held.ids[rows])

    def _asked(self, queries: Space) -> Any:
        """Queries as they are scored: token sets, or vectors as ``Frame.query`` gives them."""
        if self.frame.score != "maxsim":
            return self.frame.query(np.asarray(queries.vectors, dtype=np.float32))
        return as_items("query", queries).vectors

    def gallery(self, edge: Edge) -> Tiles:
        """The rows of a direction where its correction scores them."""
        correction = self.corrections.get(edge)
        vectors: Any = self.spaces[edge[1]].vectors
        key: Any = edge[1]
        if correction is not None and correction.gallery_map is not None:
            key = edge
        if key not in self._tiles:
            if correction is not None and key == edge:
                vectors = correction.items(vectors)
            self._tiles[key] = Tiles(vectors)
        return self._tiles[key]

    @property
    def columns(self) -> dict[str, pa.DataType]:
        """What filters may name, and the type of each."""
        if self.about is None:
            return {}
        tables = [self.about(name) for name in self.spaces]
        return {entry.name: entry.type for table in tables for entry in table.schema}

    def allowed(self, target: str, where: str | None) -> np.ndarray | None:
        """Ascending rows of a modality that meet a filter; ``None`` for all."""
        if where is None:
            return None
        wanted = parse(where)
        if self.about is None:
            raise ConjoinError(
                "filter", "this index holds no metadata",
                'install it with a table: pip install "conjoin[search]", then conjoin fit',
            )  # fmt: skip
        return np.flatnonzero(wanted.mask(self.about(target)))

    def _unmet(self, target: str, where: str) -> str:
        """Why a filter meets no row of a modality."""
        assert self.about is not None  # or the filter was refused
        return parse(where).met_nothing(self.about(target))

    def rows_of(self, target: str, ids: Sequence[str]) -> np.ndarray:
        """Ascending rows of a modality that show one of the items named."""
        if target in self.finders:
            return self.finders[target](ids)
        return np.flatnonzero(np.isin(self.spaces[target].ids, np.asarray(list(ids), dtype=str)))

    def _list(
        self, q: Any, edge: Edge, k: int, gone: set[str], allowed: np.ndarray | None
    ) -> list[tuple[Hit, ...]]:
        """Per query, the best ``k`` items; asks for more rows until parts fill no place."""
        space = self.spaces[edge[1]]
        count = len(space) if allowed is None else len(allowed)
        if count == 0:
            return [() for _ in range(len(q))]
        want = k + len(gone)
        while True:
            rows, scores = self._rows(q, edge, min(want, count), allowed)
            lists = [
                self._hits(edge[1], line, {name: s[at] for name, s in scores.items()}, k, gone)
                for at, line in enumerate(rows)
            ]
            if want >= count or all(len(hits) == k for hits in lists):
                return lists
            want = min(2 * want, count)

    def _rows(
        self, q: Any, edge: Edge, k: int, allowed: np.ndarray | None
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Rows ``[q, k]`` and their scores by name, the one they are ordered by last."""
        if self.frame.score == "maxsim":
            held: Any = self.spaces[edge[1]].vectors
            scores, rows = top_sets(q, held if allowed is None else held.take(allowed), k)
            return rows if allowed is None else allowed[rows], {self._plain: scores}
        gallery, correction = self.gallery(edge), self.corrections.get(edge)
        moved = correction is not None and correction.gallery_map is not None
        engine = None if moved else self.engines.get(edge[1])
        rows, scores, plain = ranked(
            q, gallery, k, correction=correction, engine=engine, allowed=allowed
        )
        if correction is None:
            return rows, {self._plain: plain}
        return rows, {self._plain: plain, correction.method: scores}

    @property
    def _plain(self) -> str:
        return self.frame.score if self.frame.score in ("cosine", "maxsim") else "dot"

    def _hits(
        self,
        target: str,
        rows: np.ndarray,
        scores: Mapping[str, np.ndarray],
        k: int,
        gone: set[str],
    ) -> tuple[Hit, ...]:
        space, seen = self.spaces[target], set(gone)
        ids, parts = space.ids[rows].tolist(), space.parts[rows].tolist()
        names = list(scores)
        columns = [column.tolist() for column in scores.values()]
        hits: list[Hit] = []
        for item, part, *said in zip(ids, parts, *columns, strict=True):
            if item in seen:
                continue
            seen.add(item)
            meta = dict(self.meta(item)) if self.meta else {}
            named = dict(zip(names, said, strict=True))
            hits.append(Hit(item, target, part, said[-1], len(hits) + 1, named, meta,
                            time=self.time_of(target, part)))  # fmt: skip
            if len(hits) == k:
                break
        return tuple(hits)

    def time_of(self, modality: str, part: int) -> float | None:
        """The second of its recording at which a part begins; ``None`` where it is of none."""
        return part / 1000 if modality in self.timed else None

    def save(self, folder: Path) -> None:
        """Write the index; the manifest comes last, so a reader sees the old or the new."""
        files = {name: _write_space(folder, name, space) for name, space in self.spaces.items()}
        edges = []
        for edge, correction in sorted(self.corrections.items()):
            name = f"correction-{digest([*edge, files[edge[1]]])}.safetensors"
            correction.save(folder / name)
            edges.append([*edge, name])
        kept = {*files.values(), *(name for _, _, name in edges)}
        stems = tuple(Path(name).stem for name in kept)
        write_json(folder / "manifest.json", {
            "version": FORMAT, "frame": self.frame.to_json(), "corrections": edges,
            "calibrations": [[*e, c.to_json()] for e, c in sorted(self.calibrations.items())],
            "mixing": self.mixing.to_json(),
            "spaces": [[name, file] for name, file in files.items()],  # in order: JSON sorts keys
            "marks": {p.name: mark_of(p) for p in sorted(folder.glob("*.safetensors"))
                      if p.name.startswith(stems)},
        })  # fmt: skip
        there = {name: len(space) for name, space in Index.open(folder).spaces.items()}
        if there != {name: len(space) for name, space in self.spaces.items()}:
            raise StateError(str(folder), f"holds {there} rows after it was written", "run again")
        for path in folder.glob("*.safetensors"):
            if not path.name.startswith(stems):
                path.unlink()

    @classmethod
    def open(cls, folder: Path, meta: Callable[[str], Mapping[str, Any]] | None = None) -> "Index":
        """Open what :meth:`save` or an :class:`~conjoin.retrieval.index.store.IndexStore` wrote.

        Vectors stay memory-mapped.

        Raises
        ------
        StateError : a file is missing, torn, of another frame, or newer than this version.
        """
        path = folder / "manifest.json"
        if not path.exists():
            raise StateError(str(path), "is missing", "run: conjoin fit")
        if "history" in read_json(path):
            return cls.at(StoreReader(folder), meta=meta)
        manifest = read_json(path, ("frame", "spaces", "corrections"))
        check_marks(folder, manifest.get("marks", {}))
        frame = Frame.from_json(manifest["frame"])
        spaces = {
            name: _read_space(within(folder, file), frame) for name, file in manifest["spaces"]
        }
        corrections = {
            (query, target): Correction.load(within(folder, file))
            for query, target, file in manifest["corrections"]
        }
        for edge, correction in corrections.items():
            _check_correction(edge, correction, spaces, frame)
        calibrations = {
            (query, target): Calibration.from_json(raw)
            for query, target, raw in manifest.get("calibrations", [])
        }
        mixing = Mixing.from_json(manifest["mixing"]) if "mixing" in manifest else Mixing()
        return cls(frame, spaces, corrections, meta, calibrations, mixing)._checked()

    @classmethod
    def at(
        cls,
        store: StoreReader,
        version: int | None = None,
        *,
        meta: Callable[[str], Mapping[str, Any]] | None = None,
        engines: bool = True,
    ) -> "Index":
        """The index of a store's version; the one in use when not named.

        Vectors are memory maps. The database itself is read only for rows that no earlier opening
        derived.

        Parameters
        ----------
        engines : open what finds candidates; every row is scored without.

        Raises
        ------
        StateError : a file is missing, torn, or not what the manifest says.
        """
        entry = store.version(version)
        live = store.rows(entry)
        spaces = {
            held.modality: Space(
                rows.joined("ids"), rows.vectors, entry.frame, rows.joined("parts"),
                rows.joined("content"), held.provenance,
            )
            for held, rows in ((held, live[held.modality]) for held in entry.held)
        }  # fmt: skip
        tables: dict[str, pa.Table] = {}

        def about(name: str) -> pa.Table:
            if name not in tables:
                tables[name] = live[name].about()
            return tables[name]

        store.check_corrections(entry)
        return cls(
            frame=entry.frame, spaces=spaces,
            corrections={
                (q, t): Correction.load(within(store.folder, f)) for q, t, f in entry.corrections
            },
            meta=meta,
            calibrations={(q, t): Calibration.from_json(raw) for q, t, raw in entry.calibrations},
            mixing=Mixing.from_json(entry.mixing) if entry.mixing else Mixing(), about=about,
            engines=open_engines(store, entry, live) if engines else {},
            finders={name: rows.find for name, rows in live.items()},
        )  # fmt: skip


def _check_correction(
    edge: Edge, correction: Correction, spaces: Mapping[str, Space], frame: Frame
) -> None:
    where = f"correction {edge[0]} to {edge[1]}"
    if edge[1] not in spaces:
        raise ConjoinError(where, f"{edge[1]!r} is not indexed", nearest(edge[1], spaces))
    if len(correction) != len(spaces[edge[1]]):
        raise ConjoinError(
            where, f"{len(correction)} rows for {len(spaces[edge[1]])}", "extend it, or fit again"
        )
    if frame.score != "cosine":
        raise ConjoinError(where, f"the frame scores by {frame.score}", "leave the correction out")


def as_items(name: str, space: Space) -> Space:
    """A space as an index holds it: unit vectors where the frame scores by cosine."""
    late = space.frame.score == "maxsim"
    if isinstance(space.vectors, Tokens) and not late:
        raise ConjoinError(f"index {name}", "holds token sets", "pool them: space.pooled()")
    if late and not isinstance(space.vectors, Tokens):
        raise ConjoinError(f"index {name}", "holds no token sets", "bind it: binding.bind")
    if isinstance(space.vectors, Tokens):
        return space
    vectors = space.vectors
    if space.frame.score != "cosine" or _is_unit(space):
        return space
    held = np.empty(vectors.shape, dtype=np.float32)
    for start, rows in space.blocks():
        held[start : start + len(rows)] = unit(rows)
    return replace(space, vectors=held)


def _is_unit(space: Space) -> bool:
    return all(
        np.allclose(np.einsum("nd,nd->n", rows, rows), 1, atol=2e-6) for _, rows in space.blocks()
    )


def _write_space(folder: Path, name: str, space: Space) -> str:
    """Write one space under the name of its content, unless it is there; return the name."""
    flat, ends = pack_strings(str(item) for item in space.ids)
    small = {
        "ids": flat, "id_ends": ends, "parts": np.asarray(space.parts, np.int32),
        "content": np.asarray(space.content, np.uint64),
    }  # fmt: skip
    mark = hashlib.blake2b(digest([name, space.frame.id]).encode(), digest_size=8)
    for array in small.values():
        mark.update(np.ascontiguousarray(array).data)
    late = isinstance(space.vectors, Tokens)
    if isinstance(space.vectors, Tokens):
        small["offsets"] = np.asarray(space.vectors.offsets, np.int64)
        mark.update(small["offsets"].data)
    for rows in _flat(space):
        mark.update(np.ascontiguousarray(rows).data)
    path = folder / f"space-{mark.hexdigest()}.safetensors"
    if not _whole(path):
        arrays: dict[str, Any] = {k: (a.dtype, a.shape, [a]) for k, a in small.items()}
        count = int(small["offsets"][-1]) if late else len(space)
        arrays["vectors"] = (np.float32, (count, space.dim), _flat(space))
        stream_arrays(
            path, arrays,
            {"frame": space.frame.to_json(), "provenance": list(space.provenance)},
        )  # fmt: skip
    return path.name


def _whole(path: Path) -> bool:
    """Whether a file is there as it was written."""
    try:
        check_arrays(path)
    except StateError:
        return False
    return True


def _flat(space: Space) -> Iterator[np.ndarray]:
    """The vectors, or all tokens, in blocks of float32."""
    if isinstance(space.vectors, Tokens):
        yield np.asarray(space.vectors.vectors, dtype=np.float32)
    else:
        yield from (rows for _, rows in space.blocks())


def _read_space(path: Path, frame: Frame) -> Space:
    arrays, meta = map_arrays(path)
    if Frame.from_json(meta["frame"]) != frame:
        raise StateError(str(path), "is of another frame", "run: conjoin fit")
    ids = unpack_strings(arrays["ids"], arrays["id_ends"])
    vectors: Any = arrays["vectors"]
    if "offsets" in arrays:
        vectors = Tokens(vectors, arrays["offsets"])
    return Space(
        ids, vectors, frame, arrays["parts"], arrays["content"],
        tuple(meta["provenance"]),
    )  # fmt: skip
