"""Aligners whose heads have a shape of their own: what each promises beyond the laws."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from conjoin import catalogue
from conjoin.alignment.binding import Binding
from conjoin.alignment.closed_form.linear import CCA
from conjoin.alignment.pair_trust import losses, trusted
from conjoin.alignment.trained.contrastive_heads import ContrastiveHeads, by_group
from conjoin.alignment.trained.hyperbolic import HyperbolicHeads, LorentzHeads, LorentzMap
from conjoin.alignment.trained.space_bonding import SpaceBonds
from conjoin.alignment.trained.token_heads import TokenHeads, TrainedTokens
from conjoin.alignment.trained.universal_projection import Layers, OneEncoder, UniversalProjection
from conjoin.errors import ConjoinError
from conjoin.maps.base import load_map, save_map, stages
from conjoin.maps.standardise import Standardise
from conjoin.metrics.retrieval.late_interaction import maxsim_scores
from conjoin.metrics.retrieval.ranks import rank_queries
from conjoin.metrics.retrieval.relevance import relevance_by_id
from conjoin.metrics.retrieval.scores import evaluate_direction
from conjoin.retrieval.index.index import Index
from conjoin.spaces import Pairs, Space, Tokens, unit
from conjoin.training.loop import PairBatches
from conjoin.training.networks import FreshHeads
from conjoin.training.weight_tying import tied

RNG = np.random.default_rng(5)
N = 96


def views(names: str = "ab", n: int = N) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    z = rng.normal(size=(n, 6))
    return {
        name: (z @ rng.normal(size=(6, 7 + at)) + 2).astype(np.float32)
        for at, name in enumerate(names)
    }


def lines(names: str = "ab", n: int = N) -> Pairs:
    return Pairs.of(**{name: np.arange(n) for name in names})


def sets(rows: np.ndarray, seed: int = 0) -> Tokens:
    """One to three noisy copies of each row."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 4, len(rows))
    flat = np.repeat(rows, counts, axis=0)
    noise = 0.1 * rng.normal(size=flat.shape)
    return Tokens((flat + noise).astype(np.float32), np.concatenate([[0], np.cumsum(counts)]))


def drawn(trainable, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        key: (np.asarray(p.value) + 0.1 * rng.normal(size=np.shape(p.value))).astype(np.float32)
        for key, p in trainable.init(seed).items()
    }


def forward(trainable, rows, arrays) -> dict:
    batch = PairBatches(rows, lines(), N).batch(np.arange(N))
    return trainable.forward(batch, {k: torch.from_numpy(np.array(v)) for k, v in arrays.items()})


FRESH = FreshHeads(("a", "b"), {n: Standardise.of(x) for n, x in views().items()}, dim=5, hidden=4)


def test_the_map_of_a_fresh_head_is_its_forward():
    arrays = drawn(FRESH)
    out = forward(FRESH, views(), arrays)
    for name, item in FRESH.maps(arrays).items():
        expected = torch.nn.functional.normalize(out[name], dim=1).numpy()
        np.testing.assert_allclose(item.apply(views()[name]), expected, atol=5e-6)


@pytest.mark.parametrize("given", [None, 0.7])
def test_the_map_onto_a_hyperboloid_is_its_forward(given):
    trainable = LorentzHeads(FRESH, given=given)
    arrays = drawn(trainable)
    out = forward(trainable, views(), arrays)
    c = float(out["curvature"])
    for name, item in trainable.maps(arrays).items():
        placed = item.apply(views()[name].astype(np.float64))
        np.testing.assert_allclose(placed[:, :-1], out[name].numpy(), atol=2e-5)
        norm = (placed[:, :-1] ** 2).sum(axis=1) - placed[:, -1] ** 2
        np.testing.assert_allclose(norm, -1 / c, rtol=1e-5)
        assert stages(item)[-1].curvature == pytest.approx(c)


@pytest.mark.parametrize("given", [False, True])
def test_the_map_through_the_shared_projection_is_its_forward(given):
    first = Layers(("a", "b"), FRESH.before, 6, 8)
    up = stages(first.maps(drawn(first, 3))["a"])[-2]
    assert isinstance(up, UniversalProjection)
    trainable = Layers(("a", "b"), FRESH.before, 6, 8, given=up if given else None)
    arrays = drawn(trainable)
    assert any(key.startswith("//") for key in arrays) is not given
    out = forward(trainable, views(), arrays)
    for name, item in trainable.maps(arrays).items():
        expected = torch.nn.functional.normalize(out[name], dim=1).numpy()
        np.testing.assert_allclose(item.apply(views()[name]), expected, atol=2e-5)


def test_token_maps_are_their_forward_whatever_the_padding(tmp_path):
    rows = {name: sets(x) for name, x in views().items()}
    trainable = TrainedTokens(FRESH)
    arrays = drawn(trainable)
    out = forward(trainable, rows, arrays)
    for name, item in trainable.maps(arrays).items():
        save_map(item, tmp_path / name)
        placed = load_map(tmp_path / name).apply(rows[name])
        for i in range(N):
            own = out[name][i, : len(rows[name][i])].numpy()
            np.testing.assert_allclose(placed[i], own, atol=5e-6)
            assert not out[name][i, len(rows[name][i]) :].any()


def test_hyperbolic_ranks_are_those_of_geodesic_distance():
    c = 0.8
    u, v = (LorentzMap(0.6, c).apply(RNG.normal(size=(20, 4))) for _ in range(2))
    spaces = {"a": Space.of(views()["a"], name="a"), "b": Space.of(views()["b"], name="b")}
    method = HyperbolicHeads(width=8, hidden=16, steps=10, batch=64)
    frame = Binding.fit(spaces, lines(), method=method, hub="a").frame
    assert (frame.score, frame.dim) == ("lorentz", 9)
    assert 0.1 <= frame.curvature <= 10
    distance = np.empty((20, 20))
    for i in range(20):
        for j in range(20):
            inner = float(u[i, :-1] @ v[j, :-1] - u[i, -1] * v[j, -1])
            distance[i, j] = np.arccosh(max(1.0, -c * inner)) / np.sqrt(c)
    scores = frame.query(u) @ frame.item(v).T
    np.testing.assert_array_equal(np.argsort(-scores, axis=1), np.argsort(distance, axis=1))


def test_late_interaction_is_a_double_loop_in_any_blocks():
    q, x = sets(RNG.normal(size=(9, 4)), 1), sets(RNG.normal(size=(14, 4)), 2)
    q = Tokens(q.vectors, np.concatenate([q.offsets, q.offsets[-1:]]))
    expected = np.zeros((10, 14))
    for i in range(9):
        for j in range(14):
            expected[i, j] = np.mean([max(float(s @ t) for t in x[j]) for s in q[i]])
    for held in (1, 40, 2**24):
        np.testing.assert_allclose(maxsim_scores(q, x, held=held), expected, atol=1e-5)
    empty = Tokens(x.vectors, np.concatenate([[0], x.offsets]))
    assert np.isneginf(maxsim_scores(q.take(np.arange(9)), empty)[:, 0]).all()
    with pytest.raises(ConjoinError, match="dimensions"):
        maxsim_scores(q, Tokens(np.ones((1, 3)), np.array([0, 1])))


def test_token_sets_are_bound_ranked_indexed_and_read_back(tmp_path):
    spaces = {name: Space.of(sets(x, 3), name=name) for name, x in views().items()}
    method = TokenHeads(width=8, hidden=16, steps=60, batch=48, lr=1e-2, dropout=0.0)
    binding = Binding.fit(spaces, lines(), method=method, hub="a")
    binding.save(tmp_path / "maps")
    binding = Binding.load(tmp_path / "maps")
    bound = {name: binding.bind(name, space) for name, space in spaces.items()}
    assert binding.frame.score == "maxsim"
    wanted = relevance_by_id(bound["a"], bound["b"])
    ranking = rank_queries(bound["a"].vectors, bound["b"].vectors, wanted)
    scores = maxsim_scores(bound["a"].vectors, bound["b"].vectors)
    slow = 1 + (scores > np.diag(scores)[:, None]).sum(axis=1)
    np.testing.assert_array_equal(ranking.best, slow)
    measured = evaluate_direction(bound["a"], bound["b"], wanted, metrics=("recall@1",))
    assert measured[0].value == pytest.approx(np.mean(slow == 1))
    assert measured[0].value > 0.3
    Index.build(bound).save(tmp_path / "index")
    hits = Index.open(tmp_path / "index").search_many(bound["a"], "a", into=["b"], k=3)
    best = np.argsort(-scores, axis=1, kind="stable")[:, 0]
    assert [found.best[0].id for found in hits] == [str(bound["b"].ids[j]) for j in best]


def test_a_view_added_later_finds_the_shared_projection_or_is_refused():
    rows = views("abc")
    method = OneEncoder(width=8, wide=16, steps=20, batch=64)
    base = method.fit({n: rows[n] for n in "ab"}, lines())
    grown = method.fit(rows, lines("abc"), frozen=base)
    shared = [
        next(part for part in stages(grown[name]) if isinstance(part, UniversalProjection))
        for name in "abc"
    ]
    assert shared[0].arrays["mix"].tobytes() == shared[2].arrays["mix"].tobytes()
    with pytest.raises(ConjoinError, match=r"frozen a.*no universal projection"):
        method.fit(rows, lines("abc"), frozen=CCA().fit({n: rows[n] for n in "ab"}, lines()))
    with pytest.raises(ConjoinError, match=r"frozen a.*hyperboloid"):
        HyperbolicHeads().fit(rows, lines("abc"), frozen=base)


def test_views_of_one_frame_share_their_projectors():
    rows = views("abc")
    rows["c"] = rows["b"][:, ::-1].copy()
    method = SpaceBonds(
        width=8, hidden=16, steps=20, projector_steps=10, projectors=2, batch=64, factor=0.25
    )
    made = method.fit(rows, lines("ab").join(lines("bc")), frames={"b": "clip", "c": "clip"})
    ensembles = [
        stages(made["c"])[-1],
        stages(made["b"].maps[0])[-1],
    ]
    assert ensembles[0].state()[0] == ensembles[1].state()[0]
    assert made["b"].weights == (0.25, 0.75)
    with pytest.raises(ConjoinError, match="displacement"):
        replace(method, bond="displacement").fit(
            rows, lines("abc"), frozen={name: made[name] for name in "ab"}
        )


def test_views_of_one_encoder_become_partners_of_the_same_rows():
    rows = views("abc")
    rows["c"] = rows["b"] + 1
    pairs = Pairs(("a", "b", "c"), np.array([[0, 0, 0], [1, 1, -1], [2, -1, 2]]))
    made, each, home = tied(rows, pairs, {"b": "text", "c": "text"}, {})
    assert home == {"a": "a", "b": "b", "c": "b"}
    assert len(made["b"]) == 2 * N
    assert sorted(map(tuple, each.rows.tolist())) == [(0, 0), (0, N), (1, 1), (2, 2 + N)]
    alone = tied(rows, pairs, {"b": "text", "c": "text"}, {"b": None, "c": None})
    assert alone[0] == rows
    assert alone[1] is pairs


def test_prefixes_of_matryoshka_heads_keep_more():
    rng = np.random.default_rng(2)
    z = rng.normal(size=(360, 12)) * np.geomspace(3, 0.3, 12)
    x = {name: (z @ rng.normal(size=(12, 20))).astype(np.float32) for name in "ab"}
    kept = {}
    for name in ("infonce-head", "matryoshka"):
        method = catalogue.find("aligner", name).make(
            {"width": 64, "hidden": 16, "steps": 90, "batch": 128, "lr": 1e-2, "dropout": 0.0}
        )
        maps = method.fit({n: r[:240] for n, r in x.items()}, lines(n=240))
        u, v = (maps[n].apply(x[n][240:]) for n in "ab")
        kept[name] = [recall(u[:, :m], v[:, :m]) / recall(u, v) for m in (32, 16, 8)]
    assert all(np.array(kept["matryoshka"]) >= np.array(kept["infonce-head"]) - 0.02)
    assert kept["matryoshka"][2] > kept["infonce-head"][2] + 0.05


def recall(u: np.ndarray, v: np.ndarray, k: int = 5) -> float:
    u, v = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (u, v))
    scores = u @ v.T
    return float(((scores > np.diag(scores)[:, None]).sum(axis=1) < k).mean())


def test_only_the_row_heads_falls_back_on_the_closed_form():
    rows = {name: RNG.normal(size=(40, 5)).astype(np.float32) for name in "ab"}
    for name, row in catalogue.of_kind("aligner").items():
        if row.load() is ContrastiveHeads:
            assert row.make().rescue is (name == "heads")
    made = catalogue.find("aligner", "infonce-head").make({"steps": 5, "width": 8, "batch": 32})
    assert "residual-mlp" in [part.name for part in stages(made.fit(rows, lines(n=40))["a"])]


def test_a_locked_view_loses_only_its_mean():
    rows = views()
    made = catalogue.find("aligner", "locked-head").make({"steps": 5, "width": 8, "batch": 64})
    placed = made.fit(rows, lines())["a"].apply(rows["a"])
    np.testing.assert_allclose(placed, rows["a"] - rows["a"].mean(axis=0), atol=1e-5)


def test_a_view_may_be_trained_towards_one_frozen_partner_or_all():
    rng = np.random.default_rng(3)
    truth = rng.normal(size=(60, 4))
    views = {n: (truth @ rng.normal(size=(4, 5))).astype(np.float32) for n in ("a", "b", "c")}
    pairs = Pairs(("a", "b", "c"), np.repeat(np.arange(60)[:, None], 3, axis=1))
    made = ContrastiveHeads(start="random", width=6, hidden=16, steps=10, batch=32, lock=True)
    first = made.fit({n: views[n] for n in "ab"}, pairs.select(("a", "b")))
    alone = {"a": first["a"]}
    one = replace(made, partners="first").fit(views, pairs, frozen=first)
    near = made.fit({n: views[n] for n in "ac"}, pairs.select(("a", "c")), frozen=alone)
    both = made.fit(views, pairs, frozen=first)
    assert one["b"] is first["b"]
    np.testing.assert_array_equal(one["c"].apply(views["c"]), near["c"].apply(views["c"]))
    assert not np.allclose(one["c"].apply(views["c"]), both["c"].apply(views["c"]))


def test_a_language_without_pairs_may_take_the_map_of_another():
    rng = np.random.default_rng(4)
    truth = rng.normal(size=(60, 4))
    views = {n: (truth @ rng.normal(size=(4, 5))).astype(np.float32) for n in ("image", "en", "it")}
    pairs = Pairs(tuple(views), np.repeat(np.arange(60)[:, None], 3, axis=1))
    frames = {"image": "x", "en": "y", "it": "y"}
    made = ContrastiveHeads(start="random", width=6, hidden=16, steps=10, batch=32, borrow=True)
    maps = made.fit(views, pairs, frames=frames)
    assert list(maps) == list(views)
    assert maps["it"] is maps["en"]
    own = made.fit(views, pairs, frames={"image": "x", "en": "y", "it": "z"})
    assert own["it"] is not own["en"]


def test_lines_that_do_not_belong_together_count_less():
    rng = np.random.default_rng(6)
    truth = rng.normal(size=(300, 6))
    views = {n: (truth @ rng.normal(size=(6, 8)) + 0.1 * rng.normal(size=(300, 8))) for n in "ab"}
    rows = np.repeat(np.arange(300)[:, None], 2, axis=1)
    wrong = rng.permutation(300)[:60]
    rows[wrong, 1] = np.roll(wrong, 1)
    pairs = Pairs(("a", "b"), rows)
    found = trusted(views, pairs, {}, 0).weight
    planted = np.isin(np.arange(300), wrong)
    assert found[planted].mean() < 0.4 < 0.8 < found[~planted].mean()
    assert (found > 0).all()
    few = pairs.take(np.arange(300) < 8)
    np.testing.assert_array_equal(trusted(views, few, {}, 0).weight, few.weight)


def test_the_loss_of_a_line_is_the_mean_hinge_over_the_others():
    rng = np.random.default_rng(7)
    u, v = unit(rng.normal(size=(9, 4))), unit(rng.normal(size=(9, 4)))
    found = losses(u, v, [0])
    for i in range(9):
        cost = [max(0.0, 0.2 + u[i] @ v[j] - u[i] @ v[i]) for j in range(9) if j != i]
        assert found[i] == pytest.approx(sum(cost) / 8)


def test_lines_of_a_group_show_the_same_thing():
    views = {"a": np.zeros((4, 2)), "b": np.zeros((3, 2))}
    pairs = Pairs(
        ("a", "b"), np.array([[0, 0], [1, 1], [2, 2], [0, -1]]), group=np.array([7, 7, 9, 9])
    )
    shown = by_group(views, pairs)
    assert shown["a"][0] == shown["a"][1] == shown["b"][0] == shown["b"][1]
    assert shown["a"][2] == shown["b"][2] != shown["a"][0]
    assert len({shown["a"][3], shown["a"][0], shown["a"][2]}) == 3
