"""Trained models in other programs' shapes, and theirs in ours."""

import json

import numpy as np
import pytest
import torch
import transformers

import planted
from conjoin.catalogue import find
from conjoin.encoders.open import open_encoder
from conjoin.errors import ConjoinError
from conjoin.models.pretraining.cells import Subwords
from conjoin.models.pretraining.export import (
    begin_from,
    export,
    from_bert,
    least_cosine,
    states_of,
    to_bert,
)
from conjoin.models.pretraining.recipe import Recipe
from conjoin.models.pretraining.saved import Saved, load, save

TEXTS = ["a red fish", "the blue boat sails", "stars and trees", "green house", "fish"] * 3
TINY = ("body.dim=16", "body.heads=2", "course.steps=4", "batch=4", "longest=24")


def trained(recipe, cells=None):
    """A tiny run on texts, or on planted floats."""
    if cells is None:
        corpus = planted.world(24)
        corpus = planted.corpus({"image": corpus.columns["image"]})
        spec = {"cells": "frozen", "uri": "builtin:vector", "state": {}, "kind": "vector"}
        name = "image"
    else:
        sets = cells.forward([cells.decode(text) for text in TEXTS])
        column = planted.Column(
            planted.Tokens(sets.vectors.astype(np.int32), sets.offsets), cells.vocabulary
        )
        corpus = planted.corpus({"text": column})
        spec = {"cells": "subwords:300", "uri": "", "state": cells.state(), "kind": "text"}
        name = "text"
    return Saved(recipe.fit(corpus, seed=0), {name: spec}, recipe.longest)


@pytest.fixture(scope="module")
def words():
    from conjoin.models.pretraining.recipe import put

    made = find("recipe", "bert").make()
    for text in TINY:
        made = put(made, text)
    return trained(made, Subwords(300).prepare(TEXTS))


def test_exports_open_again_and_agree(words, tmp_path):
    for to in ("safetensors", "hf", "onnx"):
        found = export(words, "text", to, tmp_path / to)
        assert found.cosine >= 0.9999
        assert found.rows == 16
    own, theirs = (
        open_encoder(f"pretrained:{tmp_path}/safetensors"),
        open_encoder(found_uri(tmp_path)),
    )
    assert not (tmp_path / "hf" / "model.py").exists()
    given = ["A red  fish", "stars"]
    a, b = (e.forward([e.decode(text) for text in given]) for e in (own, theirs))
    assert least_cosine(a, b) > 0.9999


def found_uri(folder):
    return f"hf:{folder}/hf?pool=mean"


def test_floats_export_too_and_other_shapes_are_refused_for_hf(tmp_path):
    made = Recipe(body={"kind": "dual", "dim": 16, "heads": 2}, course={"steps": 3}, batch=8,
                  targets={"masked-features": 1.0}, mix={"unpaired.image": 1.0})  # fmt: skip
    saved = trained(made)
    assert export(saved, "image", "safetensors", tmp_path / "own").cosine > 0.9999
    with pytest.raises(ConjoinError, match=r"not of BERT's shape.*safetensors or onnx"):
        export(saved, "image", "hf", tmp_path / "hf")
    with pytest.raises(ConjoinError, match="did you mean onnx"):
        export(saved, "image", "onx", tmp_path / "x")


def test_an_export_that_differs_is_refused(words, tmp_path, monkeypatch):
    from conjoin.models.pretraining import export as room

    monkeypatch.setattr(room, "to_bert", lambda p, v, n: {
        k: x * (2 if k.endswith("query.weight") else 1) for k, x in to_bert(p, v, n).items()
    })  # fmt: skip
    with pytest.raises(ConjoinError, match="read back differ"):
        export(words, "text", "hf", tmp_path)


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    """A random tiny BERT as transformers writes it, with a tokenizer of its own."""
    folder = tmp_path_factory.mktemp("bert")
    torch.manual_seed(0)
    cells = Subwords(300).prepare(TEXTS)
    config = transformers.BertConfig(
        vocab_size=cells.vocabulary, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=40, max_position_embeddings=24,
    )  # fmt: skip
    model = transformers.BertModel(config).eval()
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.3 * torch.randn_like(value))
    model.save_pretrained(folder)
    (folder / "tokenizer.json").write_text(cells.tokenizer_json)
    return folder, model


def test_bert_comes_in_and_goes_out_unchanged(bert, tmp_path):
    folder, model = bert
    known = begin_from(folder, find("recipe", "bert").make())
    held = {k: v.numpy() for k, v in model.state_dict().items()}
    back = to_bert(known.tensors, "text", 2)
    kept = {k for k in held if not k.startswith("pooler")}
    assert set(back) == kept
    for name in kept:
        np.testing.assert_array_equal(back[name], held[name], err_msg=name)
    assert from_bert(back, "text", 2).keys() == known.tensors.keys() - {"stem/text/hidden"}
    from dataclasses import replace

    made = replace(known.recipe, course={"steps": 1, "lr": 1e-12, "decay": 0.0}, validation=0.0)
    cells = Subwords(**Subwords(300).prepare(TEXTS).state())
    sets = cells.forward([cells.decode(text) for text in TEXTS])
    column = planted.Column(
        planted.Tokens(sets.vectors.astype(np.int32), sets.offsets), cells.vocabulary
    )
    fitted = made.fit(planted.corpus({"text": column}), seed=0, start=known.tensors)
    saved = Saved(fitted, {"text": {"cells": "x", "uri": "", "state": {}, "kind": "text"}}, 24)
    rng = np.random.default_rng(0)
    raw = rng.integers(0, cells.vocabulary, (5, 20))
    keep = np.arange(20) < np.array([20, 3, 11, 1, 7])[:, None]
    found = states_of(saved, "text", raw, keep)
    with torch.no_grad():
        wanted = model(input_ids=torch.from_numpy(raw),
                       attention_mask=torch.from_numpy(keep).long())  # fmt: skip
    np.testing.assert_allclose(found[keep], wanted.last_hidden_state.numpy()[keep], atol=2e-5)
    save(saved, tmp_path / "model.safetensors")
    assert load(tmp_path).fitted.params.keys() == fitted.params.keys()


def test_what_cannot_be_continued_is_named(bert, tmp_path):
    folder, _ = bert
    for given, said in (
        (find("recipe", "albef").make(), "one view of text"),
        (find("recipe", "bert").make(), "cannot be read"),
    ):
        place = folder if "view" in said else tmp_path
        with pytest.raises(ConjoinError, match=said):
            begin_from(place, given)
    config = json.loads((folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "model_type": "gpt2"}))
    (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    with pytest.raises(ConjoinError, match="of type gpt2"):
        begin_from(tmp_path, find("recipe", "bert").make())
    with pytest.raises(ConjoinError, match="no tensor"):
        from_bert({}, "text", 1)
