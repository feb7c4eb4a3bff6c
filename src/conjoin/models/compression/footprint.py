"""What an encoder costs: measured in a process of its own, which holds nothing else."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from conjoin.errors import ConjoinError

#: Times the cells are embedded; the fastest counts.
REPEATS = 3
#: Seconds after which a measurement is given up.
DEADLINE = 600.0


@dataclass(frozen=True)
class Footprint:
    """What an encoder costs on this machine, on one thread.

    Parameters
    ----------
    rate : cells a CPU-second, the fastest of a few passes over the same cells.
    memory : peak of the process's resident memory, in bytes, libraries included.
    size : bytes of the files it opens that are its own.
    """

    rate: float
    memory: int
    size: int


def footprint(uri: str, cells: Sequence[str]) -> Footprint:
    """Open an encoder in another process and embed cells there.

    Parameters
    ----------
    cells : texts, or paths of files.

    Raises
    ------
    ConjoinError : it cannot be opened or run; the reason is the process's last line.
    """
    environment = dict(os.environ)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        environment[name] = "1"
    try:
        ran = subprocess.run(
            [sys.executable, "-m", "conjoin.models.compression.footprint"],
            input=json.dumps({"uri": uri, "cells": list(cells)}), capture_output=True, text=True,
            env=environment, timeout=DEADLINE, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise ConjoinError(uri, f"took over {DEADLINE:.0f} s to measure", "leave it out") from None
    if ran.returncode:
        last = (ran.stderr.strip().splitlines() or [f"exit {ran.returncode}"])[-1]
        raise ConjoinError(uri, f"cannot be run: {last}", "leave it out")
    return Footprint(**json.loads(ran.stdout.splitlines()[-1]))


def size_of(uri: str) -> int:
    """Bytes of the folder a URI names, or of the folder of the file; 0 of what packages bring.

    >>> size_of("builtin:text")
    0
    """
    scheme, _, rest = uri.partition(":")
    path = Path(rest.partition("?")[0])
    if scheme not in ("st", "hf", "onnx") or not path.exists():
        return 0
    folder = path if path.is_dir() else path.parent
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _measure(uri: str, cells: Sequence[Any]) -> Footprint:
    from conjoin.encoders.open import open_encoder
    from conjoin.encoders.run import encode

    encoder = open_encoder(uri)
    encode(encoder, cells[:8])
    best = float("inf")
    for _ in range(REPEATS):
        clock = time.process_time()
        encode(encoder, cells)
        best = min(best, time.process_time() - clock)
    return Footprint(len(cells) / max(best, 1e-9), _peak(), size_of(uri))


def _peak() -> int:
    """Bytes of memory this process held at most.

    What ``getrusage`` tells begins, on Linux, with what the parent held when it forked.
    """
    status = Path("/proc/self/status")
    if status.exists():
        found = dict(line.split(":", 1) for line in status.read_text().splitlines())
        if "VmHWM" in found:
            return int(found["VmHWM"].split()[0]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    sys.stdout.write(json.dumps(asdict(_measure(asked["uri"], asked["cells"]))) + "\n")
