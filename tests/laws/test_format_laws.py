"""What every catalogue row of kind "format" keeps."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from conjoin.catalogue import of_kind
from conjoin.errors import ConjoinError
from conjoin.evaluation.formats.base import (
    Cells,
    Choose,
    Contrast,
    Crossed,
    Foil,
    Format,
    Generate,
    Probe,
    Question,
    Rank,
    Square,
    Task,
)
from conjoin.evaluation.published import open_task

ROWS = of_kind("format")
JUDGED = {"q0": {"d0": 2, "d1": 1}, "q1": {"d1": 1, "d0": 0}}
TEXTS = Rank(
    "t", JUDGED, Cells("text", {"q0": "red", "q1": "cät"}), Cells("text", {"d0": "a", "d1": "b c"}),
    groups={"q0": "red", "q1": "cät"},
)  # fmt: skip
RUNS = Rank("t", JUDGED, runs={"run-a": {"q0": {"d0": 0.1 + 0.2, "d1": -1.0}}})
OUTPUTS = Generate(
    "t", {"1": ("a dog", "the dog"), "2": ("a cat",)}, {"mine": {"1": "a", "2": "b"}}
)


EDITED = Generate(
    "t", {"1": ("a dog runs", "one dog runs"), "2": ("a cät",)},
    {"mine": {"1": "a dog", "2": ""}, "other": {"1": "x", "2": "y"}},
    sources={"1": "a dog . it runs", "2": "a big cät"},
)  # fmt: skip


def foils(folder: Path) -> Contrast:
    (folder / "x.png").write_bytes(b"x")
    return Contrast("t", (Foil(str(folder / "x.png"), "red", "blue", "Attribute/color"),))


def squares(folder: Path) -> Crossed:
    files = [folder / f"{i}.png" for i in (0, 1)]
    for i, file in enumerate(files):
        file.write_bytes(bytes([i]))
    pair = (str(files[0]), str(files[1]))
    return Crossed("t", (Square(pair, ("red on blue", "blue on red"), "Relation"),) * 2)


def captions(folder: Path) -> Rank:
    (folder / "a1.jpg").write_bytes(b"a")
    cells = Cells("image", {"a1": str(folder / "a1.jpg")})
    return Rank("t", {"a1": {"a1": 1}}, Cells("text", {"a1": "a rose"}), cells,
                tags={"a1": "roses"})  # fmt: skip


def choices(folder: Path) -> Choose:
    (folder / "y.png").write_bytes(b"y")
    shown = str(folder / "y.png")
    return Choose("t", (
        Question("Which?", "image", shown, "text", ("a", "b", "c"), 2, "image>text"),
        Question("Which?", "image", shown, "text", ("b", "ä"), 1, "image>text"),
    ))  # fmt: skip


LABELLED = Probe(
    "t", Cells("text", {"a": "one", "b": "two"}), Cells("text", {"c": "ein", "d": "zwei"}),
    {"a": "x", "b": "y", "c": "x", "d": "y"},
)  # fmt: skip


def task_of(name: str, folder: Path) -> Task:
    """A task that the format holds whole."""
    made = {"trec": RUNS, "coco-captions": OUTPUTS, "vl-checklist": foils(folder),
            "winoground": squares(folder), "redcaps": captions(folder),
            "text-editing": EDITED, "xmodbench": choices(folder),
            "class-folders": LABELLED}  # fmt: skip
    return made.get(name, TEXTS)


def bare(task: Task) -> object:
    """A task without where its pictures lie and what its files are called."""
    if isinstance(task, Crossed):
        read = [[Path(f).read_bytes() for f in one.images] for one in task.squares]
        return read, [(one.captions, one.tag) for one in task.squares]
    if isinstance(task, Choose):
        return [replace(q, shown=Path(q.shown).name) for q in task.questions]
    if isinstance(task, Probe):
        told = (task.train, task.test)
        return [sorted((task.labels[i], c) for i, c in x.values.items()) for x in told]
    if isinstance(task, Contrast):
        return [replace(foil, image=Path(foil.image).name) for foil in task.foils]
    if isinstance(task, Rank) and task.corpus is not None and task.corpus.kind == "image":
        names = {item: Path(cell).name for item, cell in task.corpus.values.items()}
        return replace(task, name="", corpus=Cells("image", names))
    return replace(task, name="")


@pytest.mark.parametrize("name", ROWS)
def test_what_is_written_opens_as_the_same_task_and_is_recognised(name, tmp_path):
    layout, task = ROWS[name].make(), task_of(name, tmp_path)
    assert isinstance(layout, Format)
    layout.write(task, tmp_path / "out")
    found, opened = open_task(tmp_path / "out")
    assert found == name
    assert bare(opened) == bare(task)
    others = [each for each in ROWS if each != name]
    for other in others:
        with pytest.raises(ConjoinError, match=ROWS[name].make().title):
            open_task(tmp_path / "out", name=other)


@pytest.mark.parametrize("name", ROWS)
def test_a_missing_file_is_named(name, tmp_path):
    layout = ROWS[name].make()
    layout.write(task_of(name, tmp_path), tmp_path / "out")
    files = [each for each in sorted((tmp_path / "out").rglob("*")) if each.is_file()]
    lost = next(
        f for f in files if f.suffix in (".jsonl", ".json", ".parquet", ".txt", ".png", ".tsv")
    )
    lost.unlink()
    if name == "text-editing":  # a system fewer is another task, none is none
        (tmp_path / "out" / "other.tsv").unlink()
    if name == "class-folders":  # one file fewer is another task, a split fewer is none
        shutil.rmtree(tmp_path / "out" / "test")
    with pytest.raises(ConjoinError, match="out"):
        layout.open(tmp_path / "out")
