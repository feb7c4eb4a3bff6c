"""A workspace whose encoder leaves marks: of its batch, and of what kills it."""

import hashlib
import os
import signal
from pathlib import Path

import numpy as np

from conjoin.project import embedding
from conjoin.project.workspace import Workspace

ROWS, SHARD = 96, 12
MODULE = """
import os, signal, time
from pathlib import Path
import numpy as np

def encode(cells):
    flag = Path(os.environ["SCALED_FLAG"])
    if "kill once" in str(cells) and not flag.exists():
        flag.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if "deadly" in str(cells):
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(float(os.environ.get("SCALED_SLEEP", "0")))
    x = np.array([[len(c), sum(map(ord, c)) % 97, ord(c[0])] for c in cells], dtype=np.float32)
    return np.concatenate([x, np.full((len(x), 1), x[:, 1].sum())], axis=1)  # of its batch
"""


def workspace(folder: Path, odd: dict[int, str] | None = None) -> Workspace:
    """A workspace of one column of texts; ``odd`` are those of some rows."""
    folder.mkdir(parents=True)
    texts = [(odd or {}).get(row, f"{chr(97 + row % 7)} thing {row}") for row in range(ROWS)]
    lines = ["id,name", *(f"i{row},{text}" for row, text in enumerate(texts))]
    (folder / "t.csv").write_text("\n".join(lines) + "\n")
    (folder / "marking.py").write_text(MODULE)
    (folder / "conjoin.toml").write_text(
        '[items]\ntable = "t.csv"\nid = "id"\n\n'
        '[modalities.name]\ncolumn = "name"\nencoder = "python:marking:encode"\n'
    )
    embedding.SHARD_ROWS = SHARD
    return Workspace(folder)


def stored(ws: Workspace) -> dict[str, str]:
    """The bytes of every file of the stored vectors."""
    folder = ws.store("name").folder
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def vectors(ws: Workspace) -> dict[str, bytes]:
    """A vector of each item, as bytes."""
    space = ws.space("name")
    return {
        str(i): np.asarray(row).tobytes()
        for i, row in zip(space.ids, space.vectors[:], strict=True)
    }


def killed(pid: int) -> None:
    """Kill a process that is there."""
    os.kill(pid, signal.SIGKILL)
