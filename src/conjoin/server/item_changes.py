"""Items put and deleted over HTTP: only with a token, one change at a time."""

import base64
import binascii
import io
import threading
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from conjoin.encoders.open import kind_of
from conjoin.errors import optional
from conjoin.items.cells import MEDIA
from conjoin.project.search.sync import Synced, changed_items
from conjoin.project.workspace import Workspace
from conjoin.server.limits import Problem
from conjoin.server.state import Desk
from conjoin.server.uploads import kind_of_upload, recording_ending

#: Items of one request.
MOST = 500

Id = Annotated[str, Field(min_length=1, max_length=500)]
Value = str | int | float | bool | None | list[str] | list[float]


class PutItem(BaseModel):
    """One item: its values by column of the table, pictures, sounds and videos as base64."""

    model_config = ConfigDict(extra="forbid")

    id: Id = Field(description="The item's id; an item that has it already is replaced.")
    values: dict[str, Value] = Field(default_factory=dict, description="By column of the table.")
    media: dict[str, str] = Field(
        default_factory=dict,
        description="By column: a picture, a sound or, where it is cut into moments, a video; "
        "as base64.",
    )


class PutBody(BaseModel):
    """Items to put, all at once."""

    model_config = ConfigDict(extra="forbid")

    items: list[PutItem] = Field(min_length=1, max_length=MOST)


def body_schema() -> dict[str, Any]:
    """The JSON schema of what may be put."""
    schema = PutBody.model_json_schema()
    item = schema.pop("$defs")["PutItem"]
    schema["properties"]["items"]["items"] = item
    return schema


class Writer:
    """What changes the workspace of a service; one change at a time.

    Parameters
    ----------
    desk : whose state is served anew after a change.
    """

    def __init__(self, desk: Desk):
        self._desk, self._limits = desk, desk.limits
        self._lock = threading.Lock()
        self._ws: Workspace | None = None

    def put(self, body: PutBody) -> Synced:
        """Put items beside the table, encode their cells and index them.

        Raises
        ------
        Problem : a file is no picture and no sound, an id comes twice, or a change is under way.
        ConjoinError : a column is unknown, or a value does not fit it.
        """
        ids = [item.id for item in body.items]
        twice = next((item for at, item in enumerate(ids) if item in ids[:at]), None)
        if twice is not None:
            raise Problem("bad-argument", "items", f"id {twice[:60]!r} comes twice", "send it once")
        with self._alone() as ws:
            rows = {item.id: self._values(ws, item) for item in body.items}
            return changed_items(ws, rows, ())

    def delete(self, item: str) -> Synced:
        """Take one item out of the index, and keep it out.

        Raises
        ------
        Problem : there is no such item, or a change is under way.
        """
        with self._alone() as ws:
            if item not in set(map(str, ws.items.ids)):
                raise Problem("not-found", "item", f"no item {item[:60]!r}", "see /items")
            return changed_items(ws, {}, (item,))

    def _alone(self) -> Any:
        return _Held(self)

    def opened(self) -> Workspace:
        """The workspace as it is now, with the encoders that serve where they are the same."""
        fresh = Workspace(self._desk.settings.folder)
        fresh.share_encoders(self._ws or self._desk.live.ws)
        self._ws = fresh
        return fresh

    def _values(self, ws: Workspace, item: PutItem) -> Mapping[str, Any]:
        held: dict[str, Any] = dict(item.values)
        named = {m.column for m in ws.modalities if isinstance(m.column, str)}
        media = {m.column for m in ws.modalities if kind_of(m.uri) in MEDIA}
        timed = {m.column for m in ws.modalities if m.cut is not None}
        for column in held.keys() & media:
            # A path would be read by the service, which goes to no place that a client names.
            raise Problem(
                "bad-argument", f"values.{column[:40]}", "is a column of files",
                "send the file itself in media, as base64",
            )  # fmt: skip
        for column, text in item.media.items():
            if column not in named & media:
                raise Problem(
                    "bad-argument", f"media.{column[:40]}", "is no column of pictures or sounds",
                    f"such columns are {', '.join(sorted(map(str, media))) or 'none'}",
                )  # fmt: skip
            try:
                data = base64.b64decode(text, validate=True)
            except (binascii.Error, ValueError):
                raise Problem(
                    "bad-argument", f"media.{column[:40]}", "is not base64", "encode the file"
                ) from None
            ending = recording_ending(data) if column in timed else None
            if ending is None:
                ending = ending_of(data, kind_of_upload(data, self._limits))
            held[column] = ws.journal.keep(data, ending)
        return held


def ending_of(data: bytes, kind: str) -> str:
    """The ending of a file's name, by what it holds.

    >>> ending_of(b"GIF89a" + bytes([1, 0, 1, 0, 0, 0, 0, 59]), "image")
    'gif'
    """
    if kind == "image":
        from PIL import Image

        with Image.open(io.BytesIO(data)) as picture:
            return str(picture.format).lower()
    with optional("soundfile", "audio").SoundFile(io.BytesIO(data)) as sound:
        return {"MPEG": "mp3", "WAVEX": "wav"}.get(sound.format, str(sound.format).lower())


class _Held:
    """A writer's turn: refused, not queued, while another change is made."""

    def __init__(self, writer: Writer):
        self._writer = writer

    def __enter__(self) -> Workspace:
        if not self._writer._lock.acquire(timeout=self._writer._limits.request_seconds):
            raise Problem("busy", "server", "another change is being made", "send it again later")
        try:
            return self._writer.opened()
        except BaseException:
            self._writer._lock.release()
            raise

    def __exit__(self, *_: object) -> None:
        self._writer._lock.release()


def refuse_unguarded(desk: Desk) -> None:
    """Refuse changes where anybody could make them.

    Raises
    ------
    Problem : the service has no token.
    """
    if desk.settings.token is None:
        raise Problem(
            "read-only", "server", "takes no changes without a token",
            "start it with --token-file FILE",
        )  # fmt: skip


def told_of(made: Synced) -> dict[str, Any]:
    """A change as JSON."""
    failed = [
        {"modality": name, "id": key.id, "part": key.part, "reason": reason}
        for name, one in made.embedded.items()
        for key, reason in one.failed.items()
    ]
    return {
        "version": 1, "served": made.version, "added": dict(made.added),
        "replaced": dict(made.replaced), "deleted": dict(made.deleted), "failed": failed,
        "seconds": round(made.seconds, 3),
    }  # fmt: skip
