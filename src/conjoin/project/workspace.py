"""A folder with ``conjoin.toml`` and its state: where every job of the command line reads and
writes.

State lies in ``.conjoin/``: ``spaces/`` encoder outputs, ``maps/`` bindings by what they were
fitted from, ``index/`` bound vectors, ``runs/`` what was measured, ``current.json`` what is used.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from conjoin.encoders.base import Encoder
from conjoin.encoders.open import kind_of, open_encoder, restore, state_of, towers
from conjoin.encoders.probe import Joined, Probed, kin, load_probes, reopen, save_probes
from conjoin.encoders.run import EmbedResult, Survey, embed, renew, survey
from conjoin.errors import CellError, ConjoinError, StateError, nearest
from conjoin.items.config import Config
from conjoin.items.items import Items
from conjoin.items.journal import Journal
from conjoin.items.moments import Cut
from conjoin.items.split import Split
from conjoin.project.fit.multi_part import EACH, joined, joined_frame, open_joined
from conjoin.project.trust import runs_code
from conjoin.quality.decisions import Fixed, follow, read_table
from conjoin.spaces import Frame, Pairs, Space
from conjoin.spaces.store import SpaceStore
from conjoin.storage.digest import digest, stable_hash
from conjoin.storage.files import FORMAT, alone, json_mark, read_json, sweep, within, write_json

CONFIG = "conjoin.toml"
STATE = ".conjoin"
#: What was decided about the doctor's findings, in the state folder.
DECIDED = "decisions.parquet"

#: Columns that name an item for people, the first that is there.
LABELS = ("label", "name", "title", "caption")

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Modality:
    """What the configuration says of one modality."""

    name: str
    column: Any
    uri: str
    parts: str = EACH
    device: str = "auto"
    cut: Cut | None = None

    @property
    def timed(self) -> bool:
        """Whether its rows are moments of recordings, which parts joined into one are not."""
        return self.cut is not None and self.parts == EACH


class Workspace:
    """The jobs' view of a folder: its configuration, items, encoders and stored spaces.

    Parameters
    ----------
    folder : the folder that holds ``conjoin.toml``.
    writes : whether opening an encoder may keep what it saw of its column; a verb that only
        looks leaves no trace.
    gate : called with the folder and an encoder's URI before it is opened; what raises there is
        not opened.

    Raises
    ------
    ConjoinError : there is no ``conjoin.toml``, or it cannot be read.
    """

    def __init__(
        self, folder: Path, *, writes: bool = True, gate: Callable[[Path, str], None] | None = None
    ):
        self.folder, self.writes, self._gate = folder, writes, gate
        if not (folder / CONFIG).exists():
            raise ConjoinError(
                str(folder / CONFIG),
                "is missing",
                "run: conjoin init TABLE, or give --workspace DIR",
            )
        self.config = Config.load(folder / CONFIG)
        self.state = folder / STATE
        self._encoders: dict[str, Encoder] = {}
        self.towers: dict[str, Encoder] = {}
        self._joined: dict[str, Space] = {}
        self._changing = self._swept = False
        self._stood: dict[str, tuple[SpaceStore, Space]] = {}
        self.fixes: bool | None = None

    @cached_property
    def items(self) -> Items:
        """The user's table, with what was put beside it and without what was deleted."""
        return Items.load(self.config, self.folder, self.journal)

    @property
    def journal(self) -> Journal:
        """What was put beside the table, or deleted, by a service or a program."""
        return Journal(self.state / "items")

    def table_ids(self) -> list[str]:
        """The ids of the user's own table."""
        return [str(item) for item in Items.load(self.config, self.folder).ids]

    def reread(self) -> None:
        """Read the items anew where they are next asked for."""
        for name in ("items", "split"):
            self.__dict__.pop(name, None)

    def share_encoders(self, other: "Workspace") -> None:
        """Use what another workspace of this folder has opened, where it is the same."""
        for name, encoder in other._encoders.items():
            known = self.config.modalities.get(name)
            if known is not None and known.encoder == other.config.modalities[name].encoder:
                self._encoders[name] = encoder

    @property
    def modalities(self) -> list[Modality]:
        """The modalities of the configuration, in order."""
        return [
            Modality(name, entry.column, entry.encoder, entry.parts, entry.device, entry.cut)
            for name, entry in self.config.modalities.items()
        ]

    def modality(self, name: str) -> Modality:
        """One modality by name, or a refusal with near matches."""
        known = {entry.name: entry for entry in self.modalities}
        if name not in known:
            raise ConjoinError("modality", f"{name!r} is not configured", nearest(name, known))
        return known[name]

    # Encoders and spaces

    def encoder(self, name: str) -> Encoder:
        """The encoder of a modality; one that looked at data once is opened as it then was."""
        if name not in self._encoders:
            self._encoders[name] = self._open(self.modality(name))
        return self._encoders[name]

    def kind(self, name: str) -> str:
        """The kind of cell a modality reads; no code of the workspace is run to tell."""
        known = self._encoders.get(name)
        return kind_of(self.modality(name).uri) if known is None else known.kind

    def _encoder_frame(self, name: str) -> Frame:
        """The frame of a modality's encoder; of one that is code, as it was when last opened."""
        modality = self.modality(name)
        path = self._source_folder(modality) / "encoder.json"
        if runs_code(modality.uri) and name not in self._encoders and path.exists():
            state = read_json(path, ["state"])["state"]
            return Frame.from_json(state["frame"])
        return self.encoder(name).frame

    def tower(self, name: str, uri: str) -> Encoder:
        """An encoder that shares a modality's frame, to read queries of another kind.

        One that is known by its probes is compared with what the modality's saw of them.

        Raises
        ------
        FrameError : its probes moved.
        """
        if uri == self.modality(name).uri:
            return self.encoder(name)
        if uri not in self.towers:
            self.permit(uri)
            found = open_encoder(uri, device=self.config.modalities[name].device)
            self.towers[uri] = kin(found, self.encoder(name))
        return self.towers[uri]

    def permit(self, uri: str) -> None:
        """Refuse an encoder that is code nobody agreed to run.

        Raises
        ------
        ConjoinError : it is such an encoder.
        """
        if self._gate is not None:
            self._gate(self.folder, uri)

    def _open(self, modality: Modality) -> Encoder:
        if self._gate is not None:
            self._gate(self.folder, modality.uri)
        folder = self._source_folder(modality)
        path, probes = folder / "encoder.json", folder / "probes.safetensors"
        if path.exists():
            kept = read_json(path, ["state"])
            if kept.get("uri", modality.uri) != modality.uri:
                raise StateError(
                    str(path), f"is of {kept['uri']}, not of {modality.uri}",
                    "run: conjoin clean, then: conjoin embed",
                )  # fmt: skip
            encoder = restore(modality.uri, kept["state"], device=modality.device)
            if isinstance(encoder, Probed) and probes.exists():
                encoder = reopen(encoder, *load_probes(probes))
            elif isinstance(encoder, Probed) and self.writes:
                save_probes(probes, encoder)
            return encoder
        encoder = open_encoder(
            modality.uri, cells=lambda: self._readable(modality), device=modality.device
        )
        encoder = self._beside(modality, encoder)
        if not self.writes:
            return encoder
        if isinstance(encoder, Probed):
            save_probes(probes, encoder)
        write_json(path, {"version": FORMAT, "uri": modality.uri, "state": state_of(encoder)})
        return encoder

    def _beside(self, modality: Modality, encoder: Encoder) -> Encoder:
        """An endpoint's encoder in the frame of another modality's that it is a tower of.

        Probes of one model differ in their last bits from call to call, so the frame that was
        minted first is kept by all.
        """
        if not isinstance(encoder, Joined):
            return encoder
        for other in self.modalities:
            path = self._source_folder(other) / "encoder.json"
            same = towers(modality.uri) == towers(other.uri)
            if other.name != modality.name and same and path.exists():
                return kin(encoder, self.encoder(other.name))
        return encoder

    def _readable(self, modality: Modality) -> Iterator[Any]:
        for _, cell in self.cells(modality.name, kind_of(modality.uri)):
            if not isinstance(cell, CellError):
                yield cell

    def _source_folder(self, modality: Modality) -> Path:
        key = digest([modality.uri, modality.column])
        return self.state / "encoders" / key

    def cells(self, name: str, kind: str) -> Any:
        """A modality's cells, walked for keys and fetched one by one."""
        modality = self.modality(name)
        return self.items.cells(modality.column, kind, modality.cut)

    def check(self, names: Sequence[str]) -> None:
        """Refuse what is wrong with a table, a column or an encoder's name before any is opened."""
        for name in names:
            self.cells(name, kind_of(self.modality(name).uri))

    def label(self, item: str) -> str:
        """What people call an item: a label-like column where there is one, else its id."""
        for column in LABELS:
            if column in self.items.names:
                value = self.items.value(column, item)
                if value is not None:
                    return str(value)
        return item

    def store(self, name: str) -> SpaceStore:
        """Where a modality's vectors lie."""
        modality = self.modality(name)
        frame = self._encoder_frame(name)
        key = digest([modality.column, frame.id])
        return SpaceStore(self.state / "spaces" / key, frame)

    def survey(self, name: str, progress: Progress | None = None) -> Survey:
        """What a modality's column holds now, and which of its cells cannot be read."""
        cells, rows = self.cells(name, self.kind(name)), len(self.items)
        if progress is None:
            return survey(cells)
        found = survey(cells, lambda done: progress(done, max(rows, done + 1)))
        progress(len(found.keys), len(found.keys))
        return found

    def stored(self, name: str) -> SpaceStore | None:
        """Where a modality's vectors lie, to look at them: no code of the workspace is run.

        ``None`` where its encoder is code that never ran here: there are none.
        """
        modality = self.modality(name)
        kept = (self._source_folder(modality) / "encoder.json").exists()
        if runs_code(modality.uri) and name not in self._encoders and not kept:
            return None
        return self.store(name)

    def embed(
        self,
        name: str,
        *,
        strict: bool = False,
        retry: bool = False,
        progress: Progress | None = None,
        seen: Survey | None = None,
    ) -> EmbedResult:
        """Bring a modality's stored vectors up to date with the table, or a survey of it.

        Raises
        ------
        ConjoinError : another process is embedding it.
        """
        encoder = self.encoder(name)
        self._joined.pop(name, None)
        with self._embedding(name):
            return embed(
                self.store(name),
                encoder,
                self.cells(name, encoder.kind),
                keys=seen,
                strict=strict,
                retry_failed=retry,
                progress=progress,
            )

    def embed_items(self, name: str, items: Sequence[str]) -> EmbedResult:
        """Bring the stored vectors of some items up to date; all others stay."""
        encoder = self.encoder(name)
        self._joined.pop(name, None)
        rows = self.cells(name, encoder.kind).of(items)
        with self._embedding(name):
            return renew(self.store(name), encoder, rows, items)

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Alone among those that change what is in use: its rows, or which modalities it has.

        A change made of several takes the lock once.

        Raises
        ------
        ConjoinError : on entering, another process is at it.
        """
        if self._changing:
            yield
            return
        lock = self.state / "locks" / "change.lock"
        with alone(lock, "another process is changing what is in use here"):
            self._changing = True
            try:
                self.sweep()
                yield
            finally:
                self._changing = False
                self._stood.clear()

    def sweep(self) -> None:
        """Remove the half-written files of writers that were killed; once a workspace opened."""
        if not self._swept:
            self._swept = True
            sweep(self.state)
            sweep(self.folder, CONFIG)

    def _embedding(self, name: str) -> AbstractContextManager[Any]:
        self.sweep()
        lock = self.state / "locks" / f"{digest(name)}.lock"
        return alone(lock, f"another process is embedding {name}")

    def frame(self, name: str) -> Frame:
        """The frame in which a modality is fitted and asked."""
        frame, rule = self._encoder_frame(name), self.modality(name).parts
        return frame if rule == EACH else joined_frame(frame, rule)

    def joined(self, name: str, space: Space) -> Space:
        """Rows as the encoder gave them, stored or of queries, as the modality is fitted."""
        rule = self.modality(name).parts
        return space if rule == EACH else joined(space, rule)

    def space(self, name: str) -> Space:
        """A modality's stored vectors, its parts joined where the configuration says so.

        Raises
        ------
        ConjoinError : it was never embedded, nothing could be, or token sets were to be joined.
        """
        rule = self.modality(name).parts
        if rule == EACH:
            return self._each(name)
        if name not in self._joined:
            self._joined[name] = self._open_joined(name, keep=self.writes)
        return self._joined[name]

    def _open_joined(self, name: str, *, keep: bool) -> Space:
        rule = self.modality(name).parts
        return open_joined(self.store(name), rule, lambda: self._each(name), keep=keep)

    def _each(self, name: str) -> Space:
        store = self.store(name)
        before, known = self._stood.get(name, (None, None))
        if before is not None and known is not None and before.same(store):
            return known
        space = store.open()
        if space is None:
            lost = store.failed()
            if lost:
                reason = next(iter(lost.values()))
                raise ConjoinError(
                    f"modality {name}", f"all {len(lost)} cells failed: {reason}", "fix the files"
                )
            raise ConjoinError(f"modality {name}", "is not embedded", "run: conjoin embed")
        if len(space) > 1 and _constant(space):
            raise ConjoinError(
                f"modality {name}",
                f"all {len(space)} vectors are the same",
                "check the column and the encoder",
            )
        if self._changing:  # a change asks several times for what it does not write
            self._stood[name] = store, space
        return space

    def spaces(self, names: list[str] | None = None) -> dict[str, Space]:
        """The stored vectors of several modalities; of all when not named.

        Raises
        ------
        ConjoinError : a modality is not embedded, or all its cells were emptied since.
        """
        found = {name: self.space(name) for name in names or list(self.config.modalities)}
        for name in found:
            self.cells(name, kind_of(self.modality(name).uri)).refuse_empty()
        return found

    # Splits and pairs

    @cached_property
    def split(self) -> Split:
        """Which items are held out."""
        return self.items.split(self.config)

    def sides(self, spaces: Mapping[str, Space]) -> tuple[Pairs, Pairs]:
        """Training pairs and held-out pairs as the table has them."""
        pairs = self.items.pairs(self.config, spaces)
        groups = self.items.groups(self.config)[self.split.is_test(self.items.ids)]
        held = np.isin(pairs.group, [stable_hash(str(group)) for group in np.unique(groups)])
        return pairs.take(~held), pairs.take(held)

    def followed(self, spaces: Mapping[str, Space]) -> Fixed:
        """Both sides as the decisions about the doctor's findings have them."""
        decisions = read_table(self.state / DECIDED)
        ids, groups = self.items.ids, self.items.groups(self.config)
        owners = dict(zip(map(str, ids), map(str, groups), strict=True))
        return follow(*self.sides(spaces), spaces, decisions, owners)

    def pairs(self, spaces: Mapping[str, Space]) -> tuple[Pairs, Pairs]:
        """Training pairs and held-out pairs, with fixes where the fit has them."""
        if not self.fixed:
            return self.sides(spaces)
        told = self.followed(spaces)
        return told.train, told.held

    @property
    def fixed(self) -> bool:
        """Whether pairs follow the decisions: as was set, else as the fit in use does."""
        if self.fixes is not None:
            return self.fixes
        path = self.state / "current.json"
        return path.exists() and bool(read_json(path).get("fixes"))

    # What is in use

    @property
    def current(self) -> dict[str, Any]:
        """What was fitted last: names of folders under the state folder."""
        path = self.state / "current.json"
        if not path.exists():
            raise ConjoinError(str(self.folder), "nothing is fitted yet", self._begin())
        found = dict(read_json(path, ("maps", "index")))
        for part in ("maps", "index"):
            within(self.state, found[part])
        return found

    def _begin(self) -> str:
        """What to run first; modalities of one joint encoder need no fit."""
        if len(self.modalities) == 1:
            return "run: conjoin embed"
        models: dict[frozenset[str], Modality] = {}
        for entry in self.modalities:
            kin = frozenset(towers(entry.uri).values())
            if len(kin) > 1:
                models.setdefault(kin, entry)
        if len(models) > 1:
            said = " and ".join(f"{one.name} ({one.uri})" for one in models.values())
            return (
                f"{said} are of different joint encoders, whose vectors do not compare: name one "
                f"encoder for all in {CONFIG} and embed again, or join them by pairs (conjoin fit)"
            )
        return "run: conjoin fit (modalities of one joint encoder need conjoin embed alone)"

    def publish(self, entry: Mapping[str, Any]) -> None:
        """Make a fit the one in use, and keep the joined vectors that it was made of."""
        for name in self._joined:
            self._joined[name] = self._open_joined(name, keep=True)
        mark = json_mark(self.state / entry["maps"] / "fit.json")
        fit = {"fit": mark} if mark else {}
        write_json(self.state / "current.json", {"version": FORMAT, **entry, **fit})


def _constant(space: Space) -> bool:
    first = None
    for _, block in space.pooled().blocks():
        first = block[:1] if first is None else first
        if not np.array_equal(block, np.broadcast_to(first, block.shape)):
            return False
    return True
