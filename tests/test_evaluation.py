"""Evaluations: counted by hand, beside chance and baselines, never on what was trained on."""

import json

import numpy as np
import pytest

from conjoin.alignment.binding import Binding
from conjoin.alignment.choice import Choice, Trial
from conjoin.alignment.closed_form.linear import CCA, Ridge
from conjoin.errors import ConjoinError
from conjoin.maps.base import identity
from conjoin.metrics.retrieval.scores import METRICS
from conjoin.retrieval.calibration.cross_fit import bank_of
from conjoin.retrieval.evaluation import Evaluation, TestBed, choose_corrections, evaluate
from conjoin.retrieval.hubness.csls import CSLS
from conjoin.spaces import Frame, Pairs, Space, unit

D = 6
JOINT = Frame("joint", 2)
#: A test bed is no test class.
TestBed.__test__ = False


def planted(names="ab", n=160, d=D, noise=0.3, seed=0):
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=(n, d))
    found = {}
    for name in names:
        x = latent @ np.linalg.qr(rng.normal(size=(d, d)))[0] + noise * rng.normal(size=(n, d))
        found[name] = Space.of(x.astype(np.float32), [f"i{k}" for k in range(n)], name=name)
    return found


def edge_pairs(names, edges, rows):
    lines = [[row if k in edge else -1 for k in names] for edge in edges for row in rows]
    return Pairs(tuple(names), np.array(lines), group=np.tile(rows, len(edges)))


def bed_of(spaces, edges, held=60):
    n = len(next(iter(spaces.values())))
    names, rows = list(spaces), np.arange(held)
    train = edge_pairs(names, edges, np.arange(held, n))
    return TestBed(spaces, train, edge_pairs(names, edges, rows), dict.fromkeys(names, rows))


def fitted(bed, method="ridge", hub=None):
    return Binding.fit(bed.spaces, bed.train, method=method, hub=hub)


def pick(found, query, target, metric="recall@10", **wanted):
    rows = [r for r in found.results if (r.query, r.target, r.metric) == (query, target, metric)]
    return [r for r in rows if all(getattr(r, key) == value for key, value in wanted.items())]


# By hand


def by_hand(query_angles, target_angles, query_ids, target_ids, pairs=None, content=None):
    """A bed and a binding in the plane that leaves everything where it is."""
    spaces, maps = {}, {}
    for name, angles, ids in (("q", query_angles, query_ids), ("x", target_angles, target_ids)):
        turned = np.deg2rad(np.array(angles, dtype=float))
        vectors = np.stack([np.cos(turned), np.sin(turned)], axis=1).astype(np.float32)
        shown = np.array((content or {}).get(name, [0] * len(ids)), dtype=np.uint64)
        made = Space.of(vectors, ids, name=name)
        spaces[name] = Space(made.ids, vectors, made.frame, content=shown)
        maps[name] = identity(2).between(made.frame, JOINT)
    test = Pairs(("q", "x"), np.array(pairs)) if pairs is not None else Pairs.by_id(spaces)
    rows = {name: np.arange(len(space)) for name, space in spaces.items()}
    train = Pairs(("q", "x"), np.empty((0, 2), dtype=np.int64))
    binding = Binding(JOINT, "q", maps, Choice("none", {}, "q"))
    return TestBed(spaces, train, test, rows), binding


def test_a_tiny_case_by_hand():
    # Items at 0°, 10°, 35°, 90°; queries near them: ranks of the right one are 1, 2, 1, 4.
    bed, binding = by_hand([1, 3, 30, 20], [0, 10, 35, 90], list("abcd"), list("abcd"))
    found = evaluate(bed, binding, baselines=())

    def value(metric, query="q", target="x"):
        return pick(found, query, target, metric, chosen=True)[0].value

    ranks = np.array([1, 2, 1, 4])
    assert value("recall@1") == pytest.approx(np.mean(ranks <= 1))
    assert value("recall@5") == 1
    assert value("mrr") == pytest.approx(np.mean(1 / ranks))
    assert value("ndcg@10") == pytest.approx(np.mean(1 / np.log2(ranks + 1)))
    assert value("median_rank") == pytest.approx(1.5)
    # The other way: 0° asks among 1, 3, 30, 20; 10° has 3 (7°) before 20 (10°), and so on.
    back = np.array([1, 1, 1, 2])
    assert value("mrr", "x", "q") == pytest.approx(np.mean(1 / back))
    assert {row.n for row in found.results} == {4}


def test_several_captions_of_an_item_are_one_item_and_any_of_them_counts():
    # Item a has captions at 80° and 2°; b one at 40°. One picture each at 0° and 45°.
    bed, binding = by_hand([0, 45], [80, 2, 40], ["a", "b"], ["a", "a", "b"])
    found = evaluate(bed, binding, baselines=())
    assert pick(found, "q", "x", "recall@1", chosen=True)[0].value == 1
    assert pick(found, "q", "x", "recall@1", method="chance")[0].value == pytest.approx(1 / 2)
    # Captions ask one by one: that at 80° finds the picture at 45° first, which is not its own.
    back = pick(found, "x", "q", "recall@1", chosen=True)[0]
    assert back.n == 3
    assert back.value == pytest.approx(2 / 3)


def test_several_items_of_one_caption_are_all_right():
    # One caption (content 7) on two items: either picture is right for either copy of it.
    bed, binding = by_hand(
        [0, 50], [49, 1, 90], ["a", "b"], ["a", "b", "c"], pairs=[[0, 0], [1, 1]],
        content={"q": [7, 7], "x": [1, 2, 3]},
    )  # fmt: skip
    found = evaluate(bed, binding, baselines=())
    assert pick(found, "q", "x", "recall@1", chosen=True)[0].value == 1
    by_chance = pick(found, "q", "x", "recall@1", method="chance")[0].value
    assert by_chance == pytest.approx(2 / 3)
    # The other way both copies are one item of the gallery, so nothing can go wrong.
    assert pick(found, "x", "q", "recall@1", chosen=True)[0].value == 1
    assert pick(found, "x", "q", "recall@1", method="chance")[0].value == 1


def test_a_query_without_an_answer_is_left_out():
    bed, binding = by_hand([0, 30, 60], [1, 61], ["a", "b", "c"], ["a", "c"])
    found = evaluate(bed, binding, baselines=())
    assert {r.n for r in pick(found, "q", "x", chosen=True)} == {2}


# Beside chance and baselines


def test_chance_is_its_expectation_in_every_direction():
    bed = bed_of(planted("abc"), ["ab", "bc"])
    found = evaluate(bed, fitted(bed), baselines=())
    for query, target in bed.directions():
        row = pick(found, query, target, method="chance")[0]
        assert row.value == pytest.approx(10 / 60)
        assert (row.low, row.high, row.chosen, row.n) == (None, None, False, 60)


def test_every_direction_has_every_metric_and_intervals_hold_the_value():
    bed = bed_of(planted("abc", noise=1.0), ["ab", "bc"])
    found = evaluate(bed, fitted(bed), seed=3)
    for query, target in bed.directions():
        for metric in METRICS:
            assert len(pick(found, query, target, metric, chosen=True)) == 1
    judged = [row for row in found.results if row.method != "chance"]
    assert judged
    assert all(row.low <= row.value <= row.high for row in judged)
    assert evaluate(bed, fitted(bed), seed=3) == found


def test_the_baselines_are_there_and_not_chosen():
    bed = bed_of(planted(), ["ab"])
    binding = fitted(bed, CCA(lam=0.1))
    found = evaluate(bed, binding)
    methods = {(row.method, row.chosen) for row in found.results}
    assert methods == {
        ("cca", True), ("chance", False), ("identity", False), ("mean-centering", False),
        ("ridge", False), ("procrustes", False),
    }  # fmt: skip
    alone = fitted(bed, "procrustes")
    rows = pick(found, "a", "b", method="procrustes")
    own = pick(evaluate(bed, alone, baselines=()), "a", "b", chosen=True)
    assert [r.value for r in rows] == [r.value for r in own]


def test_centring_needs_equal_widths_and_says_so():
    spaces = planted()
    spaces["b"] = Space.of(np.pad(spaces["b"].vectors, ((0, 0), (0, 2))), spaces["b"].ids, name="w")
    bed = bed_of(spaces, ["ab"])
    found = evaluate(bed, fitted(bed))
    assert not [row for row in found.results if row.method == "mean-centering"]
    assert [note for note in found.notes if note.startswith("mean-centering not applicable")]


def test_a_baseline_runs_at_the_setting_that_was_best_for_it():
    bed = bed_of(planted(noise=1.0), ["ab"])
    trials = (Trial("ridge", {"lam": 50.0}, "b", (0.5,)), Trial("ridge", {}, "a", (0.4,)))
    binding = Binding.fit(
        bed.spaces, bed.train, chooser=lambda *a, **k: Choice("cca", {}, "a", trials)
    )
    found = pick(evaluate(bed, binding), "a", "b", "mrr", method="ridge")[0]
    tuned = fitted(bed, Ridge(lam=50.0), hub="b")
    expected = pick(evaluate(bed, tuned, baselines=()), "a", "b", "mrr", chosen=True)[0]
    assert found.value == expected.value


def test_what_was_trained_on_is_never_judged_by():
    bed = bed_of(planted(), ["ab"])
    all_rows = edge_pairs("ab", ["ab"], np.arange(59, 160))
    leaking = Binding.fit(bed.spaces, all_rows, method="ridge")
    with pytest.raises(ConjoinError, match="1 held-out pairs were trained on; fit again"):
        evaluate(bed, leaking)


def test_never_trained_together_is_set_beside_direct_pairs():
    bed = bed_of(planted("abc"), ["ab", "bc"])
    found = evaluate(bed, fitted(bed), baselines=())
    direct = [row for row in found.results if row.method == "direct pairs"]
    assert {frozenset((r.query, r.target)) for r in direct} == {frozenset("ac")}
    assert {(r.query, r.target) for r in direct} == {("a", "c"), ("c", "a")}
    assert not any(r.chosen for r in direct)
    bridged = pick(found, "a", "c", "mrr", chosen=True)[0]
    own = pick(found, "a", "c", "mrr", method="direct pairs")[0]
    assert own.value > 0.5
    assert own.value >= bridged.value - 0.05
    # Trained on rows that are not held out: the same as fitting them by themselves.
    both = {k: bed.spaces[k] for k in "ac"}
    apart = bed_of(both, ["ac"])
    alone = evaluate(apart, fitted(apart, hub="a"), baselines=())
    assert own.value == pytest.approx(pick(alone, "a", "c", "mrr", chosen=True)[0].value, abs=0.02)


def test_no_item_with_both_leaves_a_note_and_no_row():
    spaces = planted("abc", n=160)
    # c shows other items than a: only b meets both.
    ids = np.array([f"j{k}" for k in range(160)])
    bed = bed_of({**spaces, "c": Space.of(spaces["c"].vectors, ids, name="c")}, ["ab", "bc"])
    found = evaluate(bed, fitted(bed), baselines=())
    assert not pick(found, "a", "c")
    assert any("a→c not measured" in note for note in found.notes)
    assert any("no direct pairs" in note for note in found.notes)
    assert pick(found, "b", "c", chosen=True)


def test_an_evaluation_survives_json():
    bed = bed_of(planted("abc"), ["ab", "bc"])
    found = evaluate(bed, fitted(bed), baselines=("ridge", "mean-centering"))
    assert Evaluation.from_json(json.loads(json.dumps(found.to_json()))) == found
    assert set(found.to_json()["results"][0]) == {
        "query", "target", "metric", "value", "low", "high", "n", "method", "chosen",
    }  # fmt: skip


# Corrections


def hubby(n=300, d=24, seed=0):
    """Rows of ``b`` lean on a shared direction by different amounts: some are near to all."""
    rng = np.random.default_rng(seed)
    shared = unit(rng.normal(size=d))
    z = unit(rng.normal(size=(n, d)))
    lean = rng.uniform(0.0, 2.5, size=(n, 1))
    a = unit(z + 0.7 * shared + 0.12 * rng.normal(size=(n, d)))
    b = unit(z + lean * shared + 0.12 * rng.normal(size=(n, d)))
    ids = [f"i{k}" for k in range(n)]
    return {k: Space.of(x.astype(np.float32), ids, name=k) for k, x in (("a", a), ("b", b))}


class Stay:
    """An aligner that moves nothing, so that planted hubs stay hubs."""

    def fit(self, views, pairs, *, frames={}, frozen={}, seed=0):  # noqa: B006
        return {name: identity(view.shape[1]) for name, view in views.items()}


def test_a_correction_is_chosen_where_hubs_are_and_used():
    bed = bed_of(hubby(), ["ab"], held=100)
    binding = fitted(bed, Stay())
    chosen = choose_corrections(binding, bed.spaces, bed.train)
    used = chosen["b", "a"].name
    found = evaluate(bed, binding, chosen, baselines=())
    plain = evaluate(bed, binding, {}, baselines=())
    fixed = pick(found, "b", "a", "recall@1", chosen=True)[0]
    assert fixed.method == f"Stay + {used}"
    assert fixed.value > pick(plain, "b", "a", "recall@1", chosen=True)[0].value
    if ("a", "b") not in chosen:
        assert pick(found, "a", "b", chosen=True)[0].method == "Stay"


def test_no_correction_where_there_is_nothing_to_gain():
    bed = bed_of(planted(noise=0.01), ["ab"])
    assert choose_corrections(fitted(bed), bed.spaces, bed.train) == {}


def test_the_choice_of_corrections_sees_training_pairs_only():
    spaces = hubby()
    bed = bed_of(spaces, ["ab"], held=100)
    binding = fitted(bed, Stay())
    rng = np.random.default_rng(0)
    torn = {}
    for name, space in spaces.items():
        x = np.array(space.vectors)
        x[:100] = rng.normal(size=(100, x.shape[1]))
        torn[name] = Space.of(x, space.ids, name=name)
    one = choose_corrections(binding, spaces, bed.train)
    assert choose_corrections(binding, torn, bed.train) == one
    bank = bank_of(binding, spaces, bed.train, "a")
    np.testing.assert_allclose(bank, unit(spaces["a"].vectors[100:]), atol=1e-6)
    assert len(bank_of(binding, spaces, bed.train, "a", most=50)) == 50


def test_a_chosen_method_that_is_corrected_is_also_shown_plain():
    bed = bed_of(planted(noise=1.0), ["ab"])
    binding = fitted(bed, "ridge")
    found = evaluate(bed, binding, {("a", "b"): CSLS()})
    methods = {(r.query, r.method, r.chosen) for r in found.results if "ridge" in r.method}
    assert methods == {
        ("a", "ridge + csls", True), ("b", "ridge", True), ("a", "ridge", False),
    }  # fmt: skip
