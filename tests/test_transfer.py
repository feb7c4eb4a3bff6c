"""Choosing heads and students, curves over shots, refusal; both verbs as a person meets them."""

import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

from conjoin.alignment.binding import Binding
from conjoin.errors import ConjoinError
from conjoin.evaluation.few_shot import draw_shots, few_shot, held_level
from conjoin.maps.base import load_map
from conjoin.project.fit import pipeline
from conjoin.project.transfer.distill import FILE
from conjoin.project.workspace import Workspace
from conjoin.selection.heads import Lesson, choose_head
from conjoin.selection.students import distill, found_own, retention
from conjoin.transfer.base import Prototypes
from conjoin.transfer.heads import Rejecting, load_head, save_head
from conjoin.transfer.linear_heads import NearestMean, ZeroShot
from shelf import Caller, shelf, table, write_table

CENTRES = np.linalg.qr(np.random.default_rng(5).normal(size=(12, 12)))[0][:6]
NAMES = np.array(["bell", "bird", "boat", "book", "bowl", "bread"])


def planted(n=180, noise=0.6, seed=0):
    rng = np.random.default_rng(seed)
    owner = np.arange(n) % 6
    x = CENTRES[owner] + noise * rng.normal(size=(n, 12)) / np.sqrt(12)
    return Lesson.of(x, NAMES[owner], Prototypes(NAMES, CENTRES), np.arange(n) // 2)


def test_folds_keep_groups_whole_and_hold_every_class():
    lesson = planted()
    fold = lesson.folds(0)
    assert fold.max() == 2
    assert all(len(set(fold[lesson.groups == g])) == 1 for g in np.unique(lesson.groups))
    alone = Lesson(lesson.x, lesson.y)
    for number in range(3):
        assert set(alone.y[alone.folds(0) == number]) == set(NAMES)
    assert lesson.take(np.arange(6)).folds(0) is None


def test_a_head_is_chosen_by_folds_and_the_cheaper_of_equals():
    lesson = planted(noise=0.1)
    found = choose_head(lesson.x, lesson.y, prototypes=lesson.prototypes)
    assert found.method in ("zero-shot-head", "tip-adapter", "tip-x", "x-more")
    assert found.head.score(CENTRES, NAMES) == 1
    assert "trained by steps" in found.skipped["nmtune"]
    plain = choose_head(lesson.x, lesson.y)
    assert plain.method in ("nearest-mean", "ridge-classifier", "logistic")
    assert "needs names" in plain.skipped["tip-x"]
    assert [t.mean for t in plain.tried] == sorted((t.mean for t in plain.tried), reverse=True)


def test_one_row_a_class_leaves_nothing_to_choose_by():
    lesson = planted().take(np.arange(6))
    found = choose_head(lesson.x, lesson.y, prototypes=lesson.prototypes)
    assert (found.method, found.tried) == ("cross-modal", ())
    assert choose_head(lesson.x, lesson.y).method == "nearest-mean"


def test_a_curve_rises_and_counts_unseen_classes_as_wrong():
    train, test = planted(noise=1.5), planted(120, 1.5, 1)
    curve = few_shot(train, test, shots=[1, 8], method="logistic")
    own = {p.shots: p for p in curve.points if p.chosen}
    assert own[8].value > own[1].value + 0.02
    assert own[8].low < own[8].value < own[8].high
    assert (own[1].rows, own[8].rows) == (6, 48)
    chance = [p for p in curve.points if p.method == "chance"]
    assert all(p.value == pytest.approx(1 / 6) for p in chance)
    fewer = train.take(np.flatnonzero(train.y != "bread"))
    bare = Lesson(fewer.x, fewer.y, None, fewer.groups)
    curve = few_shot(bare, test, shots=[None], method="nearest-mean")
    assert "1 labels are on held-out items only (bread): those 20 count as wrong" in curve.notes
    assert max(p.value for p in curve.points) <= 100 / 120


def test_shots_are_drawn_by_class():
    y = np.array(["a"] * 5 + ["b"] * 2)
    rows = draw_shots(y, 3, 0)
    assert sorted(y[rows].tolist()) == ["a"] * 3 + ["b"] * 2
    assert not np.array_equal(draw_shots(y, 3, 0), draw_shots(y, 3, 1))
    with pytest.raises(ConjoinError, match="6 of each class; the largest class has 5"):
        draw_shots(y, 6, 0)


def test_a_threshold_refuses_no_more_than_asked_and_most_of_what_is_new():
    x, y = planted(600, 1.2).x, planted(600, 1.2).y
    head = NearestMean().fit(x[:300], y[:300])
    refuses = Rejecting.at(head, x[300:], 0.1)
    assert refuses.rejected(x[300:]).mean() <= 0.1
    assert refuses.predict(x[300:])[refuses.rejected(x[300:])].tolist() == [None] * 30
    assert (Rejecting.at(head, x[300:], 0.0).rejected(x[300:])).sum() == 0
    with pytest.raises(ConjoinError, match="give a share from 0 to below 1"):
        Rejecting.at(head, x, 1.0)
    named = ZeroShot().fit(np.empty((0, 12)), [], prototypes=Prototypes(NAMES, CENTRES))
    assert held_level(named, x, y, 0.2).rejected(x).mean() <= 0.2
    curve = few_shot(planted(300, 1.0), planted(300, 1.0, 1), shots=[None], method="nearest-mean",
                     reject=0.1)  # fmt: skip
    assert curve.rejection.known < 0.25
    assert curve.rejection.unknown > curve.rejection.known + 0.1
    assert len(curve.rejection.kept_out) == 1


def test_nearness_refuses_what_the_probability_would_name(tmp_path):
    from sklearn.datasets import load_digits

    data = load_digits(return_X_y=True)
    x, y = data[0].astype(np.float32), data[1].astype(str)
    train, test = Lesson.of(x[:900], y[:900]), Lesson.of(x[900:], y[900:])
    asked = {"shots": [None], "method": "ridge-classifier", "reject": 0.05}
    curve = few_shot(train, test, **asked)
    found = curve.rejection
    assert found.nearness
    assert found.known < 0.15
    assert found.unknown > found.by_probability[1] + 0.2
    save_head(curve.choice.head, tmp_path / "head.safetensors")
    head, _ = load_head(tmp_path / "head.safetensors")
    assert np.array_equal(head.rejected(x[900:]), curve.choice.head.rejected(x[900:]))
    # Rows of another modality are far from all that was trained on: nearness does not count.
    other = few_shot(train, test, **asked, alike=False).rejection
    assert not other.nearness
    assert (other.known, other.unknown) == other.by_probability


def test_a_student_is_chosen_and_keeps_what_its_teacher_knows():
    rng = np.random.default_rng(0)
    cause = rng.normal(size=(200, 5))
    x, t = cause @ rng.normal(size=(5, 9)), cause @ rng.normal(size=(5, 7))
    taught = distill(x[:150], t[:150], groups=np.arange(150) // 2)
    assert set(taught.tried) == {"ridge-student", "cosine-student", "dcd", "affinity-student"}
    hits = found_own(taught.map.apply(x[150:].astype(np.float32)), t[150:])
    assert hits.mean() > 0.9
    value, low, high = retention(hits, np.ones(50), np.arange(50))
    assert low <= value == hits.mean() <= high


# The verbs


@pytest.fixture(name="call")
def make_call(monkeypatch, capsys):
    return Caller(monkeypatch, capsys)


@pytest.fixture(name="bench", scope="module")
def make_bench(tmp_path_factory):
    """A workspace embedded and fitted once; tests work on copies."""
    folder = shelf(tmp_path_factory.mktemp("transfer"), n=120)
    columns = table(120)
    columns["colour"] = [None if i % 20 == 19 else n.split()[0] for i, n in
                         enumerate(columns["name"])]  # fmt: skip
    columns["same"] = ["x"] * 120
    columns["real"] = [0.5 + i for i in range(120)]
    columns["void"] = [None] * 120
    write_table(folder, columns)
    ws = Workspace(folder)
    for name in ("text", "a", "b"):
        ws.embed(name)
    pipeline.fit(ws, method="ridge")
    return folder


@pytest.fixture(name="ready")
def make_ready(bench, tmp_path):
    return shutil.copytree(bench, tmp_path / "ws")


def test_head_learns_shows_resumes_and_applies(call, ready):
    args = ("head", "-w", ready, "--label", "colour", "--shots", "2,8", "--from", "a")
    told = call.good(*args, "--json")
    value = told.json
    assert {p["shots"] for p in value["points"]} == {2, 8}
    assert "6 items have no colour and were left out" in value["notes"]
    assert value["fresh"]
    card = (ready / ".conjoin" / "heads" / value["folder"].split("/")[-1] / "card.md").read_text()
    assert card.startswith(f"# {value['method']}: colour of a")
    assert "## Baselines first" in card
    again = call.good(*args)
    assert "nothing has changed since it was fitted" in again.out
    for suffix in ("csv", "parquet", "json"):
        call.good("head", "-w", ready, "--apply", ready / f"out.{suffix}", "-q")
    found = pq.read_table(ready / "out.parquet").to_pydict()
    listed = json.loads((ready / "out.json").read_text())
    assert [line["prediction"] for line in listed] == found["prediction"]
    assert len(found["id"]) == 120
    lines = (ready / "out.csv").read_text().splitlines()
    assert lines[0] == "id,prediction,probability,likeliest,held_out"
    truth = dict(zip(table(120)["id"], [n.split()[0] for n in table(120)["name"]], strict=True))
    right = [truth[i] == p for i, p in zip(found["id"], found["prediction"], strict=True)]
    assert np.mean(right) > 0.8


def test_head_trains_on_one_modality_and_is_used_on_another(call, ready):
    value = call.good(
        "head", "-w", ready, "--label", "colour", "--from", "a", "--to", "b", "--json"
    ).json
    assert (value["source"], value["target"]) == ("a", "b")
    best = max(p["value"] for p in value["points"] if p["chosen"])
    assert best > 0.7
    assert any("as good as the binding" in line for line in value["cautions"])


def test_names_alone_and_names_with_labels(call, ready):
    (ready / "names.txt").write_text("red thing\nblue thing\n\n", encoding="utf-8")
    value = call.good("head", "-w", ready, "--names", ready / "names.txt", "--json").json
    assert (value["method"], value["points"]) == ("zero-shot-head", [])
    assert any("nothing was measured" in line for line in value["cautions"])
    prompts = {"red": ["red thing", "a red one"], "blue": "blue thing"}
    (ready / "names.json").write_text(json.dumps(prompts), encoding="utf-8")
    told = call.good("head", "-w", ready, "--names", ready / "names.json", "--label", "colour",
                     "--apply", ready / "p.csv", "--json")  # fmt: skip
    assert "zero-shot-head" in {p["method"] for p in told.json["points"]}
    assert told.json["names"] == 3
    assert told.json["rows"] == 120


def test_rejection_needs_three_classes_and_labels(call, ready):
    (ready / "names.txt").write_text("red\nblue\n", encoding="utf-8")
    call.bad(ready, "head", "-w", ready, "--names", ready / "names.txt", "--reject", "0.1",
             says=("--reject", "give --label"))  # fmt: skip
    call.bad(ready, "head", "-w", ready, "--label", "colour", "--reject", "1.5",
             says=("reject: 1.5",))  # fmt: skip


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--label", "color"), ("'color'", "colour")),
        (("--label", "same"), ("'same'", "'x', one class")),
        (("--label", "id"), ("column 'id'", "none of them is that of any", "values repeat")),
        (("--label", "real"), ("holds numbers and no classes",)),
        (("--label", "void"), ("all 120 cells are missing",)),
        (("--label", "colour", "--shots", "500"), ("500 of each class", "largest class has")),
        (("--label", "colour", "--shots", "many"), ("--shots", "give numbers")),
        (("--label", "colour", "--from", "pictures"), ("'pictures' is not configured",)),
        (("--label", "colour", "--method", "logistics"), ("did you mean logistic",)),
        (("--label", "colour", "--method", "tip-x"), ("needs class prototypes",)),
        (("--label", "colour", "--apply", "out.xlsx"), ("--apply", ".parquet")),
        ((), ("nothing to do", "--names FILE")),
        (("--apply", "out.csv"), ("no head is fitted yet",)),
        (("--names", "nowhere.txt"), ("no such file",)),
    ],
)
def test_head_refuses_in_one_line(call, ready, words, says):
    call.bad(ready, "head", "-w", ready, "-q", *words, says=says)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("\n \n", "holds no names"),
        ("red\n", "holds one name, 'red'"),
        ("red\nblue\nred\n", "line 3 repeats 'red' of line 1"),
        ('{"red": "a", "red": "b"}', "'red' is given twice"),
        ('{"red": [], "blue": "b"}', "'red' has []"),
        ('{"red": ', "is not JSON"),
        ('["red", "red"]', "'red' is given twice"),
    ],
)
def test_a_file_of_names_is_refused_in_one_line(call, ready, text, says):
    (ready / "names.txt").write_text(text, encoding="utf-8")
    call.bad(ready, "head", "-w", ready, "--names", ready / "names.txt", says=(says,))


def test_names_that_are_no_class_of_the_column_are_refused(call, ready):
    (ready / "names.txt").write_text("violet\nochre\n", encoding="utf-8")
    call.bad(ready, "head", "-w", ready, "--names", ready / "names.txt", "--label", "colour",
             says=("none of its 2 names is a class of 'colour'", "such as 'blue'"))  # fmt: skip


def test_a_new_binding_does_not_fit_an_old_head(call, ready):
    call.good("head", "-w", ready, "--label", "colour", "--from", "a", "--to", "b", "-q")
    call.good("fit", "-w", ready, "--method", "cca", "-q")
    call.bad(ready, "head", "-w", ready, "--apply", ready / "p.csv",
             says=("not in the frame the head was fitted in",))  # fmt: skip


def test_distill_judges_resumes_and_binds(call, ready):
    args = ("distill", "-w", ready, "--modality", "text", "--student", "builtin:chargram?dim=64",
            "--method", "ridge-student")  # fmt: skip
    value = call.good(*args, "--json").json
    methods = [c["method"] for c in value["compared"]]
    assert {"chance", "teacher", "ridge-student"} <= set(methods)
    kept = next(c for c in value["compared"] if c["method"] == "teacher")["retention"]
    assert kept[0] == 1
    assert "nothing has changed" in call.good(*args).out
    student = load_map(ready / ".conjoin" / "students" / value["folder"].split("/")[-1] / FILE)
    assert student.target.id == value["target_frame"]
    call.bad(ready, *args, "--use", says=("no modality of conjoin.toml", "add [modalities.small]"))


def test_a_student_becomes_a_bound_modality(call, ready):
    text = (ready / "conjoin.toml").read_text(encoding="utf-8")
    added = '[modalities.c]\ncolumn = "c"\nencoder = "builtin:vector"\n[split]'
    (ready / "conjoin.toml").write_text(text.replace("[split]", added), encoding="utf-8")
    call.good("embed", "c", "-w", ready, "-q")
    args = ("distill", "-w", ready, "--modality", "c", "--teacher", "a,b", "--method",
            "ridge-student", "--use")  # fmt: skip
    value = call.good(*args, "--json").json
    current = json.loads((ready / ".conjoin" / "current.json").read_text())
    folder = ready / ".conjoin" / current["maps"]
    assert value["bound_in"] == Binding.load(folder).frame.id
    assert "c" in Binding.load(folder).maps
    args_of_search = ("search", "-w", ready, "--item", "i1", "--from", "c", "--into", "a")
    assert '"i1"' in call.good(*args_of_search, "--json").out
    call.good(*args, "-q")
    call.bad(ready, "distill", "-w", ready, "--modality", "a", "--teacher", "b", "--method",
             "ridge-student", "--use", says=("'a' is bound by another map",))  # fmt: skip


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--modality", "text"), ("no teacher",)),
        (("--modality", "txt", "--teacher", "a"), ("did you mean text",)),
        (("--modality", "a", "--teacher", "a"), ("would teach itself",)),
        (("--modality", "a", "--teacher", "b,b"), ("a teacher twice",)),
        (("--modality", "a", "--student", "bb"), ("neither modality nor encoder",)),
        (("--modality", "a", "--teacher", "b", "--method", "rkdd"), ("did you mean rkd",)),
    ],
)
def test_distill_refuses_in_one_line(call, ready, words, says):
    call.bad(ready, "distill", "-w", ready, *words, says=says)
