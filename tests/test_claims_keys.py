"""A score is kept under what decides it, and under nothing else."""

import dataclasses
import json
import sys
import types
from pathlib import Path
from typing import Annotated, ClassVar

import pytest

from conjoin.alignment.closed_form.linear import Ridge
from conjoin.catalogue import Choice, Row, Search, find, of_kind, ranges
from conjoin.claims import keys
from conjoin.claims.keys import facts_of, key_of
from conjoin.evaluation.arms import Arm
from conjoin.evaluation.tries import IMPORTANCE, LAST, MOVED, STARTS, TRIES, knobs_of, tries

ROOT = Path(__file__).resolve().parents[1]


def key(arm="ridge", *, task="retrieval", condition=None, data="d", metric="mrr", bench="b"):
    return key_of(find("task", task), condition or {}, data, metric, Arm.parse(arm), bench)


def test_each_thing_that_decides_a_score_changes_its_key():
    found = {
        key(), key("cca"), key("chance"), key(task="few-pairs"), key(condition={"pairs": 50}),
        key(data="other"), key(metric="recall@1"), key(bench="other"),
    }  # fmt: skip
    assert len(found) == 8
    assert key() == key()


def moved(row: Row, engine: type, monkeypatch) -> Row:
    """The row with its engine in another module and under another name."""
    module = types.ModuleType("elsewhere")
    module.Engine = engine
    monkeypatch.setitem(sys.modules, "elsewhere", module)
    return dataclasses.replace(row, target="elsewhere:Engine")


def test_moved_and_renamed_code_keeps_its_key(monkeypatch):
    row = find("aligner", "ridge")
    assert facts_of(moved(row, Ridge, monkeypatch)) == facts_of(row)
    renamed = type("Squares", (Ridge,), {"__doc__": "Other words."})
    assert facts_of(moved(row, renamed, monkeypatch)) == facts_of(row)


def test_raised_versions_and_other_defaults_change_the_key(monkeypatch):
    row = find("aligner", "ridge")
    raised = type("Raised", (Ridge,), {"arithmetic": 7})
    assert facts_of(moved(row, raised, monkeypatch)) != facts_of(row)

    @dataclasses.dataclass(frozen=True)
    class Other(Ridge):
        lam: Annotated[float, Search(1e-4, 1e2, log=True)] = 0.9

    assert facts_of(moved(row, Other, monkeypatch)) != facts_of(row)
    before = facts_of(row)
    monkeypatch.setattr(keys, "SHARED", {**keys.SHARED, row.cost: 9})
    assert facts_of(row) != before


def test_a_new_field_at_its_neutral_value_changes_nothing(monkeypatch):
    @dataclasses.dataclass(frozen=True)
    class More(Ridge):
        neutral: ClassVar[dict] = {"extra": 0.0}
        extra: float = 0.0

    row = find("aligner", "ridge")
    made = moved(row, More, monkeypatch)
    assert facts_of(made) == facts_of(row)
    assert facts_of(made, {"extra": 1.0}) != facts_of(row)


def test_the_loss_of_a_head_is_part_of_its_key(monkeypatch):
    from conjoin.losses.contrastive.infonce import InfoNCE

    before = key("infonce-head")
    monkeypatch.setattr(InfoNCE, "arithmetic", 5, raising=False)
    assert key("infonce-head") != before
    assert key("ridge") == key("ridge")


HUBS = {"hub": ("image", "text")}


@pytest.mark.parametrize(
    "kind", ["aligner", "fusion", "head", "student", "correction", "score-fusion"]
)
def test_every_arm_with_something_to_choose_gets_as_many_tries(kind):
    for row in of_kind(kind).values():
        found = tries(row, {})
        if knobs_of(row):
            most = TRIES
            names = [name for name, _ in knobs_of(row)[:MOVED]]
            if all(isinstance(ranges(row.load())[name], Choice) for name in names):
                continue  # values may be fewer than tries
            assert len(found) == most, row.name
        else:
            assert found == [dict(row.settings)], row.name


def test_tries_move_what_is_important_together_and_leave_the_rest():
    row = find("aligner", "infonce-head")
    first, *drawn = tries(row, {})
    assert first == dict(row.settings)
    for name in ("temperature", "lr", "noise"):
        values = [fields[name] for fields in drawn]
        assert len(set(values)) >= TRIES - 2, name
    for fields in drawn:
        assert {n: fields[n] for n in ("width", "steps", "batch")} == {
            n: row.settings[n] for n in ("width", "steps", "batch")
        }
        row.make(fields)  # within every range


def test_each_stratum_of_a_window_is_drawn_from_once():
    import numpy as np

    default = find("aligner", "meru").make().temperature
    places = sorted(
        np.log10(fields["temperature"] / default)
        for fields in tries(find("aligner", "meru"), {})[1:]
    )
    assert [int((place + 1) // (2 / 3)) for place in places] == [0, 1, 2]


def test_the_same_knob_moves_alike_in_both_arms():
    one, other = (tries(find("aligner", name), {}) for name in ("infonce-head", "fusemix"))
    for a, b in zip(one[1:], other[1:], strict=True):
        assert {n: a[n] for n in STARTS} == {n: b[n] for n in STARTS}


def test_which_view_is_the_hub_is_tried_both_ways():
    found = tries(find("aligner", "ridge"), HUBS)
    assert {fields["hub"] for fields in found} == {"image", "text"}
    assert len(found) == TRIES


def test_size_comes_after_what_matters():
    assert not set(LAST) & {name for names in IMPORTANCE for name in names}
    order = [name for name, _ in knobs_of(find("aligner", "heads"))]
    assert order.index("temperature") < order.index("lr") < order.index("noise")
    assert order.index("noise") < order.index("lam") < order.index("width")


def committed(task, data):
    facts = json.loads((ROOT / "docs" / "claims.json").read_text(encoding="utf-8"))
    return [t for t in facts["tables"] if (t["task"], t["data"]) == (task, data)]


def test_committed_scores_are_what_the_code_gives_under_the_same_key():
    """Where this fails arithmetic has changed: raise ``arithmetic`` of what it is part of."""
    from conjoin.claims.engine import SEEDS, Job, open_bench
    from conjoin.evaluation.arms import run_arm

    task, data, checked = "retrieval", "wine:acids+colours", 0
    for table in committed(task, data):
        for arm in table["arms"]:
            condition = tuple(sorted(table["condition"].items()))
            job = Job(task, condition, data, table["metric"], arm["arm"])
            row = find("aligner", arm["arm"]) if arm["arm"] != "chance" else None
            if "failed" in arm or row is None or row.cost == "trained" or job.key != arm["key"]:
                continue
            made = job.make_task()
            values = [
                run_arm(
                    made, open_bench(data), job.way, job.metric, seed, arm["fields"]
                ).scores[job.metric].values.mean()
                for seed in range(SEEDS)
            ]  # fmt: skip
            assert sum(values) / SEEDS == pytest.approx(arm["value"], abs=0.005), arm["arm"]
            checked += 1
    assert checked
