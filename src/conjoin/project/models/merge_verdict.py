"""Which of base, experts, their ensemble and merges to use, on pairs of each skill."""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from conjoin.encoders.open import open_encoder
from conjoin.evaluation.verdict import Arm, Arms, judge
from conjoin.models.merging.folder import folder_of
from conjoin.models.merging.run import Merged, merge
from conjoin.project.models.merge import MergeAsk, with_method
from conjoin.project.models.merge_skills import Judge
from conjoin.stats.bootstrap import interval, paired_difference

#: Tried on the validation pairs where the method is ``auto``, each at every scale.
METHODS = ("average", "task-arithmetic", "ties", "magmax")
#: Scales tried of what the experts add.
SCALES = (0.3, 0.5, 0.75, 1.0, 1.5)
_TELL = Callable[[str], None]


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
    ask: MergeAsk, skills: Sequence[Judge], out: Path | None, tell: _TELL
) -> Judged:  # fmt: skip
    """Choose on one part of each skill's lines, test once on the rest.

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
            scores[label] = _scores(found, outer)
            if label != "base":
                vectors.append(found)
        scores["ensemble"] = _scores(ensemble(vectors), outer)
        costs["ensemble"] = sum(costs[label] for label in labels[1:])
        for label, how in {"average": ("average", {}), "merged": (method, settings)}.items():
            tell(f"test: {label}")
            made = _merged(ask, *how, Path(place) / label)
            found, costs[label] = _vectors(made.uri, outer)
            scores[label] = _scores(found, outer)
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
    ask: MergeAsk, skills: Sequence[Judge], place: Path, tell: _TELL
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
            worth = float(np.mean([v.mean() for v in _scores(found, skills).values()]))
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


_Vectors = Mapping[str, tuple[np.ndarray, ...]]


def _vectors(uri: str, skills: Sequence[Judge]) -> tuple[_Vectors, float]:
    """Vectors of every skill's lines, and CPU-seconds that took."""
    encoder = open_encoder(uri)
    clock = time.process_time()
    found = {skill.name: skill.embed(encoder) for skill in skills}
    return found, time.process_time() - clock


def _scores(found: _Vectors, skills: Sequence[Judge]) -> dict[str, np.ndarray]:
    return {skill.name: skill.score(found[skill.name]) for skill in skills}


def ensemble(each: Sequence[_Vectors]) -> _Vectors:
    """The experts' vectors side by side: the mean of their cosines."""
    return {
        name: tuple(
            np.concatenate(sides, axis=1)
            for sides in zip(*(one[name] for one in each), strict=True)
        )
        for name in each[0]
    }  # fmt: skip


def _verdict(
    scores: Mapping[str, Mapping[str, np.ndarray]], skills: Sequence[Judge],
    costs: Mapping[str, float], seed: int,
) -> tuple[Arms, dict[str, dict[str, tuple[float, float, float]]]]:  # fmt: skip
    total = sum(len(skill.groups) for skill in skills)
    metric = skills[0].metric if len({skill.metric for skill in skills}) == 1 else "score"
    groups = np.concatenate([[f"{s.name}/{g}" for g in s.groups] for s in skills])
    # Each skill counts alike, however many lines it has.
    flat = {
        label: np.concatenate(
            [each[s.name] * (total / (len(skills) * len(s.groups))) for s in skills]
        )
        for label, each in scores.items()
    }
    found = judge(
        {label: values for label, values in flat.items() if label != "ensemble"}, groups,
        metric=metric, costs=costs, seed=seed,
    )  # fmt: skip
    low, high = interval(flat["ensemble"], groups, seed=seed)
    whole = Arm("ensemble", metric, float(flat["ensemble"].mean()), low, high, costs["ensemble"])
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
    scores: Mapping[str, Mapping[str, np.ndarray]], skills: Sequence[Judge],
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
