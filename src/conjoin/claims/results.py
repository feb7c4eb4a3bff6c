"""What claims came to, as facts that pages and programs read."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from conjoin import catalogue
from conjoin.catalogue import FIDELITIES
from conjoin.claims.engine import SEEDS, Claimed, Done, Job, Store, in_order
from conjoin.evaluation.arms import CHANCE
from conjoin.stats.paired import (
    DRAWS,
    HOLDS,
    LEVEL,
    ONLY,
    POWER,
    Effect,
    Paired,
    corrected,
    effect,
    said_of,
    verdicts,
)

#: Version of the results' form.
FORM = 1
#: Least and largest value of metrics that do not lie between 0 and 1.
RANGES: Mapping[str, tuple[float, float]] = {
    "spearman": (-1.0, 1.0), "evenness": (-np.inf, np.inf), "rank-variance": (-np.inf, 0.0),
}  # fmt: skip
#: Arms that have what no method has: what could at best be reached.
CEILINGS: Mapping[str, tuple[str, ...]] = {
    "upgrading": ("re-embed",), "class-upgrading": ("re-embed",), "stored": ("identity",),
}  # fmt: skip
#: Why a claim whose arms cannot be told apart has no verdict.
SAME = "both arms gave the same scores in every seed"
OFF = f"{SAME}: validation chose settings that leave things as they are"
#: What an earlier judgement leaves in a claim's record where nothing that decides it has changed.
KEPT = (
    "effect", "low", "high", "least", "most", "p", "detectable", "seeds", "units", "groups",
    "arm_value", "arm_seconds", "arm_fields", "baseline_value", "baseline_seconds",
    "baseline_fields",
)  # fmt: skip

Facts = Mapping[str, Any]


def judge(
    claims: Sequence[Claimed], store: Store, seeds: int = SEEDS, before: Facts | None = None
) -> dict[str, Any]:
    """Verdicts of the claims whose arms have run; the others are named with their reason.

    Parameters
    ----------
    before : earlier results. A claim whose arms are not in the store keeps its numbers from there
        where the keys of both are still the same, and is listed under ``stale`` where not.

    Returns
    -------
    dict
        ``claims`` with verdict, effect, interval, cost and words; ``stale`` with what was judged
        before something that decides it changed, and has not run since; ``tables`` with every arm;
        ``open`` with what has no verdict; ``touches`` with how often each data set's held-out
        rows were looked at.
    """
    done = {job: store.done(job, seeds) for each in claims for job in each.jobs()}
    earlier = {name_of(record): record for record in (before or {}).get("claims", ())}
    earlier |= {name_of(record): record for record in (before or {}).get("stale", ())}
    fresh: list[tuple[Claimed, Effect]] = []
    kept, stale, unsettled = list[dict[str, Any]](), list[dict[str, Any]](), list[dict[str, Any]]()
    for each in claims:
        who = _who(each)
        why = _missing(each, done)
        record = earlier.get(name_of(who))
        if not why:
            found = _effect(each, done)
            if _same(each, done):
                unsettled.append({**who, "why": SAME if _as_declared(each, done) else OFF})
            else:
                fresh.append((each, found))
        elif record is None or any(name not in record for name in KEPT):
            unsettled.append({**who, "why": why})
        elif all(record.get(name) == who[name] for name in ("arm_key", "baseline_key")):
            kept.append({**who, **{name: record[name] for name in KEPT}, "carried": True})
        else:
            stale.append({
                **record, **who, **{name: record.get(name) for name in ("arm_key", "baseline_key")},
                "said": record["said"], "why": "what decides its scores has changed since",
            })  # fmt: skip
    listed = _judged(fresh, kept, stale, done)
    found_tables = tables(done, before)
    for record in listed:
        _outdone(record, found_tables)
    order = {name_of(_who(each)): place for place, each in enumerate(claims)}
    return {
        "version": FORM, "seeds": seeds, "draws": DRAWS, "level": LEVEL, "power": POWER,
        "claims": sorted(listed, key=lambda record: order[name_of(record)]), "stale": stale,
        "open": unsettled, "tables": found_tables, "touches": touches(done, before),
    }  # fmt: skip


def waiting(claims: Sequence[Claimed], before: Facts | None) -> list[Claimed]:
    """Claims without a verdict of the arms as they are now: never judged, left open, or stale.

    Parameters
    ----------
    before : earlier results.
    """
    if not before:  # keys need the data opened
        return list(claims)
    current = {name_of(record): record for record in before.get("claims", ())}

    def stands(who: Facts) -> bool:
        record = current.get(name_of(who))
        keys = ("arm_key", "baseline_key")
        return record is not None and all(record.get(name) == who[name] for name in keys)

    return [each for each in claims if not stands(_who(each))]


def arms_due(claims: Sequence[Claimed], before: Facts | None, *, again: bool = False) -> list[Job]:
    """The jobs to run, those of claims without a current verdict first.

    A verdict needs the scores of its own two arms. What only stands beside them in a table is left
    out where ``before`` has it under the same key, since the table keeps it from there.

    Parameters
    ----------
    before : earlier results.
    again : also what serves only claims whose verdict is current, after the others.
    """
    lacking = waiting(claims, before)
    if again:
        rest = [each for each in claims if each not in lacking]
        return list(dict.fromkeys([*in_order(lacking), *in_order(rest)]))
    judged = {
        Job.of(each.claim, arm) for each in lacking for arm in (each.arm, each.claim.baseline)
    }
    known = {arm.get("key") for t in (before or {}).get("tables", ()) for arm in t["arms"]}
    return [job for job in in_order(lacking) if job in judged or not known or job.key not in known]


def _judged(
    fresh: Sequence[tuple[Claimed, Effect]], kept: Sequence[dict[str, Any]],
    stale: Sequence[Facts], done: Mapping[Job, Done | None],
) -> list[dict[str, Any]]:  # fmt: skip
    """Verdicts among all claims of a family, those that wait for a run included."""
    effects = [found for _, found in fresh]
    families = [each.row.family for each, _ in fresh]
    others = [*kept, *stale]
    p = [found.p for found in effects] + [record["p"] for record in others]
    fixed = corrected(p, families + [record["family"] for record in others]) if p else []
    bounds = [_bounds(each, done) for each, _ in fresh]
    # Holm's count is that of the whole family, so each is judged alone at the level left for it.
    made = verdicts(
        effects, [each.claim.smallest for each, _ in fresh], families, bounds,
        fixed[: len(fresh)],
    )  # fmt: skip
    listed = [
        {**_who(each), **asdict(verdict), "seeds": e.seeds, "units": e.units, "groups": e.groups,
         **_cost(each, done), "carried": False}
        for (each, e), verdict in zip(fresh, made, strict=True)
    ]  # fmt: skip
    for record, one in zip(kept, fixed[len(fresh) :], strict=False):
        low, high = _range(record["metric"])
        reach = (low - high, high - low)
        if record["baseline"] == "identity" and record["baseline_value"] == 0:
            reach = (low, high)
        record |= {
            end: float(np.clip(record[end], *reach)) for end in ("low", "high", "least", "most")
        }
        record |= {"adjusted": one.adjusted, "share": one.share}
        record["said"] = said_of(
            record["effect"], record["smallest"], one.adjusted, record["most"],
            record["detectable"],
        )  # fmt: skip
        listed.append(record)
    return listed


def _range(metric: str) -> tuple[float, float]:
    return RANGES.get(metric, (0.0, 1.0))


def _bounds(each: Claimed, done: Mapping[Job, Done | None]) -> tuple[float, float]:
    """The least and the largest effect that can be: of a baseline that never varies, over it."""
    low, high = _range(each.claim.metric)
    base = done[Job.of(each.claim, each.claim.baseline)]
    assert base is not None
    scores = base.scores[each.claim.metric]
    if np.ptp(scores) == 0:
        return low - float(scores.flat[0]), high - float(scores.flat[0])
    return low - high, high - low


def _outdone(record: dict[str, Any], found: Sequence[Facts]) -> None:
    """Name the strongest simple arm of the table where it does better than the arm that holds."""
    beyond = (*CEILINGS.get(record["task"], ()), CHANCE, record["arm"], record["baseline"])
    beside = [
        arm for t in found for arm in t["arms"]
        if all(t[name] == record[name] for name in ("task", "condition", "data", "metric"))
    ]  # fmt: skip
    simple = simple_arms(catalogue.find("task", record["task"]))
    rivals = [
        arm for arm in beside
        if arm["arm"] in simple and arm["arm"] not in beyond and "failed" not in arm
        and not arm.get("stale") and arm["value"] > record["arm_value"]
    ]  # fmt: skip
    if record["said"] == HOLDS and rivals:
        best = max(rivals, key=lambda arm: arm["value"])
        record["outdone"] = {"arm": best["arm"], "value": best["value"]}
        if record["baseline"] == "identity":
            record["said"] = ONLY


def simple_arms(task: catalogue.Row) -> frozenset[str]:
    """The arms that stand in every table of a task, and the plain ones of what it judges.

    A task whose tables hold the claims' own arms only, such as one of measures, has none.
    """
    from conjoin.evaluation.arms import beside, judges

    engine = task.load()
    if not beside(engine):
        return frozenset()
    plain = {row.name for row in catalogue.of_kind(judges(engine)).values() if row.cost == "free"}
    return frozenset({*beside(engine), *plain})


def _missing(each: Claimed, done: Mapping[Job, Done | None]) -> str:
    for arm in (each.arm, each.claim.baseline):
        found = done[Job.of(each.claim, arm)]
        if found is None:
            return f"{arm} has not run"
        if found.failed:
            return f"{arm}: {found.failed}"
    return ""


def _effect(each: Claimed, done: Mapping[Job, Done | None]) -> Effect:
    arm, base = (done[Job.of(each.claim, name)] for name in (each.arm, each.claim.baseline))
    assert arm is not None
    assert base is not None
    metric = each.claim.metric
    return effect(arm.scores[metric], base.scores[metric], arm.groups)


def _same(each: Claimed, done: Mapping[Job, Done | None]) -> bool:
    """Whether the arms cannot be told apart in any seed."""
    arm, base = (done[Job.of(each.claim, name)] for name in (each.arm, each.claim.baseline))
    assert arm is not None
    assert base is not None
    return np.array_equal(arm.scores[each.claim.metric], base.scores[each.claim.metric])


def _as_declared(each: Claimed, done: Mapping[Job, Done | None]) -> bool:
    """Whether validation left the arm at its defaults."""
    job = Job.of(each.claim, each.arm)
    found = done[job]
    assert found is not None
    own = {name: value for name, value in found.fields.items() if name != "hub"}
    return own == dict(job.way.row.settings)


def _who(each: Claimed) -> dict[str, Any]:
    claim = each.claim
    return {
        "method": each.row.name, "kind": each.row.kind, "family": each.row.family,
        "papers": list(each.row.papers), "arm": each.arm, "baseline": claim.baseline,
        "task": claim.task, "condition": dict(claim.condition), "data": claim.data,
        "metric": claim.metric, "smallest": claim.smallest, "fidelity": claim.fidelity,
        "fidelity_means": FIDELITIES[claim.fidelity], "differs": claim.differs,
        "reported": claim.reported, "arm_key": Job.of(claim, each.arm).key,
        "baseline_key": Job.of(claim, claim.baseline).key,
    }  # fmt: skip


def _cost(each: Claimed, done: Mapping[Job, Done | None]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for side, name in (("arm", each.arm), ("baseline", each.claim.baseline)):
        one = done[Job.of(each.claim, name)]
        assert one is not None
        found[f"{side}_value"] = float(one.scores[each.claim.metric].mean())
        found[f"{side}_seconds"] = one.seconds
        found[f"{side}_fields"] = dict(one.fields)
    return found


def tables(done: Mapping[Job, Done | None], before: Facts | None = None) -> list[dict[str, Any]]:
    """Every table with the mean of each arm and its interval; arms that cannot run say why.

    An arm that has not run stands as it was before, marked ``stale`` where what decides its
    scores has changed since.
    """
    earlier = {
        (t["task"], tuple(sorted(t["condition"].items())), t["data"], t["metric"], a["arm"]): a
        for t in (before or {}).get("tables", ()) for a in t["arms"]
    }  # fmt: skip
    listed: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for job, found in done.items():
        own = listed.setdefault(job.table, [])
        if found is not None:
            own.append(_arm(job, found))
        elif (old := earlier.get((*job.table, job.arm))) is not None:
            own.append(_earlier(job, old))
    return [
        {"task": task, "condition": dict(condition), "data": data, "metric": metric,
         "arms": sorted(arms, key=_by_value)}
        for (task, condition, data, metric), arms in listed.items() if arms
    ]  # fmt: skip


def _earlier(job: Job, old: Facts) -> dict[str, Any]:
    """An arm as it was before, its interval within the metric's range."""
    kept = dict(old)
    if "failed" not in old:
        ends = {end: float(np.clip(old[end], *_range(job.metric))) for end in ("low", "high")}
        kept |= ends
    if old.get("key") != job.key:
        kept["stale"] = True
    return kept


def _by_value(arm: Facts) -> tuple[bool, bool, float]:
    failed = "failed" in arm
    return (arm["arm"] != CHANCE, failed, 0.0 if failed else arm["value"])


def _arm(job: Job, found: Done) -> dict[str, Any]:
    if found.failed:
        return {"arm": job.arm, "failed": found.failed, "key": job.key}
    scores = found.scores[job.metric]
    spread = Paired.of({job.arm: scores}, found.groups, draws=2000).effect(job.arm)
    low, high = (float(np.clip(end, *_range(job.metric))) for end in spread.interval())
    return {
        "arm": job.arm, "value": spread.value, "low": low, "high": high,
        "seconds": found.seconds, "tuning": found.tuning, "tried": found.tried,
        "fields": dict(found.fields), "key": job.key,
    }  # fmt: skip


def touches(done: Mapping[Job, Done | None], before: Facts | None = None) -> dict[str, int]:
    """How many times an arm was judged on each data set's held-out rows, earlier runs included."""
    counted: dict[str, int] = dict((before or {}).get("touches", {}))
    known = {arm.get("key") for t in (before or {}).get("tables", ()) for arm in t["arms"]}
    for job, found in done.items():
        if found is not None and not found.failed and job.key not in known:
            seeds = len(next(iter(found.scores.values())))
            counted[job.data] = counted.get(job.data, 0) + (0 if job.arm == CHANCE else seeds)
    return dict(sorted(counted.items()))


def changed(old: Facts | None, new: Facts) -> Iterable[str]:
    """Claims whose verdict differs between two results, in words."""
    before = {name_of(claim): claim["said"] for claim in (old or {}).get("claims", ())}
    for claim in new["claims"]:
        was = before.get(name_of(claim))
        if was is not None and was != claim["said"]:
            yield f"{claim['method']} on {claim['data']}: {was} → {claim['said']}"


def name_of(claim: Facts) -> str:
    """What tells a claim from all others."""
    parts = (claim[name] for name in ("method", "arm", "baseline", "task", "data", "metric"))
    return "/".join(map(str, (*parts, sorted(claim["condition"].items()))))
