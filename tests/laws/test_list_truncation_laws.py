"""What every way of ending lists keeps."""

import numpy as np
import pytest

from conjoin.catalogue import of_kind
from conjoin.errors import ConjoinError
from conjoin.retrieval.ranking.truncation import Cutter

ROWS = of_kind("list-truncation")
RNG = np.random.default_rng(0)
SCORES = [np.sort(RNG.random(15))[::-1].tolist() for _ in range(30)]
RIGHT = [[bool(v > 0.7) for v in line] for line in SCORES]


@pytest.fixture(params=sorted(ROWS))
def method(request):
    return ROWS[request.param].make()


def test_it_keeps_the_first_hits_and_never_more_than_its_most(method):
    assert isinstance(method, Cutter)
    cut = method.choose(SCORES, RIGHT)
    kept = [cut.kept(line) for line in SCORES]
    assert 0 < max(kept) <= method.most
    assert min(kept) >= 0
    assert cut.kept([]) == 0


def test_lists_permute(method):
    order = RNG.permutation(30)
    turned = method.choose([SCORES[i] for i in order], [RIGHT[i] for i in order])
    assert turned == method.choose(SCORES, RIGHT)


def test_where_nothing_is_right_it_refuses(method):
    with pytest.raises(ConjoinError, match="no judged hit is right"):
        method.choose([[0.5, 0.1]], [[False, False]])
    with pytest.raises(ConjoinError, match="differ in number"):
        method.choose([[0.5, 0.1]], [[True]])
