"""Slow, silent and greedy connections; hosts that drip; what is left when a worker is killed."""

import contextlib
import os
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("fastapi")

from conjoin.server.limits import Limits, Problem
from conjoin.server.media import AT_ONCE, Readers
from served import build, serving

SHORT = ["head_seconds=1.5", "body_seconds=1", "request_seconds=2", "send_seconds=1",
         "sockets=24", "client_sockets=24"]  # fmt: skip
LIMITS = [word for each in SHORT for word in ("--limit", each)]


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    folder = build(tmp_path_factory.mktemp("served"), each=1)
    with serving(folder, *LIMITS) as made:
        yield made


def connected(service):
    host, port = service.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=10)


def asked(service, path="/health"):
    with connected(service) as line:
        line.sendall(
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
        )
        data = b""
        while more := line.recv(65536):
            data += more
    return data


def ended(line, seconds, drip=b""):
    """Seconds until the other side closed, with a byte sent every tenth of a second."""
    began = time.monotonic()
    line.settimeout(0.1)
    while time.monotonic() - began < seconds:
        try:
            if line.recv(65536) == b"":
                return time.monotonic() - began
        except TimeoutError:
            pass
        except OSError:
            return time.monotonic() - began
        with contextlib.suppress(OSError):
            line.sendall(drip)
    raise AssertionError(f"still open after {seconds} s")


HEAD = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


def test_no_state_of_a_connection_lasts_for_ever(service):
    with connected(service) as line:  # a head that drips
        line.sendall(HEAD)
        assert 1 < ended(line, 5, b"X") < 3.5
    with connected(service) as line:  # a second head that drips, after an answer
        line.sendall(HEAD + b"\r\n")
        assert b"200 OK" in line.recv(65536)
        assert 1 < ended(line, 5, b"G") < 3.5
    with connected(service) as line:  # a body that drips: refused, and closed though it goes on
        line.sendall(POST + b"Content-Length: 900\r\n\r\n{")
        assert 0.5 < ended(line, 4, b" ") < 3
    with connected(service) as line:  # a body that was refused by its length goes on
        line.sendall(POST + b"Content-Length: 99999999\r\n\r\n{")
        assert ended(line, 4, b" ") < 3


def test_an_answer_that_is_not_taken_is_given_up(service):
    with connected(service) as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        line.settimeout(1)
        with contextlib.suppress(BlockingIOError, TimeoutError):
            for _ in range(5000):  # more answers than buffers hold
                line.sendall(b"GET /page/style.css HTTP/1.1\r\nHost: localhost\r\n\r\n")
        time.sleep(6)
        line.settimeout(1)
        with contextlib.suppress(ConnectionError, TimeoutError):
            while line.recv(1 << 20):
                pass
        ended(line, 3, b"G")
    assert b"200 OK" in asked(service)


def test_those_who_drip_keep_nobody_else_out(service):
    lines = []
    try:
        for _ in range(60):
            line = connected(service)
            lines.append(line)
            with contextlib.suppress(OSError):
                line.sendall(HEAD)
        for _ in range(5):
            assert b"200 OK" in asked(service)
    finally:
        for line in lines:
            line.close()


def test_two_ends_of_a_body_are_refused_and_nothing_is_left_on_the_line(service):
    inside = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for head in (b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
                 b"Transfer-Encoding: chunked\r\nContent-Length: 0\r\n"):  # fmt: skip
        with connected(service) as line:
            line.sendall(POST + head + b"\r\n0\r\n\r\n" + inside)
            data = b""
            with contextlib.suppress(OSError):
                while more := line.recv(65536):
                    data += more
        assert data.startswith(b"HTTP/1.1 400")
        assert data.count(b"HTTP/1.1") == 1
    with connected(service) as line:  # a body where none belongs
        line.sendall(HEAD + b"Content-Length: 9\r\n\r\n" + inside)
        assert line.recv(65536).startswith(b"HTTP/1.1 400")


@pytest.mark.skipif(not Path("/proc").exists(), reason="kills by /proc")
def test_workers_that_are_killed_leave_no_file(tmp_path_factory):
    folder = build(tmp_path_factory.mktemp("killed"), each=1)
    scratch = tmp_path_factory.mktemp("scratch")
    with serving(folder, "--workers", "2", TMPDIR=str(scratch)) as made:
        assert b"200 OK" in asked(made)
        text = asked(made, "/metrics")
        assert b"conjoin_workers_ready 2" in text
        children = Path(f"/proc/{made.process.pid}/task/{made.process.pid}/children").read_text()
        os.kill(made.process.pid, signal.SIGKILL)
        made.process.communicate(timeout=20)
    ends = time.monotonic() + 20
    alive = [pid for pid in children.split() if Path(f"/proc/{pid}").exists()]
    while alive and time.monotonic() < ends:
        time.sleep(0.1)
        alive = [pid for pid in alive if Path(f"/proc/{pid}").exists()]
    assert alive == []
    assert [path for path in scratch.rglob("*") if path.is_file()] == []


def test_a_cell_that_drips_holds_up_no_file_and_is_not_asked_for_again():
    readers, going, calls = Readers(0.2), threading.Event(), []

    def drips():
        calls.append(1)
        going.wait(20)
        return b"late"

    began = time.monotonic()
    for _ in range(2):
        for turn in range(AT_ONCE):
            with pytest.raises(Problem, match="within"):
                readers.read(("slow", turn), drips, remote=True)
    assert len(calls) == AT_ONCE  # the second round was told at once
    with pytest.raises(Problem) as caught:
        readers.read("other", lambda: b"", remote=True)
    assert caught.value.kind == "busy"
    assert readers.read("file", lambda: b"here", remote=False) == b"here"
    assert time.monotonic() - began < 3
    going.set()
    time.sleep(0.1)
    assert readers.read("other", lambda: b"now", remote=True) == b"now"


def test_one_cell_is_read_once_for_all_who_ask_at_the_same_time():
    readers, calls, found = Readers(5), [], []

    def read():
        calls.append(1)
        time.sleep(0.2)
        return b"one"

    askers = [
        threading.Thread(target=lambda: found.append(readers.read("a", read, remote=True)))
        for _ in range(20)
    ]
    for each in askers:
        each.start()
    for each in askers:
        each.join()
    assert found == [b"one"] * 20
    assert len(calls) == 1
    with pytest.raises(ZeroDivisionError):
        readers.read("b", lambda: 1 // 0, remote=False)
    assert Limits.of(["sockets=9"]).sockets == 9


def test_cells_outside_the_folder_and_at_this_machine_are_not_served(tmp_path):
    """The service reads what the configuration allows, as embed does."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from conjoin.project.workspace import Workspace
    from conjoin.server.media import Shelf
    from served import picture

    folder = tmp_path / "ws"
    (folder / "in").mkdir(parents=True)
    for place in (tmp_path / "secret.png", folder / "in" / "a.png"):
        place.write_bytes(picture((200, 10, 10), "bar"))
    (folder / "in" / "link.png").symlink_to(tmp_path / "secret.png")
    with socket.create_server(("127.0.0.1", 0)) as watch:
        watch.settimeout(0.2)
        port = watch.getsockname()[1]
        cells = ["../secret.png", str(tmp_path / "secret.png"), "in/link.png",
                 f"http://127.0.0.1:{port}/a.png", f"http://localhost:{port}/a.png",
                 f"http://[::1]:{port}/a.png", "http://169.254.169.254/a", "file:///etc/passwd",
                 "in/a.png"]  # fmt: skip
        pq.write_table(pa.table({"id": [str(n) for n in range(len(cells))], "picture": cells}),
                       folder / "items.parquet")  # fmt: skip
        (folder / "conjoin.toml").write_text(
            'version = 1\n[items]\ntable = "items.parquet"\nid = "id"\n'
            '[modalities.picture]\ncolumn = "picture"\nencoder = "builtin:image"\n'
        )
        shelf = Shelf(Workspace(folder, writes=False), Limits(media_seconds=5))
        for row in range(len(cells) - 1):
            with pytest.raises(Problem) as caught:
                shelf.get(str(row), "picture", 0, 64)
            assert caught.value.kind == "not-found"
        assert shelf.get(str(len(cells) - 1), "picture", 0, 64).mime == "image/webp"
        with pytest.raises(TimeoutError):
            watch.accept()
