"""The grammar of filters against brute force, and as the database reads it."""

import datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conjoin.errors import ConjoinError
from conjoin.retrieval.index.filters import Filter, Join, Term, parse

TABLE = pa.table(
    {
        "n": pa.array([1, 2, None, -3, 2**40]),
        "x": [0.5, None, 2.0, -1.5, 1e9],
        "s": ["cat", "big dog", None, "O'Neil", "and"],
        "b": [True, False, None, True, False],
        "d": [datetime.date(2020, 1, day) for day in range(1, 6)],
        "odd `name`": ["a", "b", "c", "d", "e"],
        "t": ["True", "False", None, "TRUE", "maybe"],
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
    op = draw(st.sampled_from([*compare, "in", "not in", "is null", "is not null"]))
    many = draw(st.lists(values[column], min_size=1, max_size=3 if op.endswith("in") else 1))
    if column == "s" and op in ("<", "<=", ">", ">="):  # numbers are refused there
        many = [f"x{one}" for one in many]
    many = [] if "null" in op else many
    return column, op, many


def joins(inside):
    many = st.lists(inside, min_size=2, max_size=3)
    return st.one_of(
        st.tuples(st.sampled_from(["and", "or"]), many),
        st.tuples(st.just("not"), st.lists(inside, min_size=1, max_size=1)),
    )


def built(node):
    if len(node) == 3:
        column, op, many = node
        return Term(column, op, tuple(map(str, many)))
    return Join(node[0], tuple(map(built, node[1])))


def truth(node, row):
    """True, False or None (cannot be told), as SQL has it."""
    if len(node) == 3:
        column, op, many = node
        value = row[column]
        if "null" in op:
            return (value is None) == (op == "is null")
        if value is None:
            return None
        if op.endswith("in"):
            return (value in many) == (op == "in")
        return compare[op](value, many[0])
    found = [truth(part, row) for part in node[1]]
    if node[0] == "not":
        return None if found[0] is None else not found[0]
    wins = node[0] == "or"
    if wins in found:
        return wins
    return None if None in found else not wins


@given(st.recursive(terms(), joins, max_leaves=5))
@settings(max_examples=200, deadline=None)
def test_a_filter_is_read_back_and_keeps_what_brute_force_keeps(wanted):
    made = Filter(built(wanted))
    read = parse(str(made))
    want = [truth(wanted, row) is True for row in TABLE.to_pylist()]
    assert made.mask(TABLE).tolist() == want
    assert read.mask(TABLE).tolist() == want
    assert str(parse(str(read))) == str(read)


def test_what_people_write():
    mask = parse("n>=1 and s in (cat, 'big dog')").mask(TABLE)
    assert mask.tolist() == [True, True, False, False, False]
    assert parse('s="O\'Neil"').mask(TABLE).tolist() == [False, False, False, True, False]
    assert parse("b = TRUE AND d<2020-01-03").mask(TABLE).tolist() == [True] + 4 * [False]
    assert parse("`odd ``name```!=a").mask(TABLE).sum() == 4
    assert parse("n < 1.5").mask(TABLE).tolist() == [True, False, False, True, False]
    assert parse("s = and").mask(TABLE).tolist() == [False] * 4 + [True]
    for text, rows in (
        ("n=1 or n=2 and x=0.5", [0]), ("(n=1 or n=2) and b=false", [1]), ("n is null", [2]),
        ("n IS NOT NULL and not n<0", [0, 1, 4]), ("n not in (1, 2)", [3, 4]), ("t=true", [0, 3]),
        ("t != TRUE", [1, 4]), ("t in (False, true)", [0, 1, 3]),
        ("t = True or t is null", [0, 2, 3]),
        ("n=2.0", [1]), ("n in (1e0, -3)", [0, 3]), ("b=1", [0, 3]), ("b=no", [1, 4]),
        ("not (n=1)", [1, 3, 4]), ("not n=1", [1, 3, 4]), ("s is missing", [2]),
        ("d is null", []), ("x > 1e3", [4]), ("((n=1))", [0]),
    ):  # fmt: skip
        assert np.flatnonzero(parse(text).mask(TABLE)).tolist() == rows, text


def test_columns_named_as_words_of_the_grammar():
    table = pa.table({"not": [1, 2], "is": [1, 2], "in": [1, 2], "and": [1, 2], "or": [1, 2]})
    for name in table.column_names:
        assert parse(f"{name}=2").mask(table).tolist() == [False, True]
        assert parse(f"`{name}` in (1)").mask(table).tolist() == [True, False]
    assert parse("not not=2 or in is null").mask(table).tolist() == [True, False]


def test_a_filter_that_meets_nothing_says_what_the_column_holds():
    for text, said in (
        ("s=dog", "'s' holds 'cat', 'big dog', "), ("n>=1 and x>1e10", "'x' holds -1.5 to 1"),
        ("n=1 and n=2", "though each of its terms meets some"), ("d is null", "'d' holds 2020-"),
        ("n in (7, 8)", "meets none of 5 rows: 'n' holds -3 to 1099511627776"),
    ):  # fmt: skip
        assert said in parse(text).met_nothing(TABLE)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "ends too early"), ("n", "ends too early"), ("n=", "ends too early"),
        ("n==1", "out of place"), ("n=1 x=2", "join terms with and, or"),
        ("(n=1", "ends too early"),
        ("n=1)", "join terms with and"), ("n is 3", "write is null"), ("not", "ends too early"),
        ("(" * 60 + "n=1", "nested more than 50"), ("s > 5", "ordered by their letters"),
        ("n=1e400", "not of type int64"), ("n=1 or", "ends too early"), ("n not 3", "out of place"),
        ("n in 1", "in"),
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
        "s!=cat", "n in (2, -3)", "`odd ``name``` > b", "n<1.5", "n=1 or n=2 and x=0.5",
        "not (n=1 or x is null)", "t=true or n is null", "s not in (cat)", "t in (false, TRUE)",
    ):  # fmt: skip
        found = table.search().where(parse(text).sql(types, names)).select(["row"]).to_arrow()
        assert (
            sorted(found.column("row").to_pylist())
            == np.flatnonzero(parse(text).mask(TABLE)).tolist()
        )
