"""A binding inside MTEB, offline: the same numbers there and here."""

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from conjoin.encoders.open import open_encoder
from conjoin.errors import ConjoinError
from conjoin.evaluation.by_shape.base import Arm
from conjoin.evaluation.formats.base import Cells, Rank
from conjoin.evaluation.formats.mteb_folder import MtebFolder
from conjoin.evaluation.placing import Placed
from conjoin.evaluation.published import judge

WORDS = ("red", "blue", "green", "small", "large", "old", "new", "dog", "cat", "bird", "tree",
         "house", "river", "stone", "song")  # fmt: skip


def task(seed: int = 0) -> Rank:
    rng = np.random.default_rng(seed)
    texts = {f"d{i:02}": " ".join(rng.choice(WORDS, 6)) for i in range(40)}
    asked = {f"q{i:02}": " ".join([*texts[f"d{i:02}"].split()[:2], "the"]) for i in range(20)}
    judged = {f"q{i:02}": {f"d{i:02}": 1} for i in range(20)}
    return Rank("mine", judged, Cells("text", asked), Cells("text", texts), groups=dict(asked))


def in_mteb(folder: Path):
    from mteb.abstasks import AbsTaskRetrieval
    from mteb.abstasks.task_metadata import TaskMetadata

    told = dict.fromkeys((
        "reference", "date", "domains", "task_subtypes", "license", "annotations_creators",
        "dialect", "sample_creation", "bibtex_citation",
    ))  # fmt: skip

    class Mine(AbsTaskRetrieval):
        metadata = TaskMetadata(
            name="Mine", description="ours", type="Retrieval", category="t2t",
            dataset={"path": str(folder), "revision": "local"}, modalities=["text"],
            eval_splits=["test"], eval_langs=["eng-Latn"], main_score="ndcg_at_10", **told,
        )  # fmt: skip

    return Mine()


@pytest.fixture
def placed() -> Placed:
    return Placed({"text": open_encoder("builtin:chargram")})


def scores_of(model, folder: Path, monkeypatch) -> dict[str, float]:
    import mteb

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(folder.parent / "hub"))
    found = mteb.evaluate(model, in_mteb(folder), cache=None, show_progress_bar=False)
    return found.task_results[0].scores["test"][0]


def test_the_numbers_inside_mteb_are_ours(placed, tmp_path, monkeypatch):
    from conjoin.evaluation import mteb as inside

    MtebFolder().write(task(), tmp_path / "mine")
    own = judge(MtebFolder().open(tmp_path / "mine"), "mteb", [Arm("x", placed)])
    ours = {score.metric: score.value for score in own.arms[-1].scores}
    assert 0.2 < ours["ndcg@10"] < 1
    names = {"ndcg@10": "ndcg_at_10", "map": "map_at_1000", "recall@10": "recall_at_10",
             "hit@1": "hit_rate_at_1"}  # fmt: skip
    for model in (inside.encoder(placed), inside.search(placed)):
        theirs = scores_of(model, tmp_path / "mine", monkeypatch)
        for mine, other in names.items():
            assert theirs[other] == pytest.approx(ours[mine], abs=1e-5), (model.name, mine)


def test_words_and_corrections_are_the_indexs_own(placed, tmp_path, monkeypatch):
    from conjoin.evaluation import mteb as inside

    MtebFolder().write(task(), tmp_path / "mine")
    plain = scores_of(inside.search(placed), tmp_path / "mine", monkeypatch)
    pairs = {f"{a}{b}": f"{a} {b}" for a, b in pairwise(WORDS)}
    bank = placed(Cells("text", pairs))
    found = {}
    for name, settings in {
        "words": inside.SearchSettings(words=1.0),
        "half": inside.SearchSettings(words=0.5),
        "csls": inside.SearchSettings(correction="csls", bank=bank),
    }.items():
        model = inside.search(placed, settings)
        found[name] = scores_of(model, tmp_path / "mine", monkeypatch)["ndcg_at_10"]
    lexical = judge(task(), "mteb", [Arm("x", placed)]).arms[1]
    assert lexical.arm == "words (BM25)"
    assert found["words"] == pytest.approx(lexical.scores[0].value, abs=0.02)  # ties apart
    assert len({round(x, 6) for x in (*found.values(), plain["ndcg_at_10"])}) > 2


def test_settings_that_do_not_fit_are_refused(placed):
    from conjoin.evaluation import mteb as inside

    with pytest.raises(ConjoinError, match="give both or neither"):
        inside.SearchSettings(correction="csls")
    with pytest.raises(ConjoinError, match="0 to 1"):
        inside.SearchSettings(words=2.0)
    with pytest.raises(ConjoinError, match="call index first"):
        inside.search(placed).search(None, top_k=3)


def test_a_kind_that_is_not_bound_is_named(placed):
    with pytest.raises(ConjoinError, match=r"place text \(text\), the task has image"):
        placed(Cells("image", {"a": "x.png"}))


def test_mteb_is_imported_where_a_model_is_made():
    code = (
        "import json, sys, conjoin.evaluation.mteb, conjoin.evaluation.published;"
        "print(json.dumps([m for m in ('mteb', 'torch', 'sacrebleu') if m in sys.modules]))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(told.stdout) == []
