"""Connections that look where they lead, and steps that end with the time of the whole answer.

The addresses a name resolves to are looked at before one of them is connected to, so that neither
a redirect nor a name that changes its mind leads into a private network.
"""

import contextlib
import ipaddress
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

from conjoin.errors import Unreachable, one_line

if TYPE_CHECKING:
    import httpcore
    import httpx

#: Seconds of a step where no deadline is set.
SECONDS = 30.0

_time = threading.local()


@contextlib.contextmanager
def within(deadline: float) -> Iterator[None]:
    """Within the block, no step of this thread's connections outlasts the deadline."""
    _time.deadline = deadline
    try:
        yield
    finally:
        del _time.deadline


def _left(timeout: float | None) -> float:
    """Seconds a step may take.

    Raises
    ------
    TimeoutError : none are left.
    """
    left = getattr(_time, "deadline", time.monotonic() + SECONDS) - time.monotonic()
    if left <= 0:
        raise TimeoutError("the time is up")
    return left if timeout is None else min(left, timeout)


def is_public(address: str) -> bool:
    """Whether an IP address is of the open internet, and so is any address it wraps.

    >>> is_public("93.184.216.34"), is_public("10.0.0.1"), is_public("::ffff:127.0.0.1")
    (True, False, False)
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if ip.is_multicast or not ip.is_global:
        return False
    if isinstance(ip, ipaddress.IPv4Address):
        return True
    inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
    if inner is None and ip in ipaddress.ip_network("64:ff9b::/96"):
        inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return inner is None or is_public(str(inner))


def resolved(host: str, port: int) -> list[str]:
    """The addresses of a name; asked in a thread, since a resolver knows no deadline.

    Raises
    ------
    TimeoutError : it took too long.
    OSError : there is no such name.
    """
    found: list[Any] = []

    def ask() -> None:
        try:
            found.append(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            found.append(OSError(one_line(error)))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_left(None))
    if not found:
        raise TimeoutError(f"{host} was not resolved")
    if isinstance(found[0], OSError):
        raise found[0]
    return list(dict.fromkeys(str(entry[4][0]) for entry in found[0]))


class Guard:
    """Which addresses may be connected to."""

    def __init__(self, hosts: Iterable[str]):
        self.hosts = frozenset(hosts)

    def check(self, host: str, port: int) -> list[str]:
        """The addresses of a host.

        Raises
        ------
        Unreachable : one is private and the host is not among those allowed.
        """
        found = resolved(host, port)
        private = [address for address in found if not is_public(address)]
        if private and not self.hosts & {"*", host.lower()}:
            raise Unreachable(
                f"{host} is {private[0]}, an address of this machine or a private network: refused "
                f'unless conjoin.toml has hosts = ["{host}"] under [items]'
            )
        return found


def _bounded() -> Any:
    """The class of connections whose steps end with the deadline."""
    import httpcore

    class Stream(httpcore.NetworkStream):
        """A connection whose steps end with the deadline."""

        def __init__(self, inner: httpcore.NetworkStream):
            self._inner = inner

        def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
            return self._inner.read(max_bytes, _left(timeout))

        def write(self, buffer: bytes, timeout: float | None = None) -> None:
            self._inner.write(buffer, _left(timeout))

        def close(self) -> None:
            self._inner.close()

        def start_tls(
            self, ssl_context: Any, server_hostname: Any = None, timeout: float | None = None
        ) -> httpcore.NetworkStream:
            return Stream(self._inner.start_tls(ssl_context, server_hostname, _left(timeout)))

        def get_extra_info(self, info: str) -> Any:
            return self._inner.get_extra_info(info)

    return Stream


def network(hosts: Iterable[str]) -> "httpcore.NetworkBackend":
    """Connections to addresses that were looked at, each step within :func:`within`'s time."""
    import httpcore

    guard, plain, bounded = Guard(hosts), httpcore.SyncBackend(), _bounded()

    class Backend(httpcore.NetworkBackend):
        """Resolves, looks, and connects to what it looked at."""

        def connect_tcp(
            self, host: str, port: int, timeout: float | None = None,
            local_address: str | None = None, socket_options: Any = None,
        ) -> httpcore.NetworkStream:  # fmt: skip
            reason: Exception = OSError(f"{host} has no address")
            for address in guard.check(host, port):
                try:
                    return bounded(
                        plain.connect_tcp(
                            address, port, _left(timeout), local_address, socket_options
                        )
                    )
                except httpcore.ConnectError as error:
                    reason = error
            raise reason

        def sleep(self, seconds: float) -> None:
            time.sleep(seconds)

    return Backend()


@cache
def tls() -> Any:
    """Certificates to trust; reading them takes longer than most answers."""
    import httpx

    return httpx.create_ssl_context()


def client_of(pool: "httpcore.ConnectionPool") -> "httpx.Client":
    """An httpx client over a pool of ours: redirects, cookies and decoding are httpx's."""
    import httpcore
    import httpx

    class Body(httpx.SyncByteStream):
        """An answer's bytes as they come."""

        def __init__(self, stream: Any):
            self._stream = stream

        def __iter__(self) -> Iterator[bytes]:
            yield from self._stream

        def close(self) -> None:
            self._stream.close()

    class Transport(httpx.BaseTransport):
        """Hands requests to the pool."""

        def handle_request(self, request: httpx.Request) -> httpx.Response:
            answer = pool.handle_request(
                httpcore.Request(
                    method=request.method,
                    url=httpcore.URL(
                        scheme=request.url.raw_scheme, host=request.url.raw_host,
                        port=request.url.port, target=request.url.raw_path,
                    ),
                    headers=request.headers.raw, content=request.stream,
                    extensions=request.extensions,
                )
            )  # fmt: skip
            return httpx.Response(
                status_code=answer.status, headers=answer.headers, stream=Body(answer.stream),
                extensions=answer.extensions,
            )  # fmt: skip

        def close(self) -> None:
            pool.close()

    return httpx.Client(
        transport=Transport(), follow_redirects=True, max_redirects=10, timeout=10.0,
        headers={"User-Agent": "conjoin"},
    )  # fmt: skip
