"""Calibrations of rehearsed lists: fitted, chosen and measured without the queries they judge."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from conjoin.errors import ConjoinError
from conjoin.retrieval.calibration.calibration import (
    BEST,
    CONTEXT,
    CURVES,
    KEEP,
    LEAST,
    Calibration,
    evidence,
    features,
)
from conjoin.retrieval.calibration.cross_fit import Edge, Rehearsal, Scene
from conjoin.retrieval.calibration.graded_relevance import PARTNER, Grades, far, graded
from conjoin.retrieval.calibration.out_of_distribution import MOST, NEAREST, familiarity, spread
from conjoin.retrieval.hubness.choose import BLOCK, by_item, corrected_by, corrected_scores
from conjoin.retrieval.hubness.csls import Corrector
from conjoin.stats.bootstrap import interval

#: Fewer held-out queries than this calibrate nothing.
FEWEST = 40
#: Chance from which a list is kept, however many others have a higher one.
EVEN = 0.5
#: A likelihood is weighed against a flat one with so little strength that only certainty yields.
RIDGE = 1e-3


@dataclass(frozen=True, eq=False)
class Lists:
    """The first hits of one direction's held-out queries.

    Parameters
    ----------
    scores : ``[q, k]`` best first; ``without`` those left when every right answer is taken out.
    right : ``[q, k]`` whether a hit is a right answer.
    rows, plain : ``[q, k]`` row of each hit in the target's space, and its uncorrected score.
    asked : ``[q]`` row of each query within its scene, ``fold`` the fold it was held out in.
    partners : ``[q]`` target rows that are right answers; ``answers`` how many items they are.
    near : ``[q]`` how familiar each query is (``out_of_distribution``), where it is known;
        ``bank`` the number of queries it was compared with, and ``far`` how familiar each is when
        all that is right for it is gone from there as well.
    """

    scores: np.ndarray
    without: np.ndarray
    right: np.ndarray
    rows: np.ndarray
    plain: np.ndarray
    asked: np.ndarray
    partners: np.ndarray
    answers: np.ndarray
    fold: np.ndarray
    groups: np.ndarray
    gallery: int
    near: np.ndarray | None = None
    bank: int = 0
    far: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.scores)


def lists_of(rehearsal: Rehearsal, chosen: Mapping[Edge, Corrector]) -> dict[Edge, Lists]:
    """Lists of every direction whose answers are known, among new items, corrected.

    In a gallery that also holds what was trained on, a trained neighbour of the right item lies
    nearer to a new query than the item itself: nothing would be called a match, and right so for
    new items only. Galleries of new items are what a query about any item of its kind meets.
    """
    return _lists(rehearsal.served, chosen)


def graded_lists(
    rehearsal: Rehearsal, chosen: Mapping[Edge, Corrector], grades: Grades
) -> dict[Edge, Lists]:
    """Lists of every direction as the whole index gives them, with all that is relevant marked.

    What was trained on counts here: a neighbour of the right item that lies nearer to a query than
    the item itself is as relevant as it is. Lists of the query's own modality have none: pieces of
    cells stand for queries there, and say too little of what else is relevant.
    """
    found: dict[Edge, list[Lists]] = {}
    for scene in rehearsal.whole:
        if len(scene.x) > 1:
            more = graded(scene, grades, rehearsal.spaces)
            made = replace(_of_scene(more, chosen), far=far(more, grades, rehearsal.spaces))
            found.setdefault((scene.query, scene.target), []).append(made)
    return {edge: _joined(parts) for edge, parts in found.items()}


def lists_by_pieces(rehearsal: Rehearsal, chosen: Mapping[Edge, Corrector]) -> dict[Edge, Lists]:
    """Lists of every direction asked by pieces of cells, the query's own modality among them."""
    return _lists(rehearsal.asked_by_pieces, chosen)


def _lists(scenes: Iterable[Scene], chosen: Mapping[Edge, Corrector]) -> dict[Edge, Lists]:
    found: dict[Edge, list[Lists]] = {}
    for scene in scenes:
        if not scene.whole and len(scene.x) > 1:
            made = _of_scene(scene, chosen)
            found.setdefault((scene.query, scene.target), []).append(made)
    return {edge: _joined(parts) for edge, parts in found.items()}


def _of_scene(scene: Scene, chosen: Mapping[Edge, Corrector]) -> Lists:
    correction, wanted = corrected_by(scene, chosen), scene.wanted
    item_of = wanted.item_of
    k = min(CONTEXT, wanted.n_items)
    parts: list[tuple[np.ndarray, ...]] = []
    for start in range(0, len(wanted), BLOCK):
        asked = wanted.queries[start : start + BLOCK]
        plain = scene.q[asked] @ scene.x.T
        scores = corrected_scores(scene, correction, plain, asked)
        items = by_item(scores, item_of)
        order, top = _top(items, k)
        best = _best_rows(scores, item_of, order)
        offsets = wanted.offsets[start : start + len(asked) + 1]
        owner = np.repeat(np.arange(len(asked)), np.diff(offsets))
        mark = np.zeros(items.shape, dtype=bool)
        mark[owner, wanted.items[offsets[0] : offsets[-1]]] = True
        right = np.take_along_axis(mark, order, axis=1)
        items[mark] = -np.inf
        without = _top(items, k)[1]
        raw = np.take_along_axis(plain, best, axis=1)
        parts.append((top, without, right, scene.rows[best], raw, asked))
    top, without, right, rows, raw, asked = (np.concatenate(p) for p in zip(*parts, strict=True))
    fold = np.full(len(top), scene.fold)
    # With few items a list may run out of wrong ones: the last of them then stands for the rest.
    without = np.maximum(
        without, np.where(np.isfinite(without), without, np.inf).min(axis=1)[:, None]
    )
    partners = _partners(scene)
    bank = scene.bank[spread(len(scene.bank), MOST)]
    near = familiarity(scene.q[asked], bank) if len(bank) >= NEAREST else None
    return Lists(
        top, without, right, rows, raw, asked, partners, wanted.counts, fold, scene.groups,
        len(scene.x), near, len(bank),
    )  # fmt: skip


def _partners(scene: Scene) -> np.ndarray:
    """``[q]`` of arrays: rows of the target's space that are right answers."""
    by = np.argsort(scene.wanted.item_of, kind="stable")
    ends = np.searchsorted(scene.wanted.item_of[by], np.arange(scene.wanted.n_items + 1))
    found = np.empty(len(scene.wanted), dtype=object)
    for line in range(len(scene.wanted)):
        rows = [by[ends[i] : ends[i + 1]] for i in scene.wanted.of(line)]
        found[line] = scene.rows[np.concatenate(rows)]
    return found


def _best_rows(scores: np.ndarray, item_of: np.ndarray, items: np.ndarray) -> np.ndarray:
    """``[b, k]`` the best row of each item found."""
    if len(item_of) == item_of.max() + 1:
        return np.asarray(np.argsort(item_of, kind="stable")[items])
    by = np.argsort(item_of, kind="stable")
    ends = np.searchsorted(item_of[by], np.arange(item_of.max() + 2))
    best = np.empty(items.shape, dtype=np.int64)
    for line, found in enumerate(items):
        for place, item in enumerate(found):
            own = by[ends[item] : ends[item + 1]]
            best[line, place] = own[np.argmax(scores[line, own])]
    return best


def _top(scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    place = np.argpartition(-scores, k - 1, axis=1)[:, :k]
    value = np.take_along_axis(scores, place, axis=1)
    order = np.argsort(-value, axis=1, kind="stable")
    return np.take_along_axis(place, order, axis=1), np.take_along_axis(value, order, axis=1)


def _joined(parts: Sequence[Lists]) -> Lists:
    k = min(part.scores.shape[1] for part in parts)
    fields = {
        name: np.concatenate(
            [getattr(p, name)[:, :k] if getattr(p, name).ndim == 2 else getattr(p, name)
             for p in parts]
        )
        for name in Lists.__dataclass_fields__ if name not in ("gallery", "near", "bank", "far")
    }  # fmt: skip
    near = [part.near for part in parts if part.near is not None]
    gone = [part.far for part in parts if part.far is not None]
    return Lists(
        **fields, gallery=round(float(np.mean([p.gallery for p in parts]))),
        near=np.concatenate(near) if len(near) == len(parts) else None,
        bank=round(float(np.mean([p.bank for p in parts]))),
        far=np.concatenate(gone) if len(gone) == len(parts) else None,
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Fitted:
    """A direction's calibration, and what it says of each list when fitted without its fold.

    Parameters
    ----------
    held_out : ``[q, k]`` probabilities.
    """

    calibration: Calibration
    held_out: np.ndarray


def calibrate(
    lists: Lists, frame: str, score: str, rows: int, *, keep: float = KEEP, seed: int = 0,
    broad: bool = False, meaning: str = PARTNER,
) -> Fitted:  # fmt: skip
    """Fit every curve on all folds but one, judge it there, and take the best.

    The curve is that of the lowest log-loss over the first hits of all queries, each judged by
    curves fitted without its fold; a simpler one is preferred where the difference is below its
    standard error. "Nothing relevant" is said below either of two thresholds: of the chance that
    any of the first ten hits is right (several that answer share the probability), and of how
    familiar the query is. Each is set so that lists that hold a right
    answer among their first ten fall below it in half of the share ``1 − keep``; how many are
    rejected is measured on all lists with every right answer taken out.

    Parameters
    ----------
    rows : of the gallery the calibration will serve; the odds are scaled to it.
    broad : queries may be met by many items alike, as a word is by the texts that hold it, while
        the lists are of queries that mean one: no list is then rejected for its best hit.

    Raises
    ------
    ConjoinError : there are too few queries, or no hit of theirs was right or none wrong.
    """
    if len(lists) < FEWEST:
        raise ConjoinError("calibration", f"{len(lists)} queries", f"give {FEWEST} or more")
    if lists.right.all() or not lists.right.any():
        raise ConjoinError("calibration", "hits all alike", "give more pairs")
    held, losses = _judged(lists)
    curve = _simplest(losses)
    listed, on, off = _whole(lists, held[curve], _held_out(lists, curve, lists.without), meaning)
    answered = lists.right.any(axis=1)
    share = (1 - keep) / (1 if lists.near is None else 2)
    # A list that rather holds an answer than not is never said to hold none.
    threshold = 0.0 if broad else min(EVEN, float(np.quantile(on[answered], share)))
    odd, lost, told = np.zeros(len(lists), bool), np.zeros(len(lists), bool), {}
    if lists.near is not None:
        least = float(np.quantile(lists.near[answered], share))
        odd, lost = lists.near < least, (lists.near if lists.far is None else lists.far) < least
        told = {"near": least, "bank": lists.bank}
    kept = (on >= threshold) & ~odd
    rejected = ((off < threshold) | lost).astype(float)
    facts = {
        "queries": len(lists), "keep": keep, "kept": float(kept[answered].mean()),
        "answered": float(answered.mean()),
        "rejected": [float(rejected.mean()), *interval(rejected, lists.groups, seed=seed)],
        "logloss": {name: float(loss.mean()) for name, loss in losses.items()},
        "right": float(lists.right[:, 0].mean()), "rehearsed": lists.gallery,
        "auroc": auroc(on[answered], off), **told,
    }  # fmt: skip
    made = Calibration(
        frame, score, lists.gallery, curve, fit_curve(lists.scores, lists.right, curve),
        threshold, facts, meaning=meaning, listed=listed,
    )  # fmt: skip
    return Fitted(made.serving(rows), held[curve])


def _whole(
    lists: Lists, held: np.ndarray, without: np.ndarray, meaning: str
) -> tuple[tuple[float, float, float], np.ndarray, np.ndarray]:
    """How lists are judged as wholes; the chance of each, and of each without its right answers.

    The chances are those of a judge that has not seen the list's fold.
    """
    on, off = evidence(held, meaning), evidence(without, meaning)
    if meaning == PARTNER or lists.near is None or lists.far is None:
        return BEST, 1 / (1 + np.exp(-on)), 1 / (1 + np.exp(-off))
    answered = lists.right.any(axis=1)
    x = np.concatenate([_columns(on, lists.near)[answered], _columns(off, lists.far)])
    y = np.concatenate([np.ones(answered.sum()), np.zeros(len(off))])
    fold = np.concatenate([lists.fold[answered], lists.fold])
    found = [np.empty(len(on)), np.empty(len(off))]
    for one in np.unique(lists.fold):
        beta, here = logistic(x[fold != one], y[fold != one]), lists.fold == one
        for out, some, near in zip(found, (on, off), (lists.near, lists.far), strict=True):
            out[here] = 1 / (1 + np.exp(-np.clip(_columns(some, near)[here] @ beta, -30, 30)))
    a, b, c = logistic(x, y).tolist()
    return (a, b, c), found[0], found[1]


def _columns(some: np.ndarray, near: np.ndarray) -> np.ndarray:
    return np.column_stack([np.ones(len(some)), some, near])


def auroc(high: np.ndarray, low: np.ndarray) -> float:
    """The share of couples of one of each in which ``high`` is the larger; ties count half.

    >>> auroc(np.array([2.0, 3.0]), np.array([1.0, 2.0]))
    0.875
    """
    order = np.sort(low)
    less = np.searchsorted(order, high, "left")
    ties = np.searchsorted(order, high, "right") - less
    return float((less + ties / 2).mean() / len(low))


def _judged(lists: Lists) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """By curve, its probabilities without each list's fold, and its log-loss a list."""
    held: dict[str, np.ndarray] = {}
    losses: dict[str, np.ndarray] = {}
    for curve in CURVES:
        try:
            held[curve] = _held_out(lists, curve, lists.scores)
        except ConjoinError:
            continue
        p = held[curve]
        loss = -np.where(lists.right, np.log(p), np.log(1 - p))
        losses[curve] = loss.mean(axis=1)
    return held, losses


def _simplest(losses: Mapping[str, np.ndarray]) -> str:
    best = min(losses, key=lambda name: float(losses[name].mean()))
    for name in losses:
        gap = losses[name] - losses[best]
        if name == best or gap.mean() < gap.std(ddof=1) / np.sqrt(len(gap)):
            return name
    return best


def carried(fitted: Fitted, lists: Lists, other: Lists) -> Fitted:
    """A calibration, and what it says of other lists of its direction, by curves without a fold.

    Parameters
    ----------
    lists : those it was fitted to.
    other : of the same folds.
    """
    out = np.empty(other.scores.shape)
    for fold in np.unique(other.fold):
        here, apart = other.fold == fold, lists.fold != fold
        curve = fitted.calibration.curve
        params = fit_curve(lists.scores[apart], lists.right[apart], curve)
        made = Calibration("", "", lists.gallery, curve, params, 0.0)
        out[here] = made.probabilities(other.scores[here])
    return Fitted(fitted.calibration, out)


def _held_out(lists: Lists, curve: str, scores: np.ndarray) -> np.ndarray:
    """Probabilities of each fold's lists by a curve fitted to the others."""
    out = np.empty(scores.shape)
    for fold in np.unique(lists.fold):
        here = lists.fold == fold
        params = fit_curve(lists.scores[~here], lists.right[~here], curve)
        made = Calibration("", "", lists.gallery, curve, params, 0.0)
        out[here] = made.probabilities(scores[here])
    return out


def fit_curve(scores: np.ndarray, right: np.ndarray, curve: str) -> dict[str, list[float]]:
    """The parameters of a curve from lists ``[q, k]`` and which of their hits are right.

    Raises
    ------
    ConjoinError : the curve would fall with the score.
    """
    if curve == "isotonic":
        from sklearn.isotonic import IsotonicRegression

        made = IsotonicRegression(y_min=LEAST, y_max=1 - LEAST, out_of_bounds="clip")
        made.fit(scores.ravel().astype(np.float64), right.ravel().astype(np.float64))
        return {"at": made.X_thresholds_.tolist(), "worth": made.y_thresholds_.tolist()}
    x = features(scores, curve).reshape(-1, 2 if curve == "logistic" else 4)
    beta = logistic(x, right.ravel())
    if beta[1] <= 0:
        raise ConjoinError("calibration", f"{curve} falls with the score", "give more pairs")
    return {"beta": beta.tolist()}


def logistic(x: np.ndarray, y: np.ndarray, steps: int = 50) -> np.ndarray:
    """Coefficients of the largest likelihood, by Newton's steps on standardised columns.

    Parameters
    ----------
    x : ``[n, f]`` with ones in the first column.
    """
    mean, spread = x[:, 1:].mean(axis=0), x[:, 1:].std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    z = np.column_stack([x[:, 0], (x[:, 1:] - mean) / spread])
    beta = np.zeros(z.shape[1])
    weigh = np.full(len(beta), RIDGE)
    weigh[0] = 0.0
    for _ in range(steps):
        p = 1 / (1 + np.exp(-np.clip(z @ beta, -30, 30)))
        slope = z.T @ (y - p) - weigh * beta
        curvature = (z * (p * (1 - p))[:, None]).T @ z + np.diag(weigh + 1e-9)
        step = np.linalg.solve(curvature, slope)
        beta = beta + step * min(1.0, 5.0 / max(np.abs(step).max(), 1e-12))
        if np.abs(step).max() < 1e-9:
            break
    own = beta[1:] / spread
    return np.concatenate([[beta[0] - own @ mean], own])


def calibrations(
    rehearsal: Rehearsal,
    chosen: Mapping[Edge, Corrector],
    rows: Mapping[str, int],
    lists: Mapping[Edge, Lists] | None = None,
    meaning: str = PARTNER,
) -> tuple[dict[Edge, Fitted], dict[Edge, str]]:
    """A calibration for every direction whose answers are known, and why others have none."""
    frame = rehearsal.binding.frame
    lists = lists_of(rehearsal, chosen) if lists is None else lists
    found, left = {}, {}
    for edge, own in lists.items():
        plain = frame.score if frame.score == "cosine" else "dot"
        score = chosen[edge].name if edge in chosen else plain
        try:
            made = calibrate(own, frame.id, score, rows[edge[1]], seed=rehearsal.seed,
                             broad=edge[0] == edge[1], meaning=meaning)  # fmt: skip
        except ConjoinError as error:
            left[edge] = str(error)
            continue
        found[edge] = made
    return found, left
