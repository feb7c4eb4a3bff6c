"""What every catalogue row of kind "data" keeps."""

import dataclasses
from functools import cache

import numpy as np
import pytest

from conjoin.catalogue import of_kind
from conjoin.claims.datasets.registry import Data, open_bench
from conjoin.errors import ConjoinError
from conjoin.evaluation.benchmark import refuse_leak, whole_setting
from conjoin.spaces import Tokens
from conjoin.spaces.pairs import ABSENT

#: Views of each row that are read in a moment; all that is laid down here holds for every view.
LIGHT = {
    "emoji-upgrade": ("old-name", "old"),
    "emoji": ("static", "ja"),
    "emoji-groups": ("ja", "static"),
    "digits": ("right", "static", "left"),
    "digit-views": ("fourier", "rows"),
    "easy-vqa": ("pixels", "words"),
    "wine": ("colours", "acids"),
    "motions": ("rotation", "acceleration"),
    "umls": ("static", "object", "graph"),
    "kinships": ("object", "subject"),
}
ROWS = of_kind("data")
every = pytest.mark.parametrize("name", ROWS)
#: One row of each engine's files, where reading them again would show no more.
each_engine = pytest.mark.parametrize(
    "name", {row.target: name for name, row in reversed(ROWS.items())}.values()
)


@cache
def bench_of(name):
    return open_bench(f"{name}:{'+'.join(LIGHT[name])}")


def numbers(space):
    vectors = space.vectors.vectors if isinstance(space.vectors, Tokens) else space.vectors
    return np.asarray(vectors)


@every
def test_it_is_a_frozen_dataclass_that_says_its_views(name):
    made = ROWS[name].make()
    assert isinstance(made, Data)
    assert dataclasses.is_dataclass(made)
    assert type(made).__dataclass_params__.frozen
    assert set(LIGHT[name]) <= set(made.views)
    assert len(set(made.views)) == len(made.views)


@every
def test_the_views_come_as_asked(name):
    bench = bench_of(name)
    assert bench.name == f"{name}:{'+'.join(LIGHT[name])}"
    assert tuple(bench.spaces) == LIGHT[name]
    assert bench.pairs.names == LIGHT[name]
    for space in bench.spaces.values():
        assert np.isfinite(numbers(space)).all()
        assert len(space) == len(space.content)
        assert (space.content != 0).all(), "equal contents must be known to be equal"


@every
def test_pairs_join_rows_of_one_item(name):
    bench = bench_of(name)
    assert len(bench.pairs) > 0
    for line in bench.pairs.rows:
        found = {
            str(bench.spaces[view].ids[row])
            for view, row in zip(bench.pairs.names, line, strict=True)
            if row != ABSENT
        }
        assert len(found) == 1


@every
def test_groups_and_classes_cover_every_item(name):
    bench = bench_of(name)
    ids = {str(item) for space in bench.spaces.values() for item in space.ids}
    assert ids <= set(bench.groups)
    if bench.labels:
        assert ids <= set(bench.labels)
    for view, space in bench.names.items():
        assert set(space.ids) == set(bench.labels.values())
        assert space.frame == bench.spaces[view].frame


@every
def test_a_fixed_part_is_held_out_and_does_not_leak(name):
    bench = bench_of(name)
    for view, space in bench.spaces.items():
        held = bench.held(view)
        assert 0.2 < held.mean() < 0.4
        groups = np.array([bench.groups[str(item)] for item in space.ids])
        assert not set(groups[held]) & set(groups[~held])
    setting = whole_setting(bench)
    inner = setting.inner(0)
    refuse_leak(setting.train, setting.bed.test)
    refuse_leak(inner.train, inner.bed.test)


@each_engine
def test_twice_gives_the_same_bytes(name, tmp_path, monkeypatch):
    first = bench_of(name)
    monkeypatch.setenv("CONJOIN_CACHE", str(tmp_path))  # nothing is kept there yet
    again = open_bench(first.name)
    assert again.digest == first.digest
    for view, space in first.spaces.items():
        assert numbers(space).tobytes() == numbers(again.spaces[view]).tobytes()
    for view, space in first.names.items():
        assert numbers(space).tobytes() == numbers(again.names[view]).tobytes()


@every
def test_bad_views_are_refused(name):
    made = ROWS[name].make()
    view = made.views[0]
    with pytest.raises(ConjoinError, match="no view"):
        made.load(())
    with pytest.raises(ConjoinError, match=f"did you mean {view}"):
        made.load((view[:-1],))
    with pytest.raises(ConjoinError, match="twice"):
        made.load((view, view))
