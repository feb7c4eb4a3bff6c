"""Search by words: the formula, several scripts, and when it is indexed again."""

import builtins
import math
from collections import Counter

import numpy as np
import pytest

from conjoin.errors import ConjoinError
from conjoin.retrieval.lexical.bm25 import Lexical

pytest.importorskip("lancedb")

TEXTS = {
    "apple": ["red apple", "fruit red"],
    "car": ["red car"],
    "school": ["École élémentaire"],
    "zh": ["红色的苹果和香蕉"],
    "ja": ["赤いりんごを食べる猫"],
    "ar": ["تفاحة حمراء كبيرة"],
    "ru": ["красное яблоко"],
    "hi": ["लाल सेब"],
    "th": ["แอปเปิลสีแดง"],
    "none": [],
}


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    return Lexical.open(tmp_path_factory.mktemp("words"), TEXTS)


def bm25(query, docs, k=1.2, b=0.75):
    tokens = {item: Counter(text.lower().split()) for item, text in docs.items()}
    mean = sum(sum(t.values()) for t in tokens.values()) / len(tokens)
    found = {}
    for item, own in tokens.items():
        score = 0.0
        for word in query.split():
            held = sum(word in t for t in tokens.values())
            idf = math.log(1 + (len(tokens) - held + 0.5) / (held + 0.5))
            f = own[word]
            score += idf * f * (k + 1) / (f + k * (1 - b + b * sum(own.values()) / mean))
        if score > 0:
            found[item] = score
    return found


def test_scores_are_bm25(tmp_path):
    docs = {
        "a": "red red apple", "b": "green apple pie with cream", "c": "red car", "d": "a blue sky",
        "e": "pie",
    }  # fmt: skip
    held = Lexical.open(tmp_path, {item: [text] for item, text in docs.items()})
    for query in ("red", "apple pie", "cream red sky"):
        found = held.search(query)
        expected = bm25(query, docs)
        got = dict(zip(found.ids.tolist(), found.scores.tolist(), strict=True))
        assert got == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("query", "item"),
    [("ecole", "school"), ("ÉCOLE", "school"), ("苹果", "zh"), ("红色", "zh"), ("りんご", "ja"),
     ("猫", "ja"), ("حمراء", "ar"), ("яблоко", "ru"), ("ЯБЛОКО", "ru"), ("सेब", "hi"),
     ("สีแดง", "th")],
)  # fmt: skip
def test_every_script_is_found(words, query, item):
    assert words.search(query).ids.tolist() == [item]


def test_what_looks_like_syntax_is_words(words):
    for query in ('"', "a AND (b", "red* -car", "x:y", "\\", "'; drop"):
        words.search(query)
    assert set(words.search("red* OR -nothing").ids.tolist()) == {"apple", "car"}


def test_items_are_left_out_and_lists_cut(words):
    whole = words.search("red")
    assert whole.ids.tolist() == ["apple", "car"]
    assert whole.low == whole.floor == 0
    assert words.search("red", exclude=["apple"]).ids.tolist() == ["car"]
    assert words.search("red", 1).ids.tolist() == ["apple"]
    assert len(words.search("absent")) == 0


def test_it_is_indexed_again_only_where_a_text_changed(tmp_path):
    Lexical.open(tmp_path, TEXTS)
    (first,) = tmp_path.iterdir()
    made = first.stat().st_mtime_ns
    Lexical.open(tmp_path, dict(reversed(TEXTS.items())))
    assert [first] == list(tmp_path.iterdir())
    assert first.stat().st_mtime_ns == made
    again = Lexical.open(tmp_path, {**TEXTS, "car": ["blue car"]})
    (second,) = tmp_path.iterdir()
    assert second != first
    assert again.search("blue").ids.tolist() == ["car"]


def test_nothing_written_is_refused(tmp_path):
    with pytest.raises(ConjoinError, match="no item has a text"):
        Lexical.open(tmp_path, {"a": [" "]})


def test_without_the_database_the_extra_is_named(tmp_path, monkeypatch):
    real = builtins.__import__

    def lacking(name, *rest, **more):
        if name.split(".")[0] == "lancedb":
            raise ImportError(name="lancedb")
        return real(name, *rest, **more)

    monkeypatch.setattr("importlib.import_module", lambda name: lacking(name))
    with pytest.raises(ConjoinError, match=r"pip install \"conjoin\[search\]\""):
        Lexical.open(tmp_path, TEXTS)


def test_the_bundled_sample_is_found_in_its_languages(tmp_path):
    from pyarrow import parquet

    from conjoin.items.bundled import sample_path

    columns = [f"label_{code}" for code in ("de", "fr", "ja", "zh", "ru", "th", "ko", "hi")]
    table = parquet.read_table(sample_path(), columns=["id", *columns]).to_pylist()
    texts = {row["id"]: [row[c] for c in columns if row[c]] for row in table}
    held = Lexical.open(tmp_path, texts)
    asked = table[:: max(1, len(table) // 25)]
    for column in columns:
        found = [row["id"] in held.search(row[column], 10).ids for row in asked if row[column]]
        assert np.mean(found) > 0.9, column
