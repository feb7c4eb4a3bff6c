"""Choosing on held-out folds: what leads, what is skipped, and what must not matter."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conjoin.alignment.binding import Binding
from conjoin.alignment.choice import Choice, Trial
from conjoin.alignment.closed_form.linear import CCA, Ridge
from conjoin.catalogue import Search, check_fields, find
from conjoin.errors import ConjoinError
from conjoin.execution.budget import SHORT, Work
from conjoin.maps.base import identity
from conjoin.selection import choose as module
from conjoin.selection import folds as held_out
from conjoin.selection import trials as tried_on
from conjoin.selection.choose import _prefer_cheap, by_validation, cannot_feed
from conjoin.selection.coordinate_search import Climb, moved
from conjoin.selection.folds import FOLDS, Folds
from conjoin.selection.trials import Sweep, afforded, race, shortened, side_by_side
from conjoin.spaces import Pairs, Space

#: Aligners without training, so that a choice takes a second.
QUICK = ["mean-centering", "ridge", "procrustes", "cca"]
HUBS = ["a"]


def spaces_of(kind="linear", n=150, widths=(6, 6), seed=0):
    """Two views of one latent table; of a latent table each where ``kind`` is noise."""
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=(n, 6)) * np.linspace(2, 0.5, 6)
    found = {}
    for name, width in zip("ab", widths, strict=True):
        seen = rng.normal(size=(n, 6)) if kind == "noise" else latent
        x = seen @ rng.normal(size=(6, width)) + rng.normal(size=width)
        x = x + 0.01 * rng.normal(size=x.shape)
        found[name] = Space.of(x.astype(np.float32), name=name)
    return found


def chosen(spaces, methods=QUICK, seed=0, **more):
    return by_validation(spaces, Pairs.by_id(spaces), hubs=HUBS, seed=seed, methods=methods, **more)


def test_planted_data_are_seen_through():
    found = chosen(spaces_of())
    best = max(found.trials, key=lambda t: t.mean)
    assert best.mean > 0.99
    assert found.best_of()[found.method].mean > 0.99
    assert {t.method for t in found.trials} == {"mean-centering", "ridge", "procrustes", "cca"}
    assert found.best_of()["mean-centering"].mean < 0.6
    assert all(len(t.scores) == FOLDS for t in found.best_of().values())


def test_noise_gets_a_choice_all_the_same():
    found = chosen(spaces_of("noise"))
    by_chance = np.mean([1 / 30, 5 / 30, 10 / 30])
    assert found.method in QUICK
    assert abs(np.mean([t.mean for t in found.trials]) - by_chance) < 0.1


def test_what_cannot_be_fed_is_skipped_with_its_reason():
    found = chosen(spaces_of(widths=(6, 9)))
    assert set(found.skipped) == {"mean-centering"}
    assert "dimensions" in found.skipped["mean-centering"]
    assert not [t for t in found.trials if t.method == "mean-centering"]
    with pytest.raises(ConjoinError, match=r"none can be fed.*mean-centering"):
        chosen(spaces_of(widths=(6, 9)), methods=["mean-centering"])


def test_needs_are_read_off_the_data():
    spaces = spaces_of()
    row = find("aligner", "ridge")
    assert cannot_feed(row, spaces) == ""
    token = dataclasses.replace(row, needs=frozenset({"pairs", "tokens"}))
    assert cannot_feed(token, spaces) == "needs token sets"
    graph = dataclasses.replace(row, needs=frozenset({"pairs", "graph", "labels"}))
    assert cannot_feed(graph, spaces) == "needs graph, labels"
    many = dataclasses.replace(row, needs=frozenset({"kway"}))
    assert cannot_feed(many, spaces) == "needs kway"
    assert cannot_feed(many, {**spaces, "c": spaces["a"]}) == ""


def test_one_group_is_no_folds():
    spaces = spaces_of()
    pairs = dataclasses.replace(Pairs.by_id(spaces), group=np.zeros(150, dtype=np.int64))
    with pytest.raises(ConjoinError, match="one group only"):
        by_validation(spaces, pairs, hubs=HUBS)


# What is preferred


def trial(method, *scores):
    return Trial(method, {}, "a", scores)


def test_the_cheap_class_is_taken_unless_the_folds_tell_it_apart(monkeypatch):
    costs = {"gift": "free", "solved": "closed", "fit": "trained"}

    def row(kind, name):
        return dataclasses.replace(find("aligner", "ridge"), cost=costs[name])

    monkeypatch.setattr(module.catalogue, "find", row)
    near = [trial("fit", 0.52, 0.50, 0.55), trial("solved", 0.51, 0.52, 0.52)]
    assert _prefer_cheap(near).method == "solved"
    clear = [trial("fit", 0.72, 0.70, 0.75), trial("solved", 0.51, 0.52, 0.52)]
    assert _prefer_cheap(clear).method == "fit"
    # The gap here is .02 a fold with no spread: its error is 0, and it counts.
    steady = [trial("fit", 0.52, 0.62, 0.42), trial("solved", 0.50, 0.60, 0.40)]
    assert _prefer_cheap(steady).method == "fit"
    assert _prefer_cheap([*near, trial("gift", 0.50, 0.51, 0.53)]).method == "gift"
    # One fold is no ground to be taken.
    assert _prefer_cheap([trial("solved", 0.5, 0.5), trial("fit", 0.9)]).method == "solved"


def sweeps_of(names, folds, clock=None):
    return {name: Sweep(find("aligner", name), folds, 0, clock) for name in names}


def test_a_trained_method_is_scored_on_all_folds_only_where_it_keeps_up():
    spaces = spaces_of()
    folds = Folds(spaces, Pairs.by_id(spaces), 0)
    behind = race(sweeps_of(["procrustes"], folds), "a", 2.0, Work())
    assert [len(t.scores) for t in behind.trials] == [1]
    ahead = race(sweeps_of(["procrustes"], folds), "a", -1.0, Work())
    assert [len(t.scores) for t in ahead.trials] == [FOLDS]


def test_a_race_halves_its_field_and_keeps_the_best():
    spaces = spaces_of()
    folds = Folds(spaces, Pairs.by_id(spaces), 0)
    found = race(
        sweeps_of(["mean-centering", "procrustes", "ridge", "cca"], folds), "a", 0.0, Work()
    )
    whole = {t.method for t in found.trials if len(t.scores) == FOLDS}
    assert len(whole) == 1  # four, then two, then one
    assert "mean-centering" not in whole
    assert {t.method for t in found.trials} == {"mean-centering", "procrustes", "ridge", "cca"}


def test_a_race_takes_as_many_to_its_end_as_time_allows():
    costs = [4.0, 3.0, 2.0, 1.0]
    # Half a training each, a whole one of the better two, four more folds of those.
    assert afforded(costs, (0.5, 1.0), 4, Work(5 + 7 + 28 + 1)) == 4
    # Of three or two the better one or two go on: 4.5 + 7 + 28, or 3.5 + 4 + 16.
    assert afforded(costs, (0.5, 1.0), 4, Work(39)) == 2
    assert afforded(costs, (0.5, 1.0), 4, Work(20)) == 1
    assert afforded(costs, (), 4, Work(28.5)) == 2
    assert afforded(costs, (), 4, Work()) == 4
    assert afforded([], (0.5,), 4, Work(0.0)) == 0


def test_a_race_says_whom_time_stopped_and_at_what_place(monkeypatch):
    spaces = spaces_of()
    folds = Folds(spaces, Pairs.by_id(spaces), 0)
    monkeypatch.setattr("conjoin.selection.trials.afforded", lambda whole, *_: min(1, len(whole)))
    names = ["mean-centering", "procrustes", "ridge", "cca"]
    found = race(sweeps_of(names, folds), "a", 0.0, Work())
    (stopped,) = found.unfinished.items()
    first = [max(t.scores[0] for t in found.trials if t.method == name) for name in names]
    assert stopped[1] == f"{SHORT}: place 2 of 4 after 25% of its training"
    assert sorted(first)[-2] == first[names.index(stopped[0])]


def test_a_trained_fit_is_made_once_by_whoever_asks_these_folds(monkeypatch):
    spaces = spaces_of()
    folds, row = Folds(spaces, Pairs.by_id(spaces), 0), find("aligner", "infonce-head")
    asked = []
    whole = row.load().fit

    def counted(self, *given, **more):
        asked.append(more["seed"])
        return whole(self, *given, **more)

    monkeypatch.setattr(row.load(), "fit", counted)
    few = {**row.settings, "steps": 2}
    Sweep(row, folds, 0).trial(few, "a", folds=2)
    assert asked == [0, 1]  # a seed of its own for each fold
    again = Sweep(row, folds, 0).fit(few, 1, "a")
    assert asked == [0, 1]
    Sweep(row, folds, 7).fit(few, 1, "a")
    Sweep(row, folds, 0).fit({**few, "steps": 3}, 1, "a")
    assert asked == [0, 1, 8, 1]
    fresh = Sweep(row, Folds(spaces, Pairs.by_id(spaces), 0), 0).fit(few, 1, "a")
    rows = np.asarray(spaces["b"].vectors[:5])
    np.testing.assert_array_equal(again["b"].apply(rows), fresh["b"].apply(rows))


def test_a_race_names_what_time_or_the_data_kept_from_it():
    spaces = spaces_of(widths=(6, 9))
    folds = Folds(spaces, Pairs.by_id(spaces), 0)
    late = race(sweeps_of(["ridge"], folds), "a", 0.0, Work(0.0))
    assert late.trials == ()
    assert late.unfinished == {"ridge": SHORT}
    unfit = race(sweeps_of(["mean-centering", "ridge"], folds), "a", 0.0, Work())
    assert "dimensions" in unfit.unfinished["mean-centering"]


def test_steps_are_shortened_for_early_rungs():
    row = find("aligner", "heads")
    assert shortened(row, 0.25)["steps"] == 25
    assert "steps" not in shortened(row, 1.0)
    assert shortened(find("aligner", "cca"), 0.25) == {}


def test_a_budget_of_nothing_still_chooses_and_names_what_it_left():
    found = chosen(spaces_of(), [*QUICK, "low-rank", "infonce-head"], budget=0.0)
    assert found.method in QUICK
    assert set(found.short) == {"low-rank", "infonce-head"}, "the shortlist's closed forms end"
    assert {t.method for t in found.trials} == set(QUICK)


# What must not matter


def test_the_same_twice():
    spaces = spaces_of()
    assert chosen(spaces).to_json() == chosen(spaces).to_json()
    other = [t.scores for t in chosen(spaces, methods=["ridge"], seed=1).trials]
    assert other != [t.scores for t in chosen(spaces, methods=["ridge"]).trials]


def test_the_order_of_rows_and_lines_does_not_matter():
    # Noise in proportion to the signal, so that scores are not all at the top.
    spaces = spaces_of(seed=4)
    rng = np.random.default_rng(0)
    noisy = {
        name: dataclasses.replace(
            s, vectors=s.vectors + rng.normal(size=s.vectors.shape).astype(np.float32)
        )
        for name, s in spaces.items()
    }
    turned = {name: space.take(rng.permutation(len(space))) for name, space in noisy.items()}
    one, other = chosen(noisy, QUICK), chosen(turned, QUICK)
    assert (one.method, one.fields, one.hub) == (other.method, other.fields, other.hub)
    for name, best in one.best_of().items():
        np.testing.assert_allclose(best.scores, other.best_of()[name].scores, atol=1e-9)
    lines = Pairs.by_id(noisy)
    again = by_validation(noisy, lines.take(rng.permutation(len(lines))), hubs=HUBS, methods=QUICK)
    assert (again.method, again.fields) == (one.method, one.fields)


def test_the_lines_a_large_fold_is_judged_by_do_not_hang_on_their_order(monkeypatch):
    monkeypatch.setattr(held_out, "LINES", 7)
    spaces = spaces_of()
    pairs = Pairs.by_id(spaces)
    order = np.random.default_rng(3).permutation(len(pairs))
    one = Folds(spaces, pairs, 0).held(2)
    other = Folds(spaces, pairs.take(order), 0).held(2)
    assert len(one) == 7
    assert sorted(map(tuple, one.rows)) == sorted(map(tuple, other.rows))


def test_folds_side_by_side_score_as_one_after_the_other(monkeypatch):
    spaces = spaces_of()
    pairs = Pairs.by_id(spaces)
    monkeypatch.setattr(tried_on, "BESIDE", 0.0)
    beside = Sweep(find("aligner", "cca"), Folds(spaces, pairs, 0), 0).trial({"lam": 0.5}, "a")

    def in_turn(job, numbers, *, apart):
        return [job(number) for number in numbers]

    monkeypatch.setattr(tried_on, "side_by_side", in_turn)
    after = Sweep(find("aligner", "cca"), Folds(spaces, pairs, 0), 0).trial({"lam": 0.5}, "a")
    assert beside.scores == after.scores
    assert side_by_side(float, range(4), apart=False) == side_by_side(float, range(4), apart=True)


def test_a_fold_is_scored_by_fits_that_did_not_see_it():
    spaces = spaces_of(seed=2)
    pairs = Pairs.by_id(spaces)
    folds = Folds(spaces, pairs, 0)
    got = Sweep(find("aligner", "ridge"), folds, 0).trial({"lam": 0.7}, "a").scores
    for number in folds.numbers:
        train = pairs.take(folds.fold != number)
        views = {name: spaces[name].vectors for name in "ab"}
        maps = Ridge(lam=0.7).fit(views, train)
        assert got[number] == pytest.approx(folds.score(number, maps), abs=1e-9)
        assert not set(train.group) & set(folds.held(number).group)


def test_a_score_is_the_mean_of_three_recalls_both_ways():
    angles = np.deg2rad([0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120])
    x = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    order = np.array([1, 0, *range(2, 13)])  # the first two are taken for each other
    spaces = {"a": Space.of(x, name="a"), "b": Space.of(x[order], name="b")}
    folds = Folds(spaces, Pairs.by_id(spaces), 0, count=13)
    folds.fold[:] = 0
    maps = {"a": identity(2), "b": identity(2)}
    assert folds.score(0, maps) == pytest.approx(np.mean([11 / 13, 1, 1]))


# Values


def test_a_choice_survives_json():
    found = chosen(spaces_of(widths=(6, 9)), methods=["mean-centering", "ridge", "cca"])
    again = Choice.from_json(json.loads(json.dumps(found.to_json())))
    assert again == found
    assert again.make() == found.make()
    assert again.best_of() == found.best_of()


def test_a_aligner_given_is_known_by_its_row():
    made = Choice.of(CCA(lam=0.5, rank=32), "a")
    assert made.method == "cca"
    assert made.make() == CCA(lam=0.5, rank=32)
    assert Choice.of("cca", "a").make() == CCA()


def test_a_chooser_of_the_users_own_is_asked():
    spaces = spaces_of()
    asked = {}

    def chooser(spaces, pairs, *, hubs, seed):
        asked.update(names=list(spaces), lines=len(pairs), hubs=list(hubs), seed=seed)
        return Choice("ridge", {"lam": 7.0}, "b")

    binding = Binding.fit(spaces, seed=9, chooser=chooser)
    assert asked == {"names": ["a", "b"], "lines": 150, "hubs": ["a", "b"], "seed": 9}
    assert (binding.choice.method, binding.hub) == ("ridge", "b")
    assert binding.choice.make() == Ridge(lam=7.0)
    expected = Binding.fit(spaces, method=Ridge(lam=7.0), hub="b", seed=9)
    assert binding.frame == expected.frame
    asked.clear()
    assert Binding.fit(spaces, method="ridge", chooser=chooser).choice.method == "ridge"
    assert not asked, "nothing to choose"


# Climbing


spans = st.tuples(st.floats(1e-3, 10), st.floats(1.5, 1e4), st.booleans()).map(
    lambda t: Search(t[0], t[0] * t[1], log=t[2])
)


@settings(max_examples=200, deadline=None)
@given(spans, st.floats(0, 1), st.sampled_from([1.0, -1.0, 0.5, -0.5]))
def test_a_step_stays_in_range_and_goes_its_way(span, share, step):
    value = span.low + share * (span.high - span.low)
    found = moved(value, step, span)
    assert span.low <= found <= span.high
    slack = 1e-5 * value
    assert found >= value - slack if step > 0 else found <= value + slack


def test_a_step_is_a_decade_or_a_sixth_and_stops_at_the_ends():
    log, flat = Search(1e-4, 1e2, log=True), Search(0.0, 2.0)
    assert moved(0.3, 1, log) == pytest.approx(3.0)
    assert moved(0.3, -0.5, log) == pytest.approx(0.0948683)
    assert moved(50.0, 1, log) == 100
    assert moved(1.0, 1, flat) == pytest.approx(4 / 3, abs=1e-5)
    assert moved(1.9, 1, flat) == 2.0
    assert moved(0.1, -1, flat) == 0.0


def hill(lam, power):
    """A score that is highest at one λ and one exponent."""

    def score(fields):
        made = find("aligner", "cca").make(fields)
        return -abs(np.log10(made.lam / lam)) - abs(made.power - power)

    return score


def test_climbing_finds_the_top_of_a_hill_and_tries_nothing_twice():
    climb = Climb(find("aligner", "cca"), hill(0.01, 0.0))
    best, _ = climb.run()
    made = find("aligner", "cca").make(best)
    assert made.lam == pytest.approx(0.01, rel=0.01)
    assert made.power == pytest.approx(0.0, abs=1e-6)
    assert len(climb.tried) <= 40
    for fields, _ in climb.tried.values():
        check_fields("cca", CCA, dict(fields))


@pytest.mark.parametrize("budget", [1, 3, 7])
def test_a_climb_keeps_to_its_budget_and_gives_the_best_it_met(budget):
    climb = Climb(find("aligner", "cca"), hill(0.01, 0.0), budget)
    best, value = climb.run()
    assert len(climb.tried) == budget
    assert value == max(score for _, score in climb.tried.values())
    assert hill(0.01, 0.0)(best) == value


def test_a_climb_chooses_among_what_is_no_field_too():
    climb = Climb(
        find("aligner", "ridge"), lambda fields: float(fields["hub"] == "b"),
        choices={"hub": ("a", "b")},
    )  # fmt: skip
    assert climb.run()[0]["hub"] == "b"


def test_no_closed_form_takes_the_budget_of_the_others(monkeypatch):
    """One that would climb for ever ends with its share, and is named; the others climb on."""
    spans = {}

    def descend(self, hub):
        spans[self.row.name] = self.work.budget
        self.cut = self.row.name == "subspace"
        self._seen[hub, ()] = Trial(self.row.name, {}, hub, (0.5,) * 5)

    monkeypatch.setattr(Sweep, "descend", descend)
    names = ["ridge", "cca", "subspace", "low-rank"]
    found = chosen(spaces_of(), names, budget=60.0)
    assert spans == {"ridge": None, "cca": None, "subspace": 30.0, "low-rank": 30.0}
    assert found.skipped == {"subspace": f"{SHORT} on its climb"}
    assert found.short == ["subspace"]


def test_a_share_of_no_end_has_no_end():
    assert Work().share(0.1).allows(1e9)
    assert not Work(10.0).share(0.1).allows(1.5)
    assert Work(10.0).share(5.0).budget == 10.0
    late = Work(10.0)
    late.spend(8.0)
    assert late.share(0.5).budget == 2.0
    assert late.allows(1.9)
    assert not late.allows(2.0)


def test_a_part_is_counted_in_the_whole_and_an_open_one_has_no_end():
    whole = Work(10.0)
    part, always = whole.share(0.3), whole.open()
    part.spend(2.0)
    always.spend(9.0)
    assert (part.left, whole.left, whole.spent) == (1.0, 0.0, 11.0)
    assert always.allows(1e9)
    assert not whole.allows()
