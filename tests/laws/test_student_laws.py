"""What every student of the catalogue promises."""

import numpy as np
import pytest

from conjoin import catalogue
from conjoin.errors import ConjoinError
from conjoin.maps.base import load_map, save_map
from conjoin.transfer.base import Student
from conjoin.transfer.students import own_ranks
from conjoin.transfer.teachers import Similarities, side_by_side, teachers_of

ROWS = catalogue.of_kind("student")
ALL = pytest.mark.parametrize("name", list(ROWS))
RNG = np.random.default_rng(0)
N = 96
CAUSE = RNG.normal(size=(N, 6))
X = (CAUSE @ RNG.normal(size=(6, 9)) + 0.1 * RNG.normal(size=(N, 9))).astype(np.float32)
TEACHER = (CAUSE @ RNG.normal(size=(6, 7)) + 0.05 * RNG.normal(size=(N, 7))).astype(np.float32)
OTHER = (CAUSE @ RNG.normal(size=(6, 4)) + 0.05 * RNG.normal(size=(N, 4))).astype(np.float32)


def made(name, **fields):
    quick = {"steps": 6, "batch": 32, "hidden": 16} if ROWS[name].cost == "trained" else {}
    return ROWS[name].make({**quick, **fields})


@ALL
def test_it_keeps_the_interface(name):
    assert isinstance(made(name), Student)
    student = made(name).fit(X, TEACHER)
    out = student.apply(X)
    assert out.shape == (N, 7)
    np.testing.assert_allclose(np.linalg.norm(out, axis=1), 1, atol=1e-5)


@ALL
def test_a_perfect_teacher_is_matched(name):
    student = made(name, lam=1e-4).fit(TEACHER, TEACHER)
    cosines = (student.apply(TEACHER) * side_by_side({"t": TEACHER})).sum(axis=1)
    # The teacher's lengths are not linear in it: the small ones lie a little off.
    assert np.mean(cosines) > 0.97
    assert (own_ranks(student.apply(TEACHER), TEACHER) == 1).mean() > 0.9


@ALL
def test_several_teachers_of_different_widths(name):
    student = made(name).fit(X, {"big": TEACHER, "small": OTHER})
    assert student.apply(X).shape == (N, 11)
    both = side_by_side({"big": TEACHER, "small": OTHER})
    assert np.mean(own_ranks(student.apply(X), both)) < N / 8
    listed = made(name).fit(X, [TEACHER, OTHER])
    assert listed.apply(X).tobytes() == student.apply(X).tobytes()


@ALL
def test_similarities_may_stand_for_a_teacher(name):
    unit = side_by_side({"t": TEACHER})
    student = made(name).fit(X, Similarities(unit @ unit.T))
    found = student.apply(X) @ student.apply(X).T
    assert np.corrcoef(found.ravel(), (unit @ unit.T).ravel())[0, 1] > 0.8


@ALL
def test_a_teacher_of_the_wrong_length_is_refused(name):
    with pytest.raises(ConjoinError, match="teacher: 95 rows for 96 of the student"):
        made(name).fit(X, TEACHER[1:])
    with pytest.raises(ConjoinError, match="teacher small: 2 rows for 96"):
        made(name).fit(X, {"big": TEACHER, "small": OTHER[:2]})


@ALL
def test_bad_input_is_refused_by_name(name):
    spoilt = X.copy()
    spoilt[5, 0] = np.inf
    with pytest.raises(ConjoinError, match="x: row 5 holds NaN or infinity"):
        made(name).fit(spoilt, TEACHER)
    worse = TEACHER.copy()
    worse[6] = np.nan
    with pytest.raises(ConjoinError, match="teacher: row 6 holds NaN"):
        made(name).fit(X, worse)
    with pytest.raises(ConjoinError, match="x: 3 rows; give at least 4"):
        made(name).fit(X[:3], TEACHER[:3])
    with pytest.raises(ConjoinError, match="groups: 5 for 96 items"):
        made(name).fit(X, TEACHER, groups=np.arange(5))


@ALL
def test_the_same_seed_gives_the_same_student_and_saving_is_exact(name, tmp_path):
    labels = np.arange(N) % 5
    one = made(name).fit(X, TEACHER, labels, groups=np.arange(N) // 2, seed=3)
    two = made(name).fit(X, TEACHER, labels, groups=np.arange(N) // 2, seed=3)
    assert one.apply(X).tobytes() == two.apply(X).tobytes()
    save_map(one, tmp_path / "map")
    assert load_map(tmp_path / "map").apply(X).tobytes() == one.apply(X).tobytes()


@ALL
def test_rows_may_come_in_any_order(name):
    if ROWS[name].cost == "trained":
        pytest.skip("batches are drawn by line")
    order = np.random.default_rng(1).permutation(N)
    one, two = made(name).fit(X, TEACHER), made(name).fit(X[order], TEACHER[order])
    np.testing.assert_allclose(one.apply(X), two.apply(X), atol=1e-4)


def test_similarities_are_told_from_their_vectors():
    unit = side_by_side({"t": TEACHER}).astype(np.float64)
    vectors = Similarities(unit @ unit.T).vectors()
    assert vectors.shape == (N, 7)
    np.testing.assert_allclose(vectors @ vectors.T, unit @ unit.T, atol=1e-5)
    with pytest.raises(ConjoinError, match="give \\[n, n\\]"):
        Similarities(np.zeros((3, 4))).vectors()
    with pytest.raises(ConjoinError, match="0 or below"):
        Similarities(-np.eye(4)).vectors()
    with pytest.raises(ConjoinError, match="there is none"):
        teachers_of({}, 4)
