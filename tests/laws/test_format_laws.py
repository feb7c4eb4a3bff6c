"""What every catalogue row of kind "format" keeps."""

from dataclasses import replace
from pathlib import Path

import pytest

from conjoin.catalogue import of_kind
from conjoin.errors import ConjoinError
from conjoin.evaluation.formats.base import Cells, Contrast, Foil, Format, Generate, Rank
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


def foils(folder: Path) -> Contrast:
    (folder / "x.png").write_bytes(b"x")
    return Contrast("t", (Foil(str(folder / "x.png"), "red", "blue", "Attribute/color"),))


def task_of(name: str, folder: Path) -> Rank | Contrast | Generate:
    """A task that the format holds whole."""
    made = {"trec": RUNS, "coco-captions": OUTPUTS, "vl-checklist": foils(folder)}
    return made.get(name, TEXTS)


def bare(task: Rank | Contrast | Generate) -> object:
    """A task without where its pictures lie."""
    if isinstance(task, Contrast):
        return [replace(foil, image=Path(foil.image).name) for foil in task.foils]
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
    lost = next(f for f in files if f.suffix in (".jsonl", ".json", ".parquet", ".txt", ".png"))
    lost.unlink()
    with pytest.raises(ConjoinError, match="out"):
        layout.open(tmp_path / "out")
