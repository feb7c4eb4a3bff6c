"""What stands before every route: counting and headers outside, then the door."""

import asyncio
import hashlib
import hmac
import ipaddress
import json
import re
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

from conjoin.server.limits import Limits, Problem
from conjoin.server.prometheus import Metrics

#: What every answer says to browsers: nothing from elsewhere, no guessing of types.
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
        "media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "microphone=(self), camera=(), geolocation=()",
}

#: Paths that need no token: they tell nothing of the data.
OPEN = frozenset({"/", "/health", "/openapi.json", "/favicon.ico"})

#: A host as headers name it: an address in brackets or a name, and a port.
_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^\[\]:/@\s]+))(?::(\d{1,5}))?")

_MEDIA = re.compile(r"/items/.+/media/[^/]+")


def route_of(path: str) -> str:
    """The route a path belongs to, for counting.

    >>> route_of("/items/a/media/image"), route_of("/nowhere")
    ('/items/{item}/media/{modality}', 'other')
    """
    if path.startswith("/page/"):
        return "/page"
    if path.startswith("/items/"):
        return "/items/{item}/media/{modality}" if _MEDIA.fullmatch(path) else "/items/{item}"
    return path


class Guard:
    """Counts every request, gives every answer its headers, and turns a defect into a problem."""

    def __init__(self, app: Any, metrics: Metrics):
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # no route speaks WebSocket
            await send({"type": "websocket.close", "code": 1000})
            return
        began, status = time.perf_counter(), 0
        bare = scope["method"] == "HEAD"
        if bare:  # answered as GET is, without the body
            scope = {**scope, "method": "GET"}

        async def answered(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                given = {name.lower() for name, _ in message.get("headers", ())}
                more = [(n.encode(), v.encode()) for n, v in HEADERS.items()
                        if n.encode() not in given]  # fmt: skip
                message = {**message, "headers": [*message.get("headers", ()), *more]}
            elif bare and message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        self.metrics.add("conjoin_requests_in_flight", 1)
        try:
            await self.app(scope, receive, answered)
        except Problem as problem:
            await say(problem, answered)
        except Exception as error:
            _log(scope, error)
            if not status:
                await say(defect(error), answered)
        finally:
            self.metrics.add("conjoin_requests_in_flight", -1)
            seconds = time.perf_counter() - began
            self.metrics.request(route_of(scope["path"]), status or 499, seconds)


def defect(error: Exception) -> Problem:
    """What a client is told of an exception nobody foresaw."""
    return Problem("defect", "server", type(error).__name__, "look at the server's log")


def _log(scope: Mapping[str, Any], error: Exception) -> None:
    sys.stderr.write(f"conjoin: defect in {scope['method']} {scope['path'][:200]!r}\n")
    sys.stderr.write("".join(traceback.format_exception(error)))


async def say(problem: Problem, send: Any, *, last: bool = False) -> None:
    """Send a problem; the last answer of a connection whose request was not read to its end."""
    data = json.dumps(problem.to_json()).encode()
    headers = {"content-type": "application/problem+json", "content-length": str(len(data)),
               "cache-control": "no-store", **problem.headers}  # fmt: skip
    if last:
        headers["connection"] = "close"
    listed = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": problem.status, "headers": listed})
    await send({"type": "http.response.body", "body": data})


class Door:
    """Lets in who names the right host and the token, with a body of a size that came in time."""

    def __init__(
        self, app: Any, limits: Limits, token: str | None, local: bool, origins: Sequence[str] = ()
    ):
        self.app, self.limits, self.local, self.origins = app, limits, local, frozenset(origins)
        self._token = None if token is None else _mark(token.encode())

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            body = await self._let_in(scope, receive)
        except Problem as problem:  # said from here, so that a named origin may read it
            await say(problem, send, last=True)
            return
        if body is not None:
            await self.app(scope, _replay(body, receive), send)

    async def _let_in(self, scope: Any, receive: Any) -> bytes | None:
        """The body of a request that may pass; ``None`` where the client left."""
        headers = {name.lower(): value for name, value in scope["headers"]}
        host = headers.get(b"host", b"").decode("latin-1")
        if self.local and not is_local(host):
            # A page elsewhere may point its own name at this machine and read through it.
            raise Problem(
                "wrong-host", "host", repr(host[:80]), "ask for localhost, or set a token"
            )
        self._same_site(scope["method"], headers, host)
        path = scope["path"]
        if self._token is not None and path not in OPEN and not path.startswith("/page/"):
            self._check(headers.get(b"authorization", b""))
        chunked, told = b"transfer-encoding" in headers, headers.get(b"content-length", b"0")
        if chunked and b"content-length" in headers:
            # Which of the two ends the body is read differently by different servers.
            raise Problem("malformed", "Content-Length", "beside Transfer-Encoding", "send one")
        if scope["method"] in ("GET", "HEAD", "OPTIONS"):
            if chunked or told.strip(b"0"):
                raise Problem("malformed", "body", f"with {scope['method']}", "send none")
            return b""
        return await self._body(headers, receive)

    def _same_site(self, method: str, headers: Mapping[bytes, bytes], host: str) -> None:
        """Refuse what a page of another site sends: a form needs nobody's leave to be sent."""
        if method in ("GET", "HEAD", "OPTIONS"):
            return
        origin = headers.get(b"origin", b"").decode("latin-1").strip().lower()
        if origin in self.origins or (origin and same_host(origin, host)):
            return
        site = headers.get(b"sec-fetch-site", b"none").decode("latin-1").strip().lower()
        if origin or site not in ("none", "same-origin"):
            found = repr(origin[:80]) if origin else f"a page of another site ({site[:20]})"
            raise Problem("other-site", "Origin", found, "name it with --cors")

    def _check(self, given: bytes) -> None:
        kind, _, word = given.strip().partition(b" ")
        if kind.lower() != b"bearer":
            raise Problem("no-token", "Authorization", "is missing", "send: Bearer TOKEN")
        if not hmac.compare_digest(_mark(word.strip()), self._token or b""):
            raise Problem("no-token", "Authorization", "another token", "send the server's token")

    async def _body(self, headers: Mapping[bytes, bytes], receive: Any) -> bytes | None:
        """The whole body; ``None`` where the client left."""
        if headers.get(b"content-encoding", b"identity").lower() != b"identity":
            raise Problem("wrong-type", "Content-Encoding", "a packed body", "send it unpacked")
        most = int(self.limits.body_mb * 1e6)
        told = headers.get(b"content-length", b"0")
        if told.isdigit() and int(told[:20]) > most:
            raise self._large(int(told[:20]))
        parts: list[bytes] = []
        try:
            async with asyncio.timeout(self.limits.body_seconds):
                size, more = 0, True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    parts.append(message.get("body", b""))
                    size, more = size + len(parts[-1]), message.get("more_body", False)
                    if size > most:
                        raise self._large(size)
        except TimeoutError:
            found = f"not whole after {self.limits.body_seconds:g} s"
            raise Problem("too-slow", "body", found, "send it faster, or less") from None
        return b"".join(parts)

    def _large(self, size: int) -> Problem:
        found = f"{size} bytes, more than {self.limits.body_mb:g} MB"
        return Problem("too-large", "body", found, "send less")


def _mark(word: bytes) -> bytes:
    """Equal lengths, so that comparing takes equal time."""
    return hashlib.sha256(word).digest()


def _replay(body: bytes, receive: Any) -> Any:
    sent = False

    async def again() -> Any:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def is_local(host: str) -> bool:
    """Whether a ``Host`` header, or an address, names this machine itself.

    >>> is_local("localhost:8000"), is_local("[::1]:80"), is_local("127.0.0.1.evil.org")
    (True, True, False)
    >>> is_local("[::1].evil.org"), is_local("localhost:80:80"), is_local("localhost:evil")
    (False, False, False)
    """
    text = host.strip().lower()
    named = _HOST.fullmatch(text)
    name = text if named is None else named[1] or named[2]
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def same_host(origin: str, host: str) -> bool:
    """Whether an ``Origin`` is that of the host a request was sent to.

    A host without a port is one that a proxy passed on: ports are then not compared.

    >>> same_host("http://localhost:8000", "localhost:8000"), same_host("http://a.b:81", "a.b")
    (True, True)
    >>> same_host("http://localhost:3000", "localhost:8000"), same_host("null", "localhost")
    (False, False)
    """
    scheme, colon, place = origin.partition("://")
    named, asked = _HOST.fullmatch(place), _HOST.fullmatch(host.strip().lower())
    if not colon or named is None or asked is None:
        return False
    if (named[1] or named[2]) != (asked[1] or asked[2]):
        return False
    usual = {"http": "80", "https": "443"}.get(scheme)
    return asked[3] is None or asked[3] == (named[3] or usual)
