"""Tasks that judge storage, cut-offs and suggestions: what is asked, and how it is scored."""

import numpy as np
import pytest

from benches import bench
from conjoin.claims.engine import claims_of
from conjoin.claims.tasks.search import query_suggestion as suggesting
from conjoin.claims.tasks.search.ann_recall import Stored, _missed
from conjoin.claims.tasks.search.list_truncation import MOST, Cutting, f1
from conjoin.claims.tasks.search.query_suggestion import (
    Suggesting,
    random_precision,
    vectors_of,
    worth_of,
)
from conjoin.errors import ConjoinError
from conjoin.evaluation.arms import Arm, judges, make, run_arm
from conjoin.storage.digest import stable_hash

TASKS = (Stored("cca"), Cutting(), Suggesting())


def ran(task, arm, planted, seed=0):
    way = Arm.parse(arm, judges(task))
    scores = run_arm(task, planted, way, task.metrics[0], seed, {}).scores
    return {metric: float(units.values.mean()) for metric, units in scores.items()}


def test_scoring_every_row_finds_what_it_finds_and_right_answers_are_seen():
    near, far = (bench("image", "text", noise=noise, name=str(noise)) for noise in (0.05, 50.0))
    assert ran(Stored("cca"), "identity", near) == {"same@10": 1.0, "found@10": 1.0}
    assert ran(Stored("cca"), "identity", far)["found@10"] < 0.5
    assert ran(Stored("cca"), "int8", near)["same@10"] > 0.99
    assert ran(Stored("cca"), "binary-alone", near)["same@10"] < 0.9


def test_missing_all_of_some_rows_is_counted():
    rng = np.random.default_rng(0)
    drawn = np.mean([(rng.permutation(20)[:5] >= 3).all() for _ in range(8000)])
    assert _missed(20, 3, 5) == pytest.approx(drawn, abs=0.02)
    assert _missed(6, 3, 5) == 0


def test_lists_without_an_answer_are_best_left_empty():
    planted = bench("image", "text", items=200)
    easy = {arm: ran(Cutting(), arm, planted)["f1"] for arm in ("score-threshold", "fixed-count")}
    assert easy["score-threshold"] > 0.9 > 0.85 > easy["fixed-count"]
    everything = ran(Cutting(astray=0.0), "identity", planted)["f1"]
    assert everything == pytest.approx(2 / (MOST + 1))  # one right hit, found, and nine others
    assert ran(Cutting(astray=0.0), "fixed-count", planted)["f1"] > 0.95


def test_f1_is_that_of_counting():
    rng = np.random.default_rng(1)
    for _ in range(50):
        right = (rng.random(8) < 0.4).tolist()
        n = int(rng.integers(9))
        shown, wanted = set(range(n)), {at for at, good in enumerate(right) if good}
        both = len(shown & wanted)
        if wanted:
            assert f1(right, n) == pytest.approx(2 * both / (n + len(wanted)))
        else:
            assert f1(right, n) == (n == 0)


def test_random_rankings_are_worth_what_is_said():
    rng = np.random.default_rng(2)
    members = np.array([3, 9, 11])
    drawn = np.mean([worth_of(rng.permutation(30), members) for _ in range(4000)], axis=0)
    np.testing.assert_allclose(drawn, [0.1, random_precision(3, 30)], atol=0.01)


def test_texts_that_say_nothing_find_by_lot(monkeypatch):
    planted = bench("image", "text", items=160)
    chance = ran(Suggesting(), "chance", planted)
    found = []
    for seed in range(40):
        monkeypatch.setattr(
            suggesting, "asked_for",
            lambda *given, seed=seed: f"nonsense{stable_hash(repr([seed, given[1].query]))}",
        )  # fmt: skip
        found.append(list(ran(Suggesting(), "identity", planted).values()))
    error = np.std(found, axis=0) / np.sqrt(len(found))
    # A direction of one's own is near to some of a cluster or to none: means, not single queries.
    np.testing.assert_array_less(np.abs(np.mean(found, axis=0) - list(chance.values())),
                                 4 * error + 0.05)  # fmt: skip


def test_words_of_the_cluster_find_it_better_than_the_first_query():
    planted = bench("image", "text", items=200)
    named = {arm: ran(Suggesting(hits=60), arm, planted) for arm in ("cluster-words", "identity")}
    for metric in Suggesting.metrics:
        assert named["cluster-words"][metric] > named["identity"][metric] + 0.1


def test_texts_are_read_word_by_word_where_no_encoder_is_at_hand():
    planted = bench("image", "text")
    bird, boat, both, none = vectors_of(planted, "text", ["bird", "boat", "a boat bird", "xyz"])
    cosine = lambda a, b: a @ b / np.linalg.norm(a) / np.linalg.norm(b)  # noqa: E731
    assert cosine(both, bird) == pytest.approx(cosine(both, boat), abs=1e-4)
    assert cosine(both, bird) > 0.6
    np.testing.assert_array_equal(none, vectors_of(planted, "text", ["xyz"])[0])


@pytest.mark.parametrize("task", TASKS, ids=lambda task: type(task).__name__)
def test_another_kind_of_method_is_refused(task):
    setting = task.setting(bench("image", "text"), 0)
    with pytest.raises(ConjoinError, match="arm"):
        task.fit(setting, make(Arm.parse("cca"), setting, {}), 0)


def test_data_without_names_are_refused():
    planted = bench("image", "text")
    planted.names.clear()
    with pytest.raises(ConjoinError, match="no names of classes"):
        Suggesting().setting(planted, 0)


@pytest.mark.parametrize(
    ("family", "kind"),
    [
        ("storing", "vector-codec"),
        ("cutting", "list-truncation"),
        ("suggesting", "query-suggestion"),
        ("evidence", "selector"),
    ],
)
def test_claims_have_their_jobs(family, kind):
    jobs = {job for each in claims_of(family=family) for job in each.jobs()}
    assert {job.way.kind for job in jobs} == {kind}
    assert {job.arm for job in jobs} >= {"chance", "identity"}
