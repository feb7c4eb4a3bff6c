"""Two hundred and fifty abuses of a running service, counted.

    python benchmarks/faults/service.py [--out FILE] [--rounds 10]

Makes a small workspace, serves it on a free port of this machine, and provokes 25 kinds of abuse,
ten times each with seeded variations: none may be answered with a 5xx, keep others out, make the
service read a file outside its workspace, or make it ask an address. After each round a search must
be answered within five seconds. Everything stays on loopback.
"""

import argparse
import contextlib
import json
import random
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from served import build, picture, serving

RESULT = Path(__file__).resolve().parents[1] / "results" / "faults-service.json"
#: Seconds in which an honest search must be answered after a round.
HONEST = 5.0
LIMITS = ["head_seconds=1", "body_seconds=1", "request_seconds=10", "send_seconds=2",
          "sockets=96", "client_sockets=96", "media_seconds=2", "body_mb=1"]  # fmt: skip
JSON = "application/json"


class Target:
    """A running service, as an abuser meets it."""

    def __init__(self, url: str):
        host, port = url.removeprefix("http://").split(":")
        self.place = (host, int(port))
        self.name = f"{host}:{port}"

    def open(self) -> socket.socket:
        """A new connection."""
        return socket.create_connection(self.place, timeout=5)

    def raw(self, data: bytes, seconds: float = 4.0) -> bytes:
        """What comes back for some bytes until the other side closes or nothing more comes."""
        found = b""
        with contextlib.suppress(OSError), self.open() as line:
            line.settimeout(seconds)
            line.sendall(data)
            while more := line.recv(65536):
                found += more
        return found

    def send(
        self, method: str, path: str, body: bytes = b"", *heads: str, host: str | None = None
    ) -> int:
        """The status of one request; 0 where none came."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host or self.name}", "Connection: close"]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        head = "\r\n".join([*lines, *heads]).encode("utf-8", "surrogateescape")
        return status(self.raw(head + b"\r\n\r\n" + body))

    def post(self, value: Any, *heads: str, path: str = "/search") -> int:
        """The status of a JSON request."""
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        return self.send("POST", path, data, f"Content-Type: {JSON}", *heads)

    def upload(self, data: bytes, *heads: str, rest: str = "{}") -> int:
        """The status of an upload."""
        form = b"--x\r\nContent-Disposition: form-data; name="
        body = form + b'"file"; filename="../../a.png"\r\n\r\n' + data + b"\r\n"
        body += form + b'"request"\r\n\r\n' + rest.encode() + b"\r\n--x--\r\n"
        kind = "Content-Type: multipart/form-data; boundary=x"
        return self.send("POST", "/search/upload", body, kind, *heads)


def status(answer: bytes) -> int:
    """The first status of an answer; 0 where there is none."""
    with contextlib.suppress(ValueError, IndexError):
        return int(answer.split(b" ", 2)[1])
    return 0


def drip(target: Target, rng: random.Random, begin: bytes, count: int = 120) -> list[int]:
    """Connections that begin something and go on a byte at a time; what became of them."""
    lines = []
    for _ in range(count):
        with contextlib.suppress(OSError):
            line = target.open()
            line.sendall(begin)
            lines.append(line)
    for _ in range(5):
        for line in lines:
            with contextlib.suppress(OSError):
                line.sendall(bytes([rng.randrange(97, 122)]))
        time.sleep(0.1)
    seen = [honest(target)]
    for line in lines:
        line.close()
    return seen


def honest(target: Target) -> int:
    """The status of a plain search; −1 where it took too long."""
    began = time.monotonic()
    found = target.post({"text": "a red bar", "k": 2})
    return found if time.monotonic() - began <= HONEST else -1


HEAD = b"POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
FOREIGN = ("https://evil.example", "null", "http://localhost.evil.org", "http://[::1]:1")
HOSTS = ("[::1].evil.example", "127.0.0.1.evil.example", "localhost:80:80", "evil.org",
         "localhost@evil.org", "[::1]evil", "127.1", "0x7f000001", "localhost.", "")  # fmt: skip
CLIMBS = ("/items/..%2f..%2fsecret.txt", "/items/%2fetc%2fpasswd/media/picture",
          "/page/..%2f..%2fconjoin.toml", "/page/%2e%2e/live.py", "/items/%00", "/page/..%5crun",
          "/items/outside/media/picture", "/items/absolute/media/picture",
          "/items/address/media/picture", "//etc/passwd")  # fmt: skip


def abuses() -> dict[str, Callable[[Target, random.Random], list[int]]]:
    """By name, what provokes and gives the statuses that came back."""
    any_of = lambda values: lambda rng: values[rng.randrange(len(values))]  # noqa: E731
    host, origin, climb = any_of(HOSTS), any_of(FOREIGN), any_of(CLIMBS)
    deep = lambda rng: b"[" * rng.randrange(1_000, 100_000)  # noqa: E731
    return {
        "heads that drip": lambda t, r: drip(t, r, b"GET / HTTP/1.1\r\nHost: loc"),
        "bodies that drip": lambda t, r: drip(t, r, HEAD + b"Content-Length: 5000\r\n\r\n{"),
        "silent connections": lambda t, r: drip(t, r, b""),
        "chunks that drip": lambda t, r: drip(t, r, HEAD + b"Transfer-Encoding: chunked\r\n\r\n1"),
        "two ends of a body": lambda t, r: [two_ends(t, r)],
        "a body with GET": lambda t, r: [t.send("GET", "/health", b"x" * r.randrange(1, 99))],
        "another host": lambda t, r: [t.send("GET", "/info", host=host(r) or " ")],
        "a foreign form": lambda t, r: [t.upload(picture((9, 9, 9), "bar", r.randrange(99)),
                                                 f"Origin: {origin(r)}")],
        "a foreign page": lambda t, r: [t.post({"text": "a"}, f"Origin: {origin(r)}")],
        "a marked foreign page": lambda t, r: [t.post({"text": "a"}, "Sec-Fetch-Site: cross-site")],
        "a form as text": lambda t, r: [t.send("POST", "/search", b'{"text": "a"}',
                                               "Content-Type: text/plain")],
        "paths that climb": lambda t, r: [t.send("GET", climb(r))],
        "ids that climb": lambda t, r: [t.post({"item": climb(r)})],
        "deep nesting": lambda t, r: [t.post(deep(r))],
        "numbers beyond": lambda t, r: [t.post(b'{"text":"a","k":1e%d}' % r.randrange(300, 900))],
        "NaN and infinity": lambda t, r: [t.post(b'{"vector": [NaN, Infinity], "frame": "x"}')],
        "lone surrogates": lambda t, r: [t.post(b'{"text": "\\ud8%02d"}' % r.randrange(99))],
        "filters that inject": lambda t, r: [t.post({"text": "a", "where": injected(r)})],
        "other methods": lambda t, r: [t.send(m, "/search") for m in
                                       r.sample(("PUT", "DELETE", "PATCH", "TRACE", "CONNECT"), 2)],
        "torn pictures": lambda t, r: [t.upload(torn(r))],
        "a picture that bombs": lambda t, r: [t.upload(bomb(r))],
        "bytes at random": lambda t, r: [status(t.raw(r.randbytes(r.randrange(1, 4000)), 2.0))],
        "many heads": lambda t, r: [t.send("GET", "/health", b"", *(f"X-{n}: {'a' * 900}" for n in
                                                                    range(r.randrange(40, 120))))],
        "a stream of requests": lambda t, r: [status(t.raw(
            b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n" * r.randrange(50, 300), 2.0))],
        "answers not taken": lambda t, r: [untaken(t, r)],
    }  # fmt: skip


def two_ends(target: Target, rng: random.Random) -> int:
    """A body of two ends with a second request inside; 599 where that one was answered as well."""
    heads = [b"Content-Length: 4\r\n", b"Transfer-Encoding: chunked\r\n"]
    rng.shuffle(heads)
    inside = b"GET /info HTTP/1.1\r\nHost: localhost\r\n\r\n"
    found = target.raw(HEAD + b"".join(heads) + b"\r\n0\r\n\r\n" + inside)
    return 599 if found.count(b"HTTP/1.1 ") > 1 else status(found)


def injected(rng: random.Random) -> str:
    """A filter that says more than a filter."""
    values = ("colour=red'; drop table items", "__import__('os')=1", "`a`=1 or 1=1",
              "a=" + "(" * 500, "year>=2000)) union select", "colour=\x00", "=" * 300)  # fmt: skip
    return values[rng.randrange(len(values))]


def torn(rng: random.Random) -> bytes:
    """A picture with some bytes turned and its end cut off."""
    data = bytearray(picture((214, 40, 40), "cross", rng.randrange(99)))
    for _ in range(rng.randrange(1, 40)):
        data[rng.randrange(len(data))] ^= rng.randrange(1, 256)
    return bytes(data[: rng.randrange(1, len(data))])


def bomb(rng: random.Random) -> bytes:
    """A small file of a picture of very many pixels."""
    import io

    from PIL import Image

    out = io.BytesIO()
    Image.new("1", (9_000 + rng.randrange(2_000), 9_000)).save(out, "PNG")
    return out.getvalue()


def untaken(target: Target, rng: random.Random) -> int:
    """Many answers asked for and none taken, from many connections at once; then a plain search."""
    lines = []
    for _ in range(20):
        with contextlib.suppress(OSError):
            line = target.open()
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            line.settimeout(0.2)
            lines.append(line)
            line.sendall(b"GET /page/style.css HTTP/1.1\r\nHost: localhost\r\n\r\n" * 40)
    found = honest(target)
    for line in lines:
        line.close()
    return found


class Watch:
    """A host of this machine that counts who asks: cells name it, and nobody may."""

    def __init__(self) -> None:
        self.asked = 0
        self.line = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.line.getsockname()[1]}/secret.png"
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                line, _ = self.line.accept()
                self.asked += 1
                line.close()


def plant(folder: Path, url: str) -> None:
    """Cells that name a file beside the folder, one by its whole path, and an address here."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    secret = folder.parent / "secret.png"
    secret.write_bytes(picture((1, 2, 3), "bar"))
    rows = pq.read_table(folder / "items.parquet").to_pylist()
    for row in rows:
        row["picture"] = {"bytes": row["picture"], "path": None}
    places = {"outside": "../secret.png", "absolute": str(secret), "address": url}
    rows += [{**rows[0], "id": name, "picture": {"bytes": None, "path": place}}
             for name, place in places.items()]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), folder / "items.parquet")


def run(rounds: int, seed: int) -> dict[str, Any]:
    """Provoke everything and count."""
    counts: dict[str, Counter[int]] = {name: Counter() for name in abuses()}
    slow = 0
    with tempfile.TemporaryDirectory() as scratch:
        watch, folder = Watch(), build(Path(scratch) / "ws", each=1)
        plant(folder, watch.url)
        words = [word for each in LIMITS for word in ("--limit", each)]
        with serving(folder, *words, CONJOIN_TRUST_CODE="1") as service:
            target = Target(service.url)
            for turn in range(rounds):
                for place, (name, provoke) in enumerate(abuses().items()):
                    counts[name].update(provoke(target, random.Random(f"{seed}/{turn}/{place}")))
                slow += honest(target) != 200
            code, _, err = service.end()
    every = [code_ for one in counts.values() for code_ in one.elements()]
    return {
        "abuses": rounds * len(counts), "rounds": rounds, "seed": seed,
        "server_errors": sum(code_ >= 500 for code_ in every),
        "addresses_asked": watch.asked,
        "files_read": sum(counts[name][200] for name in ("paths that climb", "ids that climb")),
        "honest_refused_or_slow": slow + sum(code_ == -1 for code_ in every),
        "exit": code, "tracebacks": err.count("Traceback"),
        "statuses": {name: {str(k): v for k, v in sorted(one.items())}
                     for name, one in counts.items()},
    }  # fmt: skip


def main() -> None:
    """Provoke, print and write."""
    asks = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asks.add_argument("--rounds", type=int, default=10)
    asks.add_argument("--seed", type=int, default=0)
    asks.add_argument("--out", type=Path, default=RESULT)
    given = asks.parse_args()
    found = run(given.rounds, given.seed)
    for name, one in found["statuses"].items():
        print(f"{name:>24}: {one}")
    print({key: value for key, value in found.items() if key != "statuses"})
    given.out.write_text(json.dumps(found, indent=1) + "\n")
    bad = sum(found[key] for key in ("server_errors", "honest_refused_or_slow", "tracebacks",
                                     "addresses_asked", "files_read"))  # fmt: skip
    raise SystemExit(1 if bad else 0)


if __name__ == "__main__":
    main()
