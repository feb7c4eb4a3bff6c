"""Smaller codes and prefixes: what they lose, in which order, and when they lose nothing."""

import numpy as np
import pytest

from conjoin.errors import ConjoinError
from conjoin.retrieval.engines.exact import Penalty, top_k
from conjoin.retrieval.engines.quantization import Codes, Storage, adaptive, funnel
from conjoin.retrieval.hubness.csls import CSLS
from conjoin.retrieval.index.index import Index
from conjoin.retrieval.index.recall import recall_of, storage_losses
from conjoin.retrieval.index.tuning import queries_into
from conjoin.spaces import Frame, Space, unit

DIM = 64
FRAME = Frame.mint("given", "bound", DIM, {})


def drawn(n, seed, spread=None):
    rng = np.random.default_rng(seed)
    spread = np.geomspace(1, 0.05, DIM) if spread is None else spread
    return unit(rng.standard_normal((n, DIM)) * spread).astype(np.float32)


GALLERY, QUERIES = drawn(4000, 0), drawn(60, 1)


def share(rows, want):
    return np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(rows, want, strict=True)])


@pytest.mark.parametrize("stage", [adaptive, funnel])
def test_a_prefix_of_the_whole_width_is_the_exact_search(stage):
    want = top_k(QUERIES, GALLERY, 7)
    for prefix, shortlist in ((DIM, 100), (8, len(GALLERY))):
        got = stage(QUERIES, GALLERY, 7, prefix=prefix, shortlist=shortlist)
        np.testing.assert_array_equal(got[1], want[1])
        np.testing.assert_array_equal(got[0], want[0])
    with pytest.raises(ConjoinError, match="shortlist"):
        stage(QUERIES, GALLERY, 7, prefix=8, shortlist=5)


def test_longer_prefixes_and_longer_shortlists_find_more():
    want = top_k(QUERIES, GALLERY, 10)[1]
    by_prefix = [
        share(adaptive(QUERIES, GALLERY, 10, prefix=p, shortlist=60)[1], want) for p in (4, 16, 48)
    ]
    assert by_prefix == sorted(by_prefix)
    assert by_prefix[0] < 0.8 < by_prefix[-1]
    by_list = [
        share(adaptive(QUERIES, GALLERY, 10, prefix=8, shortlist=s)[1], want) for s in (10, 80, 800)
    ]
    assert by_list == sorted(by_list)
    straight = share(adaptive(QUERIES, GALLERY, 10, prefix=8, shortlist=400)[1], want)
    narrowed = share(funnel(QUERIES, GALLERY, 10, prefix=8, shortlist=400)[1], want)
    assert straight - 0.1 <= narrowed <= straight


def test_a_prefix_ranks_by_the_cosine_of_what_it_sees():
    part = unit(GALLERY[:, :8])
    want = np.argsort(-(unit(QUERIES[:, :8]) @ part.T), axis=1, kind="stable")[:, :30]
    codes = Codes.of(Storage(prefix=8), GALLERY)
    assert share(codes.candidates(QUERIES, 30, None, None), want) > 0.999


def test_losses_are_ordered_and_ranking_again_mends_them():
    index = Index.build({"image": Space(np.arange(4000).astype(str), GALLERY, FRAME)})
    choices = [Storage(kind) for kind in ("float32", "float16", "int8", "binary")]
    losses = storage_losses(index, "image", {"text": QUERIES}, choices=choices)
    alone = [loss.codes.value for loss in losses]
    assert alone[0] == 1
    assert alone[0] >= alone[1] >= alone[2] > alone[3] > 0.2
    assert alone[2] > 0.9
    assert all(loss.reranked.value >= loss.codes.value for loss in losses)
    assert min(loss.reranked.value for loss in losses[:3]) > 0.999
    assert losses[3].reranked.value > 0.9
    assert [loss.bytes for loss in losses] == [256, 128, 64, 8]
    assert losses[3].codes.low < losses[3].codes.value < losses[3].codes.high


@pytest.mark.parametrize("kind", ["float16", "int8", "binary"])
def test_corrections_and_filters_reach_the_codes(kind):
    image = Space(np.arange(4000).astype(str), GALLERY, FRAME)
    fix = CSLS(5).fit(GALLERY, drawn(200, 5))
    index = Index.build({"image": image}, {("text", "image"): fix})
    engine = Codes.of(Storage(kind), GALLERY)
    found = recall_of(index, "image", {"text": QUERIES}, engine)
    assert found.value > 0.9
    allowed = np.arange(0, 4000, 3)
    rows = engine.candidates(QUERIES, 200, Penalty(fix.offset, None), allowed)
    assert np.isin(rows, allowed).all()
    want = allowed[top_k(QUERIES, GALLERY[allowed], 5, scale=2.0, offset=fix.offset[allowed])[1]]
    doubled = engine.candidates(2 * QUERIES, 200, Penalty(fix.offset, None), allowed)
    assert np.mean([np.isin(b, a).mean() for a, b in zip(doubled, want, strict=True)]) > 0.95


def test_bad_choices_are_named():
    with pytest.raises(ConjoinError, match="did you mean int8"):
        Storage("int9")
    with pytest.raises(ConjoinError, match="prefix"):
        Storage(funnel=True)
    assert list(queries_into({"a": QUERIES, "b": QUERIES}, "b")) == ["a"]
    assert list(queries_into({"b": QUERIES}, "b")) == ["b"]
