"""Bad input to the newer verbs, in process: one line each, no traceback, no hang, nothing left.

``python benchmarks/faults/newer.py`` gives ``read``, ``ask``, ``model pretrain``, ``model export``,
``model tune``, ``model adapt``, ``model merge``, ``transcribe``, ``benchmark``, ``embed --engine``
and ``jobs`` what they cannot use: seeded damage to sound files, files that are hostile on purpose
(``hostile.py``), options out of range, endpoints that misbehave. The counts go to
``benchmarks/results/faults-newer.json``. A case is a *defect* where something other than the verb's
own exit code and one line comes out, where it *hangs* (20 s), or where it leaves something half
made.
"""
# ruff: noqa: E501 - what is hostile is long

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import hostile
import malformed
import numpy as np
from malformed import ODD, _bytes, called
from safetensors.numpy import load_file, save_file

import tiny_text

RESULT = Path(__file__).parent.parent / "results" / "faults-newer.json"
#: Bare words and numbers as somebody mistypes them.
WORDS = (
    "", " ", "nan", "inf", "-inf", "1e400", "-1", "0", "1e9", "x", "../x", "/", ".", "~", "\0", "é",
    "1,2", "[]", "{}", "None", "true", "10**3", "🙂", "\ud800", "a" * 3000, "http://[::1", "file:///",
)  # fmt: skip
#: What a case's words may say of the workplace.
Case = tuple[str, tuple[object, ...]]


@dataclass(frozen=True)
class Shelf:
    """Sound inputs that cases damage copies of.

    Parameters
    ----------
    place : where they lie: ``documents``, ``items`` (a workspace of texts and vectors), ``manual``
        (of read documents), ``base``, ``one``, ``two`` (models), ``beir``, ``mteb``, ``trec``,
        ``coco``, ``vl`` (benchmarks).
    """

    place: Path

    @classmethod
    def make(cls, place: Path) -> "Shelf":
        """Write and embed everything once."""
        made = cls(place)
        model = tiny_text.saved(place / "tiny")
        tiny_text.workspace(place / "items", model, 60)
        made._must("embed", "-q", "-w", place / "items")
        shutil.copytree(model, place / "base")
        for number in (1, 2):
            expert = shutil.copytree(model, place / ("one", "two")[number - 1])
            file = next(expert.rglob("model.safetensors"))
            rng = np.random.default_rng(number)
            arrays = {k: v + (0.01 * rng.normal(size=v.shape)).astype(v.dtype)
                      for k, v in load_file(file).items()}  # fmt: skip
            save_file(arrays, file, {"format": "pt"})
        hostile.documents(place / "documents")
        manual = place / "manual"
        manual.mkdir()
        made._must("read", place / "documents", "--out", manual / "items.parquet", "-q")
        made._must("init", manual / "items.parquet", "-w", manual, "-q", "--yes")
        hostile.benchmarks(place)
        (place / "mine.toml").write_text(RECIPE)
        made._must("model", "pretrain", place / "mine.toml", "-w", place / "items", "-q")
        return made

    @staticmethod
    def _must(*words: object) -> None:
        how, said = called(*words, seconds=600)
        if how != "accepted":
            raise SystemExit(f"{' '.join(map(str, words))}: {how}: {said}")

    def copy(self, name: str, where: Path) -> Path:
        """A copy to damage."""
        return Path(shutil.copytree(self.place / name, where / name))


RECIPE = """batch = 8
[views.text]
cells = "letters"
[views.sound]
[body]
dim = 8
heads = 2
[targets]
contrast = 1.0
masked-ids = {weight = 0.5, mask = "token:0.3"}
[mix]
pairs = 1
"unpaired.text" = 1
[course]
steps = 3
"""


def hurt(rng: random.Random, folder: Path, pattern: str = "*") -> None:
    """Damage one file of a folder: bytes, cut, emptied, gone, a folder in its place."""
    files = sorted(p for p in folder.rglob(pattern) if p.is_file())
    path = rng.choice(files)
    how = rng.randrange(8)
    if how < 5:
        data = path.read_bytes()
        for _ in range(rng.choice((1, 1, 3))):
            data = _bytes(rng, data)
        path.write_bytes(data)
    elif how == 5:
        path.unlink()
    elif how == 6:
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes(b"")


def read(rng: random.Random, shelf: Shelf, where: Path) -> Case:
    """Documents: hostile ones, damaged ones, and a former table that is damaged."""
    out = where / "out.parquet"
    kind = rng.randrange(4)
    if kind == 0:
        name, data = rng.choice(hostile.DOCUMENTS)
        (where / name).write_bytes(data())
        return name, ("read", where / name, "--out", out)
    folder = shelf.copy("documents", where)
    if kind == 1:
        hurt(rng, folder)
        return "damaged", ("read", folder, "--out", out)
    if kind == 2:
        called("read", folder, "--out", out)
        for name in ("out.parquet.read.json", "out.parquet"):
            if rng.random() < 0.6:
                (where / name).write_bytes(_bytes(rng, (where / name).read_bytes()))
        return "former", ("read", folder, "--out", out)
    more = rng.choice((
        ("--letters", rng.choice(WORDS)), ("--reader", rng.choice((*WORDS, "python:os:system",
         "python:json:loads", "python:nowhere:f", "python:builtins:open", "python:builtins:iter"))),
        ("--out", rng.choice((*WORDS, where, where / "no" / "a.parquet", folder / "a.md",
                              where / "documents" / "a.parquet"))),
        (rng.choice(WORDS),), (where / "nowhere",),
    ))  # fmt: skip
    return "options", ("read", folder, "--out", out, *more)


def ask(rng: random.Random, shelf: Shelf, where: Path) -> Case:
    """Questions, URIs of models, endpoints that misbehave, tables that nothing read."""
    kind = rng.randrange(4)
    question = rng.choice(("What does the kettle hold?", *WORDS, "a" * 100_000, "kettle " * 20_000))
    if kind == 0:
        return "question", ("ask", question, "-w", shelf.place / "manual")
    if kind == 1:
        uri = rng.choice(hostile.MODELS)
        return f"uri {uri[:60]}", ("ask", "What does the kettle hold?", "--model", uri,
                                   "-w", shelf.place / "manual")  # fmt: skip
    if kind == 2:
        name = rng.choice(tuple(hostile.ANSWERS))
        uri = f"{hostile.endpoint(name)}/v1?model=m&seconds=1"
        return f"endpoint {name}", ("ask", "What does the kettle hold?", "--model", uri,
                                    "-w", shelf.place / "manual")  # fmt: skip
    if rng.random() < 0.3:
        return "other table", ("ask", "what?", "-w", shelf.place / "items")
    folder = shelf.copy("manual", where)
    hurt(rng, folder, rng.choice(("*.parquet", "*.toml")))
    return "damaged", ("ask", "What does the kettle hold?", "-w", folder)


def pretrain(rng: random.Random, shelf: Shelf, where: Path) -> Case:
    """Recipes with damage, settings, runs that are damaged, starts."""
    kind = rng.randrange(4)
    folder = shelf.copy("items", where)
    words = ("model", "pretrain", where / "r.toml", "-w", folder)
    text = RECIPE.encode()
    if kind == 0:
        for _ in range(rng.choice((1, 1, 2))):
            text = rng.choice((malformed._value, malformed._value, malformed._key, malformed._line,
                               _bytes))(rng, text)  # fmt: skip
        (where / "r.toml").write_bytes(text)
        return "recipe", (*words, "--dry-run")
    (where / "r.toml").write_bytes(text)
    if kind == 1:
        key = rng.choice((
            "batch", "longest", "validation", "body.dim", "body.heads", "body.dropout", "body.norm",
            "course.steps", "course.lr", "course.keep", "course.clip", "course.ema", "targets",
            "targets.contrast", "targets.masked-ids", "targets.masked-ids.mask", "mix.pairs", "mix",
            "targets.masked-ids.every", "views.text.cells", "views.text.column", "views.text.kind",
            "views", "stages", "x", "views.text.mixing", "views.sound.bands", "body",
        ))  # fmt: skip
        value = rng.choice((*WORDS, *ODD))
        return f"--set {key}", (*words, "--set", f"{key}={value}", "--dry-run")
    if kind == 2:
        option = rng.choice(("--budget", "--name", "--continue-from"))
        value = rng.choice((*WORDS, "hf:", "hf:nowhere", f"hf:{shelf.place / 'base'}", "../up",
                            "a/b", "NUL", "x" * 300))  # fmt: skip
        return option, (*words, option, value, "--dry-run")
    run = folder / "models" / "mine"
    hurt(rng, run)
    shutil.copy(where / "r.toml", where / "mine.toml")
    return "run", ("model", "pretrain", where / "mine.toml", "-w", folder)


def export(rng: random.Random, shelf: Shelf, where: Path) -> Case:
    """URIs, formats, folders, damaged models."""
    folder = shelf.copy("items", where)
    run = folder / "models" / "mine"
    if rng.random() < 0.5:
        hurt(rng, run, "model.safetensors")
    uri = rng.choice((f"pretrained:{run}?view=text", f"pretrained:{run}", f"pretrained:{run}?x=1",
                      f"pretrained:{run}?view=", "pretrained:", "builtin:text", *WORDS))  # fmt: skip
    to = rng.choice(("hf", "safetensors", "safetensors", *WORDS))
    out = rng.choice((where / "out", where / "out", where, folder / "conjoin.toml", *WORDS[:4]))
    return "export", ("model", "export", uri, "--to", to, "--out", out)


def tune(rng: random.Random, shelf: Shelf, where: Path) -> Case:
    """Options, files of texts to keep, damaged models."""
    folder = shelf.copy("items", where)
    words = ["model", "tune", "--modality", "text", "-w", folder, "--out", where / "out",
             "--label", "order", "--steps", "1"]  # fmt: skip
    kind = rng.randrange(3)
    if kind == 0:
        option = rng.choice(
            (
                "--modality",
                "--peft",
                "--label",
                "--with",
                "--keep",
                "--budget",
                "--batch",
                "--rank",
                "--layers",
                "--targets",
                "--lr",
                "--out",
            )
        )
        value = rng.choice((*WORDS, "text", "sound", "number", "id", where, "lora", "last-k",
                            str(10**12)))  # fmt: skip
        return option, (*words, option, value)
    if kind == 1:
        keep = where / rng.choice(("keep.csv", "keep.parquet", "keep.txt"))
        keep.write_bytes(rng.choice(hostile.TABLES)())
        return "keep", (*words, "--keep", keep)
    model = shelf.copy("base", where)
    hurt(rng, model)
    config = folder / "conjoin.toml"
    config.write_text(config.read_text().replace(str(shelf.place / "tiny" / "model"), str(model)))
    return "model", tuple(words)


def adapt(rng: random.Random, shelf: Shelf, where: Path) -> Case:
    """Target tables and options."""
    folder = shelf.copy("items", where)
    table = where / rng.choice(("t.parquet", "t.csv"))
    table.write_bytes(rng.choice(hostile.TABLES)())
    if rng.random() < 0.4:
        table = Path(shutil.copy(folder / "items.parquet", where / "t.parquet"))
    words = ["model", "adapt", "--modality", "sound", "--label", "order", "-w", folder,
             "--to", table, "--out", where / "out"]  # fmt: skip
    option = rng.choice(
        ("--modality", "--label", "--to", "--method", "--score", "--apply", "--out")
    )
    value = rng.choice((*WORDS, "text", "one", "number", "words", where, where / "a.csv",
                        "match-deviation", "transport"))  # fmt: skip
    return option, (*words, option, value, *(("--force",) if rng.random() < 0.5 else ()))


def merge(rng: random.Random, shelf: Shelf, where: Path) -> Case:
    """Experts that are damaged or hold no numbers, settings, pairs, folders of results."""
    names = [shelf.copy(name, where) for name in ("base", "one", "two")]
    words = ["model", "merge", names[1], names[2], "--base", names[0], "--out", where / "out"]
    kind = rng.randrange(4)
    if kind == 0:
        hurt(rng, rng.choice(names))
        return "damaged", (*words, *(("--dry-run",) if rng.random() < 0.3 else ()))
    if kind == 1:
        hostile.weights(rng, next(rng.choice(names).rglob("model.safetensors")))
        return "weights", (*words, *(("--explain",) if rng.random() < 0.3 else ()))
    if kind == 2:
        option = rng.choice(("--set", "--method", "--base", "--out", "--pairs"))
        key = rng.choice(("scale", "trim", "scope", "x", "density"))
        value = rng.choice((*WORDS, *(f"{key}={odd}" for odd in WORDS), names[0], names[1],
                            names[0] / "in", f"a={where}", "a=nowhere.csv", "ties", "auto",
                            "https://a.org/m", "hf:gpt2", "st:"))  # fmt: skip
        return f"{option} {str(value)[:40]}", (*words, option, value)
    pairs = where / rng.choice(("p.csv", "p.parquet", "p.tsv"))
    pairs.write_bytes(rng.choice(hostile.TABLES)())
    return "pairs", (*words, "--pairs", f"a={pairs}")


def transcribe(rng: random.Random, shelf: Shelf, where: Path) -> Case:
    """Models that spell nothing, sounds that are none, files of names."""
    run = shelf.place / "items" / "models" / "mine"
    sound = where / "a.wav"
    sound.write_bytes(rng.choice((b"", b"no sound", b"RIFF" + b"\xff" * 40)))
    uri = rng.choice((f"pretrained:{run}", f"pretrained:{run}?view=text", "pretrained:",
                      f"pretrained:{sound}", "builtin:audio", *WORDS))  # fmt: skip
    names = where / "names.txt"
    names.write_bytes(rng.choice((b"", b"\xff\xfe", b"a\nb", b"\0", b"\xe9\n")))
    more = rng.choice(((), ("--names", names), ("--names", where), ("--names", where / "no"),
                       ("--beam", rng.choice(WORDS))))  # fmt: skip
    return "transcribe", ("transcribe", uri, rng.choice((sound, where, where / "no.wav")), *more)


def benchmark(rng: random.Random, shelf: Shelf, where: Path) -> Case:
    """Published folders with damage; options."""
    name = rng.choice(("beir", "mteb", "trec", "coco", "vl"))
    folder = shelf.copy(name, where)
    words = ["benchmark", folder, "--encoder", "builtin:chargram"]
    kind = rng.randrange(4)
    if kind < 2:
        hurt(rng, folder, rng.choice(("*", "*.json*", "*.tsv", "*.parquet", "*.txt", "*.yaml"))
             if kind and name == "beir" else "*")  # fmt: skip
        return f"damaged {name}", tuple(words)
    if kind == 2:
        hostile.records(rng, folder)
        return f"records {name}", tuple(words)
    option = rng.choice(("--encoder", "--format", "--split", "-w", "--write", "--from"))
    value = rng.choice((*WORDS, "beir", "trec", "train", folder, where, shelf.place / "items"))
    return f"{option} {str(value)[:30]}", (*words, option, value)


def engines(rng: random.Random, shelf: Shelf, where: Path) -> Case:
    """Engines, and jobs whose records are damaged."""
    folder = shelf.copy("items", where)
    if rng.random() < 0.5:
        value = rng.choice((*WORDS, "processes:0", "processes:-1", "processes:x", "processes:1e9",
                            "ray://", "ray:x", "local:2", "dask"))  # fmt: skip
        verb = rng.choice((("embed",), ("claims", "--method", "ridge", "--out", where / "c.json")))
        at = ("-w", folder) if verb[0] == "embed" else ()
        return f"--engine {value[:20]}", (*verb, "--engine", value, *at, "--dry-run")
    spaces = next((folder / ".conjoin" / "spaces").iterdir())
    for name in rng.sample(("plan.json", "shards/0.json", "shards/x.at", "pending.json",
                            "job.json"), 2):  # fmt: skip
        (spaces / name).parent.mkdir(parents=True, exist_ok=True)
        (spaces / name).write_bytes(
            rng.choice((b"", b"{}", b"[]", b"null", b"\xff", b'{"shard":1}'))
        )
    hurt(rng, folder / ".conjoin", "*.json")
    return "jobs", ("jobs", "-w", folder)


def training(rng: random.Random, shelf: Shelf, where: Path) -> Case:
    """Losses, samplers and guides of fit."""
    folder = shelf.copy("items", where)
    option = rng.choice(("--loss", "--sampler", "--guide", "--method", "--budget"))
    value = rng.choice((*WORDS, "infonce", "hinge", "random", "contextual", "text", "sound"))
    return f"{option} {value[:20]}", ("fit", option, value, "-w", folder, "--dry-run")


FAMILIES: dict[str, tuple[Callable[[random.Random, Shelf, Path], Case], int]] = {
    "read": (read, 150), "ask": (ask, 120), "model pretrain": (pretrain, 150),
    "model export": (export, 60), "model tune": (tune, 80), "model adapt": (adapt, 80),
    "model merge": (merge, 120), "transcribe": (transcribe, 50), "benchmark": (benchmark, 200),
    "engines and jobs": (engines, 70), "fit training": (training, 40),
}  # fmt: skip


def cases(shelf: Shelf, only: str | None, most: int, seed: int) -> Iterator[tuple[str, str, str]]:
    """Family, how a case ended, and what was said where it is wrong."""
    for family, (make, count) in FAMILIES.items():
        if only and only != family:
            continue
        for number in range(min(count, most)):
            rng = random.Random(f"{seed} {family} {number}")
            with tempfile.TemporaryDirectory() as folder:
                name, words = make(rng, shelf, Path(folder))
                how, said = judged(*called(*words))
                yield family, how, f"{family} {number} ({name}): {said[:600]}"


def judged(how: str, said: str) -> tuple[str, str]:
    """How a case ended; cells or files that could not be read make a verb end with 1."""
    if how == "defect" and said.startswith("exit 1"):
        return "incomplete", ""
    if how == "defect" and "Traceback" not in said and "defect in" not in said:
        lines = [line for line in said.splitlines() if line.strip()]
        if lines and not any(word in said for word in ("Error:", "Exception", "panicked")):
            return "incomplete", said
    return how, said


def main() -> None:
    """Run, print what is wrong, write the counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--family", choices=list(FAMILIES))
    parser.add_argument("--most", type=int, default=10**9)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    ended: dict[str, Counter[str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        shelf = Shelf.make(Path(folder))
        for family, how, said in cases(shelf, given.family, given.most, given.seed):
            ended.setdefault(family, Counter())[how] += 1
            if how in ("defect", "hung"):
                sys.stdout.write(f"{how}: {' '.join(said.split())}\n")
                sys.stdout.flush()
    keys = ("accepted", "incomplete", "refused", "defect", "hung")
    told = {family: {key: counts[key] for key in keys} for family, counts in ended.items()}
    sys.stdout.write(json.dumps(told, indent=1) + "\n")
    if not given.family and given.most == 10**9:
        RESULT.write_text(json.dumps({"seed": given.seed, **told}, indent=1) + "\n")
    raise SystemExit(1 if any(c["defect"] or c["hung"] for c in ended.values()) else 0)


if __name__ == "__main__":
    main()
