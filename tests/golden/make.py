"""Write the golden workspace of today's formats: ``python tests/golden/make.py``.

Run it once a release that changes a format, into a folder of its own; older ones stay, and
``tests/test_workspace.py`` opens them all.
"""

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from conjoin.project.fit import pipeline
from conjoin.project.workspace import Workspace

HERE = Path(__file__).resolve().parent

CONFIG = """\
version = 1

[items]
table = "items.parquet"
id = "id"

[modalities.a]
column = "a"
encoder = "builtin:vector"

[modalities.b]
column = "b"
encoder = "builtin:vector"

[split]
test = 0.25
"""


def make(folder: Path) -> None:
    """Lay a table of 32 items, embed, fit by ridge and build the index."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(32, 3))
    columns = {"id": [f"i{row}" for row in range(len(z))]}
    for name, dim in (("a", 5), ("b", 4)):
        mixed = z @ rng.normal(size=(3, dim)) + 0.05 * rng.normal(size=(len(z), dim))
        columns[name] = mixed.astype(np.float32).tolist()
    folder.mkdir(parents=True)
    pq.write_table(pa.table(columns), folder / "items.parquet")
    (folder / "conjoin.toml").write_text(CONFIG, encoding="utf-8")
    ws = Workspace(folder)
    for name in ("a", "b"):
        ws.embed(name)
    pipeline.fit(ws, method="ridge")
    # Hidden folders are easily left out of a commit.
    (folder / ".conjoin").rename(folder / "state")


if __name__ == "__main__":
    make(HERE / (sys.argv[1] if len(sys.argv) > 1 else "format-1"))
