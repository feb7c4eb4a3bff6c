"""Where requests meet the state in use, and where that state is changed for another."""

import asyncio
import contextlib
import ctypes
import gc
import os
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conjoin.errors import ConjoinError
from conjoin.server.batching import Batcher
from conjoin.server.limits import Limits
from conjoin.server.media import Shelf
from conjoin.server.prometheus import Metrics, Sheet
from conjoin.server.requests import Ask
from conjoin.server.session import Found, Live, stamp

#: Seconds between looks at what is in use.
POLL = 1.0


@dataclass(frozen=True)
class Settings:
    """How a service is run; handed to every worker.

    Parameters
    ----------
    folder : the workspace.
    token : what a client must send; ``None`` for none.
    cors : origins whose pages may call.
    local : whether only names of this machine are answered to.
    metrics : the sheet the workers count in; ``None`` for a lone one.
    wait : seconds a query waits for others to share a batch.
    model : URI of what writes answers; empty where they are quoted.
    parent : process without which a worker ends.
    """

    folder: Path
    limits: Limits = field(default_factory=Limits)
    token: str | None = None
    cors: tuple[str, ...] = ()
    local: bool = True
    workers: int = 1
    metrics: Sheet | None = None
    wait: float = 0.003
    poll: float = POLL
    parent: int | None = None
    model: str = ""


class Desk:
    """The state in use, the batches, and the watch over ``current.json``."""

    def __init__(self, settings: Settings, live: Live | None = None):
        self.settings, self.limits = settings, settings.limits
        self.metrics = Metrics(settings.metrics)
        self.live: Live = live if live is not None else Live.open(settings.folder)
        self.shelf = Shelf(self.live.ws, self.limits)
        self.trouble: str | None = None
        self.batcher = Batcher(
            self._answer, self.metrics, settings.wait, waiting=self.limits.waiting
        )
        self._watch: Any = None
        self._changing = asyncio.Lock()

    async def start(self) -> None:
        """Load what the first query needs, begin to collect, and watch."""
        await asyncio.to_thread(self.live.warm)
        self.batcher.start()
        self._watch = asyncio.create_task(self._watching())
        self.metrics.set("conjoin_workers_ready", 1)

    async def stop(self) -> None:
        """Answer what waits, and end."""
        self.metrics.set("conjoin_workers_ready", 0)
        self._watch.cancel()
        await self.batcher.stop()

    def on_hangup(self) -> None:
        """Take ``SIGHUP`` as the wish to open the state anew."""
        loop = asyncio.get_running_loop()
        try:
            loop.add_signal_handler(signal.SIGHUP, lambda: loop.create_task(self.change()))
        except (NotImplementedError, RuntimeError, ValueError, AttributeError):
            return  # no such signal here, or not in the main thread

    async def ask(self, ask: Ask) -> Found:
        """One query's answer, by whatever state is in use when its batch is begun."""
        found: Found = await self.batcher.ask(ask, self.limits.request_seconds)
        return found

    def _answer(self, asks: Any) -> list[Any]:
        return self.live.answer(asks, self.metrics)

    async def _watching(self) -> None:
        seen = self.live.mark
        while True:
            await asyncio.sleep(self.settings.poll)
            parent = self.settings.parent
            if parent is not None and os.getppid() != parent:
                os.kill(os.getpid(), signal.SIGTERM)
            now = stamp(self.settings.folder)
            if now not in (self.live.mark, seen) or (self.trouble and now != self.live.mark):
                await self.change(quiet=now == seen)
            seen = now

    async def change(self, quiet: bool = False) -> bool:
        """Open what is now in use beside what is served, then put it in its place.

        Requests go on all the while; what cannot be opened is told, and the old stays.
        """
        async with self._changing:
            try:
                made = await asyncio.to_thread(_opened, self.settings.folder, self.live)
            except Exception as error:
                said = str(error) if isinstance(error, ConjoinError) else type(error).__name__
                self.trouble = "the index now in use cannot be opened; the one before is served"
                if not quiet:
                    self.metrics.add("conjoin_reload_failures_total")
                    sys.stderr.write(f"conjoin: still serving {self.live.name}: {said}\n")
                return False
            self.live, self.shelf = made, Shelf(made.ws, self.limits)
            self.trouble = None
            self.metrics.add("conjoin_reloads_total")
        await asyncio.to_thread(_given_back)
        return True


def _given_back() -> None:
    """Free what was served, which holds itself in circles, and give the system its memory.

    glibc keeps what a thread has freed for that thread, and every reload may come to another.
    """
    gc.collect()
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)


def _opened(folder: Path, before: Live) -> Live:
    live = Live.open(folder, before)
    live.warm()
    return live
