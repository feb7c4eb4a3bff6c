"""XModBench: ``*_questions_SHOWN_OPTIONS.json``, lists of questions with four options.

Layout read in ``benchmark/scripts/audioBench.py`` (the names of files) and
``model_runners/Random/run.py`` (the fields) of github.com/XingruiWang/XModBench: ``question``,
``conditions`` with ``modality`` and ``input``, ``options`` by letter with the same, and
``correct_answer``, a letter. ``input`` of the modality ``Text`` is the text, of the others a path;
one that is not absolute is counted from the folder that is opened.
"""

import json
from pathlib import Path
from typing import Any

from conjoin.errors import ConjoinError, nearest
from conjoin.evaluation.formats.base import Choose, Question, read, taken, text_of
from conjoin.storage.files import atomic

#: Modalities as the files write them, and kinds of cells.
KINDS = {"text": "text", "image": "image", "vision": "image", "audio": "audio"}


class XModBench:
    """Multiple choice in every direction between text, pictures and sounds."""

    title = "XModBench"
    looks_for = "**/*_questions_A_B.json"

    def recognises(self, path: Path) -> bool:
        """A folder with files of questions by that name."""
        return any(_files(path))

    def open(self, path: Path, split: str = "test") -> Choose:
        """The questions of every file; those whose files are not there are left out and counted."""
        found, lost = [], 0
        for file in _files(path):
            told = read(file)
            if not isinstance(told, list):
                raise ConjoinError(str(file), "holds no list", "write a list of questions")
            for i, record in enumerate(told):
                one = _question(f"{file}: [{i}]", record, path)
                if one is None:
                    lost += 1
                else:
                    found.append(one)
        if not found:
            raise ConjoinError(str(path), f"no files of {lost} questions", "put them in place")
        notes = (f"{lost} questions left out: a video, or a file not there",) if lost else ()
        return Choose(path.name, tuple(found), notes)

    def write(self, task: Choose, path: Path) -> None:
        """Write the questions by direction; pictures and sounds beside them."""
        (path / "media").mkdir(parents=True, exist_ok=True)
        files: dict[str, list[dict[str, Any]]] = {}
        for q in task.questions:
            letters = {
                chr(65 + at): _told(path, q.option_kind, each) for at, each in enumerate(q.options)
            }
            files.setdefault(f"{q.kind}_{q.option_kind}", []).append({
                "question": q.text,
                "conditions": _told(path, q.kind, q.shown),
                "options": letters,
                "correct_answer": chr(65 + q.right),
            })  # fmt: skip
        for name, records in files.items():
            with atomic(path / f"own_questions_{name}.json") as file:
                file.write(json.dumps(records, ensure_ascii=False, indent=1).encode())


def _files(path: Path) -> list[Path]:
    return sorted(f for f in path.glob("**/*_questions_*_*.json") if f.is_file())


def _question(where: str, record: Any, root: Path) -> Question | None:
    """A question, or None where it shows a video or a file that is not there."""
    text = text_of(where, record, "question")
    shown = _cell(f"{where} conditions", taken(where, record, "conditions"), root)
    options = taken(where, record, "options")
    if not isinstance(options, dict) or len(options) < 2:
        raise ConjoinError(f"{where} options", "are no object of two or more", "write A, B, C, D")
    cells = {k: _cell(f"{where} options {k}", v, root) for k, v in options.items()}
    letter = text_of(where, record, "correct_answer")
    if letter not in cells:
        raise ConjoinError(
            f"{where} correct_answer", f"is {letter!r}", f"write {nearest(letter, cells)}"
        )
    if shown is None or any(each is None for each in cells.values()):
        return None
    told = [each for each in cells.values() if each is not None]
    kinds = {kind for kind, _ in told}
    if len(kinds) > 1:
        raise ConjoinError(f"{where} options", f"are of {sorted(kinds)}", "write one modality")
    return Question(
        text, *shown, told[0][0], tuple(cell for _, cell in told), list(cells).index(letter),
        f"{shown[0]}>{told[0][0]}",
    )  # fmt: skip


def _cell(where: str, value: Any, root: Path) -> tuple[str, str] | None:
    said = text_of(where, value, "modality")
    if said.lower() == "video":
        return None
    if said.lower() not in KINDS:
        raise ConjoinError(f"{where} modality", repr(said), nearest(said, KINDS))
    kind, cell = KINDS[said.lower()], text_of(where, value, "input")
    if kind == "text":
        return kind, cell
    file = root / cell
    return (kind, str(file)) if file.is_file() else None


def _told(path: Path, kind: str, cell: str) -> dict[str, str]:
    if kind == "text":
        return {"modality": "Text", "input": cell}
    (path / "media" / Path(cell).name).write_bytes(Path(cell).read_bytes())
    return {"modality": kind.title(), "input": f"media/{Path(cell).name}"}
