"""What every catalogue row of kind "measure" that reads vectors keeps."""

import math

import numpy as np
import pytest

from conjoin.catalogue import of_kind
from conjoin.errors import ConjoinError
from conjoin.metrics.base import (
    FAMILIES,
    INVARIANCES,
    Geometry,
    Reads,
    by_chance,
    geometry_rows,
    measure_named,
    subsampled,
)
from conjoin.metrics.measurement import Measurement

MADE = {name: row.make() for name, row in geometry_rows().items()}
LAYERED = {"best-layers"}
every = pytest.mark.parametrize("measure", MADE.values(), ids=MADE.keys())


def those(keep):
    names = [name for name, measure in MADE.items() if keep(measure)]
    return pytest.mark.parametrize("measure", [MADE[n] for n in names], ids=names)


paired = those(lambda m: m.paired)
#: Linear separability reads pairs only to split them: its value hardly moves with them.
seeing = those(lambda m: m.paired and m.name != "linear-separability")
shared = those(lambda m: m.shared)
declared = {f"{n}-{law}": (m, law) for n, m in MADE.items() for law in sorted(m.invariances)}
each_law = pytest.mark.parametrize(("measure", "law"), declared.values(), ids=declared.keys())

#: Twelve points of a circle, on which values can be had by hand.
CIRCLE = np.stack([np.cos(np.arange(12) * np.pi / 6), np.sin(np.arange(12) * np.pi / 6)], axis=1)
OPPOSITE = {"a": CIRCLE + np.array([9, 0]), "b": CIRCLE - np.array([9, 0])}
TWICE = {"a": CIRCLE, "b": 2 * CIRCLE}
#: What is known there without a reference; a new row needs none here, its reference is enough.
KNOWN = {
    "mutual-knn": (TWICE, {"k": 4}, 1.0),
    "cknna": (TWICE, {"k": 4}, 1.0),
    "cka": (TWICE, {}, 1.0),
    "unbiased-cka": (TWICE, {}, 1.0),
    "svcca": (TWICE, {"dim": 2}, 1.0),
    "best-layers": ({n: x[:, None] for n, x in TWICE.items()}, {"measure": "cka"}, 1.0),
    "rsa": (TWICE, {}, 1.0),
    "noise-ceiling": ({**TWICE, "c": 3 * CIRCLE}, {}, 1.0),
    "centroid-distance": ({"a": np.tile([[1.0, 0], [1, 0.0001]], (6, 1)),
                           "b": np.tile([[-1.0, 0], [-1, 0.0001]], (6, 1))}, {}, 2.0),
    "linear-separability": (OPPOSITE, {}, 1.0),
    "alignment": ({"a": CIRCLE, "b": -CIRCLE}, {"power": 2.0}, 4.0),
    "uniformity": ({"a": np.tile(np.eye(2), (6, 1))}, {"t": 2.0},
                   math.log((30 + 36 * math.exp(-4)) / 66)),
    "effective-dimension": ({"a": CIRCLE}, {"share": 0.95}, 2.0),
    "effective-rank": ({"a": CIRCLE}, {}, 2.0),
    "rankme": ({"a": CIRCLE}, {}, 2.0),
    "stable-rank": ({"a": CIRCLE}, {}, 2.0),
    # Means 18 apart in units of the second cloud's mean length; equal covariances.
    "mir": (OPPOSITE, {}, math.log10(
        (18 / np.linalg.norm(OPPOSITE["b"], axis=1).mean()) ** 2)),
    "mean-rank-variance": ({"image": CIRCLE, "en": CIRCLE, "xx": -CIRCLE}, {}, 5.5**2),
    "hub-skewness": ({"q": CIRCLE, "g": CIRCLE}, {"k": 1}, 0.0),
    "anti-hubs": ({"q": CIRCLE[:6], "g": CIRCLE}, {"k": 1}, 0.5),
    "largest-hub": ({"q": np.tile([[1.0, 0], [1, 0.001]], (6, 1)), "g": CIRCLE}, {"k": 1}, 1.0),
}  # fmt: skip


def problem(measure, seed=0, n=80, noise=0.7):
    """Views that share a cause and no symmetry."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, 5))
    count = max(measure.views, 3) if measure.many else measure.views
    dims = [6] * count if measure.shared else [6, 8, 7][:count]
    turn = rng.normal(size=(5, 8))
    made = {}
    for name, d in zip("abc", dims, strict=False):
        x = z @ turn[:, :d] + noise * rng.normal(size=(n, d)) + rng.normal(size=d)
        if measure.name in LAYERED:
            x = np.stack([x, x**2 + rng.normal(size=x.shape)], axis=1)
        made[name] = x
    return made


def rotation(d, rng):
    return np.linalg.qr(rng.normal(size=(d, d)))[0]


def moved(views, law, seed=1):
    """The views after what a declared invariance allows."""
    rng = np.random.default_rng(seed)
    n = len(next(iter(views.values())))
    order = rng.permutation(n)
    turn = rotation(next(iter(views.values())).shape[-1], rng)
    do = {
        "order": lambda x: x[order],
        "pairing": lambda x: x[rng.permutation(n)],
        "rotation": lambda x: x @ rotation(x.shape[-1], rng),
        "common rotation": lambda x: x @ turn,
        "scale": lambda x: x * rng.uniform(0.1, 10),
        "common scale": lambda x: 3.7 * x,
        "lengths": lambda x: x * rng.uniform(0.1, 10, (n,) + (1,) * (x.ndim - 1)),
        "shift": lambda x: x + rng.normal(size=x.shape[-1]),
    }
    if law == "swap":
        return dict(reversed(views.items()))
    return {name: do[law](x) for name, x in views.items()}


def test_every_row_is_of_a_known_family():
    reads = {n for n, r in of_kind("metric").items() if not r.target.startswith(
        "conjoin.metrics.retrieval.scores:")}  # fmt: skip
    assert reads == MADE.keys()
    assert {row.family for row in geometry_rows().values()} == set(FAMILIES)


@every
def test_it_is_a_measure_of_vectors_named_as_its_row(measure):
    assert isinstance(measure, Geometry)
    assert MADE[measure.name] == measure == measure_named(measure.name)
    assert measure.meaning.endswith(".")
    assert measure.invariances <= INVARIANCES.keys()
    assert "What to do:" in type(measure).__doc__


@pytest.mark.parametrize("name", KNOWN)
def test_known_value(name):
    views, fields, value = KNOWN[name]
    found = measure_named(name, fields)(views)
    assert isinstance(found, Measurement)
    assert found.value == pytest.approx(value, abs=1e-6)


@every
@pytest.mark.parametrize("seed", range(3))
def test_the_value_is_within_its_range_and_the_same_again(measure, seed):
    views = problem(measure, seed)
    found = measure(views)
    least, most = found.range
    assert measure.range[0] <= least <= found.value <= most <= measure.range[1]
    assert found.n == 80
    assert found == measure(views)


@each_law
def test_declared_invariances_hold(measure, law):
    views = problem(measure, 4)
    assert measure(moved(views, law)).value == pytest.approx(
        measure(views).value, rel=1e-5, abs=1e-6
    )


@every
def test_it_is_not_blind(measure):
    """Something that was not declared to leave the value does change it."""
    views = problem(measure, 5)
    rng = np.random.default_rng(6)
    other = {name: x + np.abs(rng.normal(size=x.shape)) for name, x in views.items()}
    for x in other.values():
        x[..., 0] *= 20
    assert measure(other).value != pytest.approx(measure(views).value, rel=1e-9)


@seeing
def test_what_reads_pairs_sees_them_shuffled(measure):
    """True pairs lie outside what shuffled ones give, on the better side."""
    views = problem(measure, 7, n=150, noise=0.3)
    found, chance = measure(views).value, by_chance(measure, views, draws=10)
    sign = 1 if measure.higher_is_better else -1
    assert sign * (found - chance.mean()) > 4 * chance.std(ddof=1)


@pytest.mark.parametrize(
    ("name", "level"), [("mutual-knn", 10 / 149), ("unbiased-cka", 0.0), ("rsa", 0.0)]
)
def test_shuffled_ids_give_chance(name, level):
    measure = MADE[name]
    drawn = by_chance(measure, problem(measure, 8, n=150), draws=40)
    assert abs(drawn.mean() - level) < 4 * drawn.std(ddof=1) / np.sqrt(40)


def test_modalities_in_one_place_are_told_apart_by_chance_only():
    rng = np.random.default_rng(8)
    found = [
        MADE["linear-separability"]({n: rng.normal(size=(100, 4)) for n in "ab"}).value
        for _ in range(40)
    ]
    assert abs(np.mean(found) - 0.5) < 4 * np.std(found, ddof=1) / np.sqrt(40)


def test_what_reads_no_pairs_has_no_chance():
    with pytest.raises(ConjoinError, match=r"uniformity.*does not read pairs"):
        by_chance(MADE["uniformity"], problem(MADE["uniformity"]))


# Bad input


def spoilt(views, how):
    first, *rest = views
    x = views[first].copy()
    if how == "nan":
        x[3, ..., 0] = np.nan
    elif how == "infinite":
        x[3, ..., 0] = np.inf
    elif how == "constant":
        x = np.ones_like(x)
    elif how == "few":
        return {name: v[:2] for name, v in views.items()}
    elif how == "text":
        x = x.astype(str)
    return {first: x, **{name: views[name] for name in rest}}


@every
@pytest.mark.parametrize("how", ["nan", "infinite", "constant", "few", "text"])
def test_bad_rows_are_refused_by_name(measure, how):
    with pytest.raises(ConjoinError, match=rf"{measure.name}|view a|layer"):
        measure(spoilt(problem(measure), how))


@every
def test_a_zero_row_is_refused_where_rows_are_scaled(measure):
    views = problem(measure)
    views["a"][5] = 0
    if not measure.on_sphere and measure.name not in LAYERED:
        assert np.isfinite(measure(views).value)
        return
    with pytest.raises(ConjoinError, match=r"view a.*row 5 is all zeros|a, layer 0.*row 5"):
        measure(views)


@every
def test_the_wrong_number_of_views_is_refused(measure):
    views = problem(measure)
    with pytest.raises(ConjoinError, match=f"{measure.name}: 0 views"):
        measure({})
    if not measure.many:
        with pytest.raises(ConjoinError, match=f"give {measure.views}"):
            measure({**views, "more": views["a"]})


@paired
def test_different_lengths_are_refused(measure):
    views = problem(measure)
    views["b"] = views["b"][:-1]
    with pytest.raises(ConjoinError, match=f"{measure.name}: 80 rows in a, 79 rows in b"):
        measure(views)


@shared
def test_frames_of_different_width_are_refused_where_one_is_needed(measure):
    views = problem(measure)
    views["b"] = views["b"][..., :-1]
    with pytest.raises(ConjoinError, match=r"dimensions in a, 5 dimensions in b.*; bind"):
        measure(views)


@pytest.mark.parametrize("name", ["mutual-knn", "cknna", "hub-skewness"])
def test_more_neighbours_than_rows_are_refused(name):
    measure = measure_named(name, {"k": 50})
    with pytest.raises(ConjoinError, match=r"\bk\b.*50"):
        measure(problem(measure, n=20))


def test_an_unknown_measure_gets_near_ones():
    with pytest.raises(ConjoinError, match="did you mean mutual-knn"):
        measure_named("mutal-knn")
    with pytest.raises(ConjoinError, match="unknown"):
        measure_named("recall@10")


# Intervals


def test_the_spread_of_subsamples_is_that_of_a_mean():
    """Alignment is a mean over lines: its standard error is known, and grows with groups."""
    from scipy.special import stdtrit

    rng = np.random.default_rng(9)
    measure = MADE["alignment"]
    u = rng.normal(size=(300, 6))
    v = u + rng.normal(size=(300, 6)) * rng.uniform(0, 2, (300, 1))
    lines = np.square(
        u / np.linalg.norm(u, axis=1, keepdims=True) - v / np.linalg.norm(v, axis=1, keepdims=True)
    ).sum(axis=1)
    for copies in (1, 3):
        views = {"u": np.repeat(u, copies, axis=0), "v": np.repeat(v, copies, axis=0)}
        groups = np.repeat(np.arange(300), copies)
        for share in (0.5, 0.8):
            found = subsampled(measure, views, groups, draws=400, share=share)
            reach = stdtrit(299, 0.975) * lines.std(ddof=1) / np.sqrt(300)
            assert (found.high - found.low) / 2 == pytest.approx(reach, rel=0.12)
            assert found.value == pytest.approx(lines.mean())


def test_rows_of_a_group_are_never_parted():
    seen = []

    class Watch(Reads):
        name, meaning, range = "w", "W.", (0.0, np.inf)

        def __call__(self, views):
            seen.append(views["a"][:, 0].astype(int).tolist())
            return self.told(float(len(seen) % 3), 1)

    groups = np.repeat(np.arange(10), 3)
    subsampled(Watch(), {"a": groups[:, None].astype(float)}, groups, draws=5)
    assert len(seen) == 6
    for rows in seen[1:]:
        assert len(rows) == 24
        assert all(rows.count(g) == 3 for g in set(rows))


@pytest.mark.parametrize("name", ["mutual-knn", "unbiased-cka"])
def test_the_interval_holds_the_value_of_many_more_rows(name):
    """Neighbour measures move with n, so the truth is the mean over fresh draws of the same n."""
    measure = MADE[name]
    rng = np.random.default_rng(10)
    maps = rng.normal(size=(3, 5)), rng.normal(size=(3, 4))

    def draw(n):
        z = rng.normal(size=(n, 3))
        return {
            name: z @ m + 0.5 * rng.normal(size=(n, m.shape[1]))
            for name, m in zip("ab", maps, strict=True)
        }

    truth = np.mean([measure(draw(100)).value for _ in range(60)])
    held = 0
    for seed in range(20):
        found = subsampled(measure, draw(100), np.arange(100), draws=60, seed=seed)
        held += found.low <= truth <= found.high
    assert held >= 16


def test_a_subsample_that_cannot_be_drawn_is_refused():
    views = {"a": np.random.default_rng(0).normal(size=(20, 3))}
    measure = MADE["effective-rank"]
    for groups, more, said in (
        (np.arange(19), {}, "groups: 19 for"),
        (np.zeros(20), {}, "fewer than two"),
        (np.repeat([0, 1], 10), {}, "5 groups"),
        (np.arange(20), {"share": 1.0}, "share below 1"),
        (np.arange(20), {"draws": 1}, "2 draws"),
    ):
        with pytest.raises(ConjoinError, match=said):
            subsampled(measure, views, groups, **more)
