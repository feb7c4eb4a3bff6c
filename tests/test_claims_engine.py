"""Claims run, resume, are judged together and make a page; on small real data."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from conjoin.catalogue import Claim, Row, find, rows
from conjoin.claims import engine
from conjoin.claims.engine import Claimed, Job, Store, claims_of, run, work
from conjoin.claims.results import OFF, RANGES, SAME, _outdone, arms_due, changed, judge
from conjoin.claims.results import waiting as due
from conjoin.errors import ConjoinError
from conjoin.evaluation.arms import Arm, judges, run_arm
from conjoin.evaluation.tries import TRIES
from conjoin.execution.processes import Processes
from conjoin.report.pages.claims import claims_page
from conjoin.report.pages.gallery import VERDICTS
from conjoin.stats.paired import FAILS, HOLDS, ONLY
from conjoin.storage.files import read_json, write_json

CLAIM = Claim(
    "retrieval", "wine:acids+colours", "mrr", "identity", "idea", "Small.", "Nothing.",
    condition={"pairs": 60},
)  # fmt: skip
RIDGE = Claimed(dataclasses.replace(find("aligner", "ridge"), claims=(CLAIM,)), CLAIM)
ARMS = ("chance", "identity", "ridge", "mean-centering")


@pytest.fixture(autouse=True)
def _few_arms(monkeypatch):
    monkeypatch.setattr(engine, "beside", lambda task: ("chance", "identity", "mean-centering"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Scores of one small table, run once in this process."""
    made = tmp_path_factory.mktemp("scores")
    for arm in ARMS:
        work(Job.of(CLAIM, arm), str(made), 2)
    return made


def test_an_arm_chooses_its_settings_within_its_tries():
    bench = engine.open_bench(CLAIM.data)
    job = Job.of(CLAIM, "ridge")
    ran = run_arm(job.make_task(), bench, Arm.parse("ridge"), "mrr", 0)
    assert 1 < ran.tried <= TRIES
    again = run_arm(job.make_task(), bench, Arm.parse("ridge"), "mrr", 0, ran.fields)
    assert again.tried == 0
    np.testing.assert_array_equal(again.scores["mrr"].values, ran.scores["mrr"].values)
    assert "hub" in ran.fields


def test_scores_are_kept_a_file_a_seed(folder):
    done = Store(folder).done(Job.of(CLAIM, "ridge"), 2)
    assert done.scores["mrr"].shape == (2, len(done.groups))
    assert 0 < done.scores["mrr"].mean() < 1
    assert Store(folder).done(Job.of(CLAIM, "ridge"), 3) is None


def test_nothing_is_run_twice(folder):
    store, job = Store(folder), Job.of(CLAIM, "ridge")
    before = store.path(job, 0).stat().st_mtime_ns
    work(job, str(folder), 2)
    assert store.path(job, 0).stat().st_mtime_ns == before
    ended = run([job], folder, seeds=2, engine=Processes(1))
    assert not ended.left
    assert not ended.broken
    assert store.path(job, 0).stat().st_mtime_ns == before


def test_a_stopped_job_goes_on_with_the_settings_it_had_chosen(folder, tmp_path):
    job = Job.of(CLAIM, "ridge")
    work(job, str(tmp_path), 1)
    chosen = Store(tmp_path).read(job, 0)[1]["fields"]
    work(job, str(tmp_path), 2)
    first, second = (Store(tmp_path).read(job, seed)[1] for seed in (0, 1))
    assert first["fields"] == second["fields"] == chosen
    assert second["tried"] == 0
    whole, parts = Store(folder).done(job, 2), Store(tmp_path).done(job, 2)
    np.testing.assert_array_equal(whole.scores["mrr"], parts.scores["mrr"])


def test_processes_give_what_one_process_gives(folder, tmp_path):
    job = Job.of(CLAIM, "ridge")
    told = []
    ended = run([job], tmp_path, seeds=2, engine=Processes(1), report=told.append)
    assert not ended.broken
    assert [(p.done, p.total) for p in told] == [(1, 1)]
    np.testing.assert_array_equal(
        Store(tmp_path).done(job, 2).scores["mrr"], Store(folder).done(job, 2).scores["mrr"]
    )


def test_no_time_starts_nothing_and_says_so(tmp_path):
    ended = run([Job.of(CLAIM, "ridge")], tmp_path, seeds=2, budget=-1.0, engine=Processes(1))
    assert [job.arm for job in ended.left] == ["ridge"]
    facts = judge([RIDGE], Store(tmp_path), 2)
    assert facts["claims"] == []
    assert facts["open"][0]["why"] == "ridge has not run"


def test_an_arm_that_cannot_run_says_why(folder):
    store = Store(folder)
    found = store.done(Job.of(CLAIM, "mean-centering"), 2)
    assert "dimensions" in found.failed
    facts = judge([RIDGE], store, 2)
    arms = {arm["arm"]: arm for arm in facts["tables"][0]["arms"]}
    assert "dimensions" in arms["mean-centering"]["failed"]
    failing = Claimed(RIDGE.row, dataclasses.replace(CLAIM, arm="mean-centering"))
    assert "dimensions" in judge([failing], store, 2)["open"][0]["why"]


@pytest.fixture
def facts(folder):
    return judge([RIDGE], Store(folder), 2)


def test_a_verdict_has_all_a_reader_needs(facts):
    claim = facts["claims"][0]
    assert claim["said"] in VERDICTS
    assert claim["low"] <= claim["effect"] <= claim["high"]
    assert claim["effect"] == pytest.approx(claim["arm_value"] - claim["baseline_value"])
    assert claim["seeds"] == 2
    assert claim["fidelity_means"] == "only the paper's idea"
    assert facts["touches"] == {CLAIM.data: 4}  # ridge and nothing, two seeds each


def test_the_table_stands_beside_chance(facts):
    arms = [arm["arm"] for arm in facts["tables"][0]["arms"]]
    assert arms[0] == "chance"
    assert set(arms) == set(ARMS)


def test_results_are_json_and_make_a_page(facts, tmp_path):
    write_json(tmp_path / "claims.json", facts)
    again = read_json(tmp_path / "claims.json")
    assert again == json.loads(json.dumps(facts))
    page = claims_page(again)
    for part in ("# Claims", "ridge", "wine:acids+colours", "Fidelity: idea", "Touches", "chance"):
        assert part in page
    assert "nan" not in page.lower().replace("nanmean", "")


def test_a_verdict_that_changes_is_named(facts):
    other = json.loads(json.dumps(facts))
    other["claims"][0]["said"] = "something else"
    assert list(changed(other, facts)) == [
        f"ridge on {CLAIM.data}: something else → {facts['claims'][0]['said']}"
    ]
    assert list(changed(None, facts)) == list(changed(facts, facts)) == []


def test_an_earlier_verdict_is_kept_only_while_what_decides_it_stays(facts, tmp_path):
    """Nothing has run in an empty folder: the numbers are those of before, or wait for a run."""
    empty = Store(tmp_path)
    kept = judge([RIDGE], empty, 2, facts)
    assert kept["claims"][0]["carried"]
    assert not facts["claims"][0]["carried"]
    for name in ("effect", "low", "high", "least", "most", "p", "adjusted", "said"):
        assert kept["claims"][0][name] == facts["claims"][0][name]
    assert kept["stale"] == kept["open"] == []
    assert kept["touches"] == facts["touches"]
    assert [t["arms"] for t in kept["tables"]] == [t["arms"] for t in facts["tables"]]

    other = json.loads(json.dumps(facts))
    other["claims"][0]["baseline_key"] = "other"
    for arm in other["tables"][0]["arms"]:
        arm["key"] = "other" if arm["arm"] == "identity" else arm["key"]
    waiting = judge([RIDGE], empty, 2, other)
    assert waiting["claims"] == []
    assert waiting["stale"][0]["said"] == facts["claims"][0]["said"]
    arms = {arm["arm"]: arm.get("stale", False) for arm in waiting["tables"][0]["arms"]}
    assert arms == {"chance": False, "ridge": False, "mean-centering": False, "identity": True}
    assert "Waiting for a run" in claims_page(waiting)
    # Only what has no verdict of the arms as they are now is due.
    assert due([RIDGE], facts) == due([RIDGE], kept) == []
    assert due([RIDGE], other) == due([RIDGE], waiting) == due([RIDGE], None) == [RIDGE]
    # What waits is judged as soon as it has run.
    again = judge([RIDGE], Store(tmp_path), 2, waiting)
    assert again["stale"]


def test_no_arm_runs_for_a_current_verdict_alone(facts):
    """The other claim of the table waits: its own arms run, what stands beside them does not."""
    other = Claimed(RIDGE.row, dataclasses.replace(CLAIM, arm="procrustes"))
    ran = [job.arm for job in arms_due([RIDGE, other], facts)]
    assert sorted(ran) == ["identity", "procrustes"]
    assert arms_due([RIDGE], facts) == []


def test_an_arm_beside_runs_where_its_key_is_another(facts):
    other = Claimed(RIDGE.row, dataclasses.replace(CLAIM, arm="procrustes"))
    old = json.loads(json.dumps(facts))
    for arm in old["tables"][0]["arms"]:
        arm["key"] = "other" if arm["arm"] == "chance" else arm["key"]
    ran = [job.arm for job in arms_due([RIDGE, other], old)]
    assert sorted(ran) == ["chance", "identity", "procrustes"]


def test_without_earlier_results_every_arm_runs():
    assert {job.arm for job in arms_due([RIDGE], None)} == set(ARMS)


def test_again_runs_the_rest_as_well_and_after_what_waits(facts):
    # In the catalogue's order, and by cost, the judged claim would come first.
    other = Claimed(RIDGE.row, dataclasses.replace(CLAIM, arm="infonce-head", baseline="cca"))
    jobs = arms_due([RIDGE, other], facts, again=True)
    assert {job.arm for job in jobs} == {*ARMS, "infonce-head", "cca"}
    assert len(set(jobs)) == len(jobs)
    assert [job.arm for job in jobs[:2]] == ["cca", "infonce-head"]
    assert jobs[-1].arm == "ridge"
    assert {job.arm for job in arms_due([RIDGE], facts, again=True)} == set(ARMS)


def test_what_has_run_is_judged_anew_whatever_was_said_before(facts, folder):
    other = json.loads(json.dumps(facts))
    other["claims"][0] |= {"said": "undecided", "effect": -1.0}
    again = judge([RIDGE], Store(folder), 2, other)
    assert again["claims"][0]["effect"] == facts["claims"][0]["effect"]
    assert again["touches"] == facts["touches"]  # the same runs are not counted twice


def test_arms_that_cannot_be_told_apart_have_no_verdict(folder):
    alike = Claimed(RIDGE.row, dataclasses.replace(CLAIM, arm="ridge", baseline="ridge"))
    found = judge([alike], Store(folder), 2)
    assert found["claims"] == []
    assert found["open"][0]["why"] in (SAME, OFF)


def test_the_verdict_names_a_simple_arm_that_does_better(facts):
    """On both sides: better or worse than the winner, a ceiling, against nothing or another."""
    claim = facts["claims"][0]
    table = {n: claim[n] for n in ("task", "condition", "data", "metric")}
    for value, baseline, said, named in (
        (0.9, "cca", HOLDS, "procrustes"), (0.9, "identity", ONLY, "procrustes"),
        (0.1, "identity", HOLDS, None), (0.9, "procrustes", HOLDS, None),
    ):  # fmt: skip
        record = {**claim, "said": HOLDS, "arm_value": 0.5, "baseline": baseline}
        beside = [
            {"arm": "chance", "value": 0.99}, {"arm": "procrustes", "value": value},
            {"arm": "infonce-head", "value": 0.99, "stale": True},
            {"arm": "nobody", "value": 0.99}, {"arm": "mean-centering", "failed": "no"},
        ]  # fmt: skip
        _outdone(record, [{**table, "arms": beside}])
        assert record["said"] == said
        assert record.get("outdone", {}).get("arm") == named
        page = claims_page({**facts, "claims": [record]})
        assert ("does better" in page.split("## Every arm")[0].split("## ")[1]) == bool(named)
    failing = {**claim, "said": FAILS, "arm_value": 0.5, "baseline": "identity"}
    _outdone(failing, [{**table, "arms": [{"arm": "cca", "value": 0.9}]}])
    assert "outdone" not in failing
    stored = {
        **claim,
        "task": "stored",
        "said": HOLDS,
        "arm_value": 0.5,
        "baseline": "prefix-alone",
    }
    _outdone(stored, [{**table, "task": "stored", "arms": [{"arm": "identity", "value": 1.0}]}])
    assert "outdone" not in stored  # exact search is the ceiling of what is stored


COMMITTED = json.loads(
    (Path(__file__).resolve().parents[1] / "docs" / "claims.json").read_text(encoding="utf-8")
)


def test_no_committed_claim_has_arms_that_cannot_differ():
    alike = [c for c in COMMITTED["claims"] if c["effect"] == c["low"] == c["high"] == 0]
    assert [(c["arm"], c["baseline"], c["data"]) for c in alike] == []
    assert [(o["arm"], o["baseline"]) for o in COMMITTED["open"] if o["why"] == SAME] == []


def test_committed_intervals_end_where_their_metrics_do():
    for claim in COMMITTED["claims"]:
        low, high = RANGES.get(claim["metric"], (0.0, 1.0))
        for end in ("low", "high", "least", "most"):
            assert low - high <= claim[end] <= high - low, claim["arm"]
        if claim["metric"] == "spearman" and claim["baseline"] == "identity":
            assert -1 <= claim["least"] <= claim["most"] <= 1
    for table in COMMITTED["tables"]:
        low, high = RANGES.get(table["metric"], (0.0, 1.0))
        for arm in table["arms"]:
            if "failed" not in arm and not arm.get("stale"):
                assert low <= arm["low"] <= arm["high"] <= high, arm["arm"]


def test_claims_are_found_by_family_and_method():
    assert {each.row.name for each in claims_of(method="fusemix")} == {"fusemix"}
    assert {each.row.family for each in claims_of(family="relative")} == {"relative"}
    with pytest.raises(ConjoinError, match="families are"):
        claims_of(family="alchemy")


def wrong_with(row: Row, claim: Claim) -> str:
    """What a claim names and is not there, or nothing."""
    from conjoin.claims.datasets.registry import parse

    task = find("task", claim.task).make(dict(claim.condition))
    if claim.metric not in task.metrics:
        return f"metric {claim.metric} is none of {claim.task}: {task.metrics}"
    parse(claim.data)
    for arm in (claim.arm or row.name, claim.baseline):
        parsed = Arm.parse(arm, judges(task))
        if parsed.method.name != parsed.aligner or not parsed.row:
            return f"arm {arm} names no row"
    said = {"papers": row.papers or row.name == "identity", "differs": claim.differs,
            "reported": claim.reported, "family": row.family}  # fmt: skip
    return ", ".join(f"{name} is empty" for name, value in said.items() if not value)


def test_every_claim_names_what_there_is():
    found = []
    for row in rows():
        for number, claim in enumerate(row.claims):
            try:
                wrong = wrong_with(row, claim)
            except ConjoinError as error:
                wrong = str(error)
            found += [f"{row.kind}/{row.name}, claim {number}: {wrong}"] if wrong else []
    assert found == []


def test_what_verdicts_need_is_run_first_and_cheap_before_dear(monkeypatch):
    monkeypatch.undo()
    chosen = [*claims_of(method="fusemix"), *claims_of(method="cca")]
    jobs = engine.in_order(chosen)
    needed = {Job.of(c.claim, arm) for c in chosen for arm in (c.arm, c.claim.baseline)}
    assert set(jobs[: len(needed)]) == needed
    assert set(jobs) == {job for c in chosen for job in c.jobs()}
    assert len(set(jobs)) == len(jobs)
    costs = [engine._cost(job) for job in jobs[: len(needed)]]
    assert costs == sorted(costs)
