"""``http:`` and ``https:``, an embeddings endpoint for texts, pictures and sounds."""

import base64
import contextlib
import io
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import numpy as np

from conjoin.encoders import probe
from conjoin.encoders.media.media import read_picture, read_sound, read_text
from conjoin.encoders.names import uri
from conjoin.encoders.options import Options
from conjoin.errors import ConjoinError
from conjoin.spaces import Frame

_OPTIONS = ("model", "key_env", "batch", "timeout", "dimensions", "kind", "request", "seconds")
KINDS = ("text", "image", "audio")
#: Shapes of a request: texts as OpenAI takes them; one object an item as Jina does; data URIs with
#: a modality as Infinity does; lists of content as Voyage does.
REQUESTS = ("openai", "jina", "infinity", "voyage")

#: A picture is made no larger than this many pixels a side before it is sent.
SIDE = 1024
#: Samples a second of a sound that is sent.
RATE = 16_000
#: Bytes of an answer that are read at most.
ANSWER = 1 << 28

#: Tries of one request; the pause before each doubles, from this many seconds.
TRIES, PAUSE, LONGEST = 5, 0.5, 30.0

_AGAIN = frozenset({408, 429, 500, 502, 503, 504})


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect is refused: the key must not follow it to another host."""

    def redirect_request(self, *_: Any) -> None:
        """Follow nothing; the answer comes back as an error with its status."""


@dataclass(frozen=True, eq=False)
class Remote:
    """Texts, pictures or sounds by ``POST {base}/embeddings``.

    Options
    -------
    model : the name the endpoint knows; needed.
    key_env : environment variable that holds the key; the key itself is never stored.
    batch : cells a request; 64 texts, 8 pictures or sounds by default.
    timeout : seconds a request may take.
    dimensions : width asked of models that offer several.
    kind : ``text``, ``image`` or ``audio``; given at all, the model is one that reads several
        kinds into one space, and its encoders share a frame.
    request : the shape of a request, one of :data:`REQUESTS`; ``openai`` for a model of texts,
        ``jina`` where ``kind`` is given.
    seconds : of a sound that are sent at most; 30.

    Its frame holds the vectors of eight probes; see :mod:`conjoin.encoders.probe`.
    """

    runtime: ClassVar[str] = "http"
    uri: str
    kind: str
    frame: Frame
    base: str
    model: str
    probes: np.ndarray
    shared: np.ndarray
    key_env: str | None
    timeout: int
    dimensions: int | None
    batch_size: int
    request: str = "openai"
    seconds: float = 30.0

    @classmethod
    def open(cls, rest: str, options: Mapping[str, str], cache: Path) -> "Remote":
        """Ask the endpoint for its probes.

        Parameters
        ----------
        rest : the URL, or what follows ``http:`` of one.

        Raises
        ------
        ConjoinError : unknown option, no model named, key not set, or the endpoint fails.
        """
        base = (rest if rest.startswith(("http:", "https:")) else f"http:{rest}").rstrip("/")
        scheme, _, tail = base.partition(":")
        where = uri(scheme, tail, options)
        given = Options(base, options, _OPTIONS)
        parts = urlsplit(base)
        if not parts.hostname or parts.username:
            raise ConjoinError(where, "is not a plain URL", "write http://host:port/v1?model=NAME")
        model = given.text("model", "")
        if not model:
            raise ConjoinError(where, "names no model", "add ?model=NAME")
        kind, request = _shape(given, options)
        bare = cls(
            where, kind, Frame("encoder-unminted", 0), base, model,
            np.empty((0, 0), np.float32),
            np.empty((0, 0), np.float32), given.text("key_env", "") or None,
            given.whole("timeout", 60, 1, 3600),
            given.whole("dimensions", 0, 1, 1 << 20) or None,
            given.whole("batch", 64 if kind == "text" else 8, 1, 4096),
            request, given.number("seconds", 30.0, 0.1, 3600),
        )  # fmt: skip
        probes = bare.forward(probe.inputs(kind, rate=RATE))
        shared = probes[:0]
        if "kind" in options:
            # A model that reads no text has its own kind's probes alone, and no other tower.
            with contextlib.suppress(ConjoinError):
                shared = probes if kind == "text" else replace(bare, kind="text").forward(
                    probe.inputs("text")
                )  # fmt: skip
        told = shared if len(shared) else probes
        facts = {
            "family": "http", "base": base, "model": bare.model, "dimensions": bare.dimensions,
            "probes": probe.fingerprint(told),
            **({"request": request} if request != "openai" else {}),
        }  # fmt: skip
        frame = Frame.mint("encoder", f"{bare.model} at {parts.netloc}", probes.shape[1], facts)
        return replace(bare, frame=frame, probes=probes, shared=shared)

    @classmethod
    def towers(cls, rest: str, options: Mapping[str, str], cache: Path) -> dict[str, str]:
        """By kind, the URIs of one joint model; those it does not read are refused when asked."""
        base = rest if rest.startswith(("http:", "https:")) else f"http:{rest}"
        scheme, _, tail = base.rstrip("/").partition(":")
        if "kind" not in options:
            return {"text": uri(scheme, tail, options)}
        return {kind: uri(scheme, tail, {**options, "kind": kind}) for kind in KINDS}

    def decode(self, cell: Any) -> Any:
        """Text as it is, an RGB picture, or a mono wave."""
        if self.kind == "text":
            return read_text(cell)
        return read_picture(cell) if self.kind == "image" else read_sound(cell, RATE, self.seconds)

    def prepare(self, cells: Iterable[Any]) -> "Remote":
        """Nothing to look at: the probes were embedded at opening."""
        return self

    def state(self) -> dict[str, Any]:
        """Frame and probe vectors, JSON-able."""
        return probe.state(self)

    def from_state(self, state: Mapping[str, Any]) -> "Remote":
        """The encoder in its stored frame.

        Raises
        ------
        FrameError : it drifted since.
        """
        return probe.restore(self, state)

    def length(self, item: Any) -> int:
        """Characters or samples; 1 for a picture."""
        return 1 if self.kind == "image" else len(item)

    def forward(self, items: Sequence[Any]) -> np.ndarray:
        """Texts, pictures or sounds → ``[n, d]`` float32, in order."""
        parts = [
            self._ask(list(items[start : start + self.batch_size]))
            for start in range(0, len(items), self.batch_size)
        ]
        return np.concatenate(parts)

    def _ask(self, items: list[Any]) -> np.ndarray:
        body: dict[str, Any] = {"model": self.model, **_body(self.request, self.kind, items)}
        if self.dimensions is not None:
            body["dimensions"] = self.dimensions
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self.key_env is not None:
            headers["Authorization"] = f"Bearer {self._key(self.key_env)}"
        url = f"{self.base}/{'multimodalembeddings' if self.request == 'voyage' else 'embeddings'}"
        request = urllib.request.Request(url, json.dumps(body).encode(), headers)
        return self._read(_send(request, self.timeout, self.uri), len(items))

    def _key(self, name: str) -> str:
        key = os.environ.get(name)
        if not key:
            raise ConjoinError(self.uri, f"environment variable {name} is not set", "set it")
        return key

    def _read(self, raw: bytes, n: int) -> np.ndarray:
        remedy = "give an OpenAI-compatible endpoint"
        try:
            rows = sorted(json.loads(raw)["data"], key=lambda row: row["index"])
            places = [row["index"] for row in rows]
            vectors = np.array([row["embedding"] for row in rows], dtype=np.float32)
        except (ValueError, KeyError, TypeError):
            raise ConjoinError(self.uri, "answered with something else", remedy) from None
        if places != list(range(n)) or vectors.ndim != 2:
            raise ConjoinError(self.uri, f"gave {len(rows)} vectors for {n} cells", remedy)
        if not np.isfinite(vectors).all():
            raise ConjoinError(self.uri, "gave NaN or infinity", "fix the endpoint")
        if self.frame.dim and vectors.shape[1] != self.frame.dim:
            raise ConjoinError(
                self.uri, f"gave {vectors.shape[1]} dimensions, before {self.frame.dim}",
                "open the encoder again: the model behind the endpoint changed",
            )  # fmt: skip
        return vectors


class Https:
    """``https:``: a :class:`Remote` whose URL is encrypted."""

    @classmethod
    def open(cls, rest: str, options: Mapping[str, str], cache: Path) -> Remote:
        """As :meth:`Remote.open`, with ``https:`` before ``rest``."""
        return Remote.open(f"https:{rest}", options, cache)

    @classmethod
    def towers(cls, rest: str, options: Mapping[str, str], cache: Path) -> dict[str, str]:
        """As :meth:`Remote.towers`."""
        return Remote.towers(f"https:{rest}", options, cache)


def _shape(given: Options, options: Mapping[str, str]) -> tuple[str, str]:
    """Kind of cell and shape of request."""
    kind = given.text("kind", "text", KINDS)
    request = given.text("request", "jina" if "kind" in options else "openai", REQUESTS)
    if request != "openai" and "kind" not in options:
        raise ConjoinError(
            f"{given.uri}?request", f"{request!r} without kind", "add kind=text, image or audio"
        )
    if request == "openai" and kind != "text":
        raise ConjoinError(
            f"{given.uri}?request", f"'openai' takes no {kind}", "give jina, infinity or voyage"
        )
    if request == "voyage" and kind == "audio":
        raise ConjoinError(f"{given.uri}?request", "'voyage' takes no audio", "give kind=image")
    return kind, request


def _body(request: str, kind: str, items: Sequence[Any]) -> dict[str, Any]:
    """What a request says of its cells."""
    cells = list(items) if kind == "text" else [_packed(kind, item) for item in items]
    plain = cells if kind == "text" else [_bare(cell) for cell in cells]
    if request == "voyage":
        name = "text" if kind == "text" else "image_base64"
        return {"inputs": [{"content": [{"type": name, name: cell}]} for cell in cells]}
    if request == "infinity":
        return {"input": cells, "modality": kind, "encoding_format": "float"}
    if request == "jina":
        return {"input": [{kind: cell} for cell in plain], "embedding_type": "float"}
    return {"input": cells, "encoding_format": "float"}


def _packed(kind: str, item: Any) -> str:
    """A picture as PNG, or a sound as WAV, in a data URI."""
    held = io.BytesIO()
    if kind == "image":
        picture = item.copy()
        picture.thumbnail((SIDE, SIDE))
        picture.save(held, "PNG")
        head = "data:image/png;base64,"
    else:
        import wave

        with wave.open(held, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(RATE)
            file.writeframes((np.clip(item, -1, 1) * 32767).astype("<i2").tobytes())
        head = "data:audio/wav;base64,"
    return head + base64.b64encode(held.getvalue()).decode("ascii")


def _bare(cell: str) -> str:
    """A data URI without its head."""
    return cell.partition(",")[2]


def _send(request: urllib.request.Request, timeout: int, where: str) -> bytes:
    opener = urllib.request.build_opener(_NoRedirect)
    for attempt in range(TRIES):
        pause = PAUSE * 2**attempt
        try:
            with opener.open(request, timeout=timeout) as answer:
                read = bytes(answer.read(ANSWER + 1))
            if len(read) > ANSWER:
                raise ConjoinError(
                    where, f"answered more than {ANSWER >> 20} MB", "ask for less: batch="
                )
            return read
        except urllib.error.HTTPError as error:
            with error:
                said = error.read(200).decode(errors="replace").strip().replace("\n", " ")
            trouble = f"answered {error.code}" + (f": {said}" if said else "")
            if error.code not in _AGAIN:
                raise ConjoinError(where, trouble, "check the URL, model and key") from None
            pause = _wait(error.headers.get("Retry-After"), pause)
        except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
            trouble = f"cannot be reached: {getattr(error, 'reason', error)}"
        if attempt < TRIES - 1:
            time.sleep(min(pause, LONGEST))
    raise ConjoinError(where, f"{trouble}, {TRIES} times", "check that the endpoint is up")


def _wait(header: str | None, otherwise: float) -> float:
    try:
        return max(float(header or ""), 0.0)
    except ValueError:
        return otherwise
