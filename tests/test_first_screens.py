"""First screens answer in a small table; what is left out is counted."""

from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from conjoin.alignment.choice import Choice, Trial
from conjoin.cli.actions.align import calibration
from conjoin.cli.actions.align.fit import SHOWN, _show_trials
from conjoin.cli.console import Console
from conjoin.retrieval.calibration.policy import Rules
from conjoin.retrieval.calibration.reliability import Trust


def chosen(methods, method):
    trials = tuple(
        Trial(name, {}, "text", (0.9 - at / 10, 0.9 - at / 10)) for at, name in enumerate(methods)
    )
    return Choice(method, {}, "text", trials, {})


@pytest.mark.parametrize("verbose", [False, True])
def test_fit_shows_the_best_methods_and_the_one_chosen_and_counts_the_rest(capsys, verbose):
    methods = [f"m{at}" for at in range(SHOWN + 3)]
    _show_trials(chosen(methods, methods[-1]), Console(verbose=verbose))
    told = capsys.readouterr().out
    shown = methods if verbose else [*methods[:SHOWN], methods[-1]]
    assert [name for name in methods if f"{name} " in told] == shown
    assert ("2 further methods: --verbose" in told) is not verbose


def test_fit_counts_nothing_where_all_methods_are_shown(capsys):
    _show_trials(chosen(["a", "b"], "a"), Console())
    assert "further" not in capsys.readouterr().out


def test_directions_are_counted_by_correction_and_probabilities():
    rules = Mock(
        Rules,
        decisions=[{"chosen": None}, {"chosen": {"method": "csls"}}],
        uncalibrated={("a", "b"): "x"},
    )
    told = calibration.rules_line(rules)
    assert told.startswith("2 directions: 1 corrected for hubs, 1 without probabilities;")
    rules.uncalibrated = {}
    assert "without" not in calibration.rules_line(rules)


def test_probabilities_are_told_of_where_they_are_worst():
    def one(target, error):
        return SimpleNamespace(
            query="a", target=target, error=error, error_low=0.0, error_high=0.5, error_ideal=0.01
        )

    found = Mock(Trust, reliability=[one("b", 0.1), one("c", 0.3), one("d", 0.2)])
    assert "a → c" in calibration.trust_line(found)
    found.reliability = []
    assert calibration.trust_line(found) == "no direction has probabilities"
