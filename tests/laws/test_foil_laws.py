"""What every catalogue row of kind "foil" keeps."""

import pytest

from conjoin.catalogue import of_kind
from conjoin.evaluation.foils.base import FoilMaker, tokens, word_places

ROWS = of_kind("foil")
TEXTS = (
    "a red ball on a blue box", "The small dog, not the large cat, is behind 3 trees.",
    "two happy people with a sad clown", "the green cup above a white plate", "x", "", "…!",
    "seven birds fly before the storm", "red red red", "left arrow",
)  # fmt: skip


def words(text: str) -> list[str]:
    parts = tokens(text)
    return [parts[at].lower() for at in word_places(parts)]


@pytest.fixture(params=sorted(ROWS))
def maker(request):
    return ROWS[request.param].make()


def test_a_foil_differs_in_its_words_and_the_same_seed_gives_the_same(maker):
    assert isinstance(maker, FoilMaker)
    found = maker.make(TEXTS, 3)
    assert len(found) == len(TEXTS)
    assert maker.make(TEXTS, 3) == found
    assert any(found)
    for text, foil in zip(TEXTS, found, strict=True):
        assert foil is None or words(foil) != words(text)
        if foil is not None and maker.keeps_words:
            assert sorted(words(foil)) == sorted(words(text))


def test_what_gives_no_hold_is_left_out(maker):
    assert maker.make(["", "…!"]) == [None, None]
    assert maker.make([]) == []


def test_tokens_joined_are_the_text():
    for text in TEXTS:
        assert "".join(tokens(text)) == text
