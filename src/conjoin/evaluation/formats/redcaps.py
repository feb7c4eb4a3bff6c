"""RedCaps: ``annotations/SUBREDDIT_YEAR.json`` and ``images/SUBREDDIT/ID.jpg``.

Layout read in the README and ``redcaps/filter.py`` of
github.com/redcaps-dataset/redcaps-downloader: a file holds ``info`` and ``annotations``, each with
``image_id``, ``subreddit`` and ``caption``.
"""

import json
import re
from pathlib import Path
from typing import Any

from conjoin.errors import ConjoinError
from conjoin.evaluation.formats.base import Cells, Rank, listed, read, taken, text_of
from conjoin.storage.files import atomic

_NAME = re.compile(r"(?!captions_).+_\d{4}(-\d+)?")


class RedCaps:
    """Captions of pictures by topic: a caption asks for its picture."""

    title = "RedCaps"
    looks_for = "annotations/SUBREDDIT_YEAR.json and images/SUBREDDIT/*.jpg"

    def recognises(self, path: Path) -> bool:
        """A folder with annotations named by subreddit and year."""
        return bool(_files(path))

    def open(self, path: Path, split: str = "test") -> Rank:
        """Every annotation whose picture is there, tagged by its subreddit; others are counted."""
        asked, shown, tags, lost = {}, {}, {}, 0
        for file in _files(path):
            for i, one in enumerate(listed(str(file), taken(str(file), read(file), "annotations"))):
                where = f"{file}: annotations[{i}]"
                item, topic = (text_of(where, one, name) for name in ("image_id", "subreddit"))
                caption = text_of(where, one, "caption")
                picture = path / "images" / topic / f"{item}.jpg"
                if not picture.is_file():
                    lost += 1
                    continue
                asked[item], shown[item], tags[item] = caption, str(picture), topic
        if not asked:
            raise ConjoinError(str(path / "images"), f"holds none of {lost} pictures", "fetch them")
        notes = (f"{lost} annotations left out: their picture is not there",) if lost else ()
        return Rank(
            path.name, {item: {item: 1} for item in asked}, Cells("text", asked),
            Cells("image", shown), tags=tags, notes=notes,
        )  # fmt: skip

    def write(self, task: Rank, path: Path) -> None:
        """Write captions and pictures that lie in files, a file of annotations for each topic.

        Raises
        ------
        ConjoinError : the task has no pictures.
        """
        if task.queries is None or task.corpus is None or task.corpus.kind != "image":
            raise ConjoinError(task.name, "has no pictures", "write another format")
        topics: dict[str, list[dict[str, Any]]] = {}
        for query, judged in task.relevance.items():
            topic = task.tags.get(query, "all")
            (path / "images" / topic).mkdir(parents=True, exist_ok=True)
            for item in judged:
                data = Path(task.corpus.values[item]).read_bytes()
                (path / "images" / topic / f"{item}.jpg").write_bytes(data)
                told = {"image_id": item, "subreddit": topic, "caption": task.queries.values[query]}
                topics.setdefault(topic, []).append(told)
        (path / "annotations").mkdir(parents=True, exist_ok=True)
        for topic, records in topics.items():
            with atomic(path / "annotations" / f"{topic}_2020.json") as file:
                file.write(json.dumps({"info": {}, "annotations": records}).encode())


def _files(path: Path) -> list[Path]:
    return [f for f in sorted(path.glob("annotations/*.json")) if _NAME.fullmatch(f.stem)]
