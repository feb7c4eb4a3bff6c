"""What every mask of the catalogue keeps."""

import numpy as np

from conjoin.catalogue import of_kind
from conjoin.models.pretraining.masks import DirichletMask, Mask, SpanMask, budget, parse

COUNTS = {"a": np.array([7, 1, 0, 12]), "b": np.array([4, 0, 3, 12])}


def sources(seed, rows=4):
    return [np.random.default_rng([seed, row]) for row in range(rows)]


def test_only_tokens_that_exist_are_hidden_and_draws_repeat():
    for name, row in of_kind("mask").items():
        mask = row.make()
        assert isinstance(mask, Mask)
        for seed in range(20):
            drawn = mask.draw(COUNTS, sources(seed))
            again = mask.draw(COUNTS, sources(seed))
            for view, counts in COUNTS.items():
                hidden = drawn[view]
                assert hidden.shape == (4, counts.max()), name
                assert not hidden[np.arange(hidden.shape[1]) >= counts[:, None]].any(), name
                np.testing.assert_array_equal(hidden, again[view], err_msg=name)


def test_a_row_is_masked_alike_whatever_its_neighbours_are():
    for name, row in of_kind("mask").items():
        whole = row.make().draw(COUNTS, sources(1))
        alone = row.make().draw({v: c[3:] for v, c in COUNTS.items()}, sources(1)[3:])
        for view in COUNTS:
            np.testing.assert_array_equal(whole[view][3], alone[view][0], err_msg=name)


def test_budgets_are_exact():
    for name in ("token:0.3", "span:0.3:2", "view:0:0.3"):
        for seed in range(30):
            for view, hidden in parse(name).draw(COUNTS, sources(seed)).items():
                wanted = [budget(0.3, int(t)) for t in COUNTS[view]]
                assert hidden.sum(1).tolist() == wanted, name
    total = COUNTS["a"] + COUNTS["b"]
    for seed in range(30):
        drawn = DirichletMask(0.4, 0.3).draw(COUNTS, sources(seed))
        shown = total - drawn["a"].sum(1) - drawn["b"].sum(1)
        assert shown.tolist() == [max(1, round(0.4 * int(t))) for t in total]


def test_a_whole_view_is_hidden_as_often_as_asked():
    counts = {"a": np.full(2000, 6)}
    hidden = parse("view:0.5:0.15").draw(counts, sources(0, 2000))["a"]
    assert abs(hidden.all(1).mean() - 0.5) < 0.04


def test_spans_are_as_long_as_asked():
    long = SpanMask(0.4, 6.0).draw({"a": np.full(300, 60)}, sources(0, 300))["a"]
    short = SpanMask(0.4, 1.0).draw({"a": np.full(300, 60)}, sources(0, 300))["a"]

    def mean_length(hidden):
        starts = (hidden & ~np.pad(hidden, ((0, 0), (1, 0)))[:, :-1]).sum()
        return hidden.sum() / starts

    assert mean_length(long) > 2 * mean_length(short)
