"""Counters and histograms in Prometheus' text form, shared by the workers through one file.

The file has no name: it is there as long as a process holds it open, and nothing is left over
however they end. Every worker owns a row of a mapped array and writes only there; whichever is
asked sums the rows. A worker's row is held by a file lock, which dies with it: the worker started
in its place goes on counting where it stopped, so counters never fall.
"""

import math
import mmap
import os
import tempfile
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

#: Upper ends of the histogram of seconds, and of that of batch sizes.
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
SIZES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)

#: Routes that are told apart; everything else is ``other``.
ROUTES = (
    "/", "/page", "/search", "/search/upload", "/embed", "/embed/upload", "/explain", "/ask",
    "/items", "/items/{item}", "/items/{item}/media/{modality}", "/info", "/health", "/metrics",
    "/openapi.json", "other",
)  # fmt: skip
CODES = ("2xx", "3xx", "4xx", "5xx")

#: Single figures: name, type, meaning.
FIGURES = (
    ("conjoin_queries_total", "counter", "Queries answered."),
    ("conjoin_nothing_total", "counter", "Queries told that nothing relevant was found."),
    ("conjoin_encode_seconds_total", "counter", "Seconds spent encoding queries."),
    ("conjoin_search_seconds_total", "counter", "Seconds spent in the index."),
    ("conjoin_busy_total", "counter", "Queries refused because too many were waiting."),
    ("conjoin_reloads_total", "counter", "Changes to a new index."),
    ("conjoin_reload_failures_total", "counter", "New indexes that could not be opened."),
    ("conjoin_requests_in_flight", "gauge", "Requests being answered."),
    ("conjoin_queries_waiting", "gauge", "Queries waiting for the encoder."),
    ("conjoin_workers_ready", "gauge", "Workers that answer."),
    ("conjoin_resident_bytes", "gauge", "Resident memory of all workers; shared pages count each "
     "time."),
)  # fmt: skip
#: Gauges that end with their worker.
GAUGES = tuple(name for name, kind, _ in FIGURES if kind == "gauge")


def _layout() -> dict[tuple[str, ...], int]:
    names: list[tuple[str, ...]] = [(name,) for name, _, _ in FIGURES]
    names += [("requests", route, code) for route in ROUTES for code in CODES]
    names += [("seconds", route, str(at)) for route in ROUTES for at in range(len(SECONDS) + 2)]
    names += [("sizes", str(at)) for at in range(len(SIZES) + 2)]
    return {name: place for place, name in enumerate(names)}


_PLACES = _layout()


class Sheet:
    """A file without a name in which every worker has a row.

    It goes to a worker as an open file: pickled for a process that is being started.

    Parameters
    ----------
    handle : the open file.
    workers : its rows.
    """

    def __init__(self, handle: int, workers: int):
        self.handle, self.workers = handle, workers

    @classmethod
    def create(cls, workers: int) -> "Sheet":
        """A new one, of zeros."""
        handle, name = tempfile.mkstemp(prefix="conjoin-metrics-")
        os.unlink(name)
        os.truncate(handle, workers * len(_PLACES) * 8)
        return cls(handle, workers)

    def __reduce__(self) -> Any:
        from multiprocessing.reduction import DupFd

        return _handed, (DupFd(self.handle), self.workers)

    def rows(self) -> np.ndarray:
        """``[workers, figures]``, shared by all who hold it."""
        whole = mmap.mmap(self.handle, self.workers * len(_PLACES) * 8)
        return np.frombuffer(whole, dtype=np.float64).reshape(self.workers, len(_PLACES))

    def claim(self) -> int:
        """A row that no living worker holds, held until this process ends."""
        import fcntl

        for row in range(self.workers):
            try:
                fcntl.lockf(self.handle, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, row)
            except OSError:
                continue
            return row
        return self.workers - 1  # one too many, between an old worker's end and a new one's

    def ready(self) -> int:
        """How many workers answer."""
        return int(self.rows()[:, _PLACES["conjoin_workers_ready",]].sum())

    def close(self) -> None:
        """Let go of it."""
        os.close(self.handle)


def _handed(file: Any, workers: int) -> Sheet:
    return Sheet(file.detach(), workers)


class Metrics:
    """The figures of one worker, and the sum of all.

    Parameters
    ----------
    sheet : the shared file; ``None`` keeps the figures in this process.
    """

    def __init__(self, sheet: Sheet | None = None):
        self._sheet = sheet
        if sheet is None:
            self._rows = np.zeros((1, len(_PLACES)))
            self._mine = self._rows[0]
            return
        self._rows = sheet.rows()
        self._mine = self._rows[sheet.claim()]
        for name in GAUGES:
            self.set(name, 0)

    def add(self, name: str, amount: float = 1.0) -> None:
        """Add to a single figure."""
        self._mine[_PLACES[name,]] += amount

    def set(self, name: str, value: float) -> None:
        """Set a gauge."""
        self._mine[_PLACES[name,]] = value

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count an answered request."""
        route = route if route in ROUTES else "other"
        code = f"{min(max(status // 100, 2), 5)}xx"
        self._mine[_PLACES["requests", route, code]] += 1
        self._observe(("seconds", route), SECONDS, seconds)

    def batch(self, size: int) -> None:
        """Count a batch of queries."""
        self._observe(("sizes",), SIZES, size)

    def _observe(self, name: tuple[str, ...], ends: Sequence[float], value: float) -> None:
        self._mine[_PLACES[*name, str(bisect_left(ends, value))]] += 1
        self._mine[_PLACES[*name, str(len(ends) + 1)]] += value

    def figure(self, name: str) -> float:
        """A single figure over all workers."""
        return float(self._rows[:, _PLACES[name,]].sum())

    def text(self, items: int = 0, info: str = "") -> str:
        """Everything in the text form that Prometheus reads."""
        self.set("conjoin_resident_bytes", resident())
        total = np.asarray(self._rows.sum(axis=0))
        value = lambda *name: float(total[_PLACES[name]])  # noqa: E731
        lines = []
        for name, kind, meaning in FIGURES:
            lines += [
                f"# HELP {name} {meaning}",
                f"# TYPE {name} {kind}",
                f"{name} {_number(value(name))}",
            ]
        lines += ["# HELP conjoin_requests_total Requests answered.",
                  "# TYPE conjoin_requests_total counter"]  # fmt: skip
        for route in ROUTES:
            for code in CODES:
                if count := value("requests", route, code):
                    labels = f'route="{route}",code="{code}"'
                    lines.append(f"conjoin_requests_total{{{labels}}} {_number(count)}")
        lines += ["# HELP conjoin_request_seconds Seconds from a request's head to the answer.",
                  "# TYPE conjoin_request_seconds histogram"]  # fmt: skip
        for route in ROUTES:
            counts = [value("seconds", route, str(at)) for at in range(len(SECONDS) + 2)]
            if sum(counts[:-1]):
                lines += _histogram("conjoin_request_seconds", f'route="{route}",', SECONDS, counts)
        lines += ["# HELP conjoin_batch_size Queries encoded and searched together.",
                  "# TYPE conjoin_batch_size histogram"]  # fmt: skip
        counts = [value("sizes", str(at)) for at in range(len(SIZES) + 2)]
        lines += _histogram("conjoin_batch_size", "", SIZES, counts)
        lines += ["# HELP conjoin_items Items served.", "# TYPE conjoin_items gauge",
                  f"conjoin_items {items}",
                  "# HELP conjoin_index_info The index in use.", "# TYPE conjoin_index_info gauge",
                  f'conjoin_index_info{{index="{info}"}} 1']  # fmt: skip
        return "\n".join(lines) + "\n"


def _histogram(name: str, labels: str, ends: Sequence[float], counts: list[float]) -> list[str]:
    lines, below = [], 0.0
    for end, count in zip([*map(_number, ends), "+Inf"], counts, strict=False):
        below += count
        lines.append(f'{name}_bucket{{{labels}le="{end}"}} {_number(below)}')
    held = f"{{{labels.rstrip(',')}}}" if labels else ""
    return [*lines, f"{name}_sum{held} {counts[-1]:.6g}", f"{name}_count{held} {_number(below)}"]


def _number(value: float) -> str:
    return str(int(value)) if math.isfinite(value) and value == int(value) else repr(value)


def resident() -> int:
    """Bytes of resident memory of this process; 0 where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
