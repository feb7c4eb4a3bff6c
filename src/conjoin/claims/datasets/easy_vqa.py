"""Questions about drawn shapes, and the pictures they are asked of."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from conjoin.claims.datasets.registry import embedded, given, joined, require_views, texts
from conjoin.encoders.builtin.bundled import package_file
from conjoin.evaluation.benchmark import Bench
from conjoin.items import Items
from conjoin.spaces import Space
from conjoin.storage.digest import digest

#: Pictures of the package's training part that are taken, the first of them.
PICTURES = 800
#: Side of the thumbnail of the view ``pixels``.
SIDE = 8


@dataclass(frozen=True)
class EasyVqa:
    """Some 7,600 questions about 800 pictures of one coloured shape each; thirteen answers.

    An item is a question about a picture; a group is a picture, the class is the answer: yes or
    no, a colour or a shape. The first 800 pictures of the training part of easy-vqa, as the
    package ships it (MIT). What is asked is one of about a hundred sentences, so that a question
    is found on both sides of the split, each time with another picture.

    What it cannot show: pictures are synthetic, of 64 × 64 pixels, with one shape; questions are
    templates. The answer depends on question and picture together: a yes or no is no sum of both.

    Views
    -----
    image : the picture under EfficientNet-lite0 (1280).
    pixels : the picture shrunk to 8 × 8 (192).
    question : the question under MiniLM (384).
    words : the question under hashed n-grams of its characters (1024).
    """

    views: ClassVar[tuple[str, ...]] = ("image", "pixels", "question", "words")

    def load(self, views: Sequence[str]) -> Bench:
        """Embed each picture and each different question once."""
        require_views("easy-vqa", self.views, views)
        told = json.loads(_file("questions.json").read_text(encoding="utf-8"))
        told = [(text, answer, int(at)) for text, answer, at in told if int(at) < PICTURES]
        ids = [f"{at}/{number}" for number, (_, _, at) in enumerate(told)]
        spaces = {view: _view(view, told, ids) for view in views}
        groups = dict(zip(ids, (str(at) for _, _, at in told), strict=True))
        labels = dict(zip(ids, (answer for _, answer, _ in told), strict=True))
        return joined("easy-vqa", spaces, groups, labels)


def _file(name: str) -> Path:
    return package_file("easy_vqa", f"data/train/{name}", "claims")


def _view(view: str, told: Sequence[tuple[str, str, int]], ids: Sequence[str]) -> Space:
    if view in ("question", "words"):
        uri = "builtin:text" if view == "question" else "builtin:chargram"
        known = {text: text for text, _, _ in told}
        return _spread(texts(known, uri, f"easy-vqa {view}"), [text for text, _, _ in told], ids)
    pictures = {str(at): f"images/{at}.png" for _, _, at in told}
    if view == "pixels":
        found = given(_thumbnails(pictures), list(pictures), "easy-vqa pixels")
    else:
        table = {"id": list(pictures), "picture": [str(_file(x)) for x in pictures.values()]}
        found = embedded(
            lambda: Items.from_frame(table, id="id"), "picture", "builtin:image",
            digest(["easy-vqa 1.0", list(pictures)]), "easy-vqa image",
        )  # fmt: skip
    return _spread(found, [str(at) for _, _, at in told], ids)


def _thumbnails(pictures: Mapping[str, str]) -> np.ndarray:
    from PIL import Image

    rows = []
    for name in pictures.values():
        with Image.open(_file(name)) as picture:
            small = picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX)
        rows.append(np.asarray(small, dtype=np.float32).ravel() / 255)
    return np.stack(rows)


def _spread(space: Space, names: Sequence[str], ids: Sequence[str]) -> Space:
    """A row of the space for each item, by the name of its cell."""
    row = {str(item): at for at, item in enumerate(space.ids)}
    taken = space.take(np.array([row[name] for name in names]))
    return replace(taken, ids=np.array(ids))
