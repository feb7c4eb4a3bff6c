"""Seconds, memory and pages of ``conjoin doctor`` and ``conjoin report`` on a large table.

Run: ``python benchmarks/doctor_scale.py [--rows 100000] [--folder DIR] [--out FILE]``.

Drawn are items of three modalities (captions, and two columns of vectors) around uneven topics,
with a few columns of a table. Planted are wrong pairs, items saved again under another id, and
captions in another script. Each verb runs in a process of its own, on one thread, so that its peak
memory is its own; ``--folder`` keeps the workspace and goes on with what is there.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

THREADS = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
WIDTHS = {"picture": 512, "sound": 384}
LATENT = 64
#: Share of items whose picture is another's, and of items that are there twice.
WRONG, TWICE = 0.02, 0.01
VERBS = (
    ("embed",), ("doctor", "--html", "doctor.html"), ("fit", "--method", "cca"), ("report",),
)  # fmt: skip
CONFIG = """version = 1
[items]
table = "items.parquet"
id = "id"
[modalities.words]
column = "caption"
encoder = "builtin:chargram"
[modalities.picture]
column = "picture"
encoder = "builtin:vector?name=picture"
[modalities.sound]
column = "sound"
encoder = "builtin:vector?name=sound"
[pairs.seen]
left = "picture"
right = "words"
[pairs.heard]
left = "sound"
right = "words"
[split]
test = TEST
group = "series"
seed = 0
"""


def drawn(rows: int, seed: int = 0) -> tuple[Any, dict[str, Any]]:
    """The table, and what was planted in it: ids by kind."""
    import pyarrow as pa

    rng = np.random.default_rng(seed)
    copies = int(rows * TWICE)
    base = rows - copies
    weights = rng.pareto(1.5, max(rows // 50, 10)) + 1
    topic = rng.choice(len(weights), base, p=weights / weights.sum())
    latent = 0.8 * rng.standard_normal((len(weights), LATENT))[topic]
    latent += 0.6 * rng.standard_normal((base, LATENT))
    views = {}
    for name, width in WIDTHS.items():
        turn = rng.standard_normal((LATENT, width)) / LATENT**0.5
        views[name] = (latent @ turn + 0.3 * rng.standard_normal((base, width))).astype(np.float32)
    syllables = np.array([a + b for a in "bdfgklmnprstvz" for b in "aeiou"])
    place = np.clip(((latent[:, :16] + 2.5) * 14).astype(int), 0, len(syllables) - 1)
    names = rng.permutation(len(syllables) ** 2)[: len(weights)]
    caption = np.array([
        f"{syllables[names[t] // 70]}{syllables[names[t] % 70]}x "
        + " ".join("".join(syllables[part]) for part in row.reshape(8, 2))
        for t, row in zip(topic, place, strict=True)
    ], dtype=object)  # fmt: skip
    foreign = rng.choice(base, max(base // 500, 1), replace=False)
    caption[foreign] = [c.translate(GREEK) for c in caption[foreign]]
    wrong = rng.choice(base, int(base * WRONG), replace=False)
    views["picture"][wrong] = views["picture"][np.roll(wrong, 1)]
    again = rng.choice(np.setdiff1d(np.arange(base), wrong), copies, replace=False)
    order = np.concatenate([np.arange(base), again])
    ids = [f"item{row:06d}" for row in range(rows)]
    columns = {
        "id": ids, "caption": caption[order].tolist(),
        "series": [f"s{row // 3}" for row in range(base)] + [f"c{row}" for row in range(copies)],
        "topic": [f"t{t % 40}" for t in topic[order]],
        "shop": rng.choice(["north", "south", "east"], rows, p=[0.7, 0.25, 0.05]).tolist(),
    }  # fmt: skip
    for name, x in views.items():
        taken = x[order]
        taken[base:] += 0.01 * rng.standard_normal((copies, x.shape[1])).astype(np.float32)
        flat = pa.array(np.ascontiguousarray(taken).ravel())
        columns[name] = pa.FixedSizeListArray.from_arrays(flat, x.shape[1])
    planted = {
        "mismatch": [ids[row] for row in wrong],
        "duplicate": [sorted((ids[a], ids[base + c])) for c, a in enumerate(again)],
        "language": [ids[row] for row in foreign],
    }
    return pa.table(columns), planted


GREEK = str.maketrans("abdefgiklmnoprstuvxz", "αβδεφγικλμνοπρστυωξζ")


def ran(folder: Path, *words: str) -> dict[str, Any]:
    """Seconds and peak memory of one verb, and what it said."""
    before = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-c", WATCHED, *words, "--json"], cwd=folder, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **THREADS},
    ) as child:  # fmt: skip
        said, noise = child.communicate()
    if child.returncode:
        raise SystemExit(f"conjoin {' '.join(words)}: {noise[-2000:]}")
    peak, cpu = re.findall(r"^PEAK (\d+) CPU ([\d.]+)$", noise, re.MULTILINE)[-1]
    return {
        "seconds": round(time.perf_counter() - before, 1), "cpu": round(float(cpu), 1),
        "peak_mb": round(int(peak) / 1024), "said": json.loads(said),
    }  # fmt: skip


WATCHED = """
import atexit, resource, sys
def told():
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(f"\\nPEAK {used.ru_maxrss} CPU {used.ru_utime + used.ru_stime:.1f}", file=sys.stderr)
atexit.register(told)
from conjoin.cli.main import main
sys.argv[0] = "conjoin"
main()
"""


def judged(findings: list[dict[str, Any]], planted: dict[str, Any]) -> dict[str, Any]:
    """Of what was planted, the share found; of what was told, the share that was planted."""
    told = {kind: [f for f in findings if f["kind"] == kind] for kind in planted}
    sets = {
        "mismatch": [
            f["items"][0] for f in told["mismatch"] if "picture" in f["modality"].split("+")
        ],
        "duplicate": [tuple(sorted(f["items"])) for f in told["duplicate"] if len(f["items"]) == 2],
        "language": [item for f in told["language"] for item in f["items"]],
    }  # fmt: skip
    out = {}
    for kind, found in sets.items():
        truth = {tuple(p) if isinstance(p, list) else p for p in planted[kind]}
        right = len(truth & set(found))
        out[kind] = {
            "planted": len(truth), "told": len(set(found)), "found": round(right / len(truth), 3),
            "right": round(right / max(len(set(found)), 1), 3),
        }  # fmt: skip
    return out


def main() -> None:
    """Draw, embed, fit, examine and report; print one line a step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--out", type=Path, default=None)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = given.folder or Path(made)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "items.parquet").exists():
            from pyarrow import parquet

            table, planted = drawn(given.rows)
            parquet.write_table(table, folder / "items.parquet")
            (folder / "planted.json").write_text(json.dumps(planted))
            (folder / "conjoin.toml").write_text(CONFIG.replace("TEST", str(given.rows // 20)))
        planted = json.loads((folder / "planted.json").read_text())
        steps: dict[str, Any] = {}
        for words in VERBS:
            step = ran(folder, *words)
            said = step.pop("said")
            if words[0] == "doctor":
                step["findings"] = {one["kind"]: one["count"] for one in said["summary"]}
                step["planted"] = judged(said["findings"], planted)
            if words[0] in ("doctor", "report"):
                page = folder / ("doctor.html" if words[0] == "doctor" else "report.html")
                step["page_mb"] = round(page.stat().st_size / 1e6, 1)
            steps[words[0]] = step
            print(words[0], json.dumps(step), flush=True)
    if given.out:
        given.out.write_text(json.dumps({"rows": given.rows, "steps": steps}, indent=1) + "\n")


if __name__ == "__main__":
    main()
