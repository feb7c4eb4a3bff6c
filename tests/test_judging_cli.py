"""The verbs that judge methods, as a person and as a program meets them."""

import json
import shutil
from pathlib import Path

import pytest

from conjoin.cli.actions.judge import compare as judges
from conjoin.errors import ConjoinError
from conjoin.evaluation import compare as comparing
from conjoin.execution.budget import bytes_of, seconds_of
from conjoin.report.pages.claims import claims_page

from shelf import Caller, shelf  # isort: skip

FEW = ["identity", "mean-centering", "ridge", "procrustes", "cca"]


@pytest.fixture
def conjoin(monkeypatch, capsys):
    monkeypatch.setattr(comparing, "methods_of", lambda families: FEW)
    return Caller(monkeypatch, capsys)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = shelf(tmp_path_factory.mktemp("judged"), n=120)
    with pytest.MonkeyPatch.context() as patch:
        import io
        import sys

        from conjoin.cli.main import main

        patch.setattr(comparing, "methods_of", lambda families: FEW)
        for words in (["embed"], ["fit", "--method", "ridge"]):
            patch.setattr(sys, "argv", ["conjoin", *words, "-w", str(folder), "--quiet"])
            patch.setattr(sys, "stdout", io.StringIO())
            with pytest.raises(SystemExit) as stop:
                main()
            assert not stop.value.code
    return folder


@pytest.fixture
def ready(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "ws"))


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("10m", 600), ("1.5h", 5400), (" 2 m", 120)]
)
def test_times_are_read_as_people_write_them(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-5s", "0", "10d", "m"])
def test_other_times_are_refused(text, conjoin, ready):
    with pytest.raises(ConjoinError, match="budget"):
        seconds_of(text)
    told = conjoin("compare", "-w", ready, f"--budget={text}")
    assert told.code == 2
    assert "--budget" in told.err


def test_memory_is_read_as_people_write_it():
    assert (bytes_of("4G"), bytes_of("800M"), bytes_of("1.5GiB")) == (4e9, 8e8, 1.5e9)
    with pytest.raises(ConjoinError, match="memory"):
        bytes_of("plenty")


def test_compare_recommends_and_the_next_fit_follows(conjoin, ready, monkeypatch):
    found = conjoin.good("compare", "-w", ready, "--budget", "60s", "--json", "--quiet").json
    assert {one["method"] for one in found["ranked"]} >= {"ridge", "identity", "cca"}
    assert found["use"] in found["recommendation"]
    assert found["touches"] == 5 * len(found["ranked"])
    assert Path(found["record"]).exists()
    fitted = conjoin.good("fit", "-w", ready, "--json", "--quiet").json
    assert fitted["method"] == found["use"]
    assert fitted["fields"] == found["fields"]
    monkeypatch.setattr(comparing, "methods_of", lambda families: FEW[:3])
    again = conjoin.good("compare", "-w", ready, "--budget", "60s", "--json", "--quiet").json
    record = json.loads(Path(again["record"]).read_text())
    assert record["touch"] == found["touches"] + again["touches"]


def test_compare_speaks_to_people(conjoin, ready):
    told = conjoin.good("compare", "-w", ready, "--budget", "60s")
    assert "over ridge, corrected" in told.out
    assert "chance" in told.out
    assert "held-out items" in told.out
    assert "trying ridge" in told.err


def test_compare_can_say_what_it_would_do(conjoin, ready):
    told = conjoin.good("compare", "-w", ready, "--dry-run", "--json").json
    assert "ridge" in told["methods"]
    assert told["dry"] is True
    assert not (ready / ".conjoin" / "comparisons").exists()


def test_an_unknown_family_is_one_line(monkeypatch, capsys, ready):
    told = Caller(monkeypatch, capsys)("compare", "-w", ready, "--families", "alchemy")
    assert told.code == 2
    assert told.err.count("\n") == 1
    assert "alchemy" in told.err


def test_forecast_draws_the_curve(conjoin, ready, monkeypatch):
    for module in ("learning_curve", "pair_acquisition"):
        monkeypatch.setattr(f"conjoin.evaluation.{module}.SEEDS", 2)
    monkeypatch.setattr("conjoin.evaluation.learning_curve.DRAWS", 100)
    found = conjoin.good("forecast", "-w", ready, "--more", "50", "--json", "--quiet").json
    sizes = [point["pairs"] for point in found["points"]]
    assert sizes == sorted(sizes)
    assert {point["measured"] for point in found["points"]} == {True, False}
    assert found["check"]["held"] in (True, False)
    told = conjoin.good("forecast", "-w", ready, "--more", "50", "--quiet")
    assert "the next 50 add about" in told.out
    assert "which items to pair next" in told.out


def test_every_fit_has_a_card_even_of_a_method_named(conjoin, ready):
    fitted = conjoin.good("fit", "-w", ready, "--method", "cca", "--json", "--quiet").json
    page = Path(fitted["card"]).read_text()
    for part in ("# cca over", "| chance |", "ridge", "## When not to use it", "## Sources"):
        assert part in page
    facts = json.loads(Path(fitted["card"]).with_suffix(".json").read_text())
    assert {one["method"] for one in facts["compared"]} >= {"cca", "ridge", "procrustes"}
    assert all(one["folds"] > 1 for one in facts["compared"])
    assert 0 < facts["chance"] < 0.5
    told = conjoin.good("fit", "-w", ready, "--method", "cca")
    assert "card:" in told.out


def test_claims_can_say_what_they_would_check(conjoin, tmp_path, monkeypatch):
    monkeypatch.setenv("CONJOIN_CACHE", str(tmp_path))
    told = conjoin.good("claims", "--dry-run", "--method", "text-to-concept", "--json").json
    assert told["claims"] > 0
    assert told["arms"] > told["claims"]
    assert told["data"] == ["emoji:image+text"]
    assert not list(tmp_path.iterdir())
    assert conjoin("claims", "--family", "alchemy").code == 2


def test_results_of_all_claims_are_written_and_changes_named(conjoin, tmp_path, monkeypatch):
    from conjoin.claims import engine, results

    said = {
        "claims": [], "open": [], "stale": [], "tables": [], "touches": {}, "seeds": 5, "draws": 10,
    }  # fmt: skip
    claim = {
        "method": "m", "arm": "m", "baseline": "b", "task": "t", "data": "d", "metric": "x",
        "condition": {}, "said": "holds here", "effect": 0.1, "least": 0.0, "most": 0.2,
    }  # fmt: skip
    monkeypatch.setattr(engine, "run", lambda jobs, folder, **given: engine.Run())
    monkeypatch.setattr(results, "judge", lambda c, s, before: {**said, "claims": [claim]})
    out = tmp_path / "claims.json"
    conjoin.good("claims", "--out", out, "--quiet")
    assert json.loads(out.read_text())["claims"][0]["said"] == "holds here"
    monkeypatch.setattr(
        results, "judge", lambda c, s, before: {**said, "claims": [{**claim, "said": "undecided"}]}
    )
    told = conjoin.good("claims", "--out", out, "--quiet")
    assert "changed: m on d: holds here → undecided" in told.out
    before = out.read_text()
    conjoin.good("claims", "--method", "fusemix", "--out", out, "--quiet")
    assert out.read_text() == before  # a part is no whole


def test_only_again_runs_what_has_a_current_verdict(conjoin, tmp_path, monkeypatch):
    from conjoin.claims import engine, results

    asked: list[list[str]] = []
    monkeypatch.setattr(
        engine,
        "run",
        lambda jobs, folder, **given: asked.append([j.arm for j in jobs]) or engine.Run(),
    )
    monkeypatch.setattr(results, "waiting", lambda claims, before: [])
    monkeypatch.setenv("CONJOIN_CACHE", str(tmp_path))
    conjoin.good("claims", "--method", "text-to-concept", "--out", tmp_path / "c.json", "--quiet")
    conjoin.good(
        "claims", "--method", "text-to-concept", "--again", "--out", tmp_path / "c.json", "--quiet"
    )
    assert asked[0] == []
    assert "text-to-concept" in asked[1]


def test_the_committed_claims_make_the_committed_page():
    root = Path(__file__).resolve().parents[1]
    facts, record = (
        json.loads((root / "docs" / name).read_text())
        for name in ("claims.json", "claims-before.json")
    )
    assert claims_page(facts, record) in (root / "docs" / "claims.md").read_text()
    assert judges.run_claims
    assert facts["claims"]
