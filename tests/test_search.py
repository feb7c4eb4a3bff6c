"""Exact search against a slow reference, and the index on disk."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conjoin.errors import ConjoinError, FrameError, StateError
from conjoin.retrieval.engines import exact
from conjoin.retrieval.engines.exact import top_k
from conjoin.retrieval.engines.kernels import Tiles
from conjoin.retrieval.hubness.csls import CSLS
from conjoin.retrieval.index.index import Index
from conjoin.retrieval.ranking.modality_fair import Mixing
from conjoin.spaces import Frame, Space, unit
from conjoin.spaces.stack import Stack


def slow(q, x, k, scale=1.0, offset=None, gate=None):
    """Every score, sorted by score and then by row."""
    scores = scale * q.astype(np.float64) @ x.astype(np.float64).T
    if offset is not None:
        gate = np.ones((len(q), offset.shape[1])) if gate is None else gate
        scores = scores - gate @ offset.T
    order = np.array([np.lexsort((np.arange(len(x)), -line)) for line in scores])[:, :k]
    return np.take_along_axis(scores, order, axis=1), order


@given(
    st.integers(1, 7), st.integers(1, 200), st.integers(1, 9), st.integers(1, 12),
    st.integers(1, 90), st.integers(0, 9),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_small_integers_tie_often_and_still_rank_by_row(q, n, d, k, block, seed):
    rng = np.random.default_rng(seed)
    queries = rng.integers(-1, 2, (q, d)).astype(np.float32)
    gallery = rng.integers(-1, 2, (n, d)).astype(np.float32)
    scores, rows = top_k(queries, gallery, k, block=block)
    want, order = slow(queries, gallery, k)
    np.testing.assert_array_equal(rows, order)
    np.testing.assert_array_equal(scores, want)
    assert scores.dtype == np.float32
    assert rows.dtype == np.int64
    assert rows.shape == (q, min(k, n))


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("backend", ["numpy", "int8"])
def test_scale_offsets_and_gates(backend, gated):
    if backend == "int8":
        pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    q, x = unit(rng.standard_normal((300, 24))), unit(rng.standard_normal((5000, 24)))
    offset = rng.standard_normal((5000, 2)) * 0.3
    gate = rng.random((300, 2)).round() if gated else None
    scores, rows = top_k(q, x, 10, scale=3.0, offset=offset, gate=gate, backend=backend)
    q32, x32 = q.astype(np.float32), x.astype(np.float32)
    want, order = slow(q32, x32, 10, 3.0, offset, gate)
    assert (rows == order).mean() > 0.999
    np.testing.assert_allclose(scores, want, atol=1e-5)


@pytest.mark.parametrize("backend", ["int8", "faiss"])
def test_quantised_backends_find_what_float_finds(backend):
    pytest.importorskip({"int8": "torch", "faiss": "faiss"}[backend])
    rng = np.random.default_rng(2)
    centres = rng.standard_normal((40, 33))
    spread = np.geomspace(3, 0.05, 33)  # most of the variance in a few dimensions, and off zero
    x = unit((centres[rng.integers(0, 40, 6000)] + rng.standard_normal((6000, 33))) * spread + 0.4)
    q = unit((centres[rng.integers(0, 40, 50)] + rng.standard_normal((50, 33))) * spread)
    tiles = Tiles(x.astype(np.float32))
    scores, rows = top_k(q, tiles, 10, backend=backend)
    want, order = top_k(q, tiles, 10, backend="numpy")
    assert np.mean([len(set(a) & set(b)) / 10 for a, b in zip(rows, order, strict=True)]) >= 0.999
    np.testing.assert_allclose(scores, want, atol=2e-5)


def test_blocks_stacks_maps_and_auto_agree(tmp_path):
    rng = np.random.default_rng(3)
    x = rng.standard_normal((4000, 16)).astype(np.float32)
    q = rng.standard_normal((9, 16)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    want = top_k(q, x, 15)
    for gallery in (
        Stack([x[:1000], x[1000:]]), np.load(tmp_path / "x.npy", mmap_mode="r"), Tiles(x),
    ):  # fmt: skip
        for block in (None, 37, 1024):
            got = top_k(q, gallery, 15, block=block)
            np.testing.assert_array_equal(got[0], want[0])
            np.testing.assert_array_equal(got[1], want[1])


def test_the_gallery_is_read_a_block_at_a_time():
    class Watched:
        shape = (3000, 8)
        longest = 0

        def __len__(self):
            return 3000

        def __getitem__(self, key):
            rows = np.arange(3000)[key]
            self.longest = max(self.longest, len(rows))
            return np.sin(rows[:, None] * np.arange(1, 9)).astype(np.float32)

    watched = Watched()
    tiles = Tiles.__new__(Tiles)
    tiles.gallery, tiles._made = watched, {}
    top_k(np.ones((2, 8)), tiles, 5, block=128)
    assert watched.longest <= 128


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"k": 0}, "k"), ({"backend": "nunpy"}, "numpy"), ({"offset": np.zeros(3)}, "offset"),
        ({"queries": np.full((1, 4), np.nan)}, "NaN"), ({"queries": np.ones((1, 5))}, "queries"),
    ],
)  # fmt: skip
def test_bad_input_is_named(change, says):
    given = {"queries": np.ones((1, 4)), "gallery": np.ones((9, 4)), "k": 2, **change}
    with pytest.raises(ConjoinError, match=says):
        top_k(given.pop("queries"), given.pop("gallery"), given.pop("k"), **given)


def test_auto_quantises_large_kept_galleries_once_it_pays(monkeypatch):
    monkeypatch.setattr(exact, "have", lambda module: True)
    q, small = np.ones((64, 4), np.float32), np.ones((10, 4), np.float32)
    big = np.broadcast_to(small[:1], (exact.SMALL, 4))
    assert exact._choose("auto", q, Tiles(small), True, None) == "numpy"
    assert exact._choose("auto", q, Tiles(big), False, None) == "numpy"
    assert exact._choose("auto", q, Tiles(big), True, None) == "int8"
    tiles = Tiles(big)
    chosen = [exact._choose("auto", q[:1], tiles, True, None) for _ in range(20)]
    assert chosen == ["numpy"] * 15 + ["faiss"] * 5
    assert exact._choose("auto", q[:1], tiles, True, np.zeros((exact.SMALL, 1))) == "numpy"


FRAME = Frame.mint("given", "bound", 6, {"name": "bound"})


def spaces(seed=0, n=30):
    rng = np.random.default_rng(seed)
    ids = np.array([f"i{row}" for row in range(n)])
    text = Space(ids, rng.standard_normal((n, 6)).astype(np.float32) * 5, FRAME)
    twice = np.repeat(ids, 3)
    image = Space(twice, rng.standard_normal((3 * n, 6)).astype(np.float32), FRAME)
    return {"text": text, "image": image}


def test_an_item_is_found_once_by_its_best_part():
    held = spaces()
    image = held["image"]
    query = held["text"].take(np.array([4]))
    hits = Index.build(held).search(query, "text", into=["image"], k=12).lists["image"]
    cosine = unit(image.vectors) @ unit(query.vectors[0])
    best = {i: max(cosine[image.ids == i]) for i in set(image.ids)}
    order = sorted(best, key=lambda i: -best[i])[:12]
    assert [hit.id for hit in hits] == order
    assert [hit.rank for hit in hits] == list(range(1, 13))
    for hit in hits:
        row = np.flatnonzero((image.ids == hit.id) & (image.parts == hit.part))[0]
        assert hit.score == pytest.approx(cosine[row], abs=1e-6)
        assert hit.score == pytest.approx(best[hit.id], abs=1e-6)


def test_k_beyond_the_items_and_exclusion():
    held = spaces(n=7)
    index = Index.build(held)
    query = held["text"].take(np.array([0]))
    assert len(index.search(query, into=["image"], k=50).lists["image"]) == 7
    left = index.search(query, into=["text"], k=50, exclude=["i0"]).lists["text"]
    assert {hit.id for hit in left} == {f"i{n}" for n in range(1, 7)}


def test_several_targets_add_a_mixed_list():
    held = spaces()
    found = Index.build(held, meta=lambda item: {"name": item.upper()}).search(
        held["text"].take(np.array([2])), "text", k=5, shown="two"
    )
    assert list(found.lists) == ["text", "image", "mixed"]
    assert found.best[0].id == "i2"
    assert found.best[0].meta == {"name": "I2"}
    for a, b in pairwise(found.best):
        assert a.scores["rrf"] >= b.scores["rrf"]
    assert len({hit.id for hit in found.best}) == 5
    kept = found.to_json()
    assert list(kept) == [
        "version", "frame", "query", "lists", "nothing", "meaning", "uncalibrated",
    ]  # fmt: skip
    assert kept["query"]["shown"] == "two"
    assert list(kept["lists"]["text"][0]) == [
        "rank", "id", "modality", "part", "score", "probability", "scores", "meta",
    ]  # fmt: skip


def test_reciprocal_ranks_add_up():
    held = spaces()
    found = Index.build(held).search(held["text"].take(np.array([1])), k=30)
    ranks = {n: {h.id: h.rank for h in found.lists[n]} for n in ("text", "image")}
    for hit in Mixing().mix({n: found.lists[n] for n in ranks}, 30):
        assert hit.score == pytest.approx(sum(1 / (60 + r[hit.id]) for r in ranks.values()))


def test_another_frame_is_refused():
    held = spaces()
    other = Space.of(np.eye(6)[:2], name="other")
    with pytest.raises(FrameError, match="other"):
        Index.build({**held, "more": other})
    with pytest.raises(FrameError, match="other"):
        Index.build(held).search(other.take(np.array([0])))
    with pytest.raises(ConjoinError, match="did you mean text"):
        Index.build(held).search(held["text"].take(np.array([0])), into=["txet"])


def test_lorentz_frames_rank_by_distance():
    rng = np.random.default_rng(0)
    frame = Frame.mint("given", "h", 4, {}, score="lorentz", curvature=1.0)
    body = rng.standard_normal((50, 3))
    points = np.c_[body, np.sqrt(1 + (body**2).sum(1))].astype(np.float32)
    space = Space(np.arange(50).astype(str), points, frame)
    found = Index.build({"x": space}).search(space.take(np.array([7])), k=50).lists["x"]
    inner = points[:, 3] * points[7, 3] - body @ body[7]
    distance = np.arccosh(np.maximum(inner, 1))
    got = [distance[int(hit.id)] for hit in found]
    assert all(a <= b + 1e-3 for a, b in pairwise(got))


def test_save_and_open(tmp_path):
    held = spaces()
    corrections = {("text", "image"): CSLS(3).fit(held["image"].vectors, held["text"].vectors)}
    index = Index.build(held, corrections)
    index.save(tmp_path)
    first = sorted(path.name for path in tmp_path.iterdir())
    index.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == first
    again = Index.open(tmp_path)
    assert isinstance(again.spaces["image"].vectors, np.ndarray)
    queries = held["text"]
    for a, b in zip(
        index.search_many(queries, "text", k=4), again.search_many(queries, "text", k=4),
        strict=True,
    ):  # fmt: skip
        assert a.to_json() == b.to_json()
    hit = a.lists["image"][0]
    assert set(hit.scores) == {"cosine", "csls"}
    assert hit.score == hit.scores["csls"]
    row = np.flatnonzero((held["image"].ids == hit.id) & (held["image"].parts == hit.part))[0]
    cosine = unit(held["image"].vectors[row]) @ unit(queries.vectors[-1])
    assert hit.scores["cosine"] == pytest.approx(cosine, abs=1e-5)
    Index.build({"text": held["text"]}).save(tmp_path)
    assert len(list(tmp_path.glob("*.safetensors"))) == 1


def test_opening_what_is_not_whole(tmp_path):
    with pytest.raises(StateError, match="is missing"):
        Index.open(tmp_path)
    Index.build(spaces()).save(tmp_path)
    path = next(tmp_path.glob("space-*"))
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(StateError, match="torn"):
        Index.open(tmp_path)


def test_a_correction_of_other_rows_is_refused():
    held = spaces()
    wrong = CSLS(3).fit(held["text"].vectors, held["text"].vectors)
    with pytest.raises(ConjoinError, match="30 rows for 90"):
        Index.build(held, {("text", "image"): wrong})
