"""Which of base, experts, their ensemble and merges to use, on pairs of each skill."""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from conjoin.encoders.open import open_encoder
from conjoin.encoders.run import encode
from conjoin.errors import ConjoinError
from conjoin.evaluation.verdict import Arm, Arms, judge
from conjoin.items import read_table
from conjoin.models.merging.folder import folder_of
from conjoin.models.merging.run import Merged, merge
from conjoin.project.models.merge import MergeAsk, with_method
from conjoin.stats.bootstrap import interval, paired_difference
from conjoin.storage.digest import stable_hash

#: Tried on the validation pairs where the method is ``auto``, each at every scale.
METHODS = ("average", "task-arithmetic", "ties", "magmax")
#: Scales tried of what the experts add.
SCALES = (0.3, 0.5, 0.75, 1.0, 1.5)
#: Test pairs at least, of each skill.
LEAST = 40
_METRIC = "mrr"
_TELL = Callable[[str], None]


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

    def part(self, tested: bool) -> "Skill":
        """The lines to choose by, or those to test with."""
        kept = self.tested == tested
        left, right, groups = self.left[kept], self.right[kept], self.groups[kept]
        return Skill(self.name, left, right, groups, self.tested[kept])


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
class Judged:
    """What the test said.

    Parameters
    ----------
    arms : every arm's mean over skills, and the verdict.
    table : by arm and skill, mean with its interval.
    kept : by expert's skill, the share of the gain over the base that the merge keeps, where the
        gain's interval excludes 0.
    chosen : method and settings that validation chose, and how many were tried.
    use : what the verdict names.
    """

    arms: Arms
    table: Mapping[str, Mapping[str, tuple[float, float, float]]]
    kept: Mapping[str, float | None]
    chosen: Mapping[str, Any]
    merged: Merged | None = field(default=None)


def judged(
    ask: MergeAsk, skills: Sequence[Skill], out: Path | None, tell: _TELL
) -> Judged:  # fmt: skip
    """Choose on one part of the pairs, test once on the rest.

    The base, every expert, the ensemble of the experts' vectors, the plain average and the merge
    that validation chose. What is worth using is decided over lines of all skills, each skill
    counting alike; the ensemble is shown but never chosen, for it costs a model an expert.

    Raises
    ------
    ConjoinError : an encoder cannot be opened.
    """
    inner = [skill.part(False) for skill in skills]
    outer = [skill.part(True) for skill in skills]
    labels = ["base", *named(ask.experts)]
    with tempfile.TemporaryDirectory(prefix="conjoin-merge-") as place:
        method, settings, tried = _chosen(ask, inner, Path(place), tell)
        scores: dict[str, dict[str, np.ndarray]] = {}
        costs: dict[str, float] = {}
        vectors = []
        for label, source in zip(labels, (ask.base, *ask.experts), strict=True):
            tell(f"test: {label}")
            found, costs[label] = _vectors(uri_of(source), outer)
            scores[label] = _ranks(found, outer)
            if label != "base":
                vectors.append(found)
        scores["ensemble"] = _ranks(ensemble(vectors), outer)
        costs["ensemble"] = sum(costs[label] for label in labels[1:])
        for label, how in {"average": ("average", {}), "merged": (method, settings)}.items():
            tell(f"test: {label}")
            made = _merged(ask, *how, Path(place) / label)
            found, costs[label] = _vectors(made.uri, outer)
            scores[label] = _ranks(found, outer)
    kept = None if out is None else _merged(ask, method, settings, out)
    chosen = {"method": method, **settings, "tried": tried}
    arms, table = _verdict(scores, outer, costs, ask.seed)
    return Judged(arms, table, retained(scores, outer, labels[1:], ask.seed), chosen, kept)


def named(experts: Sequence[str]) -> list[str]:
    """Short names of experts: the last part of their folders, numbered where two are alike."""
    short = [Path(one.partition("?")[0].rstrip("/")).name or one for one in experts]
    return [
        f"{one}-{place + 1}" if short.count(one) > 1 or one in _ARMS else one
        for place, one in enumerate(short)
    ]


_ARMS = ("base", "ensemble", "average", "merged")


def uri_of(source: str) -> str:
    """The encoder of a source."""
    if source.partition(":")[0] in ("st", "hf", "builtin"):
        return source
    folder = folder_of(source)
    scheme = "st" if (folder / "modules.json").is_file() else "hf"
    return f"{scheme}:{folder}"


def _chosen(
    ask: MergeAsk, skills: Sequence[Skill], place: Path, tell: _TELL
) -> tuple[str, dict[str, Any], int]:
    """Method and scale of the highest mean over skills on validation; the first stays on ties."""
    from conjoin.catalogue import find, ranges

    names = METHODS if ask.method == "auto" else (ask.method,)
    best: tuple[float, str, dict[str, Any]] = (float("-inf"), names[0], {})
    tried = 0
    for name in names:
        row = find("tensor-merge", name)
        scaled = "scale" in ranges(row.load()) and "scale" not in ask.settings
        for scale in SCALES if scaled else (None,):
            settings = dict(ask.settings)
            if scale is not None:
                settings["scale"] = scale
            tried += 1
            tell(f"choose: {name} {settings}")
            made = _merged(ask, name, settings, place / f"try-{tried}")
            found, _ = _vectors(made.uri, skills)
            worth = float(np.mean([v.mean() for v in _ranks(found, skills).values()]))
            _remove(made.folder)
            if worth > best[0]:
                best = (worth, name, settings)
    return best[1], best[2], tried


def _merged(ask: MergeAsk, method: str, settings: Mapping[str, Any], place: Path) -> Merged:
    asked = with_method(ask, method, settings)
    return merge(ask.base, ask.experts, asked.engine(), place, seed=ask.seed)


def _remove(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)


_Vectors = Mapping[str, tuple[np.ndarray, np.ndarray]]


def _vectors(uri: str, skills: Sequence[Skill]) -> tuple[_Vectors, float]:
    """Unit vectors of both sides of every skill, and CPU-seconds that took."""
    encoder = open_encoder(uri)
    clock = time.process_time()
    found = {}
    for skill in skills:
        left, right = (
            _unit(encode(encoder, list(side), strict=True).vectors)
            for side in (skill.left, skill.right)
        )
        found[skill.name] = (left, right)
    return found, time.process_time() - clock


def _unit(vectors: Any) -> np.ndarray:
    rows = np.asarray(vectors, np.float64)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def ensemble(each: Sequence[_Vectors]) -> _Vectors:
    """The experts' vectors side by side: the mean of their cosines."""
    return {
        name: (
            np.concatenate([one[name][0] for one in each], axis=1),
            np.concatenate([one[name][1] for one in each], axis=1),
        )
        for name in each[0]
    }


#: Rows whose scores are held at a time.
BLOCK = 1024


def _ranks(found: _Vectors, skills: Sequence[Skill]) -> dict[str, np.ndarray]:
    return {skill.name: reciprocal_ranks(*found[skill.name], skill.right) for skill in skills}


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


def _verdict(
    scores: Mapping[str, Mapping[str, np.ndarray]], skills: Sequence[Skill],
    costs: Mapping[str, float], seed: int,
) -> tuple[Arms, dict[str, dict[str, tuple[float, float, float]]]]:  # fmt: skip
    total = sum(len(skill.left) for skill in skills)
    groups = np.concatenate([[f"{s.name}/{g}" for g in s.groups] for s in skills])
    # Each skill counts alike, however many lines it has.
    flat = {
        label: np.concatenate(
            [each[s.name] * (total / (len(skills) * len(s.left))) for s in skills]
        )
        for label, each in scores.items()
    }
    found = judge(
        {label: values for label, values in flat.items() if label != "ensemble"}, groups,
        metric=_METRIC, costs=costs, seed=seed,
    )  # fmt: skip
    low, high = interval(flat["ensemble"], groups, seed=seed)
    whole = Arm("ensemble", _METRIC, float(flat["ensemble"].mean()), low, high, costs["ensemble"])
    arms = list(found.arms)
    arms.insert(len(arms) - 2, whole)
    table: dict[str, dict[str, tuple[float, float, float]]] = {}
    for label, each in scores.items():
        table[label] = {
            s.name: (float(each[s.name].mean()), *interval(each[s.name], s.groups, seed=seed))
            for s in skills
        }
    return replace(found, arms=tuple(arms)), table


def retained(
    scores: Mapping[str, Mapping[str, np.ndarray]], skills: Sequence[Skill],
    experts: Sequence[str], seed: int,
) -> dict[str, float | None]:  # fmt: skip
    """Of each skill's best gain over the base by an expert, the share that the merge keeps.

    ``None`` where no expert's gain has an interval above 0.
    """
    found: dict[str, float | None] = {}
    for skill in skills:
        best = max(experts, key=lambda label: scores[label][skill.name].mean())
        base = scores["base"][skill.name]
        gain, low, _, _ = paired_difference(scores[best][skill.name], base, skill.groups, seed=seed)
        kept = float((scores["merged"][skill.name] - base).mean())
        found[skill.name] = kept / gain if low > 0 else None
    return found
