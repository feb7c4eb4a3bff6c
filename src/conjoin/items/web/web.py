"""Bytes behind addresses: asked for once a run, kept on disk, politely, and never for ever.

How connections are made, and which are refused, is in :mod:`conjoin.items.web.network`.
"""

import hashlib
import json
import re
import threading
import time
import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from conjoin.errors import CellError, ConjoinError, Unreachable, one_line
from conjoin.items.web.network import Guard, client_of, network, tls, within
from conjoin.spaces.cache import cache_folder
from conjoin.storage.files import atomic

if TYPE_CHECKING:
    import httpx

#: Bytes and seconds of an answer, at most, whatever the number of tries.
LIMIT, SECONDS = 64 * 2**20, 30.0
#: Requests a second to one host, and tries of one address.
RATE, TRIES = 20.0, 3
#: Addresses of a host that found it silent, after which it is left alone for so many seconds.
SILENT, LEFT_ALONE = 3, 60.0
#: Bytes that are kept on disk; the oldest go first.
KEPT = 8 * 2**30
#: Bytes that are held in memory where the disk takes none.
HELD = 256 * 2**20
#: Answers that may be another at the next try.
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_PAGE = re.compile(rb"\s*(<!--.*?-->\s*)*<(!doctype\s+html|html)", re.I | re.S)


class _Silent(Exception):
    """A host that cannot be spoken to now; worth another try."""

    def __init__(self, reason: str, wait: float = 0.0):
        super().__init__(reason)
        self.wait = wait


@dataclass(frozen=True)
class _Facts:
    """What is known of an answer on disk."""

    size: int
    digest: str
    etag: str | None
    modified: str | None
    fresh_until: float
    body: bytes = b""


class Web:
    """Fetches addresses, each once in the life of this object.

    An answer is kept in the cache folder with its ``ETag`` and ``Last-Modified``, by which the
    host is asked next time whether it changed; within its ``max-age`` it is not asked at all. A
    host gets at most :data:`RATE` requests a second, as many tries of an address as
    :data:`TRIES`, and is left alone for a minute once it was silent three times in a row.

    Parameters
    ----------
    hosts : hosts whose addresses may lie in this machine or a private network; ``*`` is all.
    folder : where answers are kept; ``web`` in the cache folder by default.
    limit, seconds : bytes and time of a whole answer, at most.
    rate : requests a second to one host.
    """

    def __init__(
        self,
        hosts: Iterable[str] = (),
        folder: Path | None = None,
        *,
        limit: int = LIMIT,
        seconds: float = SECONDS,
        rate: float = RATE,
    ):
        self.hosts = frozenset(host.lower() for host in hosts)
        self._folder, self.limit, self.seconds, self.rate = folder, limit, seconds, rate
        self._lock, self._looked = threading.Lock(), False
        self._busy: dict[str, threading.Lock] = {}
        self._seen: dict[str, str] = {}
        self._held: dict[str, bytes] = {}
        self._failed: dict[str, tuple[float, CellError]] = {}
        self._next: dict[str, float] = {}
        self._silent: dict[str, tuple[int, float]] = {}

    def get(self, url: str) -> bytes:
        """The bytes behind an address, as they were when it was first asked for.

        Raises
        ------
        Unreachable : it does not answer now, answers with an error or a web page, or lies where
            it may not be asked.
        CellError : it is no address, or its answer is larger than the limit.
        """
        with self._lock:
            busy = self._busy.setdefault(url, threading.Lock())
        with busy:
            found = self._known(url)
            if found is not None:
                return found
            try:
                data = self._fetched(url)
            except CellError as error:
                self._failed[url] = time.monotonic() + LEFT_ALONE, error
                raise
            self._seen[url] = _digest(data)
            return data

    def _known(self, url: str) -> bytes | None:
        """What this object already found out of an address."""
        until, error = self._failed.get(url, (0.0, None))
        if error is not None and time.monotonic() < until:
            raise type(error)(str(error))
        if url in self._held:
            return self._held[url]
        if url in self._seen:
            facts = self._facts(url)
            if facts is not None and facts.digest == self._seen[url]:
                return facts.body
        return None

    # Asking

    def _fetched(self, url: str) -> bytes:
        host = _host(url)
        facts = self._facts(url)
        if facts is not None and time.time() < facts.fresh_until:
            return facts.body
        reason = ""
        deadline = None
        for turn in range(TRIES):
            self._refuse_silent(host, url)
            self._wait_turn(host)
            client = self._client(url)
            deadline = time.monotonic() + self.seconds if deadline is None else deadline
            try:
                data = self._ask(client, url, facts, deadline)
            except _Silent as silent:
                reason = str(silent)
                wait = max(silent.wait, 0.5 * 2**turn)
                if turn == TRIES - 1 or time.monotonic() + wait >= deadline:
                    break
                time.sleep(wait)
                continue
            self._silent.pop(host, None)
            return data
        if "answers" not in reason:
            count = self._silent.get(host, (0, 0.0))[0] + 1
            self._silent[host] = count, time.monotonic() + LEFT_ALONE
        raise Unreachable(f"{_shown(url)} {reason}")

    def _refuse_silent(self, host: str, url: str) -> None:
        count, until = self._silent.get(host, (0, 0.0))
        if count >= SILENT and time.monotonic() < until:
            raise Unreachable(f"{_shown(url)} is not asked: {host} was silent just now")

    def _wait_turn(self, host: str) -> None:
        """Wait until the host may be asked again."""
        with self._lock:
            now = time.monotonic()
            turn = max(now, self._next.get(host, 0.0))
            self._next[host] = turn + 1 / self.rate
        time.sleep(max(0.0, turn - now))

    def _ask(
        self, client: "httpx.Client", url: str, facts: _Facts | None, deadline: float
    ) -> bytes:
        import httpcore
        import httpx

        headers = {"Accept-Encoding": "identity"}
        if facts is not None and facts.etag:
            headers["If-None-Match"] = facts.etag
        if facts is not None and facts.modified:
            headers["If-Modified-Since"] = facts.modified
        try:
            with within(deadline), client.stream("GET", url, headers=headers) as answer:
                if answer.status_code == 304 and facts is not None:
                    self._keep(url, facts.body, answer.headers, facts)
                    return facts.body
                _check(answer)
                data = self._read(answer, url, deadline)
                self._keep(url, data, answer.headers, None)
                return data
        except (CellError, _Silent):
            raise
        except (httpcore.TimeoutException, httpx.TimeoutException, TimeoutError):
            raise _Silent(f"gave no whole answer within {self.seconds:g} s") from None
        except httpx.TooManyRedirects:
            raise Unreachable(f"{_shown(url)} leads in a circle") from None
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError) as error:
            raise CellError(f"{_shown(url)} is no address: {one_line(error)}") from None
        except Exception as error:
            raise _Silent(f"cannot be fetched: {one_line(error)}") from None

    def _read(self, answer: "httpx.Response", url: str, deadline: float) -> bytes:
        """The body, bounded in bytes and, as a whole, in time."""
        large = CellError(f"{_shown(url)} is larger than {self.limit // 2**20} MB")
        declared = answer.headers.get("content-length", "")
        if declared.isdigit() and int(declared) > self.limit:
            raise large
        parts, size = [], 0
        for part in answer.iter_bytes():
            size += len(part)
            if size > self.limit:
                raise large
            if time.monotonic() > deadline:
                raise TimeoutError
            parts.append(part)
        data = b"".join(parts)
        if _PAGE.match(data[:2048]):
            raise Unreachable(f"{_shown(url)} answers with a web page")
        return data

    def _client(self, url: str) -> "httpx.Client":
        parts = urlsplit(url)
        proxy = getproxies().get(parts.scheme.lower())
        if proxy and not proxy_bypass(_host(url)):
            # The proxy resolves the name, so we can only look at what it resolves to here.
            Guard(self.hosts).check(_host(url), parts.port or 443)
            return self._proxied(proxy)
        return self._direct

    @cached_property
    def _direct(self) -> "httpx.Client":
        import httpcore

        pool = httpcore.ConnectionPool(
            ssl_context=tls(), max_connections=16,
            network_backend=network(self.hosts),
        )  # fmt: skip
        return self._closing(client_of(pool))

    def _closing(self, client: "httpx.Client") -> "httpx.Client":
        """The same client, whose connections are closed when this object goes."""
        weakref.finalize(self, client.close)
        return client

    def _proxied(self, proxy: str) -> "httpx.Client":
        import httpcore

        if proxy not in self._proxies:
            pool = httpcore.HTTPProxy(
                proxy_url=proxy, ssl_context=tls(), max_connections=16,
                network_backend=network({"*"}),
            )  # fmt: skip
            self._proxies[proxy] = self._closing(client_of(pool))
        return self._proxies[proxy]

    @cached_property
    def _proxies(self) -> dict[str, Any]:
        return {}

    # Keeping

    @cached_property
    def _shelf(self) -> Path:
        return cache_folder() / "web" if self._folder is None else self._folder

    def _path(self, url: str) -> Path:
        name = _digest(url.encode("utf-8", "surrogatepass"))
        return self._shelf / name[:2] / name

    def _facts(self, url: str) -> _Facts | None:
        """What is kept of an address; ``None`` where that is nothing, or is torn."""
        path = self._path(url)
        try:
            raw = json.loads(path.with_suffix(".json").read_bytes())
            body = path.read_bytes()
            names = ("size", "digest", "etag", "modified", "fresh_until")
            facts = _Facts(**{name: raw[name] for name in names}, body=body)
            whole = len(body) == facts.size and _digest(body) == facts.digest
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return facts if whole else None

    def _keep(self, url: str, data: bytes, headers: Any, old: _Facts | None) -> None:
        """Keep an answer; where the disk takes none, in memory for the rest of the run."""
        facts = {
            "size": len(data), "digest": _digest(data),
            "etag": headers.get("etag") or (old.etag if old else None),
            "modified": headers.get("last-modified") or (old.modified if old else None),
            "fresh_until": time.time() + _max_age(headers.get("cache-control", "")),
        }  # fmt: skip
        path = self._path(url)
        try:
            if old is None:
                self._make_room()
                with atomic(path) as file:
                    file.write(data)
            with atomic(path.with_suffix(".json")) as file:
                file.write(json.dumps(facts).encode())
        except (ConjoinError, OSError):
            if sum(map(len, self._held.values())) + len(data) <= HELD:
                self._held[url] = data

    def _make_room(self) -> None:
        """Remove the oldest answers where they are too many; looked at once a run."""
        if self._looked:
            return
        self._looked = True
        files = [(p.stat().st_mtime, p.stat().st_size, p) for p in self._shelf.glob("*/*")]
        total = sum(size for _, size, _ in files)
        goal = 0.9 * KEPT if total > KEPT else total
        for _, size, path in sorted(files):
            if total > goal:
                path.unlink(missing_ok=True)
                total -= size


def _check(answer: "httpx.Response") -> None:
    status = answer.status_code
    if status in _AGAIN:
        said = answer.headers.get("retry-after", "")
        raise _Silent(f"answers {status}", float(said) if said.isdigit() else 0.0)
    if status != 200:
        raise Unreachable(f"{_shown(str(answer.request.url))} answers {status}")


def _max_age(control: str) -> float:
    """Seconds an answer says it stays as it is; at most a day, 0 where it does not say.

    >>> _max_age("public, max-age=60"), _max_age("no-cache, max-age=60"), _max_age("")
    (60.0, 0.0, 0.0)
    """
    found = re.search(r"max-age=(\d{1,9})", control.lower())
    if found is None or "no-cache" in control.lower() or "no-store" in control.lower():
        return 0.0
    return min(86_400.0, float(found.group(1)))


def _host(url: str) -> str:
    """The host of an address.

    Raises
    ------
    CellError : it has none.
    """
    try:
        host = urlsplit(url).hostname
    except ValueError:
        host = None
    if not host:
        raise CellError(f"{_shown(url)} is no address: it names no host")
    return host.lower()


def _shown(url: str) -> str:
    """An address as it is told: short, without the password it may hold."""
    bare = re.sub(r"(?<=://)[^/@\s]*@", "", url)[:200]
    return "".join(letter if letter.isprintable() else "?" for letter in bare)


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
