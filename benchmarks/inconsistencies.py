"""Does ``conjoin doctor`` find inconsistencies put into texts, by their kind?

A workspace that ``conjoin demo`` made is copied; of each of the five kinds of inconsistency up to
one text in ten is spoilt (fewer where fewer give the kind a hold), embedded again, and the doctor
looks for wrong pairs at its own default of confidence. Precision, recall and F1 of the items it
names; without any spoilt text it names ``clean`` ones.

    OMP_NUM_THREADS=1 python benchmarks/inconsistencies.py demo --write
"""

import argparse
import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

import conjoin
from conjoin.evaluation.foils.inconsistency import KINDS, Inconsistency

OUT = Path(__file__).parent / "results/inconsistencies.json"
SHARE = 0.1


def spoilt(folder: Path, kind: str) -> set[str]:
    """Put inconsistencies into the table of a workspace: the items concerned."""
    table = parquet.read_table(folder / "emoji.parquet")
    texts, ids = table["text"].to_pylist(), [str(each) for each in table["id"].to_pylist()]
    foils = Inconsistency(kind).make(texts)
    order = np.random.default_rng(0).permutation(len(ids))
    chosen = [int(at) for at in order if foils[at] is not None][: int(SHARE * len(ids))]
    for at in chosen:
        texts[at] = foils[at]
    column = table.schema.get_field_index("text")
    parquet.write_table(
        table.set_column(column, table.schema.field(column), pa.array(texts, pa.string())),
        folder / "emoji.parquet",
    )
    return {ids[at] for at in chosen}


def named(folder: Path) -> set[str]:
    """Items that the doctor says are wrongly paired."""
    found = conjoin.open(folder).doctor(kinds=("mismatch",))
    return {str(item) for one in found.findings if one.kind == "mismatch" for item in one.items}


def main() -> None:
    """Every kind in turn."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    told: dict[str, dict[str, float]] = {"clean": {"named": len(named(given.workspace))}}
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as made:
            folder = Path(made) / "ws"
            shutil.copytree(given.workspace, folder)
            wrong = spoilt(folder, kind)
            conjoin.open(folder).embed("text")
            found = named(folder)
        hit = len(found & wrong)
        told[kind] = {
            "spoilt": len(wrong), "named": len(found), "precision": hit / max(1, len(found)),
            "recall": hit / len(wrong), "f1": 2 * hit / (len(found) + len(wrong)),
        }  # fmt: skip
        print(kind, json.dumps(told[kind]), flush=True)
    if given.write:
        OUT.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
