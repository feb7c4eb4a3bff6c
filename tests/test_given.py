"""What users give is read by position, whatever holds it, and refused in one line."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from jaxtyping import TypeCheckError

import conjoin
import odd
from conjoin.alignment.sklearn import CCAMap, CenteringMap, ProcrustesMap, RidgeMap
from conjoin.catalogue import find
from conjoin.errors import ConjoinError
from conjoin.retrieval.index.filters import parse
from conjoin.spaces import unit
from conjoin.spaces.given import cells_of, frame_columns, labels_of, mask_of, matrix_of
from odd import escaped

datasets = pytest.importorskip("datasets")
WORDS = ["a red fruit", "a cat", "one dog", "the sea"]


def _holders(values):
    yield list(values)
    yield tuple(values)
    yield iter(values)
    yield (value for value in values)
    yield dict.fromkeys(values).keys() if isinstance(values[0], str) else list(values)
    yield pd.Series(values, index=[5, 1, 0, 9])
    yield pd.Series(values, index=list("dcba")).sort_index(ascending=False)[::-1][::-1]
    yield pd.DataFrame({"one": values}, index=[3, 2, 1, 0])
    yield pa.array(values)
    yield pa.chunked_array([values[:1], values[1:]])
    yield pa.table({"one": values})
    yield datasets.Dataset.from_dict({"one": values})
    yield datasets.Dataset.from_dict({"one": values})["one"]
    yield datasets.Dataset.from_dict({"one": values}).to_iterable_dataset()
    yield np.array(values, dtype=object)


def test_cells_come_by_position_from_whatever_holds_them():
    for held in _holders(WORDS):
        if isinstance(held, type({}.keys())):
            with pytest.raises(ConjoinError, match="in order"):
                cells_of(held)
            continue
        got = cells_of(held)
        assert [got[place] for place in range(len(got))] == WORDS, type(held)
    for held in _holders([3, 1, 2, 0]):
        assert [int(one) for one in cells_of(held)] == [3, 1, 2, 0], type(held)


@pytest.mark.parametrize("one", ["a red fruit", b"GIF8", {"a": 1}, 3, None, np.float64(2), {1, 2}])
def test_one_cell_is_no_list_of_cells(one):
    with pytest.raises(ConjoinError, match="cells: is"):
        cells_of(one)


def test_embedding_follows_the_order_given_and_loses_no_row():
    cells = pd.Series(WORDS, index=[5, 1, 0, 9])
    plain = conjoin.embed(WORDS, "builtin:chargram").vectors
    turned = conjoin.embed(cells[::-1], "builtin:chargram")
    assert np.array_equal(turned.vectors, plain[::-1])
    assert turned.ids.tolist() == list("0123")
    kept = conjoin.embed(cells[cells != "a cat"], "builtin:chargram")
    assert np.array_equal(kept.vectors, plain[[0, 2, 3]])
    rows = pd.DataFrame({"t": cells, "n": [1, 2, 3, 4]})
    assert np.array_equal(conjoin.embed(rows, "builtin:chargram", "t").vectors, plain)
    assert len(conjoin.embed(rows, "builtin:table")) == 4
    for wrong in ("a red fruit", rows, [], None):
        with pytest.raises(ConjoinError, match="cells"):
            conjoin.embed(wrong, "builtin:chargram")


def test_numbers_come_by_position_and_gaps_are_nan():
    want = np.array([[1.0, 2.0], [3.0, 4.0]])
    frame = pd.DataFrame(want, columns=["x", "y"], index=[7, 2])
    for held in (
        want, want.tolist(), iter(want), frame, pa.table({"x": [1.0, 3.0], "y": [2.0, 4.0]}),
        pd.Series(list(want), index=[1, 0]), torch.tensor(want, requires_grad=True),
        torch.tensor(want, dtype=torch.bfloat16), [torch.tensor(row) for row in want],
        pa.array(want.tolist()), frame.convert_dtypes(),
    ):  # fmt: skip
        assert np.array_equal(matrix_of(held, "x"), want), type(held)
    gaps = matrix_of(pd.DataFrame({"x": [1, pd.NA], "y": [2, 3]}).convert_dtypes(), "x")
    assert np.isnan(gaps).tolist() == [[False, False], [True, False]]
    assert np.isnan(matrix_of(pd.Series([[1, 2], None]), "x")).tolist() == [[False] * 2, [True] * 2]
    for wrong, said in (
        (pd.DataFrame({"who": ["a", "b"]}), "column 'who' is not numbers"),
        ([[1, 2], [3]], "rows of 1 to 2"), ([1, 2], r"shape \(2,\)"), ([["a"]], "not an array"),
        ("abc", "one str"), (None, "is None"), (__import__("scipy.sparse").sparse.eye(2), "sparse"),
    ):  # fmt: skip
        with pytest.raises(ConjoinError, match=said):
            matrix_of(wrong, "x")


def test_what_reads_block_by_block_stays_on_disk(tmp_path):
    stored = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, (4, 2))
    assert matrix_of(stored, "x") is stored


def test_labels_are_one_an_item_and_all_there():
    for held, want in (
        (["b", "a"], ["b", "a"]), (pd.Series(["b", "a"], index=[1, 0], dtype="category"), "ba"),
        (pd.DataFrame({"y": ["b", "a"]}), "ba"), (np.array([["b"], ["a"]]), "ba"),
        (torch.tensor([2, 1]), [2, 1]), (pd.Series([2, 1], dtype="Int64"), [2, 1]),
        ([True, False], [True, False]), ([10**30, 1], [str(10**30), "1"]),
        (pd.Series([0.5, 2]), [0.5, 2.0]),
    ):  # fmt: skip
        assert labels_of(held, "y", 2).tolist() == list(want)
    for wrong, said in (
        (["a", None], "1 of 2 are missing, the first in row 1"),
        (pd.Series(["a", pd.NA], dtype="string"), "1 of 2 are missing, the first in row 1"),
        ([1.0, float("nan")], "1 of 2 are missing, the first in row 1"),
        ([pd.NaT, 1], "in row 0"), (["a", 1], "mixes types"),
        (np.ones((2, 2)), r"shape \(2, 2\)"), ([[1, 2], [3, 4]], "row 0 holds a list"),
        ("ab", "one str"), (["a"], "1 for 2 items"), ([b"a", b"b"], "holds a bytes"),
    ):  # fmt: skip
        with pytest.raises(ConjoinError, match=said):
            labels_of(wrong, "y", 2)


def test_masks_are_truth_values_and_no_row_numbers():
    assert mask_of(pd.Series([True, False], index=[1, 0]), "held").tolist() == [True, False]
    assert mask_of([0, 1.0], "held").tolist() == [False, True]
    for wrong in ([2, 0], ["yes", "no"], [None, True], [True]):
        with pytest.raises(ConjoinError, match="held"):
            mask_of(wrong, "held", 2)


def test_columns_of_tables_in_memory():
    assert list(frame_columns({1: [1], "b": iter([2])})) == ["1", "b"]
    both = datasets.DatasetDict({"train": datasets.Dataset.from_dict({"a": [1]})})
    for wrong, said in (
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "share a name, 'a'"), (both, "splits .train"),
        ({"a": "xyz"}, "column 'a': is one str"), ([1, 2], "is a list"), (3, "is a int"),
    ):  # fmt: skip
        with pytest.raises(ConjoinError, match=said):
            frame_columns(wrong)


def test_vectors_that_float32_does_not_hold_are_refused():
    for far in (1e300, 1e-300):
        with pytest.raises(ConjoinError, match="float32 does not hold"):
            conjoin.Space.of(np.array([[far, 0], [0, 1]]), name="x")


def test_vectors_near_the_ends_of_float32_find_themselves():
    x = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)
    for factor in (1e30, 1e-30, 1e37, 1e-37):
        space = conjoin.Space.of(x * np.float32(factor), name="far")
        hits = conjoin.Index.build({"a": space}).search(space.take(np.arange(1)), into=["a"], k=1)
        assert hits.lists["a"][0].id == "0"
        assert hits.lists["a"][0].score == pytest.approx(1, abs=1e-5)
    assert np.array_equal(unit(np.zeros((2, 3))), np.zeros((2, 3)))
    plain = x / np.linalg.norm(x, axis=1, keepdims=True)
    assert np.array_equal(unit(x), plain)  # ordinary rows keep their last bit
    assert np.allclose(unit(x.astype(np.float16)), plain, atol=2e-3)


@pytest.mark.filterwarnings("ignore")
def test_no_other_error_comes_out_of_a_public_edge():
    x = np.random.default_rng(0).normal(size=(24, 4)).astype(np.float32)
    frame = pd.DataFrame({"t": ["a", "b"]})
    edges = {
        "embed": lambda one: conjoin.embed(one, "builtin:chargram"),
        "embed vectors": lambda one: conjoin.embed(one, "builtin:vector"),
        "embed encoder": lambda one: conjoin.embed(["a"], one),
        "embed column": lambda one: conjoin.embed(frame, "builtin:chargram", one),
        "items": conjoin.Items.from_frame,
        "items column": lambda one: conjoin.Items.from_frame({"a": one}),
        "items id": lambda one: conjoin.Items.from_frame({"a": [1, 2]}, id=one),
        "space": lambda one: conjoin.Space.of(one, name="a"),
        "space ids": lambda one: conjoin.Space.of(x, one, name="a"),
        "space name": lambda one: conjoin.Space.of(x, name=one),
        "pairs": lambda one: conjoin.Pairs.of(a=one, b=one),
        "pairs by id": conjoin.Pairs.by_id,
        "tokens": lambda one: conjoin.Tokens(one, one),
        "index": conjoin.Index.build,
        "index space": lambda one: conjoin.Index.build({"a": one}),
        "filter": lambda one: parse(str(one)).mask(pa.table({"a": [1]})),
    }
    for made in (CCAMap, RidgeMap, ProcrustesMap, CenteringMap):
        edges[f"{made.__name__} X"] = lambda one, made=made: made().fit(one, x)
        edges[f"{made.__name__} y"] = lambda one, made=made: made().fit(x, one)
    for setting in ("lam", "rank", "power"):
        edges[f"CCAMap {setting}"] = lambda one, name=setting: CCAMap(**{name: one}).fit(x, x)
    # Types are checked while tests run.
    assert escaped(edges, alright=(TypeCheckError,)) == []


def test_no_other_error_comes_out_of_heads_students_fusions_and_choices():
    """In a process of its own: there types are checked by nothing but the edges."""
    ran = subprocess.run(
        [sys.executable, odd.__file__], capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout) == (0, ""), ran.stderr[-2000:]


def test_a_constant_view_and_settings_of_another_type_are_named():
    x = np.random.default_rng(0).normal(size=(24, 4))
    for call, said in (
        (lambda: CCAMap().fit(x, np.ones((24, 2))), "y: all 24 rows are the same"),
        (lambda: CCAMap().fit(np.ones((24, 2)), x), "X: all 24 rows are the same"),
        (lambda: CCAMap(lam="x").fit(x, x), "CCAMap.lam: 'x' is a str; give"),
        (lambda: find("aligner", "ridge").make({"lam": "x"}), "ridge.lam: 'x' is a str"),
        (lambda: find("aligner", "cca").make({"rank": 2.5}), "cca.rank: 2.5 is a float"),
        (lambda: find("aligner", "procrustes").make({"scale": 1}), "give true or false"),
    ):  # fmt: skip
        with pytest.raises(ConjoinError, match=said):
            call()
    assert find("aligner", "cca").make({"rank": 64}).rank == 64
    assert CCAMap(rank=2).fit(x, x).transform(x).shape == (24, 2)
