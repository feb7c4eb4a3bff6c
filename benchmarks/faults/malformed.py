"""Malformed configurations and tables, in process: one line each, no traceback, no hang.

``python benchmarks/faults/malformed.py`` runs 600 configurations and 300 tables, each made by
seeded damage to a sound one, through the command line's own entry, and writes what came of them to
``benchmarks/results/malformed.json``. A case is a *defect* where the exit code is 70, more than one
line is said, or anything but ``SystemExit`` comes out; it *hangs* where it takes more than 20 s.
"""

import argparse
import contextlib
import io
import json
import os
import random
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq

from conjoin.cli.main import main

SECONDS = 20
ROWS = 40
WHOLE = {"configurations": 600, "tables": 300}
RESULT = Path(__file__).parent.parent / "results" / "malformed.json"

CONFIG = """version = 1

[items]
table = "items.parquet"
id = "id"

[modalities.text]
column = "caption"
encoder = "builtin:chargram"
parts = "each"

[modalities.v]
column = "v"
encoder = "builtin:vector"

[pairs.given]
table = "pairs.csv"
left = "text"
right = "v"
weight = "w"

[split]
test = 0.25
group = "group"
seed = 0

[fit]
method = "ridge"
hub = "text"

[fit.fields]
lam = 0.1

[index]
storage = "float32"
prefix = 4
funnel = false
engine = "auto"
"""

#: What a value or a line is replaced by.
ODD = (
    '"x"', "1", "-1", "0", "0.0", "1e400", "nan", "inf", "-inf", "true", "[]", "[[]]", "{}", '""',
    '"\\u0000"', '" "', "[1, 2]", '["caption", "v"]', '"../../../etc/passwd"', '"*.parquet"',
    str(10**30), "-" + str(10**30), "1979-05-27", "1979-05-27T07:32:00Z", '"caption"', '"text"',
    '{a = {b = {c = "d"}}}', '"\\U0001F600"', '"é"', "[" * 200 + "]" * 200,
    '"a\\nb"',
    "'''many\nlines'''", '"builtin:nothing"', '"python:os:system"', '"hf:"', '"builtin:text?x"',
    '"items.parquet/items"', '"."', '"/"', '"/dev/null"', '"nul\\u0000.csv"',
    '"' + "x" * 5000 + '"',
)  # fmt: skip


def configurations(count: int, seed: int) -> Iterator[bytes]:
    """Sound configurations with one to three damages each."""
    rng = random.Random(seed)
    for _ in range(count):
        data = CONFIG.encode()
        for _ in range(rng.choice((1, 1, 2, 3))):
            data = rng.choice((_value, _value, _value, _key, _line, _bytes, _structure))(rng, data)
        yield data


def _lines(data: bytes) -> list[str]:
    return data.decode("utf-8", "replace").split("\n")


def _value(rng: random.Random, data: bytes) -> bytes:
    lines = _lines(data)
    places = [at for at, line in enumerate(lines) if " = " in line]
    if places:
        at = rng.choice(places)
        lines[at] = f"{lines[at].split(' = ')[0]} = {rng.choice(ODD)}"
    return "\n".join(lines).encode()


def _key(rng: random.Random, data: bytes) -> bytes:
    lines = _lines(data)
    at = rng.randrange(len(lines))
    odd = ("kind", '""', "a.b.c", '"é\\u0000"', "lam", "items", "version", '"' + "k" * 3000 + '"')
    lines[at] = f"{rng.choice(odd)} = {rng.choice(ODD)}"
    return "\n".join(lines).encode()


def _line(rng: random.Random, data: bytes) -> bytes:
    lines = _lines(data)
    at, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    how = rng.randrange(4)
    if how == 0:
        del lines[at]
    elif how == 1:
        lines.insert(at, lines[other])
    elif how == 2:
        lines[at], lines[other] = lines[other], lines[at]
    else:
        lines = lines[:at]
    return "\n".join(lines).encode()


def _bytes(rng: random.Random, data: bytes) -> bytes:
    if not data:
        return b"\xff"
    at = rng.randrange(len(data))
    how = rng.randrange(5)
    if how == 0:
        return data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]
    if how == 1:
        return data[:at] + rng.choice((b"\0", b"\xff\xfe", b"\xe9", b"\r", b'"', b"]")) + data[at:]
    if how == 2:
        return data[:at]
    if how == 3:
        return data.decode("utf-8", "replace").encode(rng.choice(("utf-16", "utf-32", "utf-8-sig")))
    return bytes(rng.randrange(256) for _ in range(rng.randrange(200)))


def _structure(rng: random.Random, data: bytes) -> bytes:
    more = (
        "\n[items.more]\na = 1\n", "\n[[modalities]]\nname = 1\n",
        '\n["mod.é"]\nx = 1\n',
        "\n[pairs.x]\nleft = \"text\"\nright = \"text\"\n",
        "\nx = " + "[" * 3000 + "]" * 3000 + "\n",
        "\n[fit.candidates]\n",
        "\n[modalities.'../up']\ncolumn = 'v'\nencoder = 'builtin:vector'\n",
        "\n[modalities.con]\ncolumn = ['v', 'caption']\nencoder = 'builtin:table'\n",
        "\nx = " + "{a = " * 2000 + "1" + "}" * 2000 + "\n", "\n[" + ".".join("a" * 1500) + "]\n",
    )  # fmt: skip
    return data + rng.choice(more).encode()


def sound(folder: Path) -> pa.Table:
    """The table that sound configurations are of."""
    rng = np.random.default_rng(0)
    table = pa.table(
        {
            "id": [f"i{row}" for row in range(ROWS)],
            "caption": [f"a caption of number {row}" for row in range(ROWS)],
            "v": rng.normal(size=(ROWS, 6)).tolist(),
            "group": [f"g{row // 2}" for row in range(ROWS)],
        }
    )
    pq.write_table(table, folder / "items.parquet")
    lines = "".join(f"i{row},i{row},{1 + row % 3}\n" for row in range(ROWS))
    (folder / "pairs.csv").write_text(f"text,v,w\n{lines}")
    return table


def tables(count: int, seed: int, folder: Path) -> Iterator[Path]:
    """Files of every kind with damage, each in a folder of its own."""
    rng = random.Random(seed)
    kinds = (_csv, _csv, _json_lines, _json, _parquet, _arrow, _workbook, _folder)
    for number in range(count):
        where = folder / f"t{number}"
        where.mkdir()
        yield kinds[number % len(kinds)](rng, where)


def _damaged(rng: random.Random, data: bytes) -> bytes:
    for _ in range(rng.choice((0, 0, 1, 2))):
        data = _bytes(rng, data)
    return data


CELLS = (
    "a cat", "", " ", "NA", "1", "1.5", "1e400", str(10**30), "007", "true", "null", "x\0y",
    "\ud83d",
    "a.png", " b.png", "data:image/png;base64,AAAA", "https://a.org/x", "[1,2,3,4]", "[[1],[2]]",
    "'", '"', ";", "\t", "|", "\r", "\n", "é", "😀", "../../x", "x" * 3000, "{", "=1+1", "-", "nan",
)  # fmt: skip


def _cell(rng: random.Random) -> str:
    return rng.choice(CELLS)


def _csv(rng: random.Random, where: Path) -> Path:
    separator = rng.choice((",", ";", "\t", "|", ",", " "))
    width = rng.randrange(1, 5)
    rows = [[rng.choice(("id", "caption", "image", "", "a b", "é"))] + [
        f"c{at}" for at in range(1, width)]]  # fmt: skip
    for row in range(rng.randrange(0, 30)):
        cells = [f"k{row}", *(_cell(rng) for _ in range(1, width))]
        quoted = [
            '"' + one.replace('"', '""') + '"' if rng.random() < 0.6 else one for one in cells
        ]
        rows.append(quoted[: width + rng.choice((0, 0, 0, 0, 0, 0, 0, 0, 0, -1))])
    text = rng.choice(("\n", "\r\n", "\r")).join(separator.join(row) for row in rows)
    encoding = rng.choice(("utf-8", "latin-1", "utf-16", "utf-8-sig", "cp1251"))
    path = where / rng.choice(("t.csv", "t.tsv", "T.CSV", "t é.csv", "t[1].csv", "t.psv"))
    path.write_bytes(_damaged(rng, text.encode(encoding, "replace")))
    return path


def _value_of(rng: random.Random, depth: int = 0) -> object:
    plain = (None, 1, 2.5, True, 10**30, -(2**63), float("nan"), *CELLS)
    if depth < 3 and rng.random() < 0.2:
        some = [_value_of(rng, depth + 1) for _ in range(rng.randrange(3))]
        return some if rng.random() < 0.5 else {rng.choice(("a", "bytes", "path", "")): some}
    return rng.choice(plain)


def _records(rng: random.Random) -> list[dict[str, object]]:
    names = rng.sample(("id", "caption", "image", "v", "", "\ud800", "a\nb", "split", "group"), 4)
    fixed = {name: _value_of(rng) for name in names}
    return [
        {name: (fixed[name] if rng.random() < 0.7 else _value_of(rng))
         for name in names if rng.random() < 0.9}
        | {"id": rng.choice((row, f"k{row}", {"a": row}, f"k{row}"))}
        for row in range(rng.randrange(0, 25))
    ]  # fmt: skip


def _json_lines(rng: random.Random, where: Path) -> Path:
    path = where / "t.jsonl"
    lines = [json.dumps(row) for row in _records(rng)]
    if rng.random() < 0.2:
        lines.append(rng.choice(("[" * 100_000, "{", "1", "null", "[]", '{"a":' * 5000)))
    path.write_bytes(_damaged(rng, "\n".join(lines).encode()))
    return path


def _json(rng: random.Random, where: Path) -> Path:
    rows = _records(rng)
    forms = (
        rows, {"data": rows}, {"a": [1, 2], "b": [1]}, {"columns": ["a"], "data": [[1, 2]]}, 3,
        None,
        {}, [], [[]], {"a": {"0": 1}, "b": {}}, [1], {"x": rows, "y": rows},
        {name: [row.get(name) for row in rows] for name in ("id", "caption")},
    )  # fmt: skip
    path = where / "t.json"
    path.write_bytes(_damaged(rng, json.dumps(rng.choice(forms)).encode()))
    return path


def _frame(rng: random.Random) -> pa.Table:
    count = rng.randrange(0, 20)
    made = (
        pa.array([f"k{row}" for row in range(count)]), pa.array(range(count)), pa.nulls(count),
        pa.array([rng.choice(("a", None, " ", "a\0b")) for _ in range(count)], pa.string()),
        pa.array([[1.0, None]] * count, pa.list_(pa.float64())), pa.array([b"\x89PNG"] * count),
        pa.array([{"a": row} for row in range(count)]) if count else pa.nulls(0),
        pa.array([["x", None], []] * (count // 2) + [None] * (count % 2), pa.list_(pa.string())),
        pa.array([row % 2 == 0 for row in range(count)]), pa.array([float("nan")] * count),
        pa.array([row * 10**6 for row in range(count)], pa.timestamp("us")),
        pa.array(["a"] * count).dictionary_encode(),
        pa.array([[[1.0], [2.0, 3.0]]] * count, pa.list_(pa.list_(pa.float64()))),
        pa.array([[("k", 1)]] * count, pa.map_(pa.string(), pa.int64())),
        pa.array(["1.5"] * count).cast(pa.decimal128(9, 2)) if count else pa.nulls(0),
    )  # fmt: skip
    names = ("id", "caption", "", "é", "a\nb", "split", "group", "photo", "id", "x.y", "s p")
    width = rng.randrange(1, 6)
    return pa.table([rng.choice(made) for _ in range(width)], names=rng.sample(names, width))


def _parquet(rng: random.Random, where: Path) -> Path:
    path = where / "t.parquet"
    pq.write_table(_frame(rng), path)
    path.write_bytes(_damaged(rng, path.read_bytes()) if rng.random() < 0.5 else path.read_bytes())
    return path


def _arrow(rng: random.Random, where: Path) -> Path:
    path = where / "t.arrow"
    feather.write_feather(_frame(rng), path, compression="uncompressed")
    path.write_bytes(_damaged(rng, path.read_bytes()) if rng.random() < 0.3 else path.read_bytes())
    return path


def _workbook(rng: random.Random, where: Path) -> Path:
    import openpyxl

    book = openpyxl.Workbook()
    for _ in range(rng.randrange(0, 4)):
        clean = [one for one in CELLS if one.isprintable() and not one.startswith("=")]
        book.active.append([rng.choice((None, 1, 2.5, True, *clean)) for _ in range(3)])
    book.save(where / "t.xlsx")
    data = (where / "t.xlsx").read_bytes()
    (where / "t.xlsx").write_bytes(_damaged(rng, data) if rng.random() < 0.6 else data)
    return where / "t.xlsx"


def _folder(rng: random.Random, where: Path) -> Path:
    names = ("a.txt", "b.txt", "c/a.txt", "a.png", "c/b.png", "x.docx", "d.npy", "metadata.csv",
             "data/train-00000-of-00002.parquet", "state.json", "dataset_dict.json", "é.txt",
             "i/1.png", "j/1.txt", "t.csv", os.fsdecode(b"\xe9.txt"))  # fmt: skip
    for name in rng.sample(names, rng.randrange(0, 6)):
        (where / name).parent.mkdir(exist_ok=True, parents=True)
        (where / name).write_bytes(
            rng.choice((b"", b"\xff\xfe\xff", b"a text", b"{}", b"\xe9t\xe9"))
        )
    if rng.random() < 0.3:
        (where / "loop").symlink_to(where)
    return where


def called(*words: object, seconds: int = SECONDS) -> tuple[str, str]:
    """How one call of the command line ended, and what it said."""
    out, err = io.StringIO(), io.StringIO()

    def late(*_: object) -> None:
        raise TimeoutError(f"more than {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        with (
            mock.patch.object(sys, "argv", ["conjoin", *map(str, words)]),
            contextlib.redirect_stdout(out), contextlib.redirect_stderr(err),
        ):  # fmt: skip
            main()
        return "accepted", ""
    except SystemExit as end:
        said = err.getvalue().strip()
        if end.code in (0, None):
            return "accepted", said
        if "TimeoutError" in said:
            return "hung", said
        one = said.splitlines()[-1:] or [""]
        fine = end.code in (1, 2) and "Traceback" not in said and one[0].startswith("conjoin")
        return ("refused", one[0]) if fine else ("defect", said or f"exit {end.code}")
    except BaseException as error:
        return "defect", f"{type(error).__name__}: {error}"
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def try_configurations(
    count: int, seed: int = 0, ready: Sequence[str] = ("embed", "fit")
) -> tuple[Counter[str], list[str]]:
    """Counts of how each ended, and what the defects said.

    Parameters
    ----------
    ready : verbs run on the sound configuration first, so that damage is met further in.
    """
    ended, defects = Counter[str](), []
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        sound(base)
        (base / "conjoin.toml").write_text(CONFIG)
        for verb in ready:
            how, said = called(verb, "-q", "-w", base, seconds=600)
            if how != "accepted":
                raise SystemExit(f"the sound configuration is {how}: {said}")
        for number, data in enumerate(configurations(count, seed)):
            (base / "conjoin.toml").write_bytes(data)
            verb = (("embed", "--dry-run"), ("fit", "--dry-run"), ("info",))[number % 3]
            how, said = called(*verb, "-w", base)
            ended[how] += 1
            if how not in ("accepted", "refused"):
                defects.append(f"configuration {number} ({verb[0]}): {said[:500]}")
    return ended, defects


def try_tables(count: int, seed: int = 0) -> tuple[Counter[str], list[str]]:
    """The same for tables: looked at, and where that is accepted, walked as embed does."""
    ended, defects = Counter[str](), []
    with tempfile.TemporaryDirectory() as folder:
        for number, path in enumerate(tables(count, seed, Path(folder))):
            where = Path(folder) / f"w{number}"
            where.mkdir()
            how, said = called("init", path, "-w", where)
            if how == "accepted":
                how, said = called("embed", "--dry-run", "-w", where)
            ended[how] += 1
            if how not in ("accepted", "refused"):
                defects.append(f"table {number} ({path.name}): {said[:500]}")
    return ended, defects


def run(what: Callable[..., tuple[Counter[str], list[str]]], count: int) -> dict[str, object]:
    """One kind of case, as it is committed."""
    ended, defects = what(count)
    for said in defects:
        print(said)
    keys = ("accepted", "refused", "defect", "hung")
    return {"cases": count, **{key: ended[key] for key in keys}}


def parsed() -> argparse.Namespace:
    """The command line of this trial."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--configurations", type=int, default=WHOLE["configurations"])
    parser.add_argument("--tables", type=int, default=WHOLE["tables"])
    return parser.parse_args()


if __name__ == "__main__":
    asked = vars(parsed())
    kept = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    for name, trial in (("configurations", try_configurations), ("tables", try_tables)):
        if asked[name]:
            told = run(trial, asked[name])
            print(name, json.dumps(told))
            if asked[name] == WHOLE[name]:  # parts may be run one by one
                kept[name] = told
                RESULT.write_text(json.dumps(kept, indent=1) + "\n")
