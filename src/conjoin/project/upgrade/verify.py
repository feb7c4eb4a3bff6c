"""Whether an applied upgrade is whole and keeps what its plan promised."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from conjoin.alignment import guards
from conjoin.errors import ConjoinError
from conjoin.project.fit.stored import current_fit
from conjoin.project.search.index import open_index
from conjoin.project.upgrade import state
from conjoin.project.upgrade.lifecycle import check_probes, sampled
from conjoin.project.workspace import Workspace
from conjoin.retrieval.index.index import Index
from conjoin.spaces import Space
from conjoin.stats.bootstrap import interval
from conjoin.storage.files import read_json, within
from conjoin.upgrade.options import FIRST, METRIC
from conjoin.upgrade.plan import Sample


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    ok: bool
    said: str

    def to_json(self) -> dict[str, Any]:
        """JSON-able fields."""
        return {"check": self.name, "ok": self.ok, "said": self.said}


@dataclass(frozen=True, eq=False)
class Verified:
    """All checks, and what held-out queries reach through the index as it is served."""

    checks: tuple[Check, ...]
    value: float
    low: float
    high: float
    promised: tuple[float, float, float]

    @property
    def ok(self) -> bool:
        """Whether every check passed."""
        return all(check.ok for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        """One object for programs."""
        value, low, high = self.promised
        return {
            "ok": self.ok, "checks": [check.to_json() for check in self.checks],
            "metric": METRIC, "value": self.value, "low": self.low, "high": self.high,
            "promised": {"value": value, "low": low, "high": high},
        }  # fmt: skip


def verify(ws: Workspace) -> Verified:
    """Look over an upgrade that was applied, end to end.

    Raises
    ------
    ConjoinError : nothing was applied to the end.
    """
    job = state.read_job(ws)
    if job is None or job["step"] != "done":
        found = "nothing was applied" if job is None else "an upgrade was begun and not finished"
        raise ConjoinError("upgrade", found, "run: conjoin upgrade apply")
    planned = state.applied_plan(ws)
    name, arm = job["modality"], job["arm"]
    made, index = current_fit(ws), open_index(ws)
    named = read_json(state.before_folder(ws) / "current.json", ("maps", "index"))
    folder = within(ws.state, named["index"])
    before = Index.open(folder if folder.exists() else state.before_folder(ws) / "index")
    kept = arm.get("others") != "move"

    def tried(title: str, call: Any, good: str) -> Check:
        try:
            said = call()
        except ConjoinError as error:
            return Check(title, False, str(error))
        return Check(title, True, said if isinstance(said, str) else good)

    def frames() -> None:
        from conjoin.spaces import require_same

        require_same(ws.frame(name), made.binding.maps[name].source, f"encoder of {name}")
        require_same(index.frame, made.binding.frame, "index")

    sample = _sample(ws, name, planned, before, kept)
    checks = [
        tried("frames", frames, "encoder, map and index agree"),
        tried("encoder", lambda: check_probes(ws, sample, planned), "gives the planned vectors"),
        tried("scores", lambda: guards.check_scores(
            name, {e: c.to_json() for e, c in before.calibrations.items()},
            {e: c.to_json() for e, c in index.calibrations.items()},
        ), "no calibration of before is in use"),
    ]  # fmt: skip
    if kept:
        checks.append(tried(
            "others", lambda: guards.check_stays(name, before.spaces, index.spaces),
            "vectors of the other modalities are byte for byte the same",
        ))  # fmt: skip
        checks.append(tried("direction", lambda: _direction(sample, made.binding, before), ""))
    value, low, high = asked(ws, sample, made, index)
    promised = (float(arm["value"]), float(arm["low"]), float(arm["high"]))
    good = high >= promised[1]
    checks.append(Check(
        "recall", good,
        f"{METRIC} {value:.3f} [{low:.3f}, {high:.3f}] through the index, promised "
        f"{promised[0]:.3f} [{promised[1]:.3f}, {promised[2]:.3f}]",
    ))  # fmt: skip
    return Verified(tuple(checks), value, low, high, promised)


def _sample(ws: Workspace, name: str, planned: Any, before: Index, kept: bool) -> Sample:
    return sampled(ws, ws, name, planned["items"], held=dict(before.spaces) if kept else None)


def _direction(sample: Sample, binding: Any, before: Index) -> str:
    held = sample.held
    own = np.asarray(before.spaces[sample.name].vectors, np.float32)[sample.rows[held]]
    x = np.asarray(sample.new.vectors, np.float32)[held]
    share = guards.check_direction(binding.maps[sample.name], x, own)
    return f"{share:.1%} of held-out rows find their own old vector first"


def asked(ws: Workspace, sample: Sample, made: Any, index: Index) -> tuple[float, float, float]:
    """Recall@10 of the plan's held-out queries, put to the index as it is served.

    The gallery is what is indexed, not the sample: where the plan saw a part of it, recall of
    the other modalities' queries is lower than promised for that reason alone.
    """
    from conjoin.project.search.cascade import cascaded

    values, groups = [], []
    for query, target, wanted, labels in sample.asks():
        rows = sample.asked_rows(query)[wanted.queries]
        right = _right(sample, query, target, wanted)
        if query == sample.name:
            raw = sample.new.take(sample.held[wanted.queries])
        else:
            raw = sample.raw[query].take(sample.raw_rows[query][rows])
        found = index.search_many(made.binding.bind(query, raw), query, into=[target], k=50)
        for place, hits in enumerate(found):
            one: Space = raw.take(np.array([place]))
            lists = cascaded(ws, made, query, one, hits, FIRST).lists[target]
            values.append(float(any(hit.id in right[place] for hit in lists[:FIRST])))
        groups.append(labels)
    scores = np.array(values)
    low, high = interval(scores, np.concatenate(groups))
    return float(scores.mean()), low, high


def _right(sample: Sample, query: str, target: str, wanted: Any) -> list[set[str]]:
    """Ids that answer each query."""
    gallery = sample.bound[target].ids
    if target == sample.name:
        gallery = gallery[sample.rows]
    ids: dict[int, set[str]] = {}
    for row, item in enumerate(wanted.item_of.tolist()):
        ids.setdefault(item, set()).add(str(gallery[row]))
    return [set().union(*(ids[i] for i in wanted.of(q).tolist())) for q in range(len(wanted))]
