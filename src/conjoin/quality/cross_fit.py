"""Pairs as maps fitted without them place them: what every detector of mismatched pairs reads."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from conjoin.alignment.closed_form.covariance import Joint
from conjoin.alignment.closed_form.linear import CCA
from conjoin.errors import ConjoinError
from conjoin.quality.inputs import Case, Progress, View
from conjoin.spaces import Pairs, unit
from conjoin.storage.digest import stable_hash

#: Folds of the lines; a line is judged by maps fitted on the others.
FOLDS = 5
#: Rows of the other side that a line is compared with, at most.
GALLERY = 2048
#: Fewest lines between two modalities from which maps are fitted.
FEWEST = 20
#: Neighbours that vote on a pair.
VOTERS = 10
#: Rows scored at a time.
BLOCK = 512


@dataclass(frozen=True, eq=False)
class Crossed:
    """The lines between two modalities, out of fold.

    Line ``i`` joins row ``i`` of ``left`` and row ``i`` of ``right``. Lines of different folds
    lie in different frames and are never compared.

    Parameters
    ----------
    left, right : ``[m, d]`` rows of length 1, placed by maps fitted on the other folds.
    fold : ``[m]`` fold of each line.
    group : ``[m]`` number of each line's group: lines of one group are no wrong answers.
    votes_left, votes_right : ``[m, e]`` each line's own cell of the left and right modality, of
        length 1, as its encoder placed it.
    voters_left, voters_right : ``[m, k]`` lines whose left (right) cells are nearest to this
        line's in that modality; -1 where there are fewer.
    seed : decides which rows are compared with.
    """

    left: np.ndarray
    right: np.ndarray
    fold: np.ndarray
    group: np.ndarray
    votes_left: np.ndarray
    votes_right: np.ndarray
    voters_left: np.ndarray
    voters_right: np.ndarray
    seed: int = 0

    def __len__(self) -> int:
        return len(self.left)

    @property
    def given(self) -> np.ndarray:
        """``[1, m]`` the pairing as it stands."""
        return np.arange(len(self))[None]

    def planted(self, times: int = 1) -> np.ndarray:
        """``[times, m]`` pairings in which every line has the right cell of another of its fold."""
        rng = np.random.default_rng([self.seed, stable_hash("doctor planted")])
        out = np.empty((times, len(self)), dtype=np.int64)
        for turn in range(times):
            for number in np.unique(self.fold):
                lines = rng.permutation(np.flatnonzero(self.fold == number))
                out[turn, lines] = np.roll(lines, 1)
        return out

    def blocks(self, partners: np.ndarray) -> Iterator["Block"]:
        """Walk the scores of lines against rows of their fold, both sides asking in turn."""
        sides = ((self.left, self.right), (self.right, self.left))
        for number in np.unique(self.fold):
            lines = np.flatnonzero(self.fold == number)
            shown = lines
            if len(lines) > GALLERY:
                rng = np.random.default_rng([self.seed, int(number)])
                shown = np.sort(rng.permutation(lines)[:GALLERY])
            for side, (asks, answers) in enumerate(sides):
                for start in range(0, len(lines), BLOCK):
                    mine = lines[start : start + BLOCK]
                    yield self._block(side, mine, shown, asks, answers, partners)

    def _block(
        self, side: int, mine: np.ndarray, shown: np.ndarray, asks: np.ndarray,
        answers: np.ndarray, partners: np.ndarray,
    ) -> "Block":  # fmt: skip
        others = partners[:, mine]
        # From the right, line i asks with the cell it was given, and its own left cell answers.
        if side == 0:
            scores = (asks[mine] @ answers[shown].T)[None]
            own = np.einsum("nd,rnd->rn", asks[mine], answers[others])
        else:
            scores = np.stack([asks[each] @ answers[shown].T for each in others])
            own = np.einsum("rnd,nd->rn", asks[others], answers[mine])
        kin = self.group[mine][:, None] == self.group[shown][None]
        itself = mine[:, None] == shown[None]
        wrong = np.empty((len(others), *kin.shape), dtype=bool)
        for turn, other in enumerate(others):
            moved = (other != mine)[:, None]
            taken = (other if side == 0 else mine)[:, None] == shown[None]
            wrong[turn] = ~((kin & ~(itself & moved)) | taken)
        return Block(side, mine, np.broadcast_to(scores, wrong.shape), own, wrong)


@dataclass(frozen=True, eq=False)
class Block:
    """Scores of some lines: ``scores[r, i, j]`` of the answers, ``own[r, i]`` of the partner.

    Parameters
    ----------
    side : 0 where left cells ask, 1 where right cells do.
    lines : ``[b]`` which lines ask.
    wrong : answers that count as wrong ones.
    """

    side: int
    lines: np.ndarray
    scores: np.ndarray
    own: np.ndarray
    wrong: np.ndarray


@dataclass(frozen=True, eq=False)
class Edge:
    """Two paired modalities: rows of each line, and how to place any row as a fold's maps do."""

    names: tuple[str, str]
    rows: tuple[np.ndarray, np.ndarray]
    crossed: Crossed
    maps: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)


def cross(case: Case, names: tuple[str, str], progress: Progress) -> Edge:
    """Fit maps on each fold's complement and place the fold by them.

    Maps are CCA's at its default setting, or those of the method in use where it is a closed
    form. Vectors are the reduced ones.

    Raises
    ------
    ConjoinError : the two have too few pairs.
    """
    pairs, sides = case.pairs, [case.views[name] for name in names]
    assert pairs is not None
    i, j, _ = pairs.between(*names)
    good = sides[0].sound[i] & sides[1].sound[j]
    i, j = i[good], j[good]
    group = sides[0].groups[i]
    if len(i) < FEWEST or len(np.unique(group)) < FOLDS:
        raise ConjoinError(
            f"pairs of {' and '.join(names)}", f"{len(i)} pairs in {len(np.unique(group))} groups",
            f"mismatches are looked for among {FEWEST} pairs or more",
        )  # fmt: skip
    for view, rows in zip(sides, (i, j), strict=True):
        count = len(np.unique(view.same[rows]))
        if count < FEWEST or float(np.ptp(view.reduced[rows], axis=0).max()) < 1e-6:
            raise ConjoinError(
                f"modality {view.name}", f"{count} distinct vectors are paired",
                "check the column and the encoder",
            )  # fmt: skip
    lines = Pairs(names, np.stack([i, j], axis=1), group=group)
    fold = lines.folds(FOLDS, case.seed)
    (left, right), maps = _place(case, names, lines, fold, progress)
    crossed = Crossed(
        left, right, fold, group, sides[0].reduced[i], sides[1].reduced[j],
        _voters(sides[0], i, group), _voters(sides[1], j, group), case.seed,
    )  # fmt: skip
    return Edge(names, (i, j), crossed, maps)


def _place(
    case: Case, names: tuple[str, str], lines: Pairs, fold: np.ndarray, progress: Progress
) -> tuple[list[np.ndarray], dict[int, Any]]:
    views = {name: case.views[name].reduced for name in names}
    aligner = case.aligner or CCA()
    whole = Joint.of(views, lines) if hasattr(aligner, "solve") else None
    placed: list[Any] = [None, None]
    maps = {}
    for number in range(FOLDS):
        progress("mismatched pairs " + "–".join(names), number, FOLDS)
        mine = np.flatnonzero(fold == number)
        if whole is not None:
            fitted = aligner.solve(whole - Joint.of(views, lines.take(mine)))
        else:
            fitted = aligner.fit(views, lines.take(fold != number), seed=case.seed)
        maps[number] = fitted
        for side, name in enumerate(names):
            rows = unit(np.asarray(fitted[name].apply(views[name][lines.rows[mine, side]])))
            if placed[side] is None:
                placed[side] = np.zeros((len(lines), rows.shape[1]), dtype=np.float32)
            placed[side][mine] = rows
    progress("mismatched pairs " + "–".join(names), FOLDS, FOLDS)
    return placed, maps


def _voters(view: View, rows: np.ndarray, group: np.ndarray) -> np.ndarray:
    """``[m, VOTERS]`` lines that hold the nearest cells, of other groups; -1 where none is left."""
    line_of = np.full(int(view.same.max()) + 1, -1)
    line_of[view.same[rows][::-1]] = np.arange(len(rows))[::-1]
    place = np.full(int(view.same.max()) + 1, -1)
    place[view.same[view.first]] = np.arange(len(view.first))
    near = view.near[place[view.same[rows]]]
    lines = line_of[view.same[near]]
    other = (lines >= 0) & (group[lines] != group[:, None])
    order = np.argsort(~other, axis=1, kind="stable")[:, :VOTERS]
    kept = np.take_along_axis(np.where(other, lines, -1), order, axis=1)
    if kept.shape[1] < VOTERS:
        kept = np.pad(kept, ((0, 0), (0, VOTERS - kept.shape[1])), constant_values=-1)
    return kept


@dataclass(frozen=True, eq=False)
class Answer:
    """The row of the other side that fits a line's left cell best, and where its own stands."""

    row: int
    score: float
    own: float
    rank: int


def answers(case: Case, edge: Edge, lines: np.ndarray) -> list[Answer]:
    """What would fit each of some lines' left cells best, by maps that have not seen the line.

    The whole other modality is asked, but for cells that show what the line's own shows.
    """
    view, crossed = case.views[edge.names[1]], edge.crossed
    mine = edge.rows[1][lines]
    own = np.einsum("nd,nd->n", crossed.left[lines], crossed.right[lines])
    best, score = np.full(len(lines), -1), np.full(len(lines), -np.inf)
    rank = np.ones(len(lines), dtype=np.int64)
    for number in np.unique(crossed.fold[lines]):
        asked = np.flatnonzero(crossed.fold[lines] == number)
        item = edge.maps[int(number)][edge.names[1]]
        for start in range(0, len(view), 8192):
            part = slice(start, start + 8192)
            shown = unit(np.asarray(item.apply(view.reduced[part])))
            found = crossed.left[lines[asked]] @ shown.T
            other = view.sound[part] & (view.same[part][None] != view.same[mine[asked]][:, None])
            found = np.where(other, found, -np.inf)
            place = found.argmax(axis=1)
            top = found[np.arange(len(asked)), place]
            better = top > score[asked]
            best[asked] = np.where(better, place + start, best[asked])
            score[asked] = np.maximum(top, score[asked])
            rank[asked] += (found > own[asked][:, None]).sum(axis=1)
    return [
        Answer(int(b), float(s), float(o), int(r))
        for b, s, o, r in zip(best, score, own, rank, strict=True)
    ]
