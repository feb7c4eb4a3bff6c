"""A slice of the trial of malformed configurations and tables; the whole is a command."""

import importlib.util
import json
from pathlib import Path

import pytest

TRIAL = Path(__file__).parent.parent / "benchmarks" / "faults" / "malformed.py"


@pytest.fixture(scope="module")
def trial():
    spec = importlib.util.spec_from_file_location("malformed", TRIAL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.filterwarnings("ignore")
def test_malformed_configurations_are_one_line_each(trial):
    ended, defects = trial.try_configurations(40, seed=1, ready=())
    assert defects == []
    assert ended["refused"] > 20


@pytest.mark.filterwarnings("ignore")
def test_malformed_tables_are_one_line_each(trial):
    pytest.importorskip("openpyxl")
    ended, defects = trial.try_tables(32, seed=1)
    assert defects == []
    assert ended["refused"] > 10


def test_the_committed_counts_are_of_a_whole_run_without_a_defect(trial):
    told = json.loads(trial.RESULT.read_text())
    assert [told[name]["cases"] for name in ("configurations", "tables")] == [600, 300]
    assert all(own["defect"] == own["hung"] == 0 for own in told.values())
