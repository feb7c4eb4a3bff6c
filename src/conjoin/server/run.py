"""Starting and ending the service: the address, the workers, the signals."""

import asyncio
import functools
import logging
import multiprocessing
import os
import signal
import socket
import stat
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from conjoin.answering.model import Model
from conjoin.errors import ConjoinError
from conjoin.project.fit.stored import current_fit
from conjoin.project.trust import require
from conjoin.project.workspace import Workspace
from conjoin.server.limits import Limits
from conjoin.server.middleware import is_local
from conjoin.server.prometheus import Sheet
from conjoin.server.session import Live
from conjoin.server.state import Settings

#: Environment variable that may hold the token.
TOKEN = "CONJOIN_TOKEN"
#: Shortest token that is taken.
SHORT = 16
#: Seconds requests may take to end after the signal to stop.
GRACE = 8
#: Workers that may die before they ever answered.
DEATHS = 3


@dataclass(frozen=True)
class Address:
    """Where the service listens.

    Parameters
    ----------
    open : serve to whoever reaches the address, without a token.
    cors : origins whose pages may call.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    open: bool = False
    cors: tuple[str, ...] = ()


def serve(
    folder: Path,
    address: Address,
    *,
    token_file: Path | None = None,
    model: str = "none",
    limits: Sequence[str] = (),
    workers: int = 1,
    ready: Callable[[Mapping[str, Any]], None] = lambda _: None,
    note: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve a workspace until a signal ends it.

    Parameters
    ----------
    model : what writes answers to questions; ``none`` quotes.
    ready : told once, as soon as it answers: ``url``, ``items``, ``modalities``, ``workers``,
        whether there is a ``token``, ``pid``.
    note : told of what goes on until then.

    Raises
    ------
    ConjoinError : the address is reachable by others and there is no token, the port is taken,
        an argument is wrong, or nothing is fitted.
    """
    token = token_of(token_file, note)
    check_reach(address, token)
    check_model(address, model)
    settings = Settings(
        folder, Limits.of(limits), token, tuple(map(origin, address.cors)),
        local=token is None and not address.open, workers=workers,
        model="" if model == "none" else model,
    )  # fmt: skip
    held = bound(address)
    ws = Workspace(folder, writes=False)
    for modality in ws.modalities:
        require(folder, modality.uri)
    current_fit(ws)  # refused before anything is said to be done
    note(f"conjoin: opening {folder.resolve().name}")
    live = Live.open(folder)
    note(f"conjoin: loading what reads {', '.join(live.kinds)}; this may take a minute")
    url = url_of(held)
    said = {"url": url, "items": len(live.ws.items), "modalities": list(live.kinds),
            "workers": workers, "token": token is not None, "pid": os.getpid()}  # fmt: skip

    with held:
        if workers == 1:
            _serve(settings, held, live, lambda: ready(said))
        else:
            del live
            Crew(settings, held, lambda: ready(said)).run()


def token_of(file: Path | None, note: Callable[[str], None]) -> str | None:
    """The token of a file or of the environment; ``None`` where neither is given.

    Raises
    ------
    ConjoinError : it is short, or holds what a header cannot.
    """
    where = TOKEN if file is None else str(file)
    if file is None:
        word = os.environ.get(TOKEN)
        if not word:
            return None
    else:
        word = file.read_text(encoding="utf-8", errors="replace")
    word = word.strip()
    if len(word) < SHORT:
        raise ConjoinError(
            where,
            f"a token of {len(word)} characters",
            f"give {SHORT} or more: openssl rand -hex 32",
        )
    if not (word.isascii() and word.isprintable()) or " " in word:
        raise ConjoinError(where, "a token with blanks or letters beyond ASCII", "give another")
    if file is not None and os.name == "posix" and stat.S_IMODE(file.stat().st_mode) & 0o077:
        note(f"conjoin: {file} is readable by others; run: chmod 600 {file}")
    return word


def check_reach(address: Address, token: str | None) -> None:
    """Refuse an address that others reach, unless there is a token or it is said to be open.

    Raises
    ------
    ConjoinError : it is reachable and unguarded; or both a token and ``--open`` are given.
    """
    if address.open and token is not None:
        raise ConjoinError("--open", "there is a token as well", "give one of the two")
    if not is_local(address.host) and token is None and not address.open:
        raise ConjoinError(
            f"--host {address.host}", "others can reach it, and there is no token",
            f"give --token-file or {TOKEN}, or --open to serve all items to whoever reaches it",
        )  # fmt: skip


def check_model(address: Address, model: str) -> None:
    """Refuse a model that cannot be, and one whose answers anybody could order.

    Raises
    ------
    ConjoinError : its URI is wrong, or the service is open.
    """
    if model == "none":
        return
    Model.open(model)
    if address.open:
        raise ConjoinError(
            "--model", "with --open, whoever reaches it would spend the model's tokens",
            "give --token-file in place of --open",
        )  # fmt: skip


def origin(text: str) -> str:
    """An origin as browsers send it.

    Raises
    ------
    ConjoinError : it is a pattern, or not ``scheme://host[:port]``.
    """
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(text)
        whole = f"{parts.scheme}://{parts.netloc}".lower()
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and "*" not in text
    except ValueError:
        good, whole = False, ""
    if not good or whole != text.lower().rstrip("/"):
        raise ConjoinError("--cors", repr(text), "name an origin such as https://shop.example")
    return whole


def bound(address: Address) -> socket.socket:
    """A socket that holds the address.

    Raises
    ------
    ConjoinError : the port is taken or not ours to take, or there is no such host.
    """
    host, port = address.host, address.port
    try:
        family, *_, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (socket.gaierror, UnicodeError):
        raise ConjoinError("--host", f"{host!r} is no address here", "give 127.0.0.1") from None
    held = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(where)
        held.listen(1024)
    except OSError as error:
        held.close()
        reason = (error.strerror or "cannot be used").lower()
        raise ConjoinError(
            f"--port {port}", f"{reason} on {host}", "give another; --port 0 takes a free one"
        ) from None
    held.set_inheritable(True)
    return held


def url_of(held: socket.socket) -> str:
    """Where a browser finds it."""
    host, port = held.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = socket.gethostname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _in_a_line(record: logging.LogRecord) -> bool:
    """What is wrong with a workspace or a folder is said in a line, without where it was found."""
    last = str(record.msg).strip().rpartition("\n")[2]
    if last.startswith("conjoin.errors."):
        record.msg = last.partition(": ")[2]
    return True


def _quiet_signals() -> None:
    """The server ends by itself, then raises the signal again: nothing is left to do."""
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: None)


def end_within(seconds: float) -> None:
    """End the process after so long, whatever its threads still wait for.

    A thread that waits for a decoder or another host cannot be stopped, and would hold the end up.
    """

    def end() -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)

    last = threading.Timer(seconds, end)
    last.daemon = True
    last.start()


def _serve(settings: Settings, held: socket.socket, live: Live | None, ready: Any) -> None:
    import uvicorn

    from conjoin.server.connections import REST, protocol
    from conjoin.server.routes import create_app

    spoken = protocol(settings.limits)

    class Server(uvicorn.Server):
        """Says when it answers, watches its connections, and ends in time."""

        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets=sockets)
            self.sweeping = asyncio.create_task(spoken.places.sweep())
            if self.started:
                ready()

        async def shutdown(self, sockets: Any = None) -> None:
            end_within(GRACE + 1.5)
            await super().shutdown(sockets=sockets)
            self.sweeping.cancel()

    config = uvicorn.Config(
        functools.partial(create_app, settings, live), factory=True, http=spoken, ws="none",
        lifespan="on", log_level="warning", access_log=False, server_header=False,
        timeout_keep_alive=int(REST), timeout_graceful_shutdown=GRACE,
    )  # fmt: skip
    logging.getLogger("uvicorn.error").addFilter(_in_a_line)
    _quiet_signals()
    Server(config).run(sockets=[held])


def _work(settings: Settings, held: socket.socket) -> None:
    """A worker's whole life."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    _serve(settings, held, None, lambda: None)


class Crew:
    """Workers on one socket: started, watched, told of signals, ended."""

    def __init__(self, settings: Settings, held: socket.socket, ready: Any):
        self.sheet = Sheet.create(settings.workers)
        self.settings = replace(settings, metrics=self.sheet, parent=os.getpid())
        self.held, self.ready = held, ready
        self.crew: list[Any] = []
        self.ending = False

    def run(self) -> None:
        """Serve until a signal to end.

        Raises
        ------
        ConjoinError : workers die before they answer.
        """
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, self._end)
        if hasattr(signal, "SIGHUP"):
            signal.signal(signal.SIGHUP, lambda *_: self._tell(signal.SIGHUP))
        try:
            self.crew = [self._start() for _ in range(self.settings.workers)]
            self._watch()
        finally:
            self._tell(signal.SIGTERM)
            for worker in self.crew:
                worker.join(GRACE + 5)
                if worker.is_alive():
                    worker.kill()
            self.sheet.close()

    def _start(self) -> Any:
        worker = multiprocessing.get_context("spawn").Process(
            target=_work, args=(self.settings, self.held)
        )
        worker.start()
        return worker

    def _end(self, *_: Any) -> None:
        self.ending = True

    def _tell(self, sign: int) -> None:
        for worker in self.crew:
            if worker.is_alive() and worker.pid:
                os.kill(worker.pid, sign)

    def _watch(self) -> None:
        deaths, told = 0, False
        while not self.ending:
            time.sleep(0.1)
            if not told and self.sheet.ready() == len(self.crew):
                told, deaths = True, 0
                self.ready()
            for place, worker in enumerate(self.crew):
                if worker.is_alive() or self.ending:
                    continue
                deaths += 0 if told else 1
                if deaths >= DEATHS:
                    raise ConjoinError("workers", "die before they answer", "give --workers 1")
                sys.stderr.write(f"conjoin: a worker ended ({worker.exitcode}); starting another\n")
                self.crew[place] = self._start()
