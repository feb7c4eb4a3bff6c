"""Small tables that come with scikit-learn and sktime."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from conjoin.claims.datasets.registry import given, joined, require_views, texts
from conjoin.encoders.builtin.bundled import package_file
from conjoin.encoders.columns import embed
from conjoin.evaluation.benchmark import Bench
from conjoin.items import Items

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@dataclass(frozen=True)
class Digits:
    """1,797 handwritten digits of 8 × 8 pixels, cut into a left and a right half.

    A group is one drawing, for the file does not tell its writer; the class is the digit, its
    words those of ``name`` and ``static`` where these are asked for. Source: the test part of
    UCI's "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak), CC BY 4.0, as
    scikit-learn ships it.

    What it cannot show: the halves are pixels of one picture, so the views are as like as two
    views get; the thirteen writers are on both sides of the split; ten distinct words make
    ``name`` supervision rather than language.

    Views
    -----
    left : the left four columns of pixels (32 numbers of 0 to 16).
    right : the right four.
    whole : all (64).
    name : the digit's English word under MiniLM (384): ten distinct vectors, one a class.
    static : the same under averaged static vectors (256).
    """

    views: ClassVar[tuple[str, ...]] = ("left", "right", "whole", "name", "static")

    def load(self, views: Sequence[str]) -> Bench:
        """Read the package's own file."""
        from sklearn.datasets import load_digits

        require_views("digits", self.views, views)
        found = load_digits()
        ids = [str(row) for row in range(len(found.target))]
        pixels = {
            "left": found.images[:, :, :4], "right": found.images[:, :, 4:], "whole": found.images,
        }  # fmt: skip
        words = {item: WORDS[digit] for item, digit in zip(ids, found.target, strict=True)}
        spaces, names = {}, {}
        for view in views:
            if view in pixels:
                values = pixels[view].reshape(len(ids), -1)
                spaces[view] = given(values, ids, f"digits {view}")
            else:
                uri = "builtin:text" if view == "name" else "builtin:text-static"
                spaces[view] = texts(words, uri, f"digits {view}")
                names[view] = texts({str(n): word for n, word in enumerate(WORDS)}, uri)
        labels = {item: str(digit) for item, digit in zip(ids, found.target, strict=True)}
        return joined("digits", spaces, labels=labels, names=names)


#: Which measures make which view of a wine.
ACIDS = ("alcohol", "malic_acid", "ash", "alcalinity_of_ash", "magnesium", "proline")
COLOURS = (
    "total_phenols", "flavanoids", "nonflavanoid_phenols", "proanthocyanins", "color_intensity",
    "hue", "od280/od315_of_diluted_wines",
)  # fmt: skip


@dataclass(frozen=True)
class Wine:
    """178 Italian wines of three cultivars by thirteen measures of a laboratory.

    The views are disjoint halves by what is measured. A measure x becomes
    ``(x − mean) / deviation``, both of the wines that are not held out. A group is a wine;
    the class is the cultivar, which has no name. Source: Forina and others' data at UCI, CC BY
    4.0, as scikit-learn ships it.

    What it cannot show: about fifty held-out wines leave wide intervals, and the halves share
    little beyond the cultivar, so recall of the one right wine is low for every method.

    Views
    -----
    acids : alcohol, malic acid, ash and its alkalinity, magnesium, proline (6).
    colours : phenols of four kinds, colour, hue and absorption (7).
    """

    views: ClassVar[tuple[str, ...]] = ("acids", "colours")

    def load(self, views: Sequence[str]) -> Bench:
        """Read the package's own file."""
        from sklearn.datasets import load_wine

        require_views("wine", self.views, views)
        found = load_wine()
        ids = [str(row) for row in range(len(found.target))]
        column = {name: place for place, name in enumerate(found.feature_names)}
        spaces = {}
        for view in views:
            places = [column[name] for name in (ACIDS if view == "acids" else COLOURS)]
            spaces[view] = given(found.data[:, places], ids, f"wine {view}")
        labels = {item: str(cultivar) for item, cultivar in zip(ids, found.target, strict=True)}
        return standardised(joined("wine", spaces, labels=labels))


def standardised(bench: Bench) -> Bench:
    """The views with each dimension at mean 0 and deviation 1 over the rows not held out."""
    spaces = {}
    for name, space in bench.spaces.items():
        values = np.asarray(space.vectors, dtype=np.float64)
        kept = values[~bench.held(name)]
        scaled = (values - kept.mean(axis=0)) / kept.std(axis=0)
        spaces[name] = replace(space, vectors=scaled.astype(np.float32))
    return replace(bench, spaces=spaces)


@dataclass(frozen=True)
class Motions:
    """80 stretches of ten seconds of a smart watch on four students, doing four things.

    100 steps of six channels. Both views are under ``Series`` in one
    frame, so that doing nothing is a fair baseline. A group is a stretch; the class is the
    activity. Source: BasicMotions of the UEA archive (Bagnall and others 2018), both its parts
    together, as sktime ships it (BSD-3; the file came without a licence of its own).

    What it cannot show: some twenty held-out stretches decide little, and each student, five
    stretches of each activity, is on both sides of the split, for the file does not name them.

    Views
    -----
    acceleration : the accelerometer's three axes (156).
    rotation : the gyroscope's three axes (156).
    """

    views: ClassVar[tuple[str, ...]] = ("acceleration", "rotation")

    def load(self, views: Sequence[str]) -> Bench:
        """Read the file that sktime carries; sktime itself is not imported."""
        require_views("motions", self.views, views)
        cases = [case for part in ("TRAIN", "TEST") for case in _cases(part)]
        ids = [str(place) for place in range(len(cases))]
        table = {
            "id": ids,
            "acceleration": [values[:, :3] for values, _ in cases],
            "rotation": [values[:, 3:] for values, _ in cases],
        }
        items = Items.from_frame(table, id="id")
        spaces = {view: embed(items, "builtin:series", view, strict=True) for view in views}
        labels = dict(zip(ids, (label for _, label in cases), strict=True))
        return joined("motions", spaces, labels=labels)


def _cases(part: str) -> Iterator[tuple[np.ndarray, str]]:
    """``[steps, channels]`` and class of each line after ``@data``: channels between colons."""
    name = f"datasets/data/BasicMotions/BasicMotions_{part}.ts"
    text = package_file("sktime", name, "claims").read_text(encoding="utf-8")
    for line in text.partition("@data\n")[2].splitlines():
        *channels, label = line.split(":")
        yield np.array([channel.split(",") for channel in channels], dtype=np.float64).T, label
