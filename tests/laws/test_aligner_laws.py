"""What every aligner of the catalogue promises."""

import dataclasses
from functools import cache

import numpy as np
import pytest

from conjoin import catalogue
from conjoin.alignment.base import Aligner
from conjoin.errors import ConjoinError
from conjoin.maps.base import Map, load_map, save_map
from conjoin.spaces import Frame, Pairs, Tokens
from conjoin.spaces.stack import Stack

ROWS = catalogue.of_kind("aligner")
ALL = pytest.mark.parametrize("name", list(ROWS))
CLOSED = pytest.mark.parametrize("name", [n for n, row in ROWS.items() if row.cost != "trained"])

#: Methods that find their own pairs: every row of a view takes part, paired or not.
PAIRLESS = [n for n, row in ROWS.items() if getattr(row.load(), "pairless", False)]
PAIRED = pytest.mark.parametrize("name", [n for n in ROWS if n not in PAIRLESS])
UNPAIRED = pytest.mark.parametrize("name", PAIRLESS)

#: Makes training short; closed forms have none of these fields.
SHORT = {"steps": 20, "hidden": 16, "width": 16, "batch": 64, "of": "cca"}
SHORT |= {"wide": 16, "projectors": 2, "projector_steps": 20}
#: What a random start needs besides to find a planted map.
LONGER = {"steps": 150, "projector_steps": 100, "lr": 1e-2, "dropout": 0.0}
#: Methods that bind a view to the product of all others promise nothing of couples of three views.
KWAY = [n for n, row in ROWS.items() if "kway" in row.needs]
BRIDGING = pytest.mark.parametrize(
    "name", [n for n, row in ROWS.items() if row.recovery.bridges and n not in KWAY]
)


def fresh(name: str) -> bool:
    """Whether a method starts at random, and is held to fewer partners for that."""
    row = ROWS[name]
    started = row.cost == "trained" and getattr(row.make(), "start", "random") == "random"
    return started and row.recovery.share != 1


def share(name: str) -> float:
    """The share of partners a method must name."""
    said = ROWS[name].recovery.share
    return said if said is not None else 0.7 if fresh(name) else 1.0


def make(name: str, enough: bool = False) -> Aligner:
    row = ROWS[name]
    known = {field.name for field in dataclasses.fields(row.load())}
    chosen = SHORT | (LONGER if enough and fresh(name) else {})
    return row.make({key: value for key, value in chosen.items() if key in known})


def planted(name: str, n: int = 160, d: int = 8, seed: int = 0) -> dict[str, np.ndarray]:
    """Three views of one latent table, each through a map of the kind the method can undo."""
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=(n, d)) * np.linspace(2, 0.7, d)
    views = {}
    for view in ("a", "b", "c"):
        kind = ROWS[name].recovery.map or ("turn" if name in PAIRLESS else "linear")
        if kind in ("same", "shift"):
            weight = np.eye(d)
        elif kind in ("turn", "rotation"):
            weight = np.linalg.qr(rng.normal(size=(d, d)))[0]
        else:
            weight = np.linalg.qr(rng.normal(size=(d, d)))[0] * rng.uniform(0.5, 2, d)
        shift = 0.0 if kind in ("same", "rotation") else 3 * rng.normal(size=d)
        views[view] = (latent @ weight + shift).astype(np.float32)
    return views


def lines(upto: int, names: str = "ab") -> Pairs:
    return Pairs.of(**{name: np.arange(upto) for name in names})


def found(name: str, left: np.ndarray, right: np.ndarray, usual: float) -> bool:
    """Whether as many partners come first, by the method's score, as it must name."""
    if getattr(ROWS[name].load(), "score", "cosine") != "lorentz":
        return first(left, right) >= min(usual, share(name))
    asked = Frame("", left.shape[1], score="lorentz").query(left)
    best = (asked @ right.T).argmax(axis=1)
    return float(np.mean(best == np.arange(len(best)))) >= share(name)


def first(left: np.ndarray, right: np.ndarray) -> float:
    """Share of rows whose nearest by cosine is their partner."""
    left, right = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (left, right))
    return float(np.mean((left @ right.T).argmax(axis=1) == np.arange(len(left))))


def two(views: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: views[name] for name in ("a", "b")}


def same(one: dict[str, Map], other: dict[str, Map], views, tolerance: float) -> None:
    for name, rows in views.items():
        left, right = one[name].apply(rows), other[name].apply(rows)
        scale = np.abs(left).max()
        np.testing.assert_allclose(left / scale, right / scale, atol=tolerance)


@cache
def plain_fit(name: str, enough: bool = False) -> tuple[dict[str, np.ndarray], dict[str, Map]]:
    """Two views and their maps; made once, as nothing a law asks changes them."""
    views = two(planted(name))
    return views, make(name, enough).fit(views, lines(120))


@ALL
def test_it_is_a_frozen_dataclass_that_fits(name):
    aligner = make(name)
    assert isinstance(aligner, Aligner)
    assert dataclasses.is_dataclass(aligner)
    with pytest.raises(dataclasses.FrozenInstanceError):
        aligner.lam = 3.0  # type: ignore[misc]
    for key in catalogue.ranges(ROWS[name].load()):
        assert hasattr(aligner, key)


@ALL
def test_it_recovers_a_planted_map(name):
    views, maps = plain_fit(name, enough=True)
    assert list(maps) == ["a", "b"]
    out = {view: maps[view].apply(rows[120:]) for view, rows in views.items()}
    assert out["a"].shape == out["b"].shape
    assert found(name, out["a"], out["b"], 0.95)
    assert found(name, out["b"], out["a"], 0.95)


@BRIDGING
def test_views_never_paired_meet_through_a_third(name):
    views = planted(name)
    pairs = lines(120, "ab").join(lines(120, "bc"))
    maps = make(name, enough=True).fit(views, pairs)
    assert found(name, maps["a"].apply(views["a"][120:]), maps["c"].apply(views["c"][120:]), 0.9)


@BRIDGING
def test_k_way_lines_with_gaps_are_taken(name):
    views = planted(name)
    rows = np.stack([np.arange(120)] * 3, axis=1)
    rows[::3, 2], rows[1::4, 0] = -1, -1
    maps = make(name, enough=True).fit(views, Pairs(("a", "b", "c"), rows))
    for left, right in (("a", "b"), ("b", "c"), ("a", "c")):
        one, other = (maps[view].apply(views[view][120:]) for view in (left, right))
        assert found(name, one, other, 0.9)


@ALL
def test_many_to_many_pairs_are_taken(name):
    views = two(planted(name))
    views["b"] = np.concatenate([views["b"], views["b"][:60] + np.float32(0.01)])
    i = np.concatenate([np.arange(120), np.arange(60), np.arange(60)])
    j = np.concatenate([np.arange(120), np.arange(160, 220), np.arange(160, 220)])
    maps = make(name, enough=True).fit(views, Pairs.of(a=i, b=j))
    assert found(name, maps["a"].apply(views["a"][120:]), maps["b"].apply(views["b"][120:160]), 0.9)


@CLOSED
def test_the_order_of_lines_and_rows_does_not_matter(name):
    views, aligner, rng = two(planted(name)), make(name), np.random.default_rng(1)
    pairs = lines(120)
    maps = aligner.fit(views, pairs)
    same(maps, aligner.fit(views, pairs.take(rng.permutation(120))), views, 1e-4)
    order = rng.permutation(160)
    moved = {"a": views["a"][order], "b": views["b"]}
    back = np.argsort(order)[:120]
    same(maps, aligner.fit(moved, Pairs.of(a=back, b=np.arange(120))), views, 1e-4)


@CLOSED
def test_a_weight_of_two_is_the_pair_twice(name):
    if name in PAIRLESS:
        pytest.skip("rows given twice are another cloud")
    views, aligner = two(planted(name)), make(name)
    weight = np.ones(120)
    weight[:40] = 2
    pairs = Pairs(("a", "b"), np.stack([np.arange(120)] * 2, 1), weight)
    doubled = {n: np.concatenate([v[:120], v[:40]]) for n, v in views.items()}
    same(aligner.fit(views, pairs), aligner.fit(doubled, lines(160)), views, 1e-4)


@CLOSED
def test_blocks_change_nothing(name, monkeypatch):
    from conjoin.alignment.closed_form.covariance import Moments

    views, aligner, real = two(planted(name)), make(name), Moments.of
    maps = aligner.fit(views, lines(120))
    monkeypatch.setattr(Moments, "of", lambda *a: real(*a, block=7))
    same(maps, aligner.fit(views, lines(120)), views, 1e-3)


@ALL
def test_frozen_views_come_back_untouched_and_draw_the_others(name):
    views, aligner = planted(name), make(name, enough=True)
    _, maps = plain_fit(name, enough=True)
    before = {n: m.apply(views[n]).tobytes() for n, m in maps.items()}
    grown = aligner.fit(views, lines(120, "abc"), frozen=maps)
    for n in maps:
        assert grown[n] is maps[n]
        assert grown[n].apply(views[n]).tobytes() == before[n]
    if name not in KWAY:
        assert found(
            name, grown["a"].apply(views["a"][120:]), grown["c"].apply(views["c"][120:]), 0.9
        )


@ALL
def test_the_same_seed_gives_the_same_bytes(name):
    views, one = plain_fit(name)
    other = make(name).fit(views, lines(120))
    for view in one:
        left, right = one[view].state(), other[view].state()
        assert left[0] == right[0]
        assert {k: v.tobytes() for k, v in left[1].items()} == {
            k: v.tobytes() for k, v in right[1].items()
        }


@ALL
def test_maps_come_back_from_disk_exactly(name, tmp_path):
    views, maps = plain_fit(name)
    for view, item in maps.items():
        assert isinstance(item, Map)
        save_map(item, tmp_path / view)
        again = load_map(tmp_path / view)
        assert again.apply(views[view]).tobytes() == item.apply(views[view]).tobytes()


@ALL
def test_the_inverse_inverts_where_there_is_one(name):
    views, maps = plain_fit(name)
    for view, item in maps.items():
        try:
            back = item.inverse  # type: ignore[attr-defined]
        except (ConjoinError, AttributeError):
            continue
        np.testing.assert_allclose(back.apply(item.apply(views[view])), views[view], atol=1e-2)


@CLOSED
def test_a_stack_reads_as_the_array_it_stands_for(name):
    views, aligner = two(planted(name)), make(name)
    stacked = {n: Stack([v[:50], v[50:]]) for n, v in views.items()}
    same(aligner.fit(views, lines(120)), aligner.fit(stacked, lines(120)), views, 0)


@ALL
def test_bad_input_is_refused_by_name(name):
    views, aligner = two(planted(name)), make(name)
    spoilt = views["b"].copy()
    spoilt[5, 0] = np.nan
    unknown = {"a": views["a"], "sound": views["b"]}
    tokens = {"a": views["a"], "b": Tokens(views["b"], np.arange(161))}
    for given, pairs, frozen, where in [
        ({"a": views["a"]}, lines(120), {}, "views"),
        (unknown, lines(120), {}, "sound"),
        (tokens, lines(120), {}, None if "tokens" in ROWS[name].needs else "view b"),
        ({**views, "b": views["b"][:100]}, lines(120), {}, "view b"),
        ({**views, "b": views["b"][:, 0]}, lines(120), {}, "view b"),
        ({**views, "b": spoilt}, lines(120), {}, "view b"),
        (views, lines(1), {}, "view" if name not in PAIRLESS else None),
        (views, lines(120), {"sound": None}, "sound"),
    ]:
        if where is None:
            continue
        with pytest.raises(ConjoinError) as caught:
            aligner.fit(given, pairs, frozen=frozen)
        assert where in caught.value.where


@PAIRED
def test_a_view_that_no_pair_leads_to_is_named(name):
    views = {**planted(name), "d": planted(name)["c"]}
    apart = lines(120, "ab").join(lines(120, "cd"))
    with pytest.raises(ConjoinError, match="view c: no pairs lead to it"):
        make(name).fit(views, apart)


def skewed(seed: int = 0) -> dict[str, np.ndarray]:
    """Two turned copies of a cloud of distinctive shape, row by row the same."""
    rng = np.random.default_rng(seed)
    cloud = np.exp(rng.normal(size=(160, 6))) * np.linspace(1, 0.4, 6)
    turned = cloud @ np.linalg.qr(rng.normal(size=(6, 6)))[0] + 3
    return {"a": cloud.astype(np.float32), "b": turned.astype(np.float32)}


@UNPAIRED
def test_a_distinctive_cloud_is_found_without_pairs(name):
    views, none = skewed(), Pairs(("a", "b"), np.empty((0, 2), np.int64))
    maps = make(name).fit(views, none)
    out = {view: maps[view].apply(rows) for view, rows in views.items()}
    assert first(out["a"], out["b"]) >= 0.95
    order = np.random.default_rng(1).permutation(160)
    maps = make(name).fit({"a": views["a"][order], "b": views["b"]}, none)
    assert first(maps["a"].apply(views["a"]), maps["b"].apply(views["b"])) >= 0.95
