"""Does what the tutorials say, as their reader would; run by ``test_tutorials.py`` as a process.

A process of its own, so that what a reader waits for is not slowed by the checks of the tests.
"""

import contextlib
import io
import json
import re
import runpy
import shlex
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pandas
import pyarrow as pa
import pyarrow.parquet as pq

import conjoin
from conjoin.cli.main import main
from conjoin.retrieval.hubness import choose as decide
from conjoin.retrieval.hubness.csls import CSLS
from conjoin.selection import choose

ROOT = Path(__file__).resolve().parents[1]
#: Rows of each group that the tutorials' catalogue takes, and items that pages name.
EACH = 38
GROUPS = ("food-drink", "animals-nature", "objects")
NAMED = ("1f34e", "1f34f")
BLOCK = re.compile(
    r"^```(sh|python)\n(.*?)^```\n(<!-- shown only: [^\n]+ -->)?", re.MULTILINE | re.DOTALL
)
#: What makes a command of a page short here.
SHORTER = {"--budget": "10s", "--more": "20", "--items": "3", "--method": "procrustes"}


def blocks(page: str) -> list[tuple[str, str]]:
    """Language and text of the blocks that are run."""
    text = (ROOT / "docs" / "tutorials" / f"{page}.md").read_text(encoding="utf-8")
    return [(kind, body) for kind, body, shown in BLOCK.findall(text) if not shown]


def commands(body: str) -> list[str]:
    """The commands of a shell block: lines that go on, and here-documents, are one."""
    lines, found = body.replace("\\\n", " ").splitlines(), []
    while lines:
        line = lines.pop(0)
        if mark := re.search(r"<<'(\w+)'", line):
            end = lines.index(mark[1])
            line, lines = "\n".join([line, *lines[: end + 1]]), lines[end + 1 :]
        if line.strip():
            found.append(line)
    return found


def part(folder: Path) -> Path:
    """A part of the sample."""
    whole = pq.read_table(conjoin.sample_path())
    frame = pandas.DataFrame({k: whole.column(k).to_pylist() for k in ("id", "group")})
    ids = {name for group in GROUPS for name in frame[frame["group"] == group]["id"][:EACH]}
    kept = [name in ids or name in NAMED for name in frame["id"]]
    pq.write_table(whole.filter(pa.array(kept)), folder / "sample.parquet")
    return folder / "sample.parquet"


class Reader:
    """Reads one page: saves its scripts, runs its commands."""

    def __init__(self, ground: Path):
        self.ground = self.here = ground
        self.said = io.StringIO()
        self.service = None
        self.url = ""

    def read(self, page: str) -> None:
        """All blocks of a page, in order."""
        for kind, body in blocks(page):
            if kind == "python":  # a script's first line is its name
                name = re.match(r"# (\w+\.py)\n", body)
                (self.ground / name[1]).write_text(body, encoding="utf-8")
                continue
            for line in commands(body):
                began = time.process_time()
                self.do(line)
                spent = time.process_time() - began
                sys.stderr.write(f"{spent:6.1f} s  {page}: {line.splitlines()[0][:70]}\n")

    def do(self, line: str) -> None:
        """One command."""
        words = ["cat"] if "<<" in line else shlex.split(line)
        if words[0] == "cd":
            self.here = (self.here / words[1]).resolve()
        elif words[:2] == ["conjoin", "serve"]:
            self.serve()
        elif words[0] == "curl":
            self.post(words[words.index("-d") + 1])
        elif words[0] == "conjoin":
            self.conjoin(words[1:])
        elif words[0] == "python" and words[1] != "try_it.py":
            sys.argv = words[1:]
            with contextlib.chdir(self.here):
                runpy.run_path(words[1], run_name="__main__")
        else:
            self.shell(line)

    def conjoin(self, words: list[str]) -> None:
        """A command of conjoin, within this process."""
        words, into = (words[:-2], words[-1]) if ">" in words else (words, None)
        for option, value in SHORTER.items():
            if option in words and words[0] != "claims":
                words[words.index(option) + 1] = value
        sys.argv = ["conjoin", *words]
        out, code = io.StringIO(), 0
        with contextlib.chdir(self.here), contextlib.redirect_stdout(out):
            try:
                main()
            except SystemExit as stop:
                code = int(stop.code or 0)
        if code:
            raise SystemExit(f"conjoin {shlex.join(words)} ended with {code}: {out.getvalue()}")
        self.said.write(out.getvalue())
        if into:
            (self.here / into).write_text(out.getvalue(), encoding="utf-8")

    def shell(self, line: str) -> None:
        """Any other command."""
        line = line.replace("../conjoin", shlex.quote(str(ROOT)))
        line = re.sub(r"^python\b", lambda _: f"{shlex.quote(sys.executable)} -B", line)
        done = subprocess.run(
            ["bash", "-ec", line], cwd=self.here, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"{line}: {done.stdout}{done.stderr}")
        self.said.write(done.stdout)

    def serve(self) -> None:
        """A service on a free port, once it answers."""
        code = "import sys; from conjoin.cli.main import main; sys.argv[0] = 'conjoin'; main()"
        self.service = subprocess.Popen(
            [sys.executable, "-c", code, "serve", "--port", "0", "--json"],
            cwd=self.here, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        self.url = re.search(r"http://[\d.]+:\d+", self.service.stdout.readline())[0]

    def post(self, body: str) -> None:
        """What curl does."""
        kind = {"Content-Type": "application/json"}
        asked = urllib.request.Request(f"{self.url}/search", body.encode(), kind)
        with urllib.request.urlopen(asked, timeout=120) as answer:
            self.said.write(answer.read().decode())

    def end(self) -> None:
        """Stop the service."""
        if self.service is not None:
            self.service.terminate()
            self.service.wait(60)


def read_all(ground: Path, pages: list[str]) -> None:
    """Read pages, and write what they said to ``said.json``."""
    few = part(ground)
    conjoin.sample_path = lambda: few
    decide.candidates = lambda: [CSLS()]
    # CCA of three wide views takes seconds.
    choose.simple = lambda kind: ["identity", "ridge", "procrustes"]
    said = {}
    for page in pages:
        reader = Reader(ground)
        try:
            reader.read(page)
        finally:
            reader.end()
        said[page] = reader.said.getvalue()
        (ground / "said.json").write_text(json.dumps(said), encoding="utf-8")


if __name__ == "__main__":
    read_all(Path(sys.argv[1]), sys.argv[2:])
