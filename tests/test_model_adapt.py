"""``conjoin model adapt``, and the test for a shift that stands before it."""

import json

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from typer.testing import CliRunner

from conjoin.cli.main import app
from conjoin.errors import ConjoinError
from conjoin.project.models import adapt
from conjoin.transfer.adaptation.shift import answered, collapsed, shift_test
from conjoin.transfer.heads import load_head

RNG = np.random.default_rng(0)
CENTRES = 2.5 * np.linalg.qr(RNG.normal(size=(6, 6)))[0][:3]
CLASSES = np.array(["bird", "boat", "book"])


def rows(count, shift=0.0, seed=1):
    rng = np.random.default_rng(seed)
    owner = np.arange(count) % 3
    return CENTRES[owner] + 0.5 * rng.normal(size=(count, 6)) + shift, CLASSES[owner]


def write(path, x, y):
    table = {"id": [f"i{n:03d}" for n in range(len(x))], "vector": x.astype(np.float32).tolist(),
             "kind": y.tolist()}  # fmt: skip
    parquet.write_table(pa.table(table), path)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("adapt")
    write(folder / "items.parquet", *rows(150))
    (folder / "conjoin.toml").write_text(
        '[items]\ntable = "items.parquet"\nid = "id"\n'
        '[modalities.sound]\ncolumn = "vector"\nencoder = "builtin:vector"\n'
    )
    ran = CliRunner().invoke(app, ["embed", "-w", str(folder), "-q"])
    assert ran.exit_code == 0, ran.exception
    write(folder / "same.parquet", *rows(90, seed=2))
    write(folder / "moved.parquet", *rows(90, shift=1.6, seed=3))
    write(folder / "light.parquet", *rows(90, shift=0.4, seed=3))
    write(folder / "empty.parquet", *(part[:0] for part in rows(3)))
    return folder


def run(home, table, *more):
    return CliRunner().invoke(
        app, ["model", "adapt", "--modality", "sound", "--label", "kind", "-w", str(home),
              "--to", str(home / table), "--out", str(home / "out"), "--method", "match-deviation",
              *more],
    )  # fmt: skip


def test_a_shift_is_found_where_one_is_planted_and_rarely_where_none_is():
    x, _ = rows(400, seed=5)
    found = [shift_test(x[s::20], x[s + 1 :: 20], seed=s).p < 0.05 for s in range(19)]
    assert sum(found) <= 4
    assert shift_test(x[:200], x[200:] + 0.5).found
    assert shift_test(x[:200], 1.5 * x[200:]).found
    with pytest.raises(ConjoinError, match="target: has 9 rows; ten are needed"):
        shift_test(x, x[:9])


def test_a_collapse_is_half_of_the_classes_answered_or_fewer():
    even = np.full(4, 0.25)
    assert not collapsed(even, np.array([0.5, 0.5, 0.0, 0.0]))
    assert collapsed(even, np.array([0.51, 0.49, 0.0, 0.0]))
    assert answered(even) == 4


def test_nothing_moved_changes_nothing(home):
    found = json.loads(run(home, "same.parquet", "--json").stdout)
    assert found["verdict"].startswith("use unchanged: no shift was found")
    assert found["folder"] is None
    assert not (home / "out").exists()


def test_a_moved_target_is_adapted_to_and_what_is_unknown_is_said(home):
    ran = run(home, "moved.parquet", "--json", "--apply", str(home / "answers.csv"))
    assert ran.exit_code == 0, ran.exception
    found = json.loads(ran.stdout)
    assert found["shift"]["p"] < 0.05
    assert "no one can tell" in found["unknown"]
    assert set(found["shares"]) == set(CLASSES)
    head, about = load_head(home / "out" / "head.safetensors")
    x, y = rows(90, shift=1.6, seed=3)
    assert head.score(x / np.linalg.norm(x, axis=1, keepdims=True), y) > 0.8
    assert about["method"] == "match-deviation"
    assert len((home / "answers.csv").read_text().splitlines()) == 91
    ran = run(home, "moved.parquet")
    assert "is there already" in str(ran.exception)
    for path in (home / "out").iterdir():
        path.unlink()
    (home / "out").rmdir()


def test_auto_is_transport_where_it_is_there_and_small(monkeypatch):
    assert adapt.chosen_method("mlls", 1) == "mlls"
    assert adapt.chosen_method("auto", adapt.LARGEST) == "transport"
    assert adapt.chosen_method("auto", adapt.LARGEST + 1) == "match-deviation"
    monkeypatch.setattr(adapt, "find_spec", lambda name: None)
    assert adapt.chosen_method("auto", 1) == "match-deviation"


def test_labels_of_the_target_score_and_do_nothing_else(home):
    scored = json.loads(
        run(home, "moved.parquet", "--json", "--score", "kind", "--out", str(home / "a")).stdout
    )
    plain = json.loads(run(home, "moved.parquet", "--json", "--out", str(home / "b")).stdout)
    assert [arm["name"] for arm in scored["arms"]] == ["unchanged", "match-deviation"]
    assert scored["arms"][1]["value"] > scored["arms"][0]["value"]
    assert scored["shares"] == plain["shares"]
    one, two = (load_head(home / name / "head.safetensors")[0] for name in ("a", "b"))
    x, _ = rows(20, seed=8)
    assert one.predict_proba(x).tobytes() == two.predict_proba(x).tobytes()


def test_a_collapse_and_what_cannot_be_adapted_are_refused(home, monkeypatch):
    assert "has no rows" in str(run(home, "empty.parquet").exception)
    assert "no such" in str(run(home, "nowhere.parquet").exception)
    assert "did you mean" in str(run(home, "moved.parquet", "--method", "match-meen").exception)
    from conjoin.transfer.adaptation import moments
    from conjoin.transfer.linear_heads import Linear

    one = Linear(CLASSES, np.zeros((6, 3)), np.array([9.0, 0.0, 0.0]))
    monkeypatch.setattr(moments.MatchMoments, "fit", lambda *a, **k: one)
    said = str(run(home, "light.parquet", "--force").exception)
    assert "refused: predicted shares collapsed (1.00 in 'bird'" in said
    assert not (home / "out").exists()
