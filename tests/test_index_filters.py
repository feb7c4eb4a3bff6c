"""The grammar of filters against brute force, and as the database reads it."""

import datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conjoin.errors import ConjoinError
from conjoin.search.filters import Filter, Term, parse

TABLE = pa.table(
    {
        "n": pa.array([1, 2, None, -3, 2**40]),
        "x": [0.5, None, 2.0, -1.5, 1e9],
        "s": ["cat", "big dog", None, "O'Neil", "and"],
        "b": [True, False, None, True, False],
        "d": [datetime.date(2020, 1, day) for day in range(1, 6)],
        "odd `name`": ["a", "b", "c", "d", "e"],
    }
)
texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=8)
compare = {
    "=": lambda a, b: a == b, "!=": lambda a, b: a != b, "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b, ">": lambda a, b: a > b, ">=": lambda a, b: a >= b,
}  # fmt: skip
values = {
    "n": st.one_of(st.integers(-5, 5), st.just(2**40)),
    "x": st.sampled_from([0.5, 2.0, -1.5, 3.25]),
    "s": st.one_of(texts, st.sampled_from(["cat", "big dog", "O'Neil", "and"])),
    "odd `name`": st.sampled_from("abcxyz"),
}  # fmt: skip


@st.composite
def terms(draw):
    column = draw(st.sampled_from(sorted(values)))
    op = draw(st.sampled_from([*compare, "in"]))
    many = draw(st.lists(values[column], min_size=1, max_size=3 if op == "in" else 1))
    return column, op, many


@given(st.lists(terms(), min_size=1, max_size=3))
@settings(max_examples=150, deadline=None)
def test_a_filter_is_read_back_and_keeps_what_brute_force_keeps(wanted):
    built = Filter(tuple(Term(c, op, tuple(map(str, many))) for c, op, many in wanted))
    assert parse(str(built)) == built
    rows = TABLE.to_pylist()
    want = [
        all(
            row[c] is not None and (row[c] in many if op == "in" else compare[op](row[c], many[0]))
            for c, op, many in wanted
        )
        for row in rows
    ]
    assert built.mask(TABLE).tolist() == want


def test_what_people_write():
    mask = parse("n>=1 and s in (cat, 'big dog')").mask(TABLE)
    assert mask.tolist() == [True, True, False, False, False]
    assert parse('s="O\'Neil"').mask(TABLE).tolist() == [False, False, False, True, False]
    assert parse("b = TRUE AND d<2020-01-03").mask(TABLE).tolist() == [True] + 4 * [False]
    assert parse("`odd ``name```!=a").mask(TABLE).sum() == 4
    assert parse("n < 1.5").mask(TABLE).tolist() == [True, False, False, True, False]
    assert parse("s = and").mask(TABLE).tolist() == [False] * 4 + [True]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "ends too early"), ("n", "ends too early"), ("n=", "ends too early"),
        ("n==1", "out of place"), ("n=1 or x=2", "join terms with and"), ("n in 1", "in"),
        ("n in (1", "ends too early"), ("nn=1", "did you mean n"), ("n=cat", "not of type int64"),
        ("n=1.5", "not of type int64"), ("b=maybe", "not of type bool"), ("x=nan", "double"),
        ("d=soon", "date32"), ("s='cat", "cannot be read at"), ("n=1 and", "ends too early"),
        ("n in (1,)", "out of place"), ("n=99999999999999999999", "not of type int64"),
    ],
)  # fmt: skip
def test_bad_filters_are_one_line(text, says):
    with pytest.raises(ConjoinError) as error:
        parse(text).mask(TABLE)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_the_database_reads_the_same(tmp_path):
    lancedb = pytest.importorskip("lancedb")
    names = {name: f"m{place}" for place, name in enumerate(TABLE.column_names)}
    held = TABLE.rename_columns(list(names.values())).append_column("row", pa.array(range(5)))
    table = lancedb.connect(str(tmp_path)).create_table("t", held)
    types = {field.name: field.type for field in TABLE.schema}
    for text in (
        "n>=1 and s in (cat, 'big dog')", "s = \"O'Neil\"", "b=true and d<2020-01-03", "x<=0.5",
        "s!=cat", "n in (2, -3)", "`odd ``name``` > b", "n<1.5",
    ):  # fmt: skip
        found = table.search().where(parse(text).sql(types, names)).select(["row"]).to_arrow()
        assert (
            sorted(found.column("row").to_pylist())
            == np.flatnonzero(parse(text).mask(TABLE)).tolist()
        )
