"""Models that learn, end to end: runs that are killed, faults, and the verb on a workspace."""

import json
import os
import sys
import wave
from pathlib import Path

import numpy as np
import pytest

import planted
from conjoin.cli.main import main
from conjoin.encoders.open import open_encoder, towers
from conjoin.errors import ConjoinError, StateError
from conjoin.models.pretraining import loop
from conjoin.models.pretraining.batches import Stepped, streams
from conjoin.models.pretraining.loop import CHECKPOINT, Stage, frozen, stage_of
from conjoin.models.pretraining.recipe import Recipe, put
from conjoin.models.pretraining.saved import load
from conjoin.storage import files

TINY = Recipe(
    body={"dim": 16, "heads": 2}, targets={"contrast": 1.0, "masked-ids": 0.5},
    mix={"pairs": 1.0, "unpaired.words": 1.0}, batch=16, course={"steps": 9, "keep": 2, "check": 4},
)  # fmt: skip


def items(count=40):
    whole = planted.world(count)
    return planted.corpus({v: whole.columns[v] for v in ("image", "words")}, family=2)


class Killed(BaseException):
    """Nothing catches it, as nothing catches a signal."""


def bytes_of(folder: Path) -> bytes:
    return (folder / CHECKPOINT).read_bytes()


def test_a_run_killed_anywhere_ends_in_the_same_bytes(tmp_path):
    corpus = items()
    TINY.fit(corpus, seed=0, folder=tmp_path / "whole")
    whole = bytes_of(tmp_path / "whole")
    for point in (1, 4, 5, 8):
        folder = tmp_path / f"killed at {point}"

        def stop(step, steps, found, point=point):
            if step == point:
                raise Killed

        with pytest.raises(Killed):
            TINY.fit(corpus, seed=0, folder=folder, progress=stop)
        again = TINY.fit(corpus, seed=0, folder=folder)
        assert bytes_of(folder) == whole
        assert again.trained.step in (4, 8, 9)
    other = TINY.fit(corpus, seed=1, folder=tmp_path / "other")
    assert other.trained.step
    assert bytes_of(tmp_path / "other") != whole


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    corpus = items()
    TINY.fit(corpus, seed=0, folder=tmp_path / "whole")
    real, left = files.os.replace, [2]

    def full(a, b):
        if str(b).endswith(CHECKPOINT):
            left[0] -= 1
            if not left[0]:
                raise OSError(28, "No space left on device")
        real(a, b)

    monkeypatch.setattr(files.os, "replace", full)
    with pytest.raises(ConjoinError, match=r"(?i)space"):
        TINY.fit(corpus, seed=0, folder=tmp_path / "run")
    assert files.map_arrays(tmp_path / "run" / CHECKPOINT)[1]["step"] == 2
    monkeypatch.undo()
    TINY.fit(corpus, seed=0, folder=tmp_path / "run")
    assert bytes_of(tmp_path / "run") == bytes_of(tmp_path / "whole")


def test_another_recipe_other_items_and_newer_files_are_refused(tmp_path):
    TINY.fit(items(), seed=0, folder=tmp_path)
    with pytest.raises(StateError, match=r"recipe.targets.contrast is 2.0, was 1.0"):
        put(TINY, "targets.contrast=2.0").fit(items(), seed=0, folder=tmp_path)
    with pytest.raises(StateError, match="data is"):
        TINY.fit(items(42), seed=0, folder=tmp_path)
    arrays, meta = files.map_arrays(tmp_path / CHECKPOINT)
    held = {k: np.array(v) for k, v in arrays.items()}
    files.write_arrays(tmp_path / CHECKPOINT, held, {**meta, "version": 99})
    with pytest.raises(StateError, match="upgrade conjoin"):
        TINY.fit(items(), seed=0, folder=tmp_path)


def test_a_loss_that_is_no_number_names_its_target_and_keeps_the_last_state(tmp_path):
    wild = put(put(TINY, "course.lr=1e30"), "course.clip=1e30")
    with pytest.raises(ConjoinError, match=r"step \d+, target (contrast|masked-ids)"):
        wild.fit(items(), seed=0, folder=tmp_path)


def test_frozen_tensors_stay_byte_for_byte():
    made = put(TINY, "course.ema=0.9")
    made = Recipe(**{**vars(made), "validation": 0.0, "stages": (
        {"share": 1.0, "targets": ["contrast"], "freeze": ["stem/*"]},
        {"share": 2.0, "freeze": ["body/*", "stem/image/*"]},
    )})  # fmt: skip
    fitted = made.fit(items(), seed=0)
    first = {k: np.asarray(p.value, np.float32) for k, p in fitted.model.init(0).items()}
    for name, held in fitted.params.items():
        same = np.array_equal(held, first[name])
        if name.startswith("stem/image/"):
            assert same, name
        if name == "stem/words/table" or "/tower/" in name:
            assert not same, name
    assert np.isnan(fitted.trained.curves.loss[:3, 1]).all()
    names = ["stem/a/x", "body/b"]
    assert frozen(names, Stage(freeze=("stem/*",))) == {"stem/a/x"}
    assert stage_of((Stage(1), Stage(1)), 5, 10).share == 1


def test_batches_are_functions_of_seed_and_step():
    made = Stepped(items(), frozenset(), {"pairs": 2, "unpaired.words": 1}, 8, 64, 30)
    one, two = made.at(7), Stepped(made.corpus, frozenset(), made.rates, 8, 64, 30).at(7)
    np.testing.assert_array_equal(one.rows["words"], two.rows["words"])
    names = [name for name, _ in made.turns]
    for upto in range(1, 31):
        assert abs(names[:upto].count("pairs") - 2 * upto / 3) <= 1
    own = np.concatenate([made.lines(k)[1] for k, (n, _) in enumerate(made.turns) if n == "pairs"])
    assert sorted(own[:40]) == list(range(40))
    alone = next(made.at(k) for k, (n, _) in enumerate(made.turns) if n != "pairs")
    assert not alone.present["image"].any()
    assert not alone.masks["image"].any()
    with pytest.raises(ConjoinError, match="did you mean pairs"):
        streams(items(), {"pars": 1})


def test_a_view_without_cells_leaves_its_targets_out_by_name():
    corpus = planted.corpus(items().columns, absent={"image": range(40)})
    fitted = TINY.fit(corpus, seed=0)
    assert "two views" in fitted.left["contrast"]
    assert list(fitted.trained.curves.ends()) == ["masked-ids"]
    with pytest.raises(ConjoinError, match="none can run"):
        put(TINY, "targets.masked-ids=0").fit(corpus, seed=0)


def test_one_line_and_one_family_do_not_break():
    small = put(TINY, "batch=1")
    fitted = small.fit(planted.corpus(items(4).columns, family=4), seed=0)
    assert "famil" in next(iter(fitted.trained.curves.skipped["contrast"]))


def test_targets_at_their_floor_are_named():
    curves = loop.Curves(("a", "b"), np.array([[1.0, 0.5]] * 30), np.array([[1.0, 1.0]] * 30))
    assert curves.stuck() == ["a"]


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Sixty things in pictures of two colours, words and series, a fourth held out."""
    folder = tmp_path_factory.mktemp("shop")
    rng = np.random.default_rng(0)
    words = [f"{a} {b}" for a in ("red", "blue", "green", "pink") for b in
             ("fish", "boat", "house", "tree", "star")] * 3  # fmt: skip
    rows = ["id,text,vector"]
    for at, word in enumerate(words):
        base = np.random.default_rng(abs(hash(word)) % 997 * 0 + sum(map(ord, word))).normal(size=6)
        vector = json.dumps((base + 0.1 * rng.normal(size=6)).round(4).tolist())
        rows.append(f'i{at},{word},"{vector}"')
    (folder / "items.csv").write_text("\n".join(rows) + "\n")
    (folder / "conjoin.toml").write_text(
        'version = 1\n[items]\ntable = "items.csv"\nid = "id"\n'
        '[modalities.text]\ncolumn = "text"\nencoder = "builtin:chargram"\n'
        '[modalities.numbers]\ncolumn = "vector"\nencoder = "builtin:vector"\n'
        "[split]\ntest = 16\nseed = 0\n"
    )
    (folder / "mine.toml").write_text(
        "batch = 16\n"
        '[views.text]\ncells = "letters"\n[views.numbers]\n'
        "[body]\ndim = 16\nheads = 2\n"
        '[targets]\ncontrast = 1.0\nmasked-ids = {weight = 0.5, mask = "token:0.3"}\n'
        "[mix]\npairs = 1\nunpaired.text = 1\n"
        "[course]\nsteps = 12\n"
    )
    return folder


def conjoin(capsys, *words):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["conjoin", *map(str, words)])
        try:
            main()
            code = 0
        except SystemExit as ended:
            code = ended.code or 0
    said = capsys.readouterr()
    return code, said.out, said.err


def test_the_verb_plans_trains_judges_and_gives_an_encoder(shop, capsys, monkeypatch):
    monkeypatch.chdir(shop)
    assert conjoin(capsys, "embed")[0] == 0
    code, out, _ = conjoin(capsys, "model", "pretrain", "mine.toml", "--dry-run", "--json")
    plan = json.loads(out)["plan"]
    assert code == 0
    assert plan["items"] == {"text": 44, "numbers": 44}
    assert plan["paired"] == 44
    assert not (shop / "models").exists()
    code, out, err = conjoin(capsys, "model", "pretrain", "mine.toml", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert [arm["name"] for arm in found["arms"]] == ["frozen", "random", "run"]
    assert {"name", "metric", "value", "low", "high", "cost"} <= found["arms"][0].keys()
    assert found["arms"][0]["cost"] == 0 < found["arms"][2]["cost"]
    assert isinstance(found["verdict"], str)
    assert set(found["directions"]) == {"text → numbers", "numbers → text"}
    assert set(found["losses"]) == {"contrast", "masked-ids"}
    assert found["encoders"]["text"] == "pretrained:models/mine?view=text"
    before = (shop / "models/mine" / CHECKPOINT).read_bytes()
    code, out, _ = conjoin(capsys, "model", "pretrain", "mine.toml")
    assert code == 0
    assert "best constant answer" in out
    assert (shop / "models/mine" / CHECKPOINT).read_bytes() == before
    assert "svg" in (shop / "models/mine/curves.html").read_text()
    config = (shop / "conjoin.toml").read_text()
    for view, old in (("text", "builtin:chargram"), ("numbers", "builtin:vector")):
        config = config.replace(old, f"pretrained:models/mine?view={view}")
    (shop / "conjoin.toml").write_text(config)
    assert conjoin(capsys, "embed")[0] == 0
    assert conjoin(capsys, "fit", "--method", "cca")[0] == 0
    code, out, _ = conjoin(capsys, "search", "red fish", "--json")
    assert code == 0
    assert "red fish" in out


def test_the_encoder_has_frames_of_its_weights(shop, capsys, monkeypatch):
    monkeypatch.chdir(shop)
    if not (shop / "models/mine").exists():
        conjoin(capsys, "model", "pretrain", "mine.toml")
    text = open_encoder("pretrained:models/mine?view=text")
    again = open_encoder("pretrained:models/mine?view=text")
    sets = open_encoder("pretrained:models/mine?view=text&output=tokens")
    joint = [open_encoder(f"pretrained:models/mine?view={v}&output=joint") for v in
             ("text", "numbers")]  # fmt: skip
    assert text.frame == again.frame != sets.frame
    assert joint[0].frame == joint[1].frame != text.frame
    assert towers("pretrained:models/mine?view=text&output=joint") == {
        "text": "pretrained:models/mine?output=joint&view=text",
        "vector": "pretrained:models/mine?output=joint&view=numbers",
    }
    items = [text.decode(word) for word in ("red fish", "a boat")]
    pooled, tokens = text.forward(items), sets.forward(items)
    assert np.diff(tokens.offsets).tolist() == [8, 6]
    np.testing.assert_allclose(tokens.mean(), pooled, atol=1e-6)
    saved = load(Path("models/mine"))
    saved.fitted.params["stem/text/table"][0] += 1
    from conjoin.models.pretraining.encoder import Pretrained

    moved = Pretrained(saved, "text", "pooled", "pretrained:x")
    other = Pretrained(saved, "numbers", "pooled", "pretrained:x")
    assert moved.frame != text.frame
    assert other.frame == open_encoder("pretrained:models/mine?view=numbers").frame
    for uri, said in (
        ("pretrained:models/mine", "view="), ("pretrained:nowhere", "no trained model"),
        ("pretrained:models/mine?view=txt", "text"),
    ):  # fmt: skip
        with pytest.raises(ConjoinError, match=said):
            open_encoder(uri)


def test_bad_input_is_one_line(shop, capsys, monkeypatch):
    monkeypatch.chdir(shop)
    for words, said in (
        ((), "--list"), (("albeff",), "did you mean albef"), (("none.toml",), "no such file"),
        (("mine.toml", "--set", "targets.matchin=1"), "did you mean matching"),
        (("mine.toml", "--budget", "soon"), "10m"),
        (("mine.toml", "--budget", "1e-9"), "less than one step"),
        (("speech-letters",), "no modality of kind audio"),
        (("mine.toml", "--set", "body.towers=48", "--set", "body.dim=4096", "--name", "big",
          "--set", "body.hidden=8", "--set", "body.top=48"), "GB to train"),
    ):  # fmt: skip
        code, out, err = conjoin(capsys, "model", "pretrain", *words)
        assert code == 2, words
        assert said in err, (words, err)
        assert err.count("\n") == 1, err
    code, out, _ = conjoin(capsys, "model", "pretrain", "--list", "--json")
    listed = {one["name"]: one for one in json.loads(out)["recipes"]}
    assert code == 0
    assert "audio" in listed["speech-letters"]["cannot"]
    assert os.path.exists("mine.toml")


def tone(pitches, path):
    """A third of a second a pitch, as a WAV file."""
    at = np.arange(5000) / 16000
    samples = np.concatenate([np.sin(2 * np.pi * pitch * at) for pitch in pitches])
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(16000)
        out.writeframes((8000 * samples).astype("<i2").tobytes())


def test_sounds_are_read_as_letters_and_as_known_names(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pitch = {"a": 300, "b": 900, "c": 2200}
    words = ["abc", "cab", "bca", "acb", "ab", "ca", "bc", "cb"]
    rows = ["id,label,speech"]
    for at in range(24):
        word = words[at % 8]
        tone([pitch[letter] * (1 + 0.01 * (at // 8)) for letter in word], tmp_path / f"{at}.wav")
        rows.append(f"i{at},{word},{at}.wav")
    (tmp_path / "items.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "conjoin.toml").write_text(
        'version = 1\n[items]\ntable = "items.csv"\nid = "id"\n'
        '[modalities.speech]\ncolumn = "speech"\nencoder = "builtin:audio"\n'
        "[split]\ntest = 8\nseed = 0\n"
    )
    settings = ("body.dim=16", "body.heads=2", "course.steps=60", "batch=16", "validation=0",
                "course.lr=0.02", "course.dropout=0", "views.speech.bands=0")  # fmt: skip
    words_of = [part for one in settings for part in ("--set", one)]
    code, _, err = conjoin(capsys, "model", "pretrain", "speech-letters", *words_of, "--json")
    assert code == 0, err
    (tmp_path / "names.txt").write_text("\n".join(words) + "\n")
    model = "pretrained:models/speech-letters"
    files = [f"{at}.wav" for at in range(8)]
    code, out, _ = conjoin(capsys, "transcribe", model, *files, "--names", "names.txt", "--json")
    found = [one["text"] for one in json.loads(out)["transcripts"]]
    assert code == 0
    assert np.mean([a == b for a, b in zip(found, words, strict=True)]) > 0.6
    spelt = []
    for beam in (1, 20):
        code, out, _ = conjoin(capsys, "transcribe", model, *files, "--beam", beam, "--json")
        assert code == 0, out
        spelt.append([one["text"] for one in json.loads(out)["transcripts"]])
        assert all(set(text) <= set("abc") for text in spelt[-1])
    assert np.mean([a == b for a, b in zip(*spelt, strict=True)]) > 0.6
    (tmp_path / "torn.wav").write_bytes(b"no sound")
    code, out, _ = conjoin(capsys, "transcribe", model, "0.wav", "torn.wav", "--json")
    assert code == 1
    assert json.loads(out)["transcripts"][1]["failed"]
    for given, said in (
        (("builtin:text", "0.wav"), "give pretrained:DIR"),
        (("pretrained:no", "0.wav"), "no trained"),
    ):  # fmt: skip
        code, _, err = conjoin(capsys, "transcribe", *given)
        assert (code, said in err) == (2, True)
