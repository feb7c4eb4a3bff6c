"""Merging checkpoints of a folder: what is read, written, refused, and gone on from."""

import json
import os

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from conjoin.errors import ConjoinError
from conjoin.models.checkpoint import Checkpoint, narrow, widen
from conjoin.models.merging.run import merge, merge_arrays
from conjoin.models.merging.vectors import TaskVector
from conjoin.project.models.merge import MergeAsk, explained, plan, run
from conjoin.project.models.merge_skills import joined, reciprocal_ranks, skill_of
from conjoin.project.models.merge_verdict import named, retained

RNG = np.random.default_rng(0)
SHAPES = {"embeddings.word.weight": (20, 6), "layer.0.weight": (6, 6), "layer.0.bias": (6,)}


def model(seed=0, size=0.1):
    base = {n: np.random.default_rng(1).normal(size=s) for n, s in SHAPES.items()}
    rng = np.random.default_rng(seed)
    moved = {n: (v + size * rng.normal(size=v.shape)) for n, v in base.items()}
    return {n: v.astype(np.float32) for n, v in moved.items()} | {"places": np.arange(5)}


def written(folder, arrays, **files):
    folder.mkdir()
    save_file(arrays, folder / "model.safetensors")
    for name, text in files.items():
        (folder / f"{name}.json").write_text(text)
    return folder


@pytest.fixture
def three(tmp_path):
    vocabulary = json.dumps({"model": {"vocab": {"a": 0, "b": 1}}})
    written(tmp_path / "base", model(size=0.0), config="{}", tokenizer=vocabulary)
    for seed, name in ((2, "one"), (3, "two")):
        written(tmp_path / name, model(seed), config="{}", tokenizer=vocabulary)
    return tmp_path


def ask(folder, *experts, **settings):
    names = experts or ("one", "two")
    return MergeAsk(
        tuple(str(folder / n) for n in names), str(folder / "base"),
        settings.pop("method", "task-arithmetic"), settings, folder / "out",
    )  # fmt: skip


def quiet(name, done, total):
    pass


def test_a_folder_merges_as_its_arrays_do(three):
    found = plan(ask(three))
    assert (found.tensors, found.copied, found.numbers) == (4, 1, 167)
    made = run(ask(three), found, quiet)
    wanted = merge_arrays(model(size=0.0), [model(2), model(3)], "task-arithmetic")
    ours = load_file(made.folder / "model.safetensors")
    assert {n: v.tobytes() for n, v in ours.items()} == {n: v.tobytes() for n, v in wanted.items()}
    assert (made.folder / "config.json").is_file()
    assert made.uri == f"hf:{made.folder}"
    card = json.loads((made.folder / "merge.json").read_text())
    assert card["base"]["hash"] == Checkpoint.open(three / "base").hash
    assert [one["model"] for one in card["experts"]] == ["one", "two"]
    assert sorted(p.name for p in three.iterdir()) == ["base", "one", "out", "two"]


def test_a_table_of_whole_numbers_may_be_in_the_base_alone(three):
    arrays = model(4)
    del arrays["places"]
    written(three / "newer", arrays)
    made = merge(three / "base", [three / "newer"], "average", three / "out")
    found = load_file(made.folder / "model.safetensors")
    assert (found["places"] == np.arange(5)).all()
    assert (found["layer.0.bias"] == arrays["layer.0.bias"]).all()


def test_shards_and_their_order_change_neither_hash_nor_result(three):
    folder, arrays = three / "cut", model(2)
    folder.mkdir()
    names = list(arrays)
    save_file({n: arrays[n] for n in names[2:]}, folder / "a.safetensors")
    save_file({n: arrays[n] for n in names[:2]}, folder / "b.safetensors")
    where = {n: "a.safetensors" if n in names[2:] else "b.safetensors" for n in names}
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": where}))
    assert Checkpoint.open(folder).hash == Checkpoint.open(three / "one").hash
    merge(three / "base", [folder], "average", three / "x")
    merge(three / "base", [three / "one"], "average", three / "y", shard=300)
    assert len(list((three / "y").glob("model-*.safetensors"))) > 1
    assert Checkpoint.open(three / "x").hash == Checkpoint.open(three / "y").hash
    (folder / "b.safetensors").unlink()
    with pytest.raises(ConjoinError, match=r"shard b.safetensors is missing"):
        Checkpoint.open(folder)


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (lambda f, m: m.pop("layer.0.bias"), "layer.0.bias only in"),
        (lambda f, m: m.update({"layer.0.bias": np.zeros(7, np.float32)}), r"is \[7\], not \[6\]"),
        (lambda f, m: m.update({"layer.0.bias": np.full(6, np.nan, np.float32)}), "6 numbers that"),
        (lambda f, m: m.update({"layer.0.bias": np.full(6, np.inf, np.float32)}), "6 numbers that"),
    ],
)
def test_an_expert_that_does_not_fit_is_refused_and_nothing_is_left(three, spoil, found):
    arrays = model(4)
    spoil(three, arrays)
    written(three / "bad", arrays)
    with pytest.raises(ConjoinError, match=found) as told:
        run(ask(three, "one", "bad"), plan(ask(three, "one", "bad")), quiet)
    assert "\n" not in str(told.value)
    assert sorted(p.name for p in three.iterdir()) == ["bad", "base", "one", "two"]


def test_what_is_no_model_is_refused_by_name(three):
    whole = (three / "one" / "model.safetensors").read_bytes()
    cases = {}
    for name, content in {
        "cut": whole[:-8], "short": whole[:5], "long": b"\xff" * 40, "empty": b"",
    }.items():  # fmt: skip
        (three / name).mkdir()
        (three / name / "model.safetensors").write_bytes(content)
        cases[name] = "is cut or no safetensors file"
    (three / "lora").mkdir()
    (three / "lora" / "adapter_config.json").write_text("{}")
    (three / "pickled").mkdir()
    (three / "pickled" / "pytorch_model.bin").write_bytes(b"x")
    written(three / "int8", model(2), config='{"quantization_config": {"bits": 8}}')
    cases |= {"lora": "merge_and_unload", "pickled": "pickled weights only",
              "int8": "is quantised", "gone": "no such folder"}  # fmt: skip
    header = json.dumps({"w": {"dtype": "F8_E4M3", "shape": [1], "data_offsets": [0, 1]}}).encode()
    (three / "fp8").mkdir()
    (three / "fp8" / "model.safetensors").write_bytes(
        len(header).to_bytes(8, "little") + header + b"0"
    )
    cases["fp8"] = "F8_E4M3, a quantised type"
    for name, found in cases.items():
        with pytest.raises(ConjoinError, match=found):
            Checkpoint.open(three / name)


def test_other_tokens_and_the_base_itself_are_refused(three):
    other = json.dumps({"model": {"vocab": {"a": 0, "c": 1}}})
    (three / "two" / "tokenizer.json").write_text(other)
    with pytest.raises(ConjoinError, match=r"differs from the base's in 2 tokens: 'b', 'c'"):
        plan(ask(three))
    (three / "two" / "tokenizer.json").unlink()  # none: nothing to compare
    assert plan(ask(three)).tensors == 4
    with pytest.raises(ConjoinError, match="is the base itself"):
        plan(ask(three, "one", "base"))
    with pytest.raises(ConjoinError, match=r"density.*keeps nothing"):
        run(ask(three, method="ties", density=0.0), plan(ask(three)), quiet)
    assert not (three / "out").exists()


def test_stopped_at_any_tensor_it_goes_on_to_the_same_bytes(three):
    class Stopped(BaseException):
        pass

    whole = merge(three / "base", [three / "one", three / "two"], "ties", three / "whole")
    wanted = (whole.folder / "model.safetensors").read_bytes()
    for stop in range(4):
        out = three / f"out{stop}"

        def told(name, done, total, stop=stop):
            if done == stop:
                raise Stopped

        with pytest.raises(Stopped):
            merge(three / "base", [three / "one", three / "two"], "ties", out, progress=told)
        assert not out.exists()
        if stop == 3:  # what was written is spoilt: it is made again
            part = three / f".out{stop}.partial" / "model.safetensors"
            data = bytearray(part.read_bytes())
            data[8 + int.from_bytes(data[:8], "little")] ^= 1
            part.write_bytes(data)
        again = merge(three / "base", [three / "one", three / "two"], "ties", out)
        assert again.resumed == (2 if stop == 3 else stop)
        assert (out / "model.safetensors").read_bytes() == wanted
    with pytest.raises(Stopped):
        merge(three / "base", [three / "one"], "ties", three / "o", progress=told)
    assert merge(three / "base", [three / "one"], "average", three / "o").resumed == 0


def test_a_full_disk_is_one_line_and_leaves_nothing(three, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(ConjoinError, match="no space left on the disk"):
        merge(three / "base", [three / "one"], "average", three / "out")
    assert sorted(p.name for p in three.iterdir()) == ["base", "one", "two"]


def test_a_folder_that_is_there_is_not_written_over(three):
    (three / "out").mkdir()
    merge(three / "base", [three / "one"], "average", three / "out")  # it was empty
    with pytest.raises(ConjoinError, match="is there already"):
        merge(three / "base", [three / "one"], "average", three / "out")


def test_narrow_numbers_are_rounded_once():
    """Against exact arithmetic: the nearest bfloat16, ties to even."""
    torch = pytest.importorskip("torch")
    values = np.concatenate([RNG.normal(size=2000), [0.0, -0.0, 1e30, 1e-39]])
    # Just beside the middle of two halves, where rounding to float32 first loses the side.
    middle = (np.arange(1, 100, dtype=np.uint32) << 16 | 0x3F800000 | 0x8000).view(np.float32)
    values = np.concatenate([values, middle, middle * (1 + 1e-12), middle * (1 - 1e-12)])
    low = values.astype("<f4").view("<u4") & 0xFFFF0000
    steps = np.stack([low - 0x10000, low, low + 0x10000]).view("<f4").astype(np.float64)
    found = widen(narrow(values, "BF16").tobytes(), "BF16")
    off = np.abs(steps - values)
    best = np.nanmin(np.where(np.isfinite(off), off, np.inf), axis=0)
    assert (np.abs(found - values) == best).all()
    tied = narrow(middle.astype(np.float64), "BF16")
    assert (tied % 2 == 0).all()
    exact = torch.tensor(values.astype(np.float32)).to(torch.bfloat16).view(torch.int16).numpy()
    again = narrow(values.astype(np.float32).astype(np.float64), "BF16").view(np.int16)
    assert (again == exact).all()
    for kind in ("F32", "F16", "F64"):
        held = narrow(RNG.normal(size=50), kind)
        assert (narrow(widen(held.tobytes(), kind), kind) == held).all()


def test_ties_at_the_threshold_keep_the_first_and_are_counted():
    base = {"w": np.zeros(6)}
    method = TaskVector(trim="magnitude", density=0.5)
    found = merge_arrays(base, [{"w": np.array([1.0, 2, -1, 1, 3, 1])}], method)
    assert found["w"].tolist() == [1, 2, 0, 0, 3, 0]
    assert method.notes() == {"ties": 4}
    merge_arrays(base, [{"w": np.array([1.0, 2, 0, 0, 3, 0])}], method)
    assert method.notes() == {"ties": 0}


def test_explain_tells_layers_apart(three):
    layers = {one.name: one for one in explained(ask(three))}
    assert list(layers) == ["embeddings", "layer.0"]
    base, one, two = (model(size=0.0), model(2), model(3))
    deltas = [
        np.concatenate([(m[n] - base[n].astype(float)).ravel() for n in SHAPES if "layer" in n])
        for m in (one, two)
    ]
    found = layers["layer.0"]
    cosine = deltas[0] @ deltas[1] / np.linalg.norm(deltas[0]) / np.linalg.norm(deltas[1])
    assert abs(found.cosine - cosine) < 1e-6
    assert found.conflicts == (deltas[0] * deltas[1] < 0).mean()
    assert found.still == (0.0, 0.0)


def test_groups_of_pairs_share_no_text_across_parts():
    left = np.array(["a", "b", "c", "a", "d"], object)
    right = np.array(["1", "2", "2", "3", "4"], object)
    groups = joined(left, right)
    assert groups[0] == groups[3]
    assert groups[1] == groups[2]
    assert len(set(groups)) == 3
    many = np.array([f"t{i // 2}" for i in range(400)], object)
    skill = skill_of("x", many, np.array([f"r{i}" for i in range(400)], object))
    assert not set(many[skill.tested]) & set(many[~skill.tested])
    with pytest.raises(ConjoinError, match="give 120 or more"):
        skill_of("x", many[:50], many[:50])


def test_ranks_share_ties_and_pass_over_the_same_text():
    one = np.eye(3)
    texts = np.array(["a", "b", "c"])
    assert reciprocal_ranks(one, one, texts).tolist() == [1, 1, 1]
    assert reciprocal_ranks(np.ones((3, 3)), np.ones((3, 3)), texts).tolist() == [0.5] * 3
    same = reciprocal_ranks(np.ones((2, 3)), np.ones((2, 3)), np.array(["a", "a"]))
    assert same.tolist() == [1, 1]
    assert named(("x/a", "y/a", "hf:z/base")) == ["a-1", "a-2", "base-3"]


def test_the_share_kept_is_said_only_of_a_clear_gain():
    rng = np.random.default_rng(0)
    base = rng.random(200) / 2
    skill = skill_of(
        "s", np.array([f"l{i}" for i in range(200)], object),
        np.array([f"r{i}" for i in range(200)], object),
    )  # fmt: skip
    scores = {
        "base": {"s": base}, "e": {"s": base + 0.2 + 0.01 * rng.normal(size=200)},
        "merged": {"s": base + 0.1},
    }  # fmt: skip
    kept = retained(scores, [skill], ["e"], 0)["s"]
    assert kept is not None
    assert abs(kept - 0.5) < 0.02
    scores["e"] = {"s": base + rng.normal(size=200)}
    assert retained(scores, [skill], ["e"], 0) == {"s": None}
