"""What every catalogue row of kind "outcome-metric" keeps."""

import numpy as np
import pytest

from conjoin.catalogue import of_kind
from conjoin.errors import ConjoinError
from conjoin.metrics.outcomes.base import OutcomeMetric

ROWS = of_kind("outcome-metric")


def results(metric, seed: int, n: int = 40) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    made = {name: rng.integers(0, 2, n).astype(float) for name in metric.example}
    for values in made.values():
        values[:2] = 0, 1  # neither all wrong nor all right
    return made


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("seed", range(3))
def test_measurements_are_named_once_and_do_not_depend_on_the_order_of_items(name, seed):
    metric = ROWS[name].make()
    assert isinstance(metric, OutcomeMetric)
    made = results(metric, seed)
    found = metric(made)  # a value out of range refuses itself
    assert found
    assert len({one.name for one in found}) == len(found)
    assert all(one.meaning.endswith(".") for one in found)
    turn = np.random.default_rng(9).permutation(40)
    if name == "integration":  # items stand target by target
        turn = np.concatenate([np.random.default_rng(9).permutation(5) + 5 * t for t in range(8)])
    turned = metric({key: values[turn] for key, values in made.items()})
    assert [one.name for one in turned] == [one.name for one in found]
    for one, other in zip(found, turned, strict=True):
        assert one.value == pytest.approx(other.value, abs=1e-12)


@pytest.mark.parametrize("name", ROWS)
def test_lost_conditions_and_nan_are_refused(name):
    metric = ROWS[name].make()
    made = results(metric, 0)
    with pytest.raises(ConjoinError):
        metric({})
    first = metric.example[0]
    with pytest.raises(ConjoinError):
        metric({**made, first: np.full(40, np.nan)})
    if name not in ("edit-rates", "ordered-pairs", "integration"):  # take what there is
        with pytest.raises(ConjoinError, match=r"missing|give"):
            metric({key: value for key, value in made.items() if key != first})
