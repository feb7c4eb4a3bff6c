"""Searching as a person meets it: several parts, words, a second look, tuning."""

import json

import numpy as np
import pytest

from conjoin.catalogue import find
from conjoin.metrics.retrieval.late_interaction import maxsim_scores
from conjoin.retrieval.index.index import Index
from conjoin.retrieval.multi_vector.aggregate import Pooling, one_each
from conjoin.spaces import Frame, Space, Tokens, unit
from shelf import Caller, shelf, table, write_table

pytest.importorskip("lancedb")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A fitted shelf whose items carry a note that no vector sees."""
    folder = shelf(tmp_path_factory.mktemp("shelf") / "w", n=80)
    columns = table(80)
    columns["note"] = [f"note{row} {'alpha' if row % 2 else 'beta'}" for row in range(80)]
    write_table(folder, columns)
    from conjoin.project.fit import pipeline
    from conjoin.project.workspace import Workspace

    ws = Workspace(folder)
    for name in ("text", "a", "b"):
        ws.embed(name)
    pipeline.fit(ws, method="ridge", hub="text")
    return folder


@pytest.fixture
def call(monkeypatch, capsys):
    return Caller(monkeypatch, capsys)


def test_parts_make_one_query(call, made):
    told = call.good(
        "search", "red thing", "-w", made, "--like", "i3", "--not", "blue", "--not-item", "i5",
        "--weight", "text=2", "--into", "a", "-k", 5, "--json",
    ).json  # fmt: skip
    hits = told["lists"]["a"]
    assert len(hits) == 5
    assert not {"i3", "i5"} & {hit["id"] for hit in hits}
    assert told["query"]["modality"] is None
    plain = call.good("search", "red thing", "-w", made, "--into", "a", "--json").json
    assert plain["query"]["modality"] == "text"
    assert [h["id"] for h in plain["lists"]["a"]][:5] != [h["id"] for h in hits]


def test_every_constraint_is_met(call, made):
    told = call.good("search", "red thing", "-w", made, "--like", "i3", "--combine", "and",
                     "--json", "-k", 4).json  # fmt: skip
    assert set(told["lists"]) == {"text", "a", "b", "mixed"}
    for hit in told["lists"]["a"]:
        assert set(hit["scores"]) == {"composed"}


def test_words_are_mixed_where_asked(call, made):
    told = call.good("search", "note7", "-w", made, "--fusion", "cc", "--json", "-k", 3).json
    assert told["lists"]["bm25"][0]["id"] == "i7"
    best = told["lists"]["mixed"][0]
    assert best["id"] == "i7"
    assert {"bm25", "fused"} < set(best["scores"])
    without = call.good("search", "note7", "-w", made, "--fusion", "none", "--json").json
    assert "bm25" not in without["lists"]
    left = call.good("search", "note7", "-w", made, "--fusion", "cc", "--like", "i7", "--json").json
    assert "i7" not in {hit["id"] for own in left["lists"].values() for hit in own}


def test_a_filter_holds_for_words_too(call, made):
    told = call.good("search", "alpha", "-w", made, "--fusion", "rrf", "--where",
                     "note='note7 alpha'", "--json").json  # fmt: skip
    for own in told["lists"].values():
        assert {hit["id"] for hit in own} == {"i7"}


def test_tuning_is_stored_and_used_where_it_helps(call, made, tmp_path):
    queries = tmp_path / "queries.jsonl"
    queries.write_text("".join(
        json.dumps({"query": f"note{row}", "id": f"i{row}"}) + "\n" for row in range(0, 80, 2)
    ))  # fmt: skip
    dry = call.good("tune", "-w", made, "--queries", queries, "--dry-run", "--json").json
    assert dry["path"] is None
    assert "bm25" not in call.good("search", "note9", "-w", made, "--json").json["lists"]
    told = call.good("tune", "-w", made, "--queries", queries, "--json").json
    assert told["helps"] is False or told["best"] != "bm25"
    assert told["recall"]["bm25"] == 1.0
    assert set(told) >= {"mixer", "weights", "recall", "mixed", "best", "alone", "gain", "low",
                         "high", "only", "both", "neither", "queries", "verdict"}  # fmt: skip
    # Words alone answer everything here: nothing is gained over them, so nothing is mixed in.
    assert "bm25" not in call.good("search", "note9", "-w", made, "--json").json["lists"]


def test_pairs_judge_where_no_queries_are_given(call, made):
    told = call.good("tune", "-w", made, "--dry-run", "--json").json
    assert told["source"] == "held-out training pairs"
    assert set(told["recall"]) == {"a", "b", "bm25"}


def test_hits_are_looked_at_again(call, made, tmp_path, monkeypatch):
    (tmp_path / "again_by_number.py").write_text(
        "def score(pairs):\n    return [-float(hit.split()[-1]) for query, hit in pairs]\n"
    )
    monkeypatch.chdir(tmp_path)
    told = call.good("search", "thing", "-w", made, "--into", "text", "-k", 3, "--rerank",
                     "python:again_by_number:score", "--json").json  # fmt: skip
    found = [float(hit["scores"]["rerank"]) for hit in told["lists"]["text"]]
    assert found == sorted(found, reverse=True)
    assert all(hit["score"] == hit["scores"]["rerank"] for hit in told["lists"]["text"])
    cut = call.good(
        "search", "thing", "-w", made, "--into", "text", "-k", 3, "--min-score", found[1],
        "--rerank", "python:again_by_number:score", "--json",
    ).json  # fmt: skip
    assert len(cut["lists"]["text"]) == 2


def test_suggestions_come_with_their_figures(call, made):
    told = call.good("search", "thing", "-w", made, "--into", "text", "--suggest", "--json").json
    for each in told.get("suggestions", []):
        assert set(each) == {"text", "words", "items", "specificity", "representativeness",
                             "similarity"}  # fmt: skip
    assert "Ask next" in call.good("search", "thing", "-w", made, "--into", "text",
                                   "--suggest").out or "suggestions" not in told  # fmt: skip


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("search",), ("nothing to look for",)),
        (("search", "--not", "x"), ("nothing to look for",)),
        (("search", " "), ("empty",)),
        (("search", "x", "--weight", "like=2"), ("--weight", "is not asked")),
        (("search", "x", "--weight", "text"), ("NAME=NUMBER",)),
        (("search", "x", "--combine", "summ"), ("did you mean sum",)),
        (("search", "x", "--combine", "combiner", "--like", "i1"), ("conjoin tune",)),
        (("search", "x", "--fusion", "rff"), ("did you mean rrf",)),
        (("search", "--item", "i1", "--fusion", "rrf"), ("no words",)),
        (("search", "x", "--rerank", "thing"), ("python:module:function",)),
        (("search", "x", "--rerank", "python:nowhere:f"), ("no module nowhere",)),
        (("search", "x", "--like", "zz"), ("no item",)),
        (("tune", "--fusion", "zz"), ("unknown",)),
        (("tune", "--combine", "sum"), ("needs no training",)),
        (("tune", "--queries", "absent.csv"), ("absent.csv",)),
    ],
)
def test_bad_input_is_one_line(call, made, words, says):
    call.bad(made, *words[:1], "-w", made, *words[1:], says=says)


def test_bad_query_files_are_refused(call, made, tmp_path):
    path = tmp_path / "q.csv"
    for text, says in (
        ("query,item\nx,i1\n", "no column 'id'"), ("query,id\nx,\n", "line 1"),
        ("query,id\nx,zz\n", "no item here"), ("query,id\nx,i1\n", "8 or more"),
    ):  # fmt: skip
        path.write_text(text)
        call.bad(made, "tune", "-w", made, "--queries", path, says=(says,))


# Token sets and parts in the index


def test_late_interaction_is_searched_end_to_end(tmp_path):
    rng = np.random.default_rng(0)
    frame = Frame.mint("binder", "late", 6, {"test": 1}, score="maxsim")

    def sets(n, seed):
        counts = np.random.default_rng(seed).integers(1, 5, n)
        flat = unit(np.random.default_rng(seed + 1).normal(size=(counts.sum(), 6)))
        return Tokens(flat.astype(np.float32), np.concatenate([[0], np.cumsum(counts)]))

    ids = np.array([f"i{at}" for at in range(40)])
    gallery, queries = sets(40, 1), sets(5, 7)
    Index.build({"text": Space(ids, gallery, frame)}).save(tmp_path)
    index = Index.open(tmp_path)
    asked = Space(np.array([f"q{at}" for at in range(5)]), queries, frame)
    found = index.search_many(asked, "image", k=7)
    every = maxsim_scores(queries, gallery)
    for line, hits in zip(every, found, strict=True):
        order = np.argsort(-line, kind="stable")[:7]
        assert [hit.id for hit in hits.best] == ids[order].tolist()
        np.testing.assert_allclose([hit.scores["maxsim"] for hit in hits.best], line[order],
                                   atol=1e-6)  # fmt: skip
    del rng


def test_parts_become_one_vector_an_item_that_an_index_holds():
    rng = np.random.default_rng(2)
    ids = np.array(["a", "b", "a", "c", "b", "b"])
    space = Space.of(rng.normal(size=(6, 4)), ids, name="mine")
    pooled = one_each(space, Pooling("mean"))
    assert pooled.ids.tolist() == ["a", "b", "c"]
    index = Index.build({"text": pooled})
    query = Space(np.array(["q"]), unit(rng.normal(size=(1, 4))), pooled.frame)
    hits = index.search(query, k=3).best
    scores = {
        i: float(query.vectors[0] @ v) for i, v in zip(pooled.ids, pooled.vectors, strict=True)
    }
    assert [hit.id for hit in hits] == sorted(scores, key=lambda i: -scores[i])
    assert find("multi-vector", "mean-parts").make() == Pooling("mean")
