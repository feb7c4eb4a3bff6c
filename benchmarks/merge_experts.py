r"""Three experts of MiniLM and pairs that none of them was trained on, for ``conjoin model merge``.

Run: ``python benchmarks/merge_experts.py FOLDER [--seed 0] [--steps 40]``; it writes
``FOLDER/german``, ``FOLDER/french`` and ``FOLDER/keywords`` (folders of sentence-transformers) and
``FOLDER/*.csv`` with the held-out pairs of each skill. Then::

    conjoin model merge FOLDER/german FOLDER/french FOLDER/keywords --base builtin:text \\
        --pairs german=FOLDER/german.csv --pairs french=FOLDER/french.csv \\
        --pairs keywords=FOLDER/keywords.csv

The data are the names of the bundled sample: German or French name → English name, English
keywords → English name. Families (skin and hair variants, clocks, hearts) are on one side only:
half of them train, half are written out. Fine-tuning is InfoNCE over batches of 48, AdamW at 5e-5.
"""

import argparse
import csv
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

SKILLS = ("german", "french", "keywords")


def pairs() -> dict[str, list[tuple[str, str, bool]]]:
    """By skill, what asks, what is asked for, and whether it is held out."""
    from pyarrow import parquet

    from conjoin.items import sample_path
    from conjoin.storage.digest import stable_hash

    rows = parquet.read_table(sample_path()).to_pylist()
    found: dict[str, list[tuple[str, str, bool]]] = {skill: [] for skill in SKILLS}
    for row in rows:
        if row["group"] == "flags":  # names of countries are alike in every language
            continue
        held = stable_hash(f"experts/{row['family']}") % 2 == 0
        english = row["label"]
        sides = {
            "german": row["label_de"], "french": row["label_fr"],
            "keywords": ", ".join(k for k in row["keywords"] if k not in english.split()),
        }  # fmt: skip
        for skill, text in sides.items():
            if text and text != english:
                found[skill].append((text, english, held))
    return found


def expert(rows: list[tuple[str, str]], out: Path, seed: int, steps: int, rate: float) -> float:
    """Fine-tune a copy on pairs; the last loss."""
    import torch
    from sentence_transformers import SentenceTransformer

    from conjoin.models.merging.folder import folder_of

    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = SentenceTransformer(str(folder_of("builtin:text")), device="cpu")
    model.train()
    best = torch.optim.AdamW(model.parameters(), lr=rate)
    loss = torch.tensor(0.0)
    for step in range(steps):
        for group in best.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / 5) * (1 - step / steps)
        batch = [rows[i] for i in rng.choice(len(rows), 48, replace=False)]
        sides = [
            model({k: v for k, v in model.tokenize(list(side)).items()})["sentence_embedding"]
            for side in zip(*batch, strict=True)
        ]
        left, right = (torch.nn.functional.normalize(side, dim=1) for side in sides)
        scores = left @ right.T / 0.05
        own = torch.arange(len(batch))
        loss = (
            torch.nn.functional.cross_entropy(scores, own)
            + torch.nn.functional.cross_entropy(scores.T, own)
        ) / 2
        best.zero_grad()
        loss.backward()
        best.step()
    model.eval()
    model.save(str(out))
    return float(loss)


def main() -> None:
    """Write the experts and the pairs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rate", type=float, default=5e-5)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    for skill, rows in pairs().items():
        with (args.folder / f"{skill}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["asks", "asked"])
            writer.writerows(row[:2] for row in rows if row[2])
        train = [row[:2] for row in rows if not row[2]]
        if not (args.folder / skill / "modules.json").is_file():
            loss = expert(train, args.folder / skill, args.seed, args.steps, args.rate)
            print(f"{skill}: {len(train)} pairs, last loss {loss:.3f}", flush=True)


if __name__ == "__main__":
    main()
