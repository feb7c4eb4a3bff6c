"""Load on ``conjoin serve``: throughput, latencies and memory, and whether anything was lost.

Starts the service on a workspace, asks it from several clients over kept connections for as long
as is said, has it open its index anew in the middle (SIGHUP), and ends it by SIGTERM under load.
An answer other than 200, a torn answer, and a lost connection count as errors.

    python benchmarks/serve.py WORKSPACE --seconds 600 --out benchmarks/results/serve.json
"""

import argparse
import http.client
import json
import os
import platform
import random
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

#: What is asked, and how often of a hundred times.
MIX = {"text": 70, "text, filtered": 8, "item": 10, "composed": 4, "picture": 3, "media": 5}


@dataclass
class Seen:
    """What the clients saw, by kind of request: seconds each, and errors."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: list[str] = field(default_factory=list)
    going: threading.Event = field(default_factory=threading.Event)


def client(url: str, seed: int, known: dict, seen: Seen) -> None:
    """Ask one thing after the other until told to stop."""
    draw = random.Random(seed)
    where = urlsplit(url)
    line = http.client.HTTPConnection(where.hostname, where.port, timeout=60)
    while seen.going.is_set():
        kind = draw.choices(list(MIX), list(MIX.values()))[0]
        method, path, body, headers = request(kind, draw, known)
        began = time.perf_counter()
        try:
            line.request(method, path, body, headers)
            answer = line.getresponse()
            data = answer.read()
            if answer.status != 200:
                seen.errors.append(f"{kind}: {answer.status} {data[:200]!r}")
            elif method == "POST" and not json.loads(data)["lists"]:
                seen.errors.append(f"{kind}: no list")
        except (OSError, http.client.HTTPException, ValueError) as error:
            seen.errors.append(f"{kind}: {type(error).__name__} {error}")
            line.close()
        seen.seconds[kind].append(time.perf_counter() - began)
    line.close()


def request(kind: str, draw: random.Random, known: dict) -> tuple[str, str, bytes | None, dict]:
    """One request of a kind."""
    one, other = draw.choice(known["items"]), draw.choice(known["items"])
    if kind == "media":
        media = [held["media"] for held in one["modalities"].values()]
        return "GET", draw.choice(media), None, {}
    if kind == "picture":
        data = known["picture"]
        head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        form = {"Content-Type": "multipart/form-data; boundary=b"}
        return "POST", "/search/upload", head + data + b"\r\n--b--\r\n", form
    body: dict = {"k": 10, "text": one["label"]}
    if kind == "text, filtered" and known["filter"]:
        body["where"] = known["filter"]
    if kind == "item":
        body = {"k": 10, "item": one["id"]}
    if kind == "composed":
        terms = [{"text": one["label"]}, {"item": other["id"], "weight": -0.5}]
        body = {"k": 10, "terms": terms}
    return "POST", "/search", json.dumps(body).encode(), {"Content-Type": "application/json"}


def get(url: str, path: str) -> bytes:
    """One answer."""
    where = urlsplit(url)
    line = http.client.HTTPConnection(where.hostname, where.port, timeout=60)
    line.request("GET", path)
    data = line.getresponse().read()
    line.close()
    return data


def learned(url: str) -> dict:
    """What clients need to know to ask."""
    info = json.loads(get(url, "/info"))
    items = json.loads(get(url, "/items?sample=100"))["items"]
    few = next((c for c in info["columns"] if c.get("values")), None)
    image = next(
        held["media"] for one in items for held in one["modalities"].values()
        if held["kind"] == "image"
    )  # fmt: skip
    condition = f"{few['name']}='{few['values'][0]}'" if few else None
    return {"info": info, "items": items, "filter": condition, "picture": get(url, image)}


def memory(pid: int) -> float:
    """Megabytes of a process and those it started, shared pages divided among their users."""
    total = 0
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        pids = [pid, *map(int, file.read().split())]
    for each in pids:
        try:
            with open(f"/proc/{each}/smaps_rollup") as file:
                total += next(int(row.split()[1]) for row in file if row.startswith("Pss:"))
        except (OSError, StopIteration):
            continue
    return total / 1024


def share(values: list[float], part: float) -> float:
    """A quantile in milliseconds."""
    ordered = sorted(values)
    return round(1000 * ordered[min(len(ordered) - 1, int(part * len(ordered)))], 2)


def figures(values: list[float]) -> dict:
    """What is told of the latencies of one kind."""
    return {
        "requests": len(values), "p50_ms": share(values, 0.5), "p90_ms": share(values, 0.9),
        "p99_ms": share(values, 0.99), "max_ms": share(values, 1.0),
    }  # fmt: skip


def run(asked: argparse.Namespace) -> dict:
    """Serve, ask, and measure."""
    words = [sys.executable, "-m", "conjoin.cli.main", "serve", "-w", str(asked.workspace),
             "--port", "0", "--json", "--workers", str(asked.workers)]  # fmt: skip
    began = time.perf_counter()
    served = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert served.stdout is not None
    told = json.loads(served.stdout.readline())
    ready, url = time.perf_counter() - began, told["url"]
    known, seen, held = learned(url), Seen(), []
    seen.going.set()
    clients = [
        threading.Thread(target=client, args=(url, seed, known, seen))
        for seed in range(asked.clients)
    ]
    began = time.perf_counter()
    for each in clients:
        each.start()
    reloaded = False
    while (passed := time.perf_counter() - began) < asked.seconds:
        time.sleep(1)
        held.append(memory(served.pid))
        if not reloaded and passed > asked.seconds / 2:
            os.kill(served.pid, signal.SIGHUP)
            reloaded = True
    metrics = get(url, "/metrics").decode()
    seen.going.clear()
    for each in clients:
        each.join()
    seconds = time.perf_counter() - began
    served.send_signal(signal.SIGTERM)
    code = served.wait(60)
    every = [value for values in seen.seconds.values() for value in values]
    count = lambda name: float(  # noqa: E731
        next(row for row in metrics.splitlines() if row.startswith(name)).split()[1]
    )
    early = held[len(held) // 10 : len(held) // 10 + 30] or held
    return {
        "date": datetime.now(UTC).date().isoformat(), "python": platform.python_version(),
        "cores": os.cpu_count(), "load_at_end": os.getloadavg()[0], "workers": asked.workers,
        "clients": asked.clients, "seconds": round(seconds, 1), "mix": MIX,
        "items": known["info"]["items"], "dim": known["info"]["dim"],
        "startup_s": round(ready, 1), "exit_code": code,
        "requests": len(every), "errors": len(seen.errors), "first_errors": seen.errors[:5],
        "requests_per_s": round(len(every) / seconds, 1),
        "all": figures(every), "kinds": {k: figures(v) for k, v in sorted(seen.seconds.items())},
        "batch_mean": round(count("conjoin_queries_total") / count("conjoin_batch_size_count"), 2),
        "reloads": count("conjoin_reloads_total"),
        "memory_mb": {"early": round(sum(early) / len(early), 1), "end": round(held[-1], 1),
                      "most": round(max(held), 1)},
    }  # fmt: skip


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("workspace", type=Path)
    ask.add_argument("--seconds", type=float, default=600)
    ask.add_argument("--clients", type=int, default=8)
    ask.add_argument("--workers", type=int, default=1)
    ask.add_argument("--out", type=Path)
    asked = ask.parse_args()
    found = run(asked)
    text = json.dumps(found, indent=1)
    print(text)
    if asked.out:
        asked.out.write_text(text + "\n")
    sys.exit(1 if found["errors"] or found["exit_code"] else 0)


if __name__ == "__main__":
    main()
