"""``conjoin measure`` on a small workspace: what is measured, of what, and what is said."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from conjoin.errors import ConjoinError
from conjoin.metrics.base import geometry_rows
from conjoin.metrics.geometry.modality_gap import CentroidDistance
from conjoin.project.evaluation.measure import AFTER, ASKED, BEFORE, measure_workspace
from conjoin.project.workspace import Workspace
from shelf import Caller, shelf


@pytest.fixture
def conjoin(monkeypatch, capsys):
    return Caller(monkeypatch, capsys)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Few draws: what an interval is worth is tested with the measures."""
    monkeypatch.setattr("conjoin.project.evaluation.measure.DRAWS", 5)
    monkeypatch.setattr("conjoin.project.evaluation.measure.SHUFFLES", 3)


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    """A workspace that is embedded and not fitted; nobody writes into it."""
    return call(shelf(tmp_path_factory.mktemp("embedded")), ["embed"])


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """A workspace that is embedded and fitted; nobody writes into it."""
    folder = call(shelf(tmp_path_factory.mktemp("fitted")), ["embed"])
    return call(folder, ["fit", "--method", "ridge"])


def call(folder: Path, words: list[str]) -> Path:
    done = subprocess.run(
        [sys.executable, "-m", "conjoin.cli.main", *words], cwd=folder, env=dict(os.environ),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


def test_everything_that_suits_is_measured(fitted):
    made = measure_workspace(Workspace(fitted, writes=False))
    stages = {}
    for row in made.found:
        stages.setdefault((row.stage, row.views), set()).add(row.measurement.name)
    rows = {name: row.load() for name, row in geometry_rows().items() if name not in ASKED}
    alone = {n for n, engine in rows.items() if engine.views == 1}
    two = {n for n, engine in rows.items() if engine.views == 2 and not engine.many}
    apart = {n for n in two if not rows[n].shared}
    for stage, of_two in ((BEFORE, apart), (AFTER, two)):
        for name in ("text", "a", "b"):
            assert stages[stage, (name,)] == alone
        for views in (("text", "a"), ("text", "b"), ("a", "b")):
            assert stages[stage, views] == of_two
        assert stages[stage, ("text", "a", "b")] == {"noise-ceiling"}
    directed = {"hub-skewness", "anti-hubs", "largest-hub", "mir"}
    assert stages[AFTER, ("a", "text")] == directed
    assert made.notes == ()


def test_values_are_those_of_the_vectors(fitted):
    ws = Workspace(fitted, writes=False)
    made = measure_workspace(ws, names=["centroid-distance", "mutual-knn"])
    (gap,) = [
        row for row in made.found
        if row.measurement.name == "centroid-distance" and row.views == ("a", "b")
    ]  # fmt: skip
    from conjoin.project.fit.stored import current_fit

    binding = current_fit(ws).binding
    bound = {n: binding.bind(n, s).vectors for n, s in ws.spaces(["a", "b"]).items()}
    assert gap.stage == AFTER
    assert gap.measurement.value == pytest.approx(CentroidDistance()(bound).value, rel=1e-5)
    assert gap.chance is None
    assert gap.measurement.low <= gap.measurement.value <= gap.measurement.high
    near = {(r.stage, r.views): r for r in made.found if r.measurement.name == "mutual-knn"}
    same = near[BEFORE, ("a", "b")]
    assert same.measurement.value > same.chance + 0.2  # both were drawn from one hidden cause
    assert same.chance == pytest.approx(10 / 59, abs=0.05)


def test_the_seed_decides_and_nothing_is_written(fitted, conjoin):
    before = sorted(p.stat().st_mtime_ns for p in fitted.rglob("*"))
    words = ("measure", "unbiased-cka", "-w", fitted, "--json")
    one, again = conjoin.good(*words).json, conjoin.good(*words).json
    assert one == again
    other = conjoin.good(*words, "--seed", "5").json
    assert [r["value"] for r in other["measured"]] == pytest.approx(
        [r["value"] for r in one["measured"]], rel=1e-5
    )
    assert [r["low"] for r in other["measured"]] != [r["low"] for r in one["measured"]]
    assert sorted(p.stat().st_mtime_ns for p in fitted.rglob("*")) == before


def test_a_row_stands_on_one_line_at_most():
    from conjoin.project.evaluation.measure import lines
    from conjoin.spaces import Pairs

    pairs = Pairs.of(a=[0, 0, 1, 2, 3, -1], b=[0, 1, 1, 2, 2, 4])
    for seed in range(10):
        found = lines(pairs, ("a", "b"), seed)
        for rows in found.values():
            assert len(set(rows.tolist())) == len(rows) >= 2
        kept = set(zip(found["a"].tolist(), found["b"].tolist(), strict=True))
        assert kept <= {(0, 0), (0, 1), (1, 1), (2, 2), (3, 2)}


def test_before_a_fit_only_encoders_are_measured(embedded, conjoin):
    made = conjoin.good("measure", "mutual-knn", "centroid-distance", "-w", embedded, "--json").json
    assert {row["stage"] for row in made["measured"]} == {BEFORE}
    assert {row["metric"] for row in made["measured"]} == {"mutual-knn"}
    assert "conjoin fit" in made["notes"][0]


def test_a_table_says_value_interval_chance_and_what_to_do(fitted, conjoin):
    told = conjoin.good("measure", "mutual-knn", "uniformity", "-w", fitted)
    assert "a – b, before binding (60 lines)" in told.out
    assert "a – b, after binding (60 lines)" in told.out
    assert "change an encoder" in " ".join(told.out.split())
    assert "[0." in told.out
    assert told.err == ""


def test_what_a_measure_refuses_is_a_note_not_an_end(fitted, monkeypatch):
    import conjoin.project.evaluation.measure as verb

    monkeypatch.setattr(verb, "LINES", 8)  # fewer lines than neighbours
    made = measure_workspace(Workspace(fitted, writes=False), names=["mutual-knn", "cka"])
    assert {row.measurement.name for row in made.found} == {"cka"}
    assert len(made.notes) == 6
    assert all("k: 10 neighbours" in note for note in made.notes)


def test_a_dry_run_names_the_measures(fitted, conjoin):
    made = conjoin.good("measure", "-w", fitted, "--dry-run", "--json").json
    assert set(made["measures"]) == geometry_rows().keys() - set(ASKED)


def test_bad_names_are_refused(embedded, conjoin):
    conjoin.bad(
        embedded,
        "measure",
        "mutul-knn",
        "-w",
        embedded,
        says=("measure", "did you mean mutual-knn"),
    )
    conjoin.bad(embedded, "measure", "best-layers", "-w", embedded, says=("layers",))
    with pytest.raises(ConjoinError, match="unknown"):
        measure_workspace(Workspace(embedded, writes=False), names=["recall@1"])


def test_languages_are_measured_when_asked(fitted):
    made = measure_workspace(Workspace(fitted, writes=False), names=["mean-rank-variance"])
    (row,) = made.found
    assert (row.stage, row.views) == (AFTER, ("text", "a", "b"))
    assert np.isfinite(row.measurement.value)
    assert row.measurement.value < row.chance


def test_the_first_screen_of_measure_is_one_table_and_a_verdict(fitted, conjoin):
    short = conjoin.good("measure", "-w", fitted)
    assert "uniformity" not in short.out
    assert "before binding: " in short.out
    assert "share more neighbours than by chance" in short.out
    assert "--verbose shows every measure" in short.out
    assert len(short.out.splitlines()) < 20


def test_a_pair_agrees_where_its_interval_is_above_chance():
    from conjoin.cli.actions.judge.measure import verdict
    from conjoin.metrics.measurement import Measurement
    from conjoin.project.evaluation.measure import Found

    def found(low, chance):
        high = None if low is None else 0.6
        one = Measurement("mutual-knn", 0.5, low, high, 9, (0.0, 1.0), True, "")
        return Found(BEFORE, ("a", "b"), one, chance)

    assert "1 of 1 pair of" in verdict([found(0.2001, 0.2)])[0]
    assert "0 of 1 pair of" in verdict([found(0.2, 0.2)])[0]
    assert "0 of 1 pair of" in verdict([found(None, 0.2)])[0]
    assert verdict([]) == []
