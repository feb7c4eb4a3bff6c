"""Folders of classes: ``train/CLASS/file`` and ``test/CLASS/file``.

Layout of ``torchvision.datasets.ImageFolder`` (``root/class/picture``), once for each split, which
is also how ``datasets.load_dataset("imagefolder")`` takes it. A suite as VTAB's is a folder of such
folders: give the paths of its tasks. VTAB itself reads TensorFlow Datasets and has no files.
"""

from pathlib import Path

from conjoin.errors import ConjoinError, nearest
from conjoin.evaluation.formats.base import Cells, Probe, lines_of

#: File endings by kind.
ENDINGS = {
    "image": (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"),
    "audio": (".wav", ".flac", ".ogg", ".mp3"),
    "text": (".txt",),
}


class ImageFolder:
    """Classes as folders of pictures, sounds or texts, once to train and once to test on."""

    title = "folders of classes"
    looks_for = "train/CLASS/* and test/CLASS/*"

    def recognises(self, path: Path) -> bool:
        """A folder with classes to train on."""
        train = path / "train"
        return train.is_dir() and any(each.is_dir() for each in train.iterdir())

    def open(self, path: Path, split: str = "test") -> Probe:
        """The classes of ``train`` and of a split.

        Raises
        ------
        ConjoinError : a split is missing or holds no files, a class of the split has no training
            files, or files are of several kinds.
        """
        train, kind = _files(path / "train", path)
        test, other = _files(path / split, path)
        if kind != other:
            raise ConjoinError(str(path), f"train holds {kind}, {split} {other}", "give one kind")
        known = {name for name, _ in train.values()}
        strange = sorted({name for name, _ in test.values()} - known)
        if strange:
            raise ConjoinError(str(path / split / strange[0]), "has no class of that name in train",
                               f"classes are {nearest(strange[0], known)}")  # fmt: skip
        labels = {item: name for item, (name, _) in {**train, **test}.items()}
        cells = [Cells(kind, {item: cell for item, (_, cell) in x.items()}) for x in (train, test)]
        return Probe(path.name, cells[0], cells[1], labels)

    def write(self, task: Probe, path: Path) -> None:
        """Write the files of both splits, named by number, or texts as ``.txt``."""
        for split, cells in (("train", task.train), ("test", task.test)):
            for number, (item, cell) in enumerate(cells.values.items()):
                folder = path / split / task.labels[item]
                folder.mkdir(parents=True, exist_ok=True)
                if cells.kind == "text":
                    (folder / f"{number:06d}.txt").write_text(cell, encoding="utf-8")
                else:
                    ending = Path(cell).suffix
                    (folder / f"{number:06d}{ending}").write_bytes(Path(cell).read_bytes())


def _files(folder: Path, root: Path) -> tuple[dict[str, tuple[str, str]], str]:
    """By path within the root, class and cell of every file; and their kind."""
    if not folder.is_dir():
        beside = [each.name for each in root.iterdir() if each.is_dir()]
        raise ConjoinError(str(folder), "is not there", nearest(folder.name, beside))
    kinds = {ending: kind for kind, endings in ENDINGS.items() for ending in endings}
    found: dict[str, tuple[str, str]] = {}
    seen: set[str] = set()
    for file in sorted(folder.glob("*/*")):
        kind = kinds.get(file.suffix.lower())
        if kind is None or not file.is_file():
            continue
        seen.add(kind)
        cell = str(file)
        if kind == "text":
            with lines_of(file) as text:
                cell = "".join(text)
        found[str(file.relative_to(root))] = (file.parent.name, cell)
    if len(seen) != 1:
        said = f"holds {sorted(seen)}" if seen else "holds no files of classes"
        raise ConjoinError(str(folder), said, "give pictures, sounds or texts, of one kind")
    return found, seen.pop()
