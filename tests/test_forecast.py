"""Learning curves: planted ones are recovered, the check is a check, picking is honest."""

import dataclasses

import numpy as np
import pytest

from conjoin.alignment.choice import Choice
from conjoin.errors import ConjoinError
from conjoin.evaluation.learning_curve import Check, Curve, forecast
from conjoin.evaluation.pair_acquisition import farthest, typical
from conjoin.retrieval import evaluation
from conjoin.spaces import Pairs, Space

CHOICE = Choice("ridge", {}, "a")


def bed(n=400, noise=0.6, spare=0, seed=0, clusters=0):
    """Two noisy views of one table; ``spare`` items of the first have no partner."""
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=(n, 12))
    if clusters:
        latent = rng.normal(size=(clusters, 12))[rng.integers(0, clusters, n)] * 3 + latent
    a, b = (latent @ rng.normal(size=(12, 16)) for _ in range(2))
    a, b = (x + noise * np.abs(x).mean() * rng.normal(size=x.shape) for x in (a, b))
    ids = np.array([f"i{row}" for row in range(n)])
    spaces = {
        "a": Space.of(a.astype(np.float32), ids, name="a"),
        "b": Space.of(b[: n - spare].astype(np.float32), ids[: n - spare], name="b"),
    }
    lines = np.arange(n - spare)
    whole = dataclasses.replace(Pairs.of(a=lines, b=lines), group=lines)
    held = lines < 40
    rows = {name: np.arange(40) for name in spaces}
    groups = {str(i): str(i) for i in ids}
    return evaluation.TestBed(spaces, whole.take(~held), whole.take(held), rows, groups)


@pytest.mark.parametrize("rate", [0.2, 0.5, 1.2])
def test_a_planted_curve_is_recovered(rate):
    sizes = np.geomspace(20, 2000, 8)
    planted = Curve(0.8, 0.6, rate, 20.0)
    found = Curve.fit(sizes, np.array([planted.at(n) for n in sizes]))
    assert found.at(8000) == pytest.approx(planted.at(8000), abs=0.01)


def test_a_curve_rises_and_stays_a_recall():
    rng = np.random.default_rng(0)
    sizes = np.geomspace(16, 1000, 6)
    for _ in range(30):
        found = Curve.fit(sizes, np.sort(rng.random(6)))
        values = [found.at(n) for n in (16, 100, 1e4, 1e9)]
        assert values == sorted(values)
        assert 0 <= values[0] <= values[-1] <= 1


def test_a_curve_below_the_last_measured_size_forecasts_no_loss():
    """Recall that grows faster than a power law: the fit passes below the last point."""
    sizes = np.geomspace(36, 2114, 6)
    values = np.array([0.104, 0.153, 0.218, 0.309, 0.426, 0.527])
    curve = Curve.fit(sizes, values)
    assert curve.at(2614) < values[-1]
    assert curve.at(2614) + curve.shift(2114, values[-1]) > values[-1]


@pytest.fixture(scope="module")
def made():
    return forecast(bed(spare=30), CHOICE, more=200, count=5)


def test_recall_is_measured_at_growing_sizes_and_carried_on(made):
    measured = [p for p in made.points if p.measured]
    ahead = [p for p in made.points if not p.measured]
    assert len(measured) >= 5
    assert measured[-1].value > measured[0].value + 0.1
    assert {p.pairs for p in ahead} == {measured[-1].pairs + 200, 2 * measured[-1].pairs}
    for point in made.points:
        assert point.low <= point.value <= point.high
    values = [p.value for p in (measured[-1], *ahead)]
    assert values == sorted(values)
    assert "the next 200 add about" in made.said


def test_the_check_forecasts_what_it_has_not_seen(made):
    assert made.check.pairs == max(p.pairs for p in made.points if p.measured)
    assert made.check.low <= made.check.forecast <= made.check.high
    assert abs(made.check.forecast - made.check.measured) < 0.15
    assert ("held" in made.said) or ("failed" in made.said)


def test_items_to_pair_are_unpaired_and_not_held_out(made):
    named = made.picking.items
    assert len(named) == len(set(named)) == 5
    assert all(int(item[1:]) >= 370 for item in named)


def test_picking_says_when_nothing_beats_random(made):
    assert made.picking.low <= made.picking.gain <= made.picking.high
    if made.picking.strategy == "random":
        assert "no way of picking beats random" in made.picking.said
        assert made.picking.low <= 0
    else:
        assert made.picking.low > 0


def test_nothing_to_pair_is_said():
    found = forecast(bed(n=200), CHOICE, count=5)
    assert found.picking.items == ()
    assert "every item is paired already" in found.picking.said


def test_the_same_seed_forecasts_the_same(made):
    assert forecast(bed(spare=30), CHOICE, more=200, count=5) == made


def test_too_few_pairs_are_refused():
    with pytest.raises(ConjoinError, match="pairs"):
        forecast(bed(n=100), CHOICE)


def test_the_farthest_rows_cover_what_is_not_covered():
    known = np.array([[1.0, 0.0]])
    pool = np.array([[1.0, 0.1], [0.0, 1.0], [-1.0, 0.0], [0.9, 0.1]])
    rng = np.random.default_rng(0)
    assert farthest(known, pool, 2, rng).tolist() == [2, 1]


def test_typical_rows_stand_for_one_cluster_each():
    rng = np.random.default_rng(0)
    centres = np.eye(4)
    pool = np.repeat(centres, 10, axis=0) + 0.01 * rng.normal(size=(40, 4))
    chosen = typical(centres[:0], pool, 4, rng)
    assert sorted(chosen // 10) == [0, 1, 2, 3]


@pytest.mark.parametrize(("method", "says"), [("gw-matching", "unpaired"), ("filip", "token sets")])
def test_a_method_the_pairs_cannot_feed_is_refused(method, says):
    with pytest.raises(ConjoinError, match=says):
        forecast(bed(), Choice(method, {}, "a"))


def test_what_a_forecast_missed_widens_it(monkeypatch):
    missed = Check(300, 0.9, 0.8, 1.0, 0.5)
    monkeypatch.setattr("conjoin.evaluation.learning_curve._checked", lambda *_: missed)
    for point in forecast(bed(n=200), CHOICE, more=100, count=1).points:
        if not point.measured:
            assert point.low <= max(0.0, point.value - 0.35)
            assert point.high >= min(1.0, point.value + 0.35)
