"""What the schema allows is accepted, and what it forbids refused, whatever the body."""

import json

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("jsonschema_rs")

import jsonschema_rs as validators
from hypothesis import given, settings
from hypothesis import strategies as st

from conjoin.server.limits import Limits, Problem
from conjoin.server.requests import (
    EmbedBody,
    Piece,
    SearchBody,
    UploadBody,
    ask_of,
    parsed,
    piece_of,
    schema_of,
)

LIMITS = Limits(k=20, text=12, terms=3)
WORDS = st.sampled_from(["a", "", "   ", "\t", "x" * 12, "x" * 13, "é", None, 7, True])
VECTOR = st.sampled_from([[1.0, 0.0], [0.0], [], [0, 2], [1e7], None, ["a"], 3])
WEIGHT = st.sampled_from([1, 0, 0.0, -0.5, 2.5, 100, 101, None, "1"])
PART = {"text": WORDS, "item": WORDS, "vector": VECTOR, "frame": WORDS, "source": WORDS}
TERM = st.fixed_dictionaries({}, optional={**PART, "weight": WEIGHT})
TERMS = st.one_of(st.none(), st.lists(TERM, max_size=4))
REST = {
    "into": st.sampled_from([[], ["image"], [""], [" "], ["x" * 13], None, "image"]),
    "k": st.sampled_from([1, 20, 21, 0, "3", 2.0, True, None]),
    "where": WORDS, "combine": WORDS, "fusion": WORDS,
    "exclude": st.sampled_from([[], ["a"], ["x" * 13], [3]]), "txt": WORDS,
}  # fmt: skip


def bodies(**more):
    return st.fixed_dictionaries({}, optional={**PART, **more}).map(json.dumps)


def allowed(model, text):
    return validators.validator_for(schema_of(model, LIMITS)).is_valid(json.loads(text))


def accepted(call):
    try:
        call()
    except Problem:
        return False
    return True


MANY = settings(max_examples=150, deadline=None, database=None, derandomize=True)
#: Bodies that must come out one way, beside those that are drawn.
KNOWN = [
    ('{"text": "a"}', True), ('{"text": "a", "item": null}', True), ("{}", False),
    ('{"text": "a", "item": "b"}', False), ('{"text": "   "}', False),
    ('{"vector": [1.0], "frame": "f"}', True), ('{"vector": [1.0]}', False),
    ('{"vector": [0.0], "frame": "f"}', False), ('{"text": "a", "frame": "f"}', False),
    ('{"terms": [{"text": "a"}, {"item": "b", "weight": -1}]}', True),
    ('{"terms": [{"text": "a", "weight": -1}]}', False), ('{"terms": [{"weight": 1}]}', False),
    ('{"terms": [{"text": "a", "weight": 0}]}', False), ('{"text": "a", "k": 21}', False),
]  # fmt: skip


@pytest.mark.parametrize(("text", "good"), KNOWN)
def test_known_bodies(text, good):
    assert allowed(SearchBody, text) == good
    assert accepted(lambda: ask_of(parsed(text.encode(), SearchBody, LIMITS), LIMITS)) == good


@MANY
@given(text=bodies(**REST, terms=TERMS))
def test_a_search(text):
    good = accepted(lambda: ask_of(parsed(text.encode(), SearchBody, LIMITS), LIMITS))
    assert allowed(SearchBody, text) == good


@MANY
@given(text=bodies(**REST, weight=WEIGHT, terms=TERMS))
def test_an_upload(text):
    def ask():
        body = parsed(text.encode(), UploadBody, LIMITS)
        if body.weight == 0:
            raise Problem("bad-argument", "weight", "is 0", "")
        ask_of(body, LIMITS, Piece("image", b"", body.weight))

    assert allowed(UploadBody, text) == accepted(ask)


@MANY
@given(text=bodies())
def test_an_embedding(text):
    def ask():
        body = parsed(text.encode(), EmbedBody, LIMITS)
        ask_of(SearchBody(**body.model_dump()), LIMITS)
        assert piece_of(body, 1.0, "query") is not None

    assert allowed(EmbedBody, text) == accepted(ask)
