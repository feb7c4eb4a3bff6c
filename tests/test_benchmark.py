"""Published formats: read, written, refused with file and line; scores equal other code's."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from conjoin.cli.main import app
from conjoin.errors import ConjoinError
from conjoin.evaluation.by_shape.base import Arm
from conjoin.evaluation.by_shape.rank import ranked
from conjoin.evaluation.formats.base import Cells, Contrast, Foil, Generate, Rank
from conjoin.evaluation.formats.beir import Beir
from conjoin.evaluation.formats.coco import CocoCaptions
from conjoin.evaluation.formats.mteb_folder import MtebFolder
from conjoin.evaluation.formats.trec import Trec
from conjoin.evaluation.formats.vl_checklist import VlChecklist
from conjoin.evaluation.published import judge, open_task, standings

TEXTS = {"d0": "a red dog", "d1": "a blue cat", "d2": "a long story of a green bird in a tree"}
ASKED = {"q0": "red", "q1": "cat", "q2": "the bird"}
JUDGED = {"q0": {"d0": 2, "d1": 1}, "q1": {"d1": 1}, "q2": {"d2": 1, "d0": 0}}
TASK = Rank("t", JUDGED, Cells("text", ASKED), Cells("text", TEXTS), groups=dict(ASKED))


def pictures(folder: Path, count: int) -> list[str]:
    from PIL import Image

    folder.mkdir()
    found = []
    for i in range(count):
        file = folder / f"{i}.png"
        Image.new("RGB", (4, 4), (60 * i, 0, 0)).save(file)
        found.append(str(file))
    return found


def test_a_text_that_a_captioner_lacks_is_counted(tmp_path):
    told = Generate("t", {"1": ("a dog", "the dog"), "2": ("a cat",)}, {"mine": {"1": "dog"}})
    CocoCaptions().write(told, tmp_path)
    found = CocoCaptions().open(tmp_path)
    assert found.notes == ("mine: no text for 1 items",)
    arms = {one.arm: one for one in judge(found, "coco-captions").arms}
    assert arms["mine"].units["rouge-l"][1] == 0
    assert arms["mine"].units["rouge-l"][0] > 0


def test_pictures_survive_being_written(tmp_path):
    files = pictures(tmp_path / "in", 2)
    asked, shown = (
        Cells("text", {"0": "black", "1": "red"}),
        Cells("image", {"0": files[0], "1": files[1]}),
    )
    task = Rank("t", {"0": {"0": 1}, "1": {"1": 1}}, asked, shown)
    CocoCaptions().write(task, tmp_path / "coco")
    found = CocoCaptions().open(tmp_path / "coco")
    assert found.relevance == task.relevance
    assert found.queries == asked
    assert [Path(f).read_bytes() for f in found.corpus.values.values()] == [
        Path(f).read_bytes() for f in files
    ]
    MtebFolder().write(task, tmp_path / "mteb")
    assert MtebFolder().open(tmp_path / "mteb").corpus.values["1"] == Path(files[1]).read_bytes()
    foils = Contrast("t", tuple(Foil(f, "red", "blue", "Attribute/color") for f in files))
    VlChecklist().write(foils, tmp_path / "vl")
    read = VlChecklist().open(tmp_path / "vl")
    assert [(f.true, f.false, f.tag) for f in read.foils] == [
        ("red", "blue", "Attribute/color")
    ] * 2


def _typo(folder: Path, name: str, old: str, new: str) -> None:
    (folder / name).write_text((folder / name).read_text().replace(old, new))


def test_a_wrong_field_is_named_with_its_file_and_line(tmp_path):
    Beir().write(TASK, tmp_path / "a")
    file = tmp_path / "a" / "corpus.jsonl"
    lines = file.read_text().splitlines()
    file.write_text("\n".join([lines[0], lines[1].replace('"text"', '"txet"'), lines[2]]))
    with pytest.raises(
        ConjoinError, match=r"corpus\.jsonl:2: no field 'text'; .*did you mean txet"
    ):
        Beir().open(tmp_path / "a")
    Beir().write(TASK, tmp_path / "b")
    _typo(tmp_path / "b", "qrels/test.tsv", "q1\td1\t1", "q1\td1\tyes")
    with pytest.raises(ConjoinError, match=r"test\.tsv:4: score 'yes'"):
        Beir().open(tmp_path / "b")
    with pytest.raises(ConjoinError, match=r"dev\.tsv: is not there"):
        Beir().open(tmp_path / "b", "dev")
    Trec().write(Rank("t", JUDGED, runs={"run": {"q0": {"d0": 1.0}}}), tmp_path / "c")
    _typo(tmp_path / "c", "run.txt", "Q0 ", "")
    with pytest.raises(ConjoinError, match=r"run\.txt:1: 5 fields"):
        Trec().open(tmp_path / "c")
    told = Generate("t", {"1": ("a",), "2": ("b",)}, {"mine": {"1": "a"}})
    CocoCaptions().write(told, tmp_path / "d")
    _typo(tmp_path / "d", "annotations/captions_test.json", '"caption"', '"captoin"')
    with pytest.raises(ConjoinError, match=r"annotations\[0\]: no field 'caption'; .*captoin"):
        CocoCaptions().open(tmp_path / "d")


def test_a_file_of_another_benchmark_is_named(tmp_path):
    Beir().write(TASK, tmp_path)
    with pytest.raises(ConjoinError, match="is laid out as BEIR; COCO captions has"):
        open_task(tmp_path, name="coco-captions")
    assert open_task(tmp_path)[0] == "beir"
    (tmp_path / "none").mkdir()
    with pytest.raises(ConjoinError, match="is no known benchmark format"):
        open_task(tmp_path / "none")


def _random_runs(seed: int) -> Rank:
    rng = np.random.default_rng(seed)
    grades = rng.choice([0, 0, 0, 1, 2], (12, 30))
    judged = {f"q{i}": {f"d{j}": int(g) for j, g in enumerate(row)} for i, row in enumerate(grades)}
    scores = np.round(rng.normal(size=(12, 30)), 1)  # with ties
    run = {f"q{i}": {f"d{j}": float(s) for j, s in enumerate(row)} for i, row in enumerate(scores)}
    return Rank("t", judged, runs={"a": run, "b": {q: {"d0": 1.0} for q in run}})


def test_scores_of_runs_are_those_of_trec_eval():
    pytrec_eval = pytest.importorskip("pytrec_eval")
    names = {"ndcg@10": "ndcg_cut_10", "map": "map", "mrr": "recip_rank",
             "recall@10": "recall_10", "hit@1": "success_1"}  # fmt: skip
    measures = {"ndcg_cut.10", "map", "recip_rank", "recall.10", "success.1"}
    for seed in range(5):
        task = _random_runs(seed)
        found = judge(task, "trec").arms
        for arm, run in zip(found, task.runs.values(), strict=True):
            oracle = pytrec_eval.RelevanceEvaluator(task.relevance, measures).evaluate(run)
            for score in arm.scores:
                wanted = np.mean([each[names[score.metric]] for each in oracle.values()])
                assert score.value == pytest.approx(wanted, abs=1e-6), score.metric
                assert score.low <= score.value <= score.high


def test_chance_is_the_mean_over_random_orders():
    rng = np.random.default_rng(0)
    names = [f"d{i}" for i in range(25)]
    judged = {f"q{i}": {n: 1 + i % 2 for n in names[: 1 + i]} for i in range(4)}
    task = Rank("t", judged, Cells("image", dict.fromkeys(judged, "x")),
                Cells("image", dict.fromkeys(names, "x")))  # fmt: skip
    arms = [Arm(str(i), lambda cells: rng.normal(size=(len(cells.values), 4))) for i in range(1000)]
    made = list(ranked(task, arms))
    for metric, chance in made[0].chance.items():
        mean = np.mean([one.units[metric].mean() for one in made])
        assert mean == pytest.approx(chance, abs=0.025), metric


def test_a_tie_with_the_foil_is_no_pass():
    foils = tuple(Foil(str(i), "true text", "false", "leaf") for i in range(4))
    tied = Arm("tied", lambda cells: np.ones((len(cells.values), 2)))
    arms = {one.arm: one for one in judge(Contrast("t", foils), "vl", [tied]).arms}
    assert arms["tied"].scores[0].value == 0
    assert arms["tied"].scores[0].tags == {"leaf": 0.0}
    assert arms["longer text"].scores[0].value == 1


def test_the_verb_prints_a_verdict_and_json(tmp_path):
    Beir().write(TASK, tmp_path / "mine")
    run = CliRunner().invoke
    asked = ["benchmark", str(tmp_path / "mine"), "--encoder", "builtin:chargram"]
    told = run(app, asked)
    assert told.exit_code == 0, told.output
    assert "words (BM25)" in told.output
    assert "chance" in told.output
    twice = run(app, [*asked, "--encoder", "builtin:chargram?dim=64", "--json"])
    found = json.loads(twice.stdout)["results"][0]
    assert [one["kind"] for one in found["arms"]] == ["trivial", "trivial", "encoder", "encoder"]
    assert {d["metric"] for d in found["differences"]} >= {"ndcg@10"}
    assert found["arms"][2]["peak_mb"] > 0
    none = run(app, ["benchmark", str(tmp_path / "mine")])
    assert isinstance(none.exception, ConjoinError)
    assert "give --encoder URI" in str(none.exception)


def test_ranks_over_tasks_say_how_sure_they_are():
    rng = np.random.default_rng(0)

    def arm(name: str, noise: float) -> Arm:
        def embed(cells: Cells) -> np.ndarray:
            number = np.array([int(key[1:]) for key in cells.values])
            return np.eye(40)[number] + noise * rng.normal(size=(len(number), 40))

        return Arm(name, embed)

    cells = {f"d{i}": "x" for i in range(40)}
    asked = Cells("image", {f"q{i}": "x" for i in range(40)})
    judged = {f"q{i}": {f"d{i}": 1} for i in range(40)}
    task = Rank("t", judged, asked, Cells("image", cells))
    arms = [arm("bad", 1.0), arm("good", 0.1), arm("alike", 0.1)]
    found = standings([judge(task, "x", arms, seed=s) for s in (0, 1)])
    by_name = {one.arm: one for one in found}
    assert found[-1].arm == "bad"
    assert by_name["bad"].rank == by_name["bad"].low == by_name["bad"].high == 3
    assert by_name["good"].rank == by_name["alike"].rank == 1.5
    assert by_name["good"].best == 1.0
    assert standings([judge(task, "x", arms[:1])]) == []


def test_two_pictures_and_two_captions_are_scored_by_any_encoder(tmp_path):
    from conjoin.evaluation.formats.base import Crossed, Square

    squares = tuple(Square((f"i{n}0", f"i{n}1"), (f"c{n}0", f"c{n}1"), "swap") for n in range(6))

    def embed(cells: Cells) -> np.ndarray:
        places = [int(value[1]) * 2 + int(value[2]) for value in cells.values.values()]
        return np.eye(12)[places]

    told = judge(Crossed("t", squares), "winoground", [Arm("knows", embed)])
    arms = {one.arm: one for one in told.arms}
    assert [s.value for s in arms["knows"].scores] == [1, 1, 1]
    assert [s.chance for s in arms["knows"].scores] == [1 / 4, 1 / 4, 1 / 6]
    assert arms["longer text"].scores[0].value == 0


def test_questions_are_answered_in_every_direction(tmp_path):
    from conjoin.evaluation.formats.base import Choose, Question

    def question(n: int, kind: str, other: str) -> Question:
        options = tuple(f"{other}{(n + k) % 5}" for k in range(4))
        return Question("?", kind, f"{kind}{n}", other, options, 0, f"{kind}>{other}")

    asked = [question(n, *pair) for n in range(5) for pair in (("image", "text"),
                                                              ("text", "image"))]  # fmt: skip

    def embed(cells: Cells) -> np.ndarray:
        return np.eye(5)[[int(value[-1]) for value in cells.values.values()]]

    told = judge(Choose("t", tuple(asked)), "xmodbench", [Arm("knows", embed)])
    arms = {one.arm: one for one in told.arms}
    assert arms["knows"].scores[0].value == 1
    assert arms["knows"].scores[0].chance == 0.25
    assert arms["knows"].facts["imbalance image > text"] == 0
    assert set(arms["knows"].scores[0].tags) == {"image>text", "text>image"}
    same = Arm("flat", lambda cells: np.ones((len(cells.values), 2)))
    assert judge(Choose("t", tuple(asked)), "x", [same]).arms[-1].scores[0].value == 0


def test_folders_of_classes_are_probed_by_a_linear_classifier(tmp_path):
    run = CliRunner().invoke
    for split, count in (("train", 12), ("test", 6)):
        for name, words in (("fruit", "apple pear plum"), ("tool", "hammer saw drill")):
            (tmp_path / "t" / split / name).mkdir(parents=True)
            for i in range(count):
                text = f"{words.split()[i % 3]} number {i} {split}"
                (tmp_path / "t" / split / name / f"{i}.txt").write_text(text)
    told = run(app, ["benchmark", str(tmp_path / "t"), "--encoder", "builtin:chargram", "--json"])
    assert told.exit_code == 0, told.output
    found = json.loads(told.stdout)["results"][0]
    assert found["format"] == "class-folders"
    assert found["arms"][1]["scores"][0]["value"] == 1
    assert found["arms"][0]["scores"][0]["value"] == 0.5
    (tmp_path / "t" / "test" / "tol").mkdir()
    (tmp_path / "t" / "test" / "tol" / "0.txt").write_text("saw")
    with pytest.raises(ConjoinError, match=r"test/tol: has no class.*did you mean tool"):
        open_task(tmp_path / "t")


def test_a_workspace_is_scored_as_its_binding_places_texts(tmp_path):
    import conjoin
    from conjoin.project.fit import pipeline as jobs
    from conjoin.project.workspace import Workspace
    from shelf import shelf

    folder = tmp_path / "ws"
    shelf(folder, n=48)
    ws = Workspace(folder)
    for modality in ws.modalities:
        ws.embed(modality.name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs, "write_card", lambda *_: None)
        jobs.fit(ws, method="ridge")
    Beir().write(TASK, tmp_path / "mine")
    asked = ["benchmark", str(tmp_path / "mine"), "-w", str(folder), "--json"]
    told = CliRunner().invoke(app, asked)
    assert told.exit_code == 0, told.output
    arm = json.loads(told.stdout)["results"][0]["arms"][-1]
    assert arm["arm"] == "workspace"
    placed = conjoin.open(folder).placed()
    own = judge(TASK, "beir", [Arm("x", placed)]).arms[-1]
    for score, other in zip(arm["scores"], own.scores, strict=True):
        assert score["value"] == pytest.approx(other.value, abs=1e-9)
    written = CliRunner().invoke(app, ["benchmark", "-w", str(folder), "--write",
                                       str(tmp_path / "out"), "--json"])  # fmt: skip
    assert isinstance(written.exception, ConjoinError)
    assert "name one of text, image or audio" in str(written.exception)


def test_rewritten_texts_are_scored_beside_their_sources(tmp_path):
    lines = [("the big dog runs . it barks", "the dog runs and barks", "the dog runs and barks"),
             ("a cat sat . it slept", "a cat sat", "a cat sat and slept")]  # fmt: skip
    for name, at in (("good", 2), ("lazy", 0)):
        text = "\n".join("\t".join((line[0], line[at], line[2])) for line in lines) + "\n"
        (tmp_path / f"{name}.tsv").write_text(text)
    told = judge(open_task(tmp_path)[1], "text-editing")
    arms = {one.arm: one for one in told.arms}
    assert arms["good"].scores[0].metric == "sari"
    assert arms["good"].scores[1].value == 1
    assert arms["lazy"].scores[0].value == arms["the source itself"].scores[0].value
    assert arms["good"].scores[0].value > arms["lazy"].scores[0].value
    (tmp_path / "bad.tsv").write_text("one\ttwo\n")
    with pytest.raises(ConjoinError, match=r"bad\.tsv:1: 2 columns"):
        open_task(tmp_path)
    (tmp_path / "bad.tsv").write_text("other\ttwo\tthree\n")
    with pytest.raises(ConjoinError, match=r"good\.tsv:1: has another source"):
        open_task(tmp_path)


def test_foils_of_ones_own_pictures_are_written_and_judged(tmp_path):
    from conjoin.project.evaluation.benchmark import write_foiled

    files = pictures(tmp_path / "in", 3)
    texts = {"0": "a red ball on a blue box", "1": "two dogs", "2": "no cat"}
    cells = {"0": files[0], "1": Path(files[1]).read_bytes(), "2": files[2]}
    task = Rank("text to image", {i: {i: 1} for i in texts}, Cells("text", texts),
                Cells("image", cells))  # fmt: skip
    made = write_foiled(task, tmp_path / "out", ["swap-attributes", "negate"])
    found = VlChecklist().open(tmp_path / "out")
    assert sorted((f.true, f.false, f.tag) for f in found.foils) == sorted(
        (f.true, f.false, f.tag) for f in made.foils
    )
    assert {f.tag: 0 for f in found.foils} == {"swap-attributes": 0, "negate": 0}
    assert len([f for f in found.foils if f.tag == "swap-attributes"]) == 1
    shown = {f.true: Path(f.image).read_bytes() for f in found.foils}
    assert shown["two dogs"] == Path(files[1]).read_bytes()
    with pytest.raises(ConjoinError, match="is not empty"):
        write_foiled(task, tmp_path / "out", ["negate"])
    with pytest.raises(ConjoinError, match="did you mean negate"):
        write_foiled(task, tmp_path / "new", ["negat"])
