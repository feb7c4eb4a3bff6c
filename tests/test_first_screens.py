"""First screens answer in a small table; what is left out is counted."""

from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from conjoin.alignment.choice import Choice, Trial
from conjoin.cli.actions.align import calibration
from conjoin.cli.actions.align.fit import SHOWN, _show_trials
from conjoin.cli.actions.find.index import _reach
from conjoin.cli.actions.judge.doctor import answer
from conjoin.cli.console import Console
from conjoin.quality.finding import Finding, Report
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


def finding(kind, *items):
    return Finding(kind, items, "", 0.9, None, {}, "look")


def test_doctor_begins_with_what_spoils_a_fit_or_a_score():
    leaks = [finding("leak", "a", "b"), finding("leak", "c", "d")]
    told = answer(Report((finding("mismatch", "a"), *leaks, finding("length", "e")), (), {}))
    assert told.startswith("1 pair looks wrong; 2 leaks between training and held-out items")
    assert told.endswith("; 1 other finding.")
    assert answer(Report(tuple(leaks[:1]), (), {})).startswith("1 leak")
    assert answer(Report((finding("length", "e"),), (), {})).startswith("No wrong pair")


def test_index_check_names_the_direction_that_lists_least():
    lists = {"query": "text", "target": "image", "value": 0.934, "exact": False}
    exact = {"query": "image", "target": "text", "value": 1.0, "exact": True}
    assert _reach([exact, exact], 10) == "search is exact: every row is scored in each direction"
    told = _reach([exact, lists], 10)
    assert "93.4%" in told
    assert "text → image is the least of 2" in told
