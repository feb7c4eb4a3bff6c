"""COCO captions: ``annotations/captions_*.json``, pictures, and results of captioners.

Layout read in ``pycocotools/coco.py`` of github.com/tylin/coco-caption: ``images`` have ``id`` and
``file_name``, ``annotations`` have ``image_id``, ``id`` and ``caption``; a result is a list of
``image_id`` and ``caption``, one an image. Results lie in ``results/*_results.json``.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from conjoin.errors import ConjoinError
from conjoin.evaluation.formats.base import Cells, Generate, Rank, listed, read, taken, text_of
from conjoin.storage.files import atomic


class CocoCaptions:
    """Captions to pictures to rank, or captioners to score where results lie beside them."""

    title = "COCO captions"
    looks_for = "annotations/captions_*.json, pictures, results/*_results.json"

    def recognises(self, path: Path) -> bool:
        """A folder with caption annotations."""
        return path.is_dir() and bool(_annotations(path))

    def open(self, path: Path, split: str = "test") -> Rank | Generate:
        """Captioners beside references where there are results; else captions to pictures."""
        found = _annotations(path)
        named = [each for each in found if split in each.stem] or found
        if len(named) != 1:
            said = ", ".join(each.name for each in named)
            raise ConjoinError(str(path), f"annotations: {said}", "name one by --split")
        whole, where = read(named[0]), str(named[0])
        files = {
            str(taken(f"{where}: images[{i}]", one, "id")):
                text_of(f"{where}: images[{i}]", one, "file_name")
            for i, one in enumerate(listed(f"{where}: images", taken(where, whole, "images")))
        }  # fmt: skip
        captions: dict[str, tuple[str, str]] = {}
        for i, one in enumerate(
            listed(f"{where}: annotations", taken(where, whole, "annotations"))
        ):
            here = f"{where}: annotations[{i}]"
            image = str(taken(here, one, "image_id"))
            if image not in files:
                raise ConjoinError(here, f"image_id {image} is not in images", "fix the id")
            captions[str(taken(here, one, "id"))] = (image, text_of(here, one, "caption"))
        results = sorted(path.glob("results/*_results.json"))
        if results:
            return _outputs(path.name, captions, files, results)
        return _pictures(path, captions, files)

    def write(self, task: Rank | Generate, path: Path) -> None:
        """Write captions of pictures that lie in files, or captioners' results."""
        for folder in ("annotations", "results"):
            (path / folder).mkdir(parents=True, exist_ok=True)
        if isinstance(task, Generate):
            _write_outputs(task, path)
            return
        if task.queries is None or task.corpus is None or task.corpus.kind != "image":
            raise ConjoinError(task.name, "has no pictures", "write another format")
        images = []
        for key, cell in task.corpus.values.items():
            source = Path(cell)
            (path / "images").mkdir(exist_ok=True)
            (path / "images" / source.name).write_bytes(source.read_bytes())
            images.append({"id": key, "file_name": source.name})
        notes = [
            {"image_id": image, "id": key, "caption": task.queries.values[key]}
            for key, judged in task.relevance.items() for image in judged
        ]  # fmt: skip
        _write(path / "annotations" / "captions_test.json",
               {"type": "captions", "images": images, "annotations": notes})  # fmt: skip


def _annotations(path: Path) -> list[Path]:
    return sorted([*path.glob("annotations/captions_*.json"), *path.glob("captions_*.json")])


def _pictures(
    path: Path, captions: Mapping[str, tuple[str, str]], files: Mapping[str, str]
) -> Rank:
    """Captions to pictures; those whose file is not there are left out and counted."""
    lying = {each.name: each for each in path.rglob("*") if each.is_file()}
    shown = {image: str(lying[name]) for image, name in files.items() if name in lying}
    if not shown:
        raise ConjoinError(
            str(path), f"none of {len(files)} pictures is there",
            "put them in a folder beside, or results in results/*_results.json",
        )  # fmt: skip
    asked = {key: text for key, (image, text) in captions.items() if image in shown}
    lost = len(files) - len(shown)
    notes = (f"{lost} of {len(files)} pictures left out: no such file",) if lost else ()
    return Rank(
        path.name,
        {key: {captions[key][0]: 1} for key in asked},
        Cells("text", asked),
        Cells("image", shown),
        groups={key: captions[key][0] for key in asked},
        notes=notes,
    )


def _outputs(
    name: str,
    captions: Mapping[str, tuple[str, str]],
    files: Mapping[str, str],
    results: list[Path],
) -> Generate:
    references: dict[str, tuple[str, ...]] = {}
    for image, text in captions.values():
        references[image] = (*references.get(image, ()), text)
    outputs: dict[str, dict[str, str]] = {}
    for file in results:
        own: dict[str, str] = {}
        for i, one in enumerate(listed(str(file), read(file))):
            where = f"{file}: [{i}]"
            image = str(taken(where, one, "image_id"))
            if image not in references:
                raise ConjoinError(where, f"image_id {image} has no caption", "fix the id")
            own[image] = text_of(where, one, "caption")
        outputs[file.stem.removesuffix("_results")] = own
    absent = {each: len(references) - len(own) for each, own in outputs.items()}
    notes = tuple(f"{each}: no text for {n} items" for each, n in absent.items() if n)
    return Generate(name, references, outputs, notes)


def _write_outputs(task: Generate, path: Path) -> None:
    notes = [
        {"image_id": image, "id": f"{image}-{i}", "caption": text}
        for image, texts in task.references.items() for i, text in enumerate(texts)
    ]  # fmt: skip
    images = [{"id": image, "file_name": f"{image}.jpg"} for image in task.references]
    whole = {"type": "captions", "images": images, "annotations": notes}
    _write(path / "annotations" / "captions_test.json", whole)
    for name, texts in task.outputs.items():
        told = [{"image_id": image, "caption": text} for image, text in texts.items()]
        _write(path / "results" / f"{name}_results.json", told)


def _write(path: Path, value: Any) -> None:
    with atomic(path) as file:
        file.write(json.dumps(value, ensure_ascii=False, indent=1).encode())
