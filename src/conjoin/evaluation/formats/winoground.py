"""Winoground: ``data/examples.jsonl`` and the pictures of ``data/images``.

The data are gated. Layout from the authors' dataset card (its copy in
github.com/juletx/spatial-reasoning): captions and tags lie in ``data/examples.jsonl``, pictures in
``data/images.zip``. Fields ``caption_0`` and ``caption_1`` as ``dataset/dataset.py`` of
github.com/ajd12342/why-winoground-hard reads them; ``image_0`` and ``image_1`` are names such as
``ex_0_img_0`` whose file is ``images/ex_0_img_0.png``. The zip is to be unpacked beside the file.
"""

import json
from pathlib import Path

from conjoin.errors import ConjoinError
from conjoin.evaluation.formats.base import Crossed, Square, lines, text_of
from conjoin.storage.files import atomic


class WinogroundFolder:
    """Two pictures and two captions a line."""

    title = "Winoground"
    looks_for = "examples.jsonl beside images/, or both in data/"

    def recognises(self, path: Path) -> bool:
        """A folder with examples of this name."""
        return (path / "examples.jsonl").is_file() or (path / "data" / "examples.jsonl").is_file()

    def open(self, path: Path, split: str = "test") -> Crossed:
        """Every line; those whose pictures are not there are left out and counted."""
        root = path / "data" if (path / "data" / "examples.jsonl").is_file() else path
        squares, lost = [], 0
        for where, record in lines(root / "examples.jsonl"):
            images = tuple(_picture(root, text_of(where, record, f"image_{i}")) for i in (0, 1))
            captions = tuple(text_of(where, record, f"caption_{i}") for i in (0, 1))
            if not all(each.is_file() for each in images):
                lost += 1
                continue
            tag = str(record.get("collapsed_tag") or record.get("tag") or "")
            squares.append(
                Square((str(images[0]), str(images[1])), (captions[0], captions[1]), tag)
            )
        if not squares:
            raise ConjoinError(str(root / "images"), f"holds none of {2 * lost} pictures",
                               "unpack images.zip there")  # fmt: skip
        notes = (f"{lost} examples left out: their pictures are not there",) if lost else ()
        return Crossed(path.name, tuple(squares), notes)

    def write(self, task: Crossed, path: Path) -> None:
        """Write pictures that lie in files, under names as the authors' are, and the lines."""
        folder = path / "data" / "images"
        folder.mkdir(parents=True, exist_ok=True)
        with atomic(path / "data" / "examples.jsonl") as file:
            for number, square in enumerate(task.squares):
                record: dict[str, object] = {"id": number}
                for i in (0, 1):
                    name = f"ex_{number}_img_{i}"
                    (folder / f"{name}.png").write_bytes(Path(square.images[i]).read_bytes())
                    record |= {f"image_{i}": name, f"caption_{i}": square.captions[i]}
                record["collapsed_tag"] = square.tag
                file.write((json.dumps(record, ensure_ascii=False) + "\n").encode())


def _picture(root: Path, name: str) -> Path:
    return root / "images" / (name if Path(name).suffix else f"{name}.png")
