"""What every catalogue row of kind "text-metric" keeps."""

import numpy as np
import pytest

from conjoin.catalogue import of_kind
from conjoin.errors import ConjoinError
from conjoin.metrics.generation.base import TextMetric

ROWS = of_kind("text-metric")
TEXTS = ["a red dog runs home", "two cats sit on the mat", "the bird sings in a tall tree"]
REFERENCES = [[text, f"{text} now"] for text in TEXTS]
SOURCES = ["a big red dog runs", "cats sit upon the mat", "a bird sings in trees"]
WORSE = ["a dog", "two dogs sit on a chair by day", "nothing of the kind at all"]


@pytest.mark.parametrize("name", ROWS)
def test_scores_lie_in_their_range_and_the_reference_itself_is_best(name):
    metric = ROWS[name].make()
    assert isinstance(metric, TextMetric)
    low, high = metric.range
    for texts in (TEXTS, WORSE, ["", "x", "y"]):
        found = metric.per_item(texts, REFERENCES, SOURCES)
        assert found.shape == (3,)
        assert np.isfinite(found).all()
        assert (found >= low - 1e-9).all()
        assert (found <= high + 1e-9).all()
        assert low - 1e-9 <= metric.corpus(texts, REFERENCES, SOURCES) <= high + 1e-9
    if not name.startswith("distinct"):  # looks at no reference
        right = metric.corpus(TEXTS, REFERENCES, SOURCES)
        assert right > metric.corpus(WORSE, REFERENCES, SOURCES)


@pytest.mark.parametrize("name", ROWS)
def test_the_order_of_items_and_of_references_changes_nothing(name):
    metric, turn = ROWS[name].make(), [2, 0, 1]
    found = metric.per_item(WORSE, REFERENCES, SOURCES)
    turned = metric.per_item(
        [WORSE[i] for i in turn], [REFERENCES[i][::-1] for i in turn], [SOURCES[i] for i in turn]
    )
    np.testing.assert_allclose(turned, found[turn], atol=1e-12)


@pytest.mark.parametrize("name", ROWS)
def test_texts_that_do_not_stand_in_line_are_refused(name):
    metric = ROWS[name].make()
    if name.startswith("distinct"):
        assert metric.corpus([], []) == 0
        return
    with pytest.raises(ConjoinError, match="list of references for each"):
        metric.per_item(TEXTS, REFERENCES[:2], SOURCES)
    with pytest.raises(ConjoinError, match="has no reference"):
        metric.per_item(TEXTS, [*REFERENCES[:2], []], SOURCES)
    if metric.sourced:
        with pytest.raises(ConjoinError, match="made from"):
            metric.per_item(TEXTS, REFERENCES)
