"""Connections that cannot be held for ever: each state has a deadline, and places are bounded."""

import asyncio
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from conjoin.server.limits import Limits

#: Seconds a connection may rest between two requests.
REST = 20.0
#: Seconds between two looks at deadlines.
SWEEP = 0.5
#: Files that a process needs beside its connections, at least.
SPARE = 256


@dataclass(eq=False)
class Places:
    """The connections of one process.

    When all places are taken, or all of one client, the connection that has gone longest without
    a complete request makes room: dripping bytes keeps nobody else out. Only where every one of
    them waits for an answer is the new connection closed.

    Parameters
    ----------
    most, each : connections in all, and of one client address.
    """

    most: int
    each: int
    held: set["Connection"] = field(default_factory=set)

    @classmethod
    def of(cls, limits: Limits) -> "Places":
        """As many as the limits say and the system's limit of open files allows."""
        most = max(16, min(limits.sockets, open_files() - SPARE))
        return cls(most, min(limits.client_sockets, most))

    def admit(self, new: "Connection") -> bool:
        """Take a connection up, closing another where it must; ``False`` where there is no room."""
        own = [one for one in self.held if one.address == new.address]
        full = len(own) >= self.each
        if full or len(self.held) >= self.most:
            idle = [one for one in (own if full else self.held) if one.idle]
            if not idle:
                return False
            oldest = min(idle, key=lambda one: (one.unsent > 0, one.since))
            self.leave(oldest)
            oldest.transport.abort()
        self.held.add(new)
        return True

    def leave(self, one: "Connection") -> None:
        """Forget a connection that has ended."""
        self.held.discard(one)

    def late(self, now: float) -> Iterator["Connection"]:
        """Connections whose state has lasted too long."""
        yield from [one for one in self.held if now > one.ends]

    async def sweep(self) -> None:
        """End what is late, for as long as the service runs."""
        while True:
            await asyncio.sleep(SWEEP)
            for one in self.late(asyncio.get_running_loop().time()):
                self.leave(one)
                one.transport.abort()


class Connection(H11Protocol):
    """A connection with a deadline for what it does now.

    It waits for a head (``head_seconds``, from the first byte), rests (:data:`REST` seconds), or
    has a request under way: its body, its answer and the taking of the answer together may last
    ``body_seconds + request_seconds + send_seconds``. A byte now and then prolongs none of these.
    """

    places: Places
    limits: Limits

    def connection_made(self, transport: Any) -> None:
        """Take a place, or close where none is free."""
        super().connection_made(transport)
        self.address = self.client[0] if self.client else ""
        self._seen: Any = None
        self._begin(self.limits.head_seconds, head=True)
        if not self.places.admit(self):
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the place back."""
        self.places.leave(self)
        super().connection_lost(exc)

    @property
    def idle(self) -> bool:
        """Whether no complete request of the client waits for its answer."""
        return self.conn.their_state in (h11.IDLE, h11.SEND_BODY) or self.transport.is_closing()

    @property
    def unsent(self) -> int:
        """Bytes of answers that the client has not taken yet."""
        return int(self.transport.get_write_buffer_size())

    def data_received(self, data: bytes) -> None:
        """Read, and set the deadline of what this began."""
        try:
            super().data_received(data)
        except h11.LocalProtocolError:  # what came cannot be answered any more
            self.transport.abort()
            return
        self._turn(rests=False)

    def on_response_complete(self) -> None:
        """Rest, or begin with the next request."""
        super().on_response_complete()
        self._turn(rests=not self.conn.trailing_data[0])

    def _turn(self, *, rests: bool) -> None:
        """Notice a change of state: only a change sets another deadline."""
        limits = self.limits
        if self.cycle is not self._seen:
            self._seen = self.cycle
            self._begin(limits.body_seconds + limits.request_seconds + limits.send_seconds)
        elif self.conn.their_state is h11.IDLE and self._answered:
            if rests:
                self._begin(REST, least=self.ends if self.unsent else 0.0)
            elif not self._head:
                self._begin(limits.head_seconds, head=True)

    def _begin(self, seconds: float, *, head: bool = False, least: float = 0.0) -> None:
        self.since = self.loop.time()
        self.ends, self._head = max(self.since + seconds, least), head

    @property
    def _answered(self) -> bool:
        return self.cycle is None or bool(self.cycle.response_complete)


def open_files() -> int:
    """How many files this process may open, raised as far as it may be."""
    if sys.platform == "win32":
        return 2048
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4096 if hard == resource.RLIM_INFINITY else min(4096, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return 4096 if soft == resource.RLIM_INFINITY else soft


def protocol(limits: Limits) -> type[Connection]:
    """A connection's class with its limits and places."""
    return type("Bounded", (Connection,), {"limits": limits, "places": Places.of(limits)})
