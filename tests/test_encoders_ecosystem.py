"""Encoders from outside, on tiny models the tests make and save."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from conjoin.encoders import probe
from conjoin.encoders.base import Encoder
from conjoin.encoders.media import folders
from conjoin.encoders.pretrained import towers as hub_towers
from conjoin.encoders.pretrained.sentence import SentenceModel
from conjoin.encoders.pretrained.transformers import HubModel
from conjoin.errors import ConjoinError, MissingDependency
from conjoin.spaces import Tokens

TEXTS = ["a red fruit", "blue", "the old train leaves a station at night", "red red train"]
WORDS = [
    "a", "red", "fruit", "blue", "the", "old", "train", "leaves", "station", "at", "night",
    "#s", "##s", "##ed", "in", "of", "and",
]  # fmt: skip


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def encode(encoder, cells):
    return encoder.forward([encoder.decode(cell) for cell in cells])


def alone(encoder, cells):
    """Each cell in a batch of its own."""
    return np.concatenate([encode(encoder, [cell]) for cell in cells])


# -- tiny models


def save_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocab = {w: i for i, w in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS])}
    made = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]",
        sep_token="[SEP]", mask_token="[MASK]", model_max_length=32,
    ).save_pretrained(folder)  # fmt: skip


def save(model, folder: Path) -> None:
    model.eval().save_pretrained(folder, safe_serialization=True)


@pytest.fixture(scope="session")
def bert(tmp_path_factory) -> Path:
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models") / "bert"
    config = BertConfig(
        vocab_size=32, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=40, initializer_range=0.5,
    )  # fmt: skip
    save(BertModel(config), folder)
    save_tokenizer(folder)
    return folder


@pytest.fixture(scope="session")
def vit(tmp_path_factory) -> Path:
    import torch
    from transformers import ViTConfig, ViTModel

    torch.manual_seed(1)
    folder = tmp_path_factory.mktemp("models") / "vit"
    config = ViTConfig(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        image_size=32, patch_size=16, initializer_range=0.5,
    )  # fmt: skip
    save(ViTModel(config), folder)
    save_image_processor(folder, "ViTImageProcessor", 32)
    return folder


def save_image_processor(folder: Path, name: str, size: int) -> None:
    fields = {
        "image_processor_type": name, "do_resize": True, "size": {"height": size, "width": size},
        "do_center_crop": False, "do_normalize": True, "do_rescale": True,
        "rescale_factor": 1 / 255,
        "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "resample": 3,
    }  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(fields))


@pytest.fixture(scope="session")
def clip(tmp_path_factory) -> Path:
    import torch
    from transformers import CLIPConfig, CLIPModel

    torch.manual_seed(2)
    folder = tmp_path_factory.mktemp("models") / "clip"
    inner = {
        "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 32,
    }  # fmt: skip
    text = {
        **inner, "vocab_size": 32, "max_position_embeddings": 32, "pad_token_id": 0,
        "bos_token_id": 2, "eos_token_id": 3,
    }  # fmt: skip
    vision = {**inner, "hidden_size": 20, "image_size": 32, "patch_size": 16}
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=12)
    save(CLIPModel(config), folder)
    save_tokenizer(folder)
    save_image_processor(folder, "CLIPImageProcessor", 32)
    return folder


@pytest.fixture(scope="session")
def wav2vec(tmp_path_factory) -> Path:
    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

    torch.manual_seed(3)
    folder = tmp_path_factory.mktemp("models") / "wav2vec"
    config = Wav2Vec2Config(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        conv_dim=(8, 8), conv_stride=(5, 4), conv_kernel=(10, 4), num_feat_extract_layers=2,
        num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2, vocab_size=8,
        feat_extract_norm="group",
    )  # fmt: skip
    save(Wav2Vec2Model(config), folder)
    Wav2Vec2FeatureExtractor(sampling_rate=16_000).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def whisper(tmp_path_factory) -> Path:
    import torch
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperModel

    torch.manual_seed(4)
    folder = tmp_path_factory.mktemp("models") / "whisper"
    config = WhisperConfig(
        d_model=16, encoder_layers=2, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, num_mel_bins=8,
        max_source_positions=50, max_target_positions=8, vocab_size=16, pad_token_id=0,
        bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
    )  # fmt: skip
    save(WhisperModel(config), folder)
    WhisperFeatureExtractor(feature_size=8, chunk_length=1).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def sentences(bert, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "sentences"
    shutil.copytree(bert, folder)
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    (folder / "2_Normalize").mkdir()
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 32}))
    prompts = {"prompts": {"query": "red "}, "default_prompt_name": None}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    return folder


@pytest.fixture(scope="session")
def pictures(tmp_path_factory) -> list[str]:
    folder = tmp_path_factory.mktemp("pictures")
    places = []
    for i, picture in enumerate(probe.inputs("image")[:3]):
        places.append(str(folder / f"{i}.png"))
        picture.resize((40 + 8 * i, 50)).save(places[-1])
    return places


@pytest.fixture(scope="session")
def sounds(tmp_path_factory) -> list[str]:
    soundfile = pytest.importorskip("soundfile")
    folder = tmp_path_factory.mktemp("sounds")
    places = []
    for i, wave in enumerate(probe.inputs("audio", rate=16_000)[:3]):
        places.append(str(folder / f"{i}.wav"))
        soundfile.write(places[-1], wave[: 6000 + 2000 * i], 16_000, subtype="FLOAT")
    return places


def hub(folder, **options) -> HubModel:
    return HubModel.open(str(folder), options, Path("unused"))


# -- hf: text


def test_text_is_pooled_over_its_own_tokens(bert):
    import torch
    from transformers import AutoModel, AutoTokenizer

    encoder = hub(bert)
    assert isinstance(encoder, Encoder)
    assert (encoder.kind, encoder.frame.dim) == ("text", 32)
    model, tokenizer = AutoModel.from_pretrained(bert).eval(), AutoTokenizer.from_pretrained(bert)
    expected = []
    for text in TEXTS:
        with torch.inference_mode():
            states = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        expected.append(states.mean(dim=0).numpy())
    found = encode(encoder, TEXTS)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("pool", ["mean", "cls", "model"])
def test_padding_changes_no_text(bert, pool):
    encoder = hub(bert, pool=pool)
    np.testing.assert_allclose(encode(encoder, TEXTS), alone(encoder, TEXTS), atol=1e-5)


def test_pools_differ_and_so_do_their_frames(bert):
    encoders = [hub(bert, pool=pool) for pool in ("mean", "cls", "model")]
    assert len({encoder.frame for encoder in encoders}) == 3
    vectors = [encode(encoder, TEXTS) for encoder in encoders]
    assert np.abs(vectors[0] - vectors[1]).max() > 0.01
    assert np.abs(vectors[1] - vectors[2]).max() > 0.01


def test_tokens_are_kept_without_padding(bert):
    encoder = hub(bert, output="tokens")
    tokens = encode(encoder, TEXTS)
    assert isinstance(tokens, Tokens)
    assert np.diff(tokens.offsets).tolist() == [5, 3, 10, 5]
    assert encoder.frame.score == "maxsim"
    np.testing.assert_allclose(tokens.mean(), encode(hub(bert), TEXTS), atol=1e-5)
    np.testing.assert_allclose(tokens[1], encode(encoder, TEXTS[1:2])[0], atol=1e-5)


def test_layers_stand_side_by_side(bert):
    every = encode(hub(bert, output="layers", layer="all"), TEXTS)
    assert every.shape == (4, 96)
    np.testing.assert_allclose(every[:, 64:], encode(hub(bert), TEXTS), atol=1e-5)
    one = encode(hub(bert, output="layers", layer="1"), TEXTS)
    np.testing.assert_allclose(every[:, 32:64], one, atol=1e-5)
    named = hub(bert, output="layers", layer="0,2")
    assert named.frame == hub(bert, output="layers", layer="-3,-1").frame
    np.testing.assert_allclose(
        encode(named, TEXTS), every[:, [*range(32), *range(64, 96)]], atol=1e-5
    )


def test_long_text_is_cut_at_what_the_model_takes(bert):
    long = " ".join(["red train"] * 100)
    assert np.isfinite(encode(hub(bert), [long, "red"])).all()


def copy(folder: Path, to: Path) -> Path:
    shutil.copytree(folder, to)
    return to


def test_frame_is_of_contents(bert, tmp_path):
    frame = hub(bert).frame
    same = copy(bert, tmp_path / "same")
    assert hub(same).frame == frame
    config = json.loads((same / "config.json").read_text())
    config["transformers_version"] = "0.0"
    (same / "config.json").write_text(json.dumps(config))
    assert hub(same).frame == frame

    other = copy(bert, tmp_path / "tokenizer")
    file = other / "tokenizer.json"
    file.write_text(file.read_text().replace('"red"', '"green"'))
    assert hub(other).frame != frame

    other = copy(bert, tmp_path / "weights")
    raw = bytearray((other / "model.safetensors").read_bytes())
    raw[-2] ^= 1
    (other / "model.safetensors").write_bytes(raw)
    assert hub(other).frame != frame


def test_torch_weights_open_too(bert, tmp_path):
    import torch
    from safetensors.torch import load_file

    other = copy(bert, tmp_path / "bin")
    torch.save(load_file(other / "model.safetensors"), other / "pytorch_model.bin")
    (other / "model.safetensors").unlink()
    np.testing.assert_allclose(encode(hub(other), TEXTS), encode(hub(bert), TEXTS), atol=1e-6)


def test_missing_weights_are_refused(bert, tmp_path):
    from safetensors.torch import load_file, save_file

    other = copy(bert, tmp_path / "torn")
    tensors = load_file(other / "model.safetensors")
    kept = {k: v for k, v in tensors.items() if "pooler" not in k}
    save_file(kept, other / "model.safetensors", {"format": "pt"})
    assert encode(hub(other), TEXTS).shape == (4, 32)  # the mean needs no pooler
    with pytest.raises(ConjoinError, match=r"lack 2 weights, pooler.*pool=mean"):
        hub(other, pool="model")
    kept = {k: v for k, v in tensors.items() if "layer.1.output" not in k}
    save_file(kept, other / "model.safetensors", {"format": "pt"})
    with pytest.raises(ConjoinError, match="give the complete checkpoint"):
        hub(other)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"pol": "mean"}, r"\?pol: is not an option; did you mean pool"),
        ({"pool": "max"}, r"\?pool: 'max'; give one of \['mean', 'cls', 'model'\]"),
        ({"output": "layers", "layer": "7"}, "layer: '7'; give numbers from 0 to 2"),
        ({"layer": "1"}, "add output=layers"),
        ({"output": "tokens", "pool": "mean"}, "leave one of them out"),
        ({"tower": "image"}, r"\?tower: 'image'; give one of \['text'\]"),
    ],
)
def test_options_are_refused_by_name(bert, options, said):
    with pytest.raises(ConjoinError, match=said):
        hub(bert, **options)


def test_absent_models_are_refused(tmp_path, monkeypatch):
    with pytest.raises(ConjoinError, match="there is no such folder"):
        hub(tmp_path / "absent")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ConjoinError, match=r"neither a folder nor in the cache.*hf:FOLDER"):
        hub("conjoin-tests/absent")
    with pytest.raises(ConjoinError, match="holds no weights"):
        hub(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(ConjoinError, match="cannot be loaded"):
        hub(tmp_path)


def test_missing_dependency_names_the_line(bert, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingDependency, match=r'pip install "conjoin\[text\]"'):
        hub(bert)


def test_code_beside_a_model_never_runs(bert, tmp_path):
    other = copy(bert, tmp_path / "code")
    config = json.loads((other / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoModel": "mine.Mine", "AutoConfig": "mine.C"}}
    (other / "config.json").write_text(json.dumps(config))
    (other / "mine.py").write_text("open('ran', 'w')\nclass Mine: pass\nclass C: pass\n")
    with pytest.raises(ConjoinError, match="cannot be loaded"):
        hub(other)
    assert not Path("ran").exists()


# -- hf: images, CLIP, audio


def test_image_states(vit, pictures):
    import torch
    from PIL import Image
    from transformers import AutoModel

    encoder = hub(vit)
    assert (encoder.kind, encoder.frame.dim) == ("image", 24)
    found = encode(encoder, pictures)
    np.testing.assert_allclose(found, alone(encoder, pictures), atol=1e-5)
    picture = Image.open(pictures[1]).convert("RGB").resize((32, 32), Image.Resampling.BICUBIC)
    pixels = torch.tensor(np.asarray(picture) / 127.5 - 1).permute(2, 0, 1)[None].float()
    with torch.inference_mode():
        states = AutoModel.from_pretrained(vit).eval()(pixels).last_hidden_state[0]
    np.testing.assert_allclose(found[1], states[0].numpy(), atol=1e-4)
    tokens = encode(hub(vit, output="tokens"), pictures)
    assert np.diff(tokens.offsets).tolist() == [5, 5, 5]
    assert encode(hub(vit, output="layers", layer="all"), pictures).shape == (3, 72)


def test_towers_of_a_clip_share_a_frame(clip, pictures):
    text, image = hub(clip, tower="text"), hub(clip, tower="image")
    assert (text.kind, image.kind) == ("text", "image")
    assert text.frame == image.frame
    assert text.frame.dim == 12
    for encoder, cells in ((text, TEXTS), (image, pictures)):
        np.testing.assert_allclose(encode(encoder, cells), alone(encoder, cells), atol=1e-5)
    assert hub(clip, tower="text", pool="mean").frame != hub(clip, tower="image", pool="mean").frame
    assert hub(clip, tower="image", output="tokens").frame.dim == 20


def test_clip_scores_as_its_own_forward_does(clip, pictures):
    import torch
    from PIL import Image
    from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel

    text, image = hub(clip, tower="text"), hub(clip, tower="image")
    ours = unit(encode(text, TEXTS)) @ unit(encode(image, pictures)).T
    inputs = dict(AutoTokenizer.from_pretrained(clip)(TEXTS, padding=True, return_tensors="pt"))
    inputs.pop("token_type_ids", None)
    processor = AutoImageProcessor.from_pretrained(clip)
    pixels = processor([Image.open(p).convert("RGB") for p in pictures], return_tensors="pt")
    model = CLIPModel.from_pretrained(clip).eval()
    with torch.inference_mode():
        theirs = model(**inputs, **pixels).logits_per_text / model.logit_scale.exp()
    np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-5)


def test_a_clip_wants_its_tower_named(clip):
    with pytest.raises(ConjoinError, match=r"has towers text and image; add tower=text"):
        hub(clip)


def test_sounds_of_several_lengths(wav2vec, sounds):
    encoder = hub(wav2vec)
    assert (encoder.kind, encoder.frame.dim) == ("audio", 16)
    np.testing.assert_allclose(encode(encoder, sounds), alone(encoder, sounds), atol=1e-5)
    tokens = encode(hub(wav2vec, output="tokens"), sounds)
    assert np.diff(tokens.offsets).tolist() == [299, 399, 499]


def test_whisper_reads_by_its_encoder_alone(whisper, sounds):
    encoder = hub(whisper, output="tokens")
    tokens = encode(encoder, sounds)
    # A second is 50 states; a sound keeps those it fills.
    assert np.diff(tokens.offsets).tolist() == [19, 25, 32]
    np.testing.assert_allclose(tokens[0], encode(encoder, sounds[:1])[0], atol=1e-5)


# -- st:


def st(folder, **options) -> SentenceModel:
    return SentenceModel.open(str(folder), options, Path("unused"))


def test_sentence_model(sentences, bert):
    encoder = st(sentences)
    assert isinstance(encoder, Encoder)
    found = encode(encoder, TEXTS)
    np.testing.assert_allclose(found, unit(encode(hub(bert), TEXTS)), atol=1e-5)
    np.testing.assert_allclose(found, alone(encoder, TEXTS), atol=1e-5)


def test_prompts_and_truncation_mint_frames(sentences):
    plain, named, literal = (
        st(sentences),
        st(sentences, prompt="query"),
        st(sentences, prompt="red "),
    )
    assert named.frame == literal.frame != plain.frame
    expected = encode(plain, ["red " + text for text in TEXTS])
    np.testing.assert_allclose(encode(named, TEXTS), expected, atol=1e-5)
    cut = st(sentences, truncate="8")
    assert cut.frame.dim == 8
    np.testing.assert_allclose(encode(cut, TEXTS), encode(plain, TEXTS)[:, :8], atol=1e-5)
    with pytest.raises(ConjoinError, match=r"\?truncate: 'no'"):
        st(sentences, truncate="no")
    with pytest.raises(ConjoinError, match=r"\?promt: is not an option; did you mean prompt"):
        st(sentences, promt="x")


def test_pooling_file_is_part_of_the_frame(sentences, tmp_path):
    other = copy(sentences, tmp_path / "pooling")
    pooling = {"word_embedding_dimension": 32, "pooling_mode_cls_token": True,
               "pooling_mode_mean_tokens": False}  # fmt: skip
    (other / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    assert st(other).frame != st(sentences).frame


# -- shared


def test_recipe_of_a_folder_ignores_where_it_lies(bert, tmp_path):
    assert folders.recipe(copy(bert, tmp_path / "b")) == folders.recipe(bert)


def test_states_of_a_mask_follow_the_stride():
    import torch

    mask = torch.tensor([[1, 1, 1, 1, 0, 0, 0, 0]])
    kept = hub_towers._mask(object(), mask, torch.zeros(1, 4, 2))
    assert kept.tolist() == [[True, True, False, False]]
