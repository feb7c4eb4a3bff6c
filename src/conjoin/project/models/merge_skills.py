"""What merged encoders are judged by: pairs of texts, or the items of a workspace."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from conjoin.encoders.open import kind_of
from conjoin.encoders.run import encode
from conjoin.errors import ConjoinError
from conjoin.items import read_table
from conjoin.project.models.scoring import score_rows
from conjoin.project.models.tuning_data import Material, read_material
from conjoin.project.workspace import CONFIG, Workspace
from conjoin.storage.digest import stable_hash

#: Test pairs at least, of each skill.
LEAST = 40
#: Items of a workspace learned from, looked at to choose, and tested on, at most.
LEARN, LOOK, TEST = 1000, 500, 1000


class Judge(Protocol):
    """A skill: lines that an encoder is scored on.

    ``groups`` are those of the lines scored; ``part`` gives the lines to choose by, or those to
    test with; ``embed`` gives the vectors it needs and ``score`` a number in [0, 1] a line.
    """

    @property
    def name(self) -> str:
        """Of the skill."""
        ...

    @property
    def metric(self) -> str:
        """What its scores are called."""
        ...

    @property
    def groups(self) -> np.ndarray:
        """``[n]`` labels of the lines scored."""
        ...

    def part(self, tested: bool) -> "Judge":
        """The lines to choose by, or those to test with."""
        ...

    def embed(self, encoder: Any) -> tuple[np.ndarray, ...]:
        """Rows at unit length, as :meth:`score` takes them."""
        ...

    def score(self, vectors: tuple[np.ndarray, ...]) -> np.ndarray:
        """``[n]`` of each line."""
        ...


@dataclass(frozen=True, eq=False)
class Skill:
    """Pairs that one of the experts is to be good at.

    Parameters
    ----------
    name : of the skill.
    left, right : ``[n]`` texts; each left one asks for its right one among all of the part's.
    groups : ``[n]``; lines that share a text are of one.
    tested : ``[n]`` whether a line is for the test, and not for choosing.
    """

    name: str
    left: np.ndarray
    right: np.ndarray
    groups: np.ndarray
    tested: np.ndarray
    metric: str = "mrr"

    def part(self, tested: bool) -> "Skill":
        """The lines to choose by, or those to test with."""
        kept = self.tested == tested
        left, right, groups = self.left[kept], self.right[kept], self.groups[kept]
        return Skill(self.name, left, right, groups, self.tested[kept])

    def embed(self, encoder: Any) -> tuple[np.ndarray, ...]:
        """Unit vectors of both sides."""
        return tuple(
            _unit(encode(encoder, list(side), strict=True).vectors)
            for side in (self.left, self.right)
        )

    def score(self, vectors: tuple[np.ndarray, ...]) -> np.ndarray:
        """1 / rank of each partner."""
        left, right = vectors
        return reciprocal_ranks(left, right, self.right)


def read_skill(text: str) -> Skill:
    """A skill as typed: ``NAME=FILE``, a table whose first two columns are the two sides.

    Raises
    ------
    ConjoinError : no such form, fewer than two columns, or too few lines.
    """
    name, equals, path = text.partition("=")
    if not equals:
        name, path = Path(text).stem, text
    table = read_table(Path(path))
    if len(table.column_names) < 2:
        raise ConjoinError(path, "has one column", "give two: what asks, and what is asked for")
    sides = [table.column(name).to_pylist() for name in table.column_names[:2]]
    left, right = (np.array(["" if v is None else str(v) for v in side], object) for side in sides)
    kept = (left != "") & (right != "")
    left, right = left[kept], right[kept]
    return skill_of(name, left, right)


def skill_of(name: str, left: np.ndarray, right: np.ndarray) -> Skill:
    """Pairs with their groups, two parts in five for choosing and three for the test.

    Raises
    ------
    ConjoinError : too few lines.
    """
    groups = joined(left, right)
    tested = np.array([stable_hash(f"merge/{one}") % 5 >= 2 for one in groups])
    if tested.sum() < LEAST or (~tested).sum() < LEAST // 2:
        raise ConjoinError(f"pairs {name}", f"{len(left)} lines", f"give {3 * LEAST} or more")
    return Skill(name, left, right, groups, tested)


def joined(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Groups of lines that share a text on either side, directly or through others."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    _, a = np.unique(left.astype(str), return_inverse=True)
    _, b = np.unique(right.astype(str), return_inverse=True)
    size = a.max() + b.max() + 2
    graph = coo_array((np.ones(len(a)), (a, b + a.max() + 1)), shape=(size, size))
    _, component = connected_components(graph.tocsr(), directed=False)
    first: dict[int, str] = {}
    for place, one in enumerate(component[a]):
        first.setdefault(int(one), str(left[place]))
    return np.array([first[int(one)] for one in component[a]])


@dataclass(frozen=True, eq=False)
class ItemSkill:
    """Texts of a workspace: their classes, or partners of another modality, by a head or map.

    Parameters
    ----------
    made : the items.
    train, test : places of those fitted to and scored.
    """

    name: str
    made: Material
    train: np.ndarray
    test: np.ndarray

    @classmethod
    def read(cls, ws: Workspace, modality: str, label: str | None, seed: int) -> "ItemSkill":
        """The items of a text modality, at most as many as the limits say.

        Raises
        ------
        ConjoinError : as :func:`~conjoin.project.models.tuning_data.read_material`.
        """
        made = read_material(ws, modality, label, seed)
        rng = np.random.default_rng([seed, stable_hash("merge/items")])

        def some(rows: np.ndarray, most: int) -> np.ndarray:
            return rows if len(rows) <= most else np.sort(rng.choice(rows, most, replace=False))

        learn, look = some(made.learn, LEARN), some(made.look, LOOK)
        train = np.concatenate([learn, look])
        inner = np.arange(len(train)) >= len(learn)
        kept = replace(made, train=train, inner=inner, test=some(made.test, TEST))
        return cls(label or modality, kept, kept.train, kept.test)

    @property
    def metric(self) -> str:
        """``accuracy`` or ``recall@10``."""
        return self.made.metric

    @property
    def groups(self) -> np.ndarray:
        """``[n]`` of the items scored."""
        return self.made.groups[self.test]

    def part(self, tested: bool) -> "ItemSkill":
        """Fitted to what is learned from and scored on validation; or to both, on the test."""
        m = self.made
        train, test = (m.train, m.test) if tested else (m.learn, m.look)
        return replace(self, train=train, test=test)

    def embed(self, encoder: Any) -> tuple[np.ndarray, ...]:
        """Unit vectors of the items fitted to, then of those scored."""
        return tuple(
            _unit(encode(encoder, [self.made.texts[i] for i in rows], strict=True).vectors)
            for rows in (self.train, self.test)
        )

    def score(self, vectors: tuple[np.ndarray, ...]) -> np.ndarray:
        """Right or wrong of each item, by the best head or map of these vectors."""
        width = vectors[0].shape[1]
        x = np.zeros((len(self.made.texts), width), np.float32)
        x[self.train], x[self.test] = vectors
        return score_rows(self.made, x, self.train, self.test)


def _unit(vectors: Any) -> np.ndarray:
    rows = np.asarray(vectors, np.float64)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


#: Rows whose scores are held at a time.
BLOCK = 1024


def reciprocal_ranks(left: np.ndarray, right: np.ndarray, texts: np.ndarray) -> np.ndarray:
    """``[n]`` 1 / rank of each left row's partner among the right rows, ties shared evenly.

    Right rows that hold the partner's own text are not counted against it.

    >>> reciprocal_ranks(np.eye(2), np.eye(2), np.array(["a", "b"]))
    array([1., 1.])
    """
    _, same = np.unique(np.asarray(texts).astype(str), return_inverse=True)
    found = []
    for start in range(0, len(left), BLOCK):
        lines = np.arange(start, min(start + BLOCK, len(left)))
        scores = left[lines] @ right.T
        own = scores[np.arange(len(lines)), lines][:, None]
        other = same[lines, None] != same[None, :]
        near = np.abs(scores - own) <= 1e-9
        above = ((scores > own) & ~near & other).sum(axis=1)
        level = (near & other).sum(axis=1)
        found.append(1.0 / (1.0 + above + level / 2))
    return np.concatenate(found) if found else np.empty(0)


def workspace_skills(
    folder: Path | None, modality: str | None, label: str | None, seed: int, *, others: bool
) -> list[ItemSkill]:
    """What a workspace judges by: its one text modality, or the one named.

    Parameters
    ----------
    folder : of the workspace; that of the process where not given, if it is one.
    others : there are pairs to judge by, so that a workspace that happens to be here is passed
        over.

    Raises
    ------
    ConjoinError : the folder is no workspace, or no one text modality is told from others.
    """
    here = Path()
    if folder is None:
        if label is None and modality is None and (others or not (here / CONFIG).is_file()):
            return []
        folder = here
    ws = Workspace(folder)
    texts = [one.name for one in ws.modalities if kind_of(one.uri) == "text"]
    if modality is None and len(texts) != 1:
        raise ConjoinError(
            "--modality", f"{len(texts)} modalities read text",
            f"name one: {', '.join(texts)}" if texts else "give --pairs NAME=FILE",
        )  # fmt: skip
    return [ItemSkill.read(ws, modality or texts[0], label, seed)]
