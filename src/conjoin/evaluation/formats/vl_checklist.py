"""VL-CheckList: by leaf of its taxonomy, ``[picture, {"POS": […], "NEG": […]}]``.

Layout read in ``vl_checklist/data_loader.py`` and ``corpus/v1/Attribute/action/vaw.yaml`` of
github.com/om-ai-lab/VL-CheckList: ``corpus/**/*.yaml`` holds ``ANNO_PATH`` and ``IMG_ROOT``, both
counted from the folder that holds ``corpus``. As ``evaluate.py`` there does, the first text of
``POS`` and the first of ``NEG`` are compared.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from conjoin.errors import ConjoinError, nearest
from conjoin.evaluation.formats.base import Contrast, Foil, lines_of, listed, read, taken
from conjoin.storage.files import atomic


class VlChecklist:
    """Captions against foils, by leaf of a taxonomy."""

    title = "VL-CheckList"
    looks_for = "corpus/**/*.yaml with ANNO_PATH and IMG_ROOT"

    def recognises(self, path: Path) -> bool:
        """A folder with leaves of a corpus."""
        return any(path.glob("corpus/**/*.yaml"))

    def open(self, path: Path, split: str = "test") -> Contrast:
        """Every leaf under ``corpus``; pictures that are not there are left out and counted."""
        foils, lost = [], 0
        for leaf in sorted(path.glob("corpus/**/*.yaml")):
            told = _settings(leaf)
            root = path / told["IMG_ROOT"]
            tag = str(leaf.relative_to(path / "corpus").with_suffix(""))
            file = path / told["ANNO_PATH"]
            for i, one in enumerate(listed(str(file), read(file))):
                where = f"{file}: [{i}]"
                if not isinstance(one, list) or len(one) != 2 or not isinstance(one[0], str):
                    raise ConjoinError(where, "is no pair", "write [picture, {POS, NEG}]")
                if not (root / one[0]).is_file():
                    lost += 1
                    continue
                true, false = _first(where, one[1], "POS"), _first(where, one[1], "NEG")
                foils.append(Foil(str(root / one[0]), true, false, tag))
        if not foils:
            raise ConjoinError(str(path), f"none of {lost} pictures is there", "put them in place")
        notes = (f"{lost} records left out: their picture is not there",) if lost else ()
        return Contrast(path.name, tuple(foils), notes)

    def write(self, task: Contrast, path: Path) -> None:
        """Write pictures that lie in files, and their captions by leaf."""
        leaves: dict[str, list[object]] = {}
        (path / "images").mkdir(parents=True, exist_ok=True)
        for foil in task.foils:
            source = Path(foil.image)
            (path / "images" / source.name).write_bytes(source.read_bytes())
            record = [source.name, {"POS": [foil.true], "NEG": [foil.false]}]
            leaves.setdefault(foil.tag or "all", []).append(record)
        for tag, records in leaves.items():
            leaf, data = path / "corpus" / f"{tag}.yaml", path / "data" / f"{tag}.json"
            for file in (leaf, data):
                file.parent.mkdir(parents=True, exist_ok=True)
            with atomic(leaf) as out:
                told = f'ANNO_PATH: "data/{tag}.json"\nIMG_ROOT: "images"\nTYPE: "TUPLE_JSON"\n'
                out.write(told.encode())
            with atomic(data) as out:
                out.write(json.dumps(records, ensure_ascii=False).encode())


def _settings(leaf: Path) -> dict[str, str]:
    """``KEY: value`` lines; the files hold nothing else."""
    told = {}
    with lines_of(leaf) as lines:
        for line in lines:
            key, colon, value = line.partition(":")
            if colon:
                told[key.strip()] = value.strip().strip("\"'")
    for key in ("ANNO_PATH", "IMG_ROOT"):
        if key not in told:
            raise ConjoinError(str(leaf), f"no field {key!r}", f"its fields: {nearest(key, told)}")
    return told


def _first(where: str, record: Mapping[str, object], name: str) -> str:
    texts = taken(where, record, name)
    if not isinstance(texts, list) or not texts or not isinstance(texts[0], str):
        raise ConjoinError(where, f"{name!r} holds no text", "write a list of texts")
    return texts[0]
