"""How often the doctor is right: errors planted in the bundled sample, precision and recall.

One item of each kin group of the sample is taken, so that it has few natural twins; mismatches are
also planted in 554 items of three groups, much alike, most of whose sounds are hard to tell from
pictures or words: binding is weak there. Planted are swapped pairs (5 and 20 % of them), cells
saved again with loss (near duplicates, and leaks where the copy is on the other side of the split),
items drawn and worded anew (twins), and noise in place of cells (outliers). Whatever is told and
was not planted counts as wrong, although some of it is true: the precision is a lower bound.

    python benchmarks/doctor.py [KIND]

runs all, or one kind of finding and keeps what was found of the others. It writes
``docs/doctor-validation.json``, the table of ``docs/doctor.md`` and the precision that findings
carry, ``src/conjoin/quality/precision.json``.
"""

import io
import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from conjoin.claims.datasets.registry import open_bench
from conjoin.encoders.open import open_encoder
from conjoin.items.bundled import sample_path
from conjoin.items.items import Items
from conjoin.quality.inputs import Case
from conjoin.quality.run import examine
from conjoin.spaces import Pairs, Space
from conjoin.storage.files import atomic

ROOT = Path(__file__).resolve().parents[1]
SEEDS = (0, 1, 2)
SHARES = (0.0, 0.05, 0.2)
LEVELS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
PLANTED = 80
#: Groups of the sample that are a catalogue of things much alike, most of them hard to bind.
CLUSTERED = ("food-drink", "animals-nature", "objects")
URIS = {"text": "builtin:text", "image": "builtin:image", "speech": "builtin:audio"}
COLUMNS = {"text": "text", "image": "noto", "speech": "speech"}


class Sample:
    """The sample's views, one item of each kin group, and encoders for what is planted."""

    def __init__(self) -> None:
        from pyarrow import parquet

        bench = open_bench("emoji:text+image+speech+drawing+name")
        table = parquet.read_table(
            sample_path(), columns=["id", "kin", "family", "group", *COLUMNS.values()]
        )
        self.items = Items.from_frame(table, id="id")
        kin = np.array(self.items.column("kin"))
        self.ids = self.items.ids[np.sort(np.unique(kin, return_index=True)[1])]
        self.views = {name: space.of_items(self.ids) for name, space in bench.spaces.items()}
        alike = np.isin(np.array(self.items.column("group")), CLUSTERED)
        self.clustered = {
            name: space.of_items(self.items.ids[alike]) for name, space in bench.spaces.items()
        }
        self.families = dict(zip(self.items.ids.tolist(), self.items.column("family"), strict=True))
        self.encoders = {name: open_encoder(uri) for name, uri in URIS.items()}

    def cell(self, view: str, item: str) -> Any:
        """One item's cell."""
        return self.items.value(COLUMNS[view], item)

    def embed(self, view: str, cells: list[Any]) -> np.ndarray:
        """Vectors of cells that the sample lacks."""
        encoder = self.encoders[view]
        found = [encoder.forward([encoder.decode(cell)])[0] for cell in cells]
        return np.asarray(found, dtype=np.float32)

    def vectors(self, view: str, items: Iterable[str]) -> np.ndarray:
        """Stored vectors of some items."""
        space = self.views[view]
        row_of = {str(item): row for row, item in enumerate(space.ids.tolist())}
        return np.asarray(space.vectors)[[row_of[str(item)] for item in items]]


def again(view: str, cell: Any, rng: np.random.Generator) -> Any:
    """A cell saved again with loss: a JPEG, other letters and marks, a fainter sound."""
    if view == "image":
        image = Image.open(io.BytesIO(cell)).convert("RGBA")
        flat = Image.new("RGB", image.size, "white")
        flat.paste(image, mask=image)
        out = io.BytesIO()
        flat.save(out, "JPEG", quality=int(rng.integers(75, 95)))
        return out.getvalue()
    if view == "text":
        words = str(cell).split(", ")
        return "; ".join(word.capitalize() for word in [words[0], *rng.permutation(words[1:])])
    import soundfile

    wave, rate = soundfile.read(io.BytesIO(cell), dtype="float32")
    wave = wave * rng.uniform(0.5, 0.8) + 0.002 * rng.standard_normal(len(wave))
    out = io.BytesIO()
    soundfile.write(out, wave.astype(np.float32), rate, format="WAV")
    return out.getvalue()


def noise(view: str, rng: np.random.Generator) -> Any:
    """A cell that shows nothing."""
    out = io.BytesIO()
    if view == "image":
        pixels = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(out, "PNG")
        return out.getvalue()
    if view == "text":
        return "".join(rng.choice(list("xqzjkvw0123456789#@/"), 40))
    import soundfile

    soundfile.write(out, rng.standard_normal(16000).astype(np.float32) * 0.3, 16000, format="WAV")
    return out.getvalue()


def case(
    sample: Sample, views: tuple[str, ...], more: dict[str, tuple[list[str], np.ndarray]],
    held: Iterable[str] = (),
) -> Case:  # fmt: skip
    """The sample with rows added, by view."""
    spaces = {}
    for name in views:
        space = sample.views[name]
        ids, rows = space.ids, np.asarray(space.vectors, dtype=np.float32)
        if name in more:
            ids = np.concatenate([ids, more[name][0]])
            rows = np.concatenate([rows, more[name][1]])
        spaces[name] = Space.of(rows, ids, name=name)
    every = np.unique(np.concatenate([space.ids for space in spaces.values()]))
    pairs = Pairs.by_id(spaces) if len(views) > 1 else None
    return Case(spaces, pairs, every, held=frozenset(held))


def swapped(
    sample: Sample, names: tuple[str, str], share: float, seed: int, *, clustered: bool
) -> dict[str, Any]:
    """Mismatches told where a share of the pairs of two views is swapped."""
    rng = np.random.default_rng([seed, 1])
    views = sample.clustered if clustered else sample.views
    left, right = (views[name] for name in names)
    order = np.arange(len(right))
    bad = rng.permutation(len(right))[: round(share * len(right))]
    order[bad] = order[np.roll(bad, 1)]
    spaces = {
        names[0]: Space.of(np.asarray(left.vectors), left.ids, name=names[0]),
        names[1]: Space.of(np.asarray(right.vectors)[order], right.ids, name=names[1]),
    }
    groups = sample.families if clustered else {}
    made = Case(spaces, Pairs.by_id(spaces, groups or None), left.ids, groups, seed=seed)
    found = examine(made, ["mismatch"], least=LEVELS[0])
    true = {str(item) for item in right.ids[bad]}
    told = [(f.confidence, f.items[0] in true, f.precision) for f in found.findings]
    facts = found.facts["mismatch"]["+".join(names)]
    what = f"{names[0]} and {names[1]}" + (" of a catalogue" if clustered else "")
    return {
        "kind": "mismatch", "variant": f"{what}, {share:.0%} swapped", "seed": seed,
        "planted": len(true), "estimated_share": facts["wrong_at_most"],
        "alike": facts["alike"], "apart": facts["apart"], "told": told,
    }  # fmt: skip


def copies(sample: Sample, view: str, seed: int) -> dict[str, Any]:
    """Duplicates told where cells are there again, saved with loss."""
    rng = np.random.default_rng([seed, 2])
    chosen = [str(i) for i in rng.permutation(sample.ids)[:PLANTED]]
    cells = [again(view, sample.cell(view, item), rng) for item in chosen]
    more = {view: ([f"copy-{item}" for item in chosen], sample.embed(view, cells))}
    found = examine(case(sample, (view,), more), ["duplicate"], least=LEVELS[0])
    return _pairs_told("duplicate", f"{view} saved again", seed, chosen, found.findings)


def leaked(sample: Sample, view: str, seed: int) -> dict[str, Any]:
    """Leaks told where training has held-out cells, saved again with loss."""
    rng = np.random.default_rng([seed, 3])
    held = [str(i) for i in rng.permutation(sample.ids)[: len(sample.ids) // 4]]
    chosen = held[:PLANTED]
    cells = [again(view, sample.cell(view, item), rng) for item in chosen]
    more = {view: ([f"copy-{item}" for item in chosen], sample.embed(view, cells))}
    found = examine(case(sample, (view,), more, held), ["leak"], least=LEVELS[0])
    return _pairs_told("leak", f"{view} saved again in training", seed, chosen, found.findings)


def drawn_anew(sample: Sample, seed: int, *, hard: bool) -> dict[str, Any]:
    """Twins told where items are there again: in another drawing and words, or saved again."""
    rng = np.random.default_rng([seed, 4])
    chosen = [str(i) for i in rng.permutation(sample.ids)[:PLANTED]]
    names = [f"copy-{item}" for item in chosen]
    if hard:
        rows = {"image": sample.vectors("drawing", chosen), "text": sample.vectors("name", chosen)}
    else:
        rows = {
            view: sample.embed(view, [again(view, sample.cell(view, i), rng) for i in chosen])
            for view in ("image", "text")
        }
    made = case(sample, ("text", "image"), {view: (names, each) for view, each in rows.items()})
    found = examine(made, ["twin"], least=LEVELS[0])
    variant = "another drawing, fewer words" if hard else "both cells saved again"
    return _pairs_told("twin", variant, seed, chosen, found.findings)


def noisy(sample: Sample, view: str, seed: int) -> dict[str, Any]:
    """Outliers told where cells are noise."""
    rng = np.random.default_rng([seed, 5])
    names = [f"noise-{number}" for number in range(PLANTED // 8)]
    rows = sample.embed(view, [noise(view, rng) for _ in names])
    found = examine(case(sample, (view,), {view: (names, rows)}), ["outlier"], least=LEVELS[0])
    told = [(f.confidence, f.items[0] in names, None) for f in found.findings]
    return {"kind": "outlier", "variant": f"{view} of noise", "seed": seed,
            "planted": len(names), "told": told}  # fmt: skip


def _pairs_told(
    kind: str, variant: str, seed: int, chosen: list[str], findings: Iterable[Any]
) -> dict[str, Any]:
    true = {frozenset((item, f"copy-{item}")) for item in chosen}
    told = [(f.confidence, frozenset(f.items) in true, None) for f in findings]
    return {"kind": kind, "variant": variant, "seed": seed, "planted": len(chosen), "told": told}


def rates(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Precision and recall of several runs together, at each level."""
    planted = sum(run["planted"] for run in runs)
    rows = []
    for level in LEVELS:
        told = [entry for run in runs for entry in run["told"] if entry[0] >= level]
        right = sum(entry[1] for entry in told)
        expected = [entry[2] for entry in told if entry[2] is not None]
        sure = float(np.mean([entry[0] for entry in told])) if told else 0.0
        rows.append({
            "confidence": level, "told": len(told),
            "precision": round(right / len(told), 4) if told else None,
            "recall": round(right / planted, 4) if planted else None,
            "expected": round(min(expected), 4) if expected else None,
            "confidence_of_all": round(sure, 4) if told else None,
        })  # fmt: skip
    return rows


def plans(sample: Sample) -> Iterable[tuple[str, Callable[[int], dict[str, Any]]]]:
    """Every run and its kind, waiting for its seed."""
    for clustered in (False, True):
        for names in (("text", "image"), ("text", "speech"), ("image", "speech")):
            for share in SHARES:
                yield (
                    "mismatch",
                    lambda seed, n=names, s=share, c=clustered: swapped(
                        sample, n, s, seed, clustered=c
                    ),
                )
    for view in URIS:
        yield "duplicate", lambda seed, v=view: copies(sample, v, seed)
        yield "leak", lambda seed, v=view: leaked(sample, v, seed)
        yield "outlier", lambda seed, v=view: noisy(sample, v, seed)
    for hard in (False, True):
        yield "twin", lambda seed, h=hard: drawn_anew(sample, seed, hard=h)


def main(only: str | None = None) -> None:
    """Run everything, or one kind and keep what the file has of the others."""
    path = ROOT / "docs" / "doctor-validation.json"
    before = json.loads(path.read_text(encoding="utf-8")) if only else {"runs": [], "shipped": {}}
    sample = Sample()
    runs = []
    for kind, plan in plans(sample):
        for seed in SEEDS if only in (None, kind) else ():
            runs.append(plan(seed))
            print(runs[-1]["kind"], runs[-1]["variant"], seed, len(runs[-1]["told"]), flush=True)
    table = tabled(runs) + [row for row in before["runs"] if row["kind"] != only]
    shipped = dict(before["shipped"])
    for kind in ("twin", "duplicate", "leak", "outlier"):
        rows = rates([run for run in runs if run["kind"] == kind])
        found = [[r["confidence"], r["precision"]] for r in rows if r["precision"] is not None]
        shipped |= {kind: found} if only in (None, kind) else {}
    result = {"seeds": len(SEEDS), "items": len(sample.ids), "runs": table, "shipped": shipped}
    with atomic(path) as file:
        file.write((json.dumps(result, indent=1) + "\n").encode())
    with atomic(ROOT / "src" / "conjoin" / "quality" / "precision.json") as file:
        file.write((json.dumps(shipped) + "\n").encode())
    page = ROOT / "docs" / "doctor.md"
    if page.exists():
        head, _, rest = page.read_text(encoding="utf-8").partition("<!-- table -->\n")
        tail = rest.partition("<!-- end -->")[2]
        whole = head + "<!-- table -->\n" + shown(table) + "<!-- end -->" + tail
        with atomic(page) as file:
            file.write(whole.encode())


def tabled(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row a kind and variant, its seeds together."""
    table = []
    for kind, variant in dict.fromkeys((run["kind"], run["variant"]) for run in runs):
        mine = [run for run in runs if (run["kind"], run["variant"]) == (kind, variant)]
        table.append({
            "kind": kind, "variant": variant, "planted": sum(run["planted"] for run in mine),
            "estimated_share": _mean(mine, "estimated_share"),
            "alike": _mean(mine, "alike"), "apart": _mean(mine, "apart"),
            "levels": rates(mine),
        })  # fmt: skip
    return table


def _mean(runs: list[dict[str, Any]], name: str) -> float | None:
    found = [run[name] for run in runs if name in run]
    return round(float(np.mean(found)), 4) if found else None


def shown(table: list[dict[str, Any]]) -> str:
    """The result as a page shows it: precision and recall at three confidences."""
    levels = (0.5, 0.8, 0.95)
    lines = [
        "| planted | how many | " + " | ".join(f"at {level}" for level in levels) + " |",
        "|---|---|" + "---|" * len(levels),
    ]
    for run in table:
        rows = {row["confidence"]: row for row in run["levels"]}
        cells = [_cell(rows[level]) for level in levels]
        lines.append(
            f"| {run['kind']}: {run['variant']} | {run['planted']} | {' | '.join(cells)} |"
        )
    return "\n".join(lines) + "\n"


def _cell(row: dict[str, Any]) -> str:
    if not row["told"]:
        return "none told"
    if row["recall"] is None:
        return f"{row['told']} told"
    return f"{100 * row['precision']:.0f} % right, {100 * row['recall']:.0f} % found"


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
