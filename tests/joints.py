"""Tiny joint models that tests make and save: shapes of CLIP, SigLIP, ALIGN and CLAP.

No hub is reachable, and none is needed: what is tested is how a joint space is served.
"""

import json
from functools import cache
from pathlib import Path

import numpy as np

WORDS = """
    a red fruit blue the old train leaves station at night circle square green yellow white black
    picture of sound high low big small dog cat house tree car boat star cross ring
""".split()  # noqa: SIM905 - a page of words is read more easily than a page of quotes
INNER = {
    "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32,
}  # fmt: skip


def save_tokenizer(folder: Path, longest: int = 16) -> None:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    known = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS]
    vocabulary = {word: place for place, word in enumerate(dict.fromkeys(known))}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]",
        sep_token="[SEP]", model_max_length=longest,
    ).save_pretrained(folder)  # fmt: skip


def save_pictures(folder: Path, kind: str, size: int = 16) -> None:
    fields = {
        "image_processor_type": kind, "do_resize": True, "size": {"height": size, "width": size},
        "do_center_crop": False, "do_normalize": True, "do_rescale": True,
        "rescale_factor": 1 / 255, "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "resample": 2,
    }  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(fields))


def clip_config(size: int = 16):
    from transformers import CLIPConfig

    text = {**INNER, "vocab_size": 64, "max_position_embeddings": 16, "pad_token_id": 0,
            "bos_token_id": 2, "eos_token_id": 3}  # fmt: skip
    vision = {**INNER, "image_size": size, "patch_size": 8}
    return CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)


def save_clip(folder: Path, seed: int = 0) -> Path:
    """A CLIP of random weights."""
    import torch
    from transformers import CLIPModel

    torch.manual_seed(seed)
    _save(CLIPModel(clip_config()), folder)
    save_tokenizer(folder)
    save_pictures(folder, "CLIPImageProcessor")
    return folder


def save_siglip(folder: Path, seed: int = 0) -> Path:
    import torch
    from transformers import SiglipConfig, SiglipModel

    torch.manual_seed(seed)
    text = {**INNER, "vocab_size": 64, "max_position_embeddings": 16, "pad_token_id": 0,
            "bos_token_id": 2, "eos_token_id": 3}  # fmt: skip
    vision = {**INNER, "image_size": 16, "patch_size": 8}
    _save(SiglipModel(SiglipConfig(text_config=text, vision_config=vision)), folder)
    save_tokenizer(folder)
    save_pictures(folder, "SiglipImageProcessor")
    return folder


def save_align(folder: Path, seed: int = 0) -> Path:
    import torch
    from transformers import AlignConfig, AlignModel

    torch.manual_seed(seed)
    text = {
        **INNER,
        "vocab_size": 64,
        "max_position_embeddings": 16,
        "pad_token_id": 0,
        "bos_token_id": 2,
        "eos_token_id": 3,
    }
    vision = {
        "image_size": 16, "width_coefficient": 1.0, "depth_coefficient": 1.0, "hidden_dim": 16,
        "kernel_sizes": [3], "in_channels": [32], "out_channels": [16],
        "depthwise_padding": [], "strides": [2], "num_block_repeats": [1], "expand_ratios": [1],
    }  # fmt: skip
    config = AlignConfig(text_config=text, vision_config=vision, projection_dim=16)
    _save(AlignModel(config), folder)
    save_tokenizer(folder)
    save_pictures(folder, "EfficientNetImageProcessor")
    return folder


def save_clap(folder: Path, seed: int = 0) -> Path:
    import torch
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel

    torch.manual_seed(seed)
    text = {**INNER, "vocab_size": 64, "max_position_embeddings": 32, "pad_token_id": 0,
            "bos_token_id": 2, "eos_token_id": 3}  # fmt: skip
    audio = {
        "spec_size": 64, "num_mel_bins": 16, "patch_size": 4, "patch_stride": [4, 4],
        "patch_embeds_hidden_size": 8, "depths": [1, 1], "num_attention_heads": [1, 2],
        "window_size": 4, "hidden_size": 16, "projection_hidden_size": 16, "num_classes": 2,
        "enable_fusion": False, "fusion_num_hidden_layers": 1,
    }  # fmt: skip
    config = ClapConfig(text_config=text, audio_config=audio, projection_dim=8)
    _save(ClapModel(config), folder)
    save_tokenizer(folder)
    ClapFeatureExtractor(
        feature_size=16, sampling_rate=8000, hop_length=125, max_length_s=3, fft_window_size=256,
        truncation="rand_trunc", frequency_min=0, frequency_max=4000,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def save_vision_only(folder: Path, seed: int = 0) -> Path:
    """The picture tower of a CLIP, alone."""
    import torch
    from transformers import CLIPVisionModel

    torch.manual_seed(seed)
    _save(CLIPVisionModel(clip_config().vision_config), folder)
    save_pictures(folder, "CLIPImageProcessor")
    return folder


def _save(model, folder: Path) -> None:
    model.eval().save_pretrained(folder, safe_serialization=True)


COLOURS = {
    "red": (220, 30, 30), "green": (30, 160, 40), "blue": (40, 60, 220), "yellow": (230, 210, 40),
    "white": (250, 250, 250), "black": (20, 20, 20),
}  # fmt: skip
SHAPES = ("circle", "square", "cross", "ring")


def drawing(colour: str, shape: str, seed: int):
    """A 16 × 16 picture of a shape on grey, somewhere near its middle."""
    from PIL import Image, ImageDraw

    rng = np.random.default_rng([seed, 17])
    picture = Image.new("RGB", (16, 16), tuple(int(v) for v in rng.integers(110, 140, 3)))
    draw = ImageDraw.Draw(picture)
    left, top = (int(v) for v in rng.integers(1, 5, 2))
    box, ink = (left, top, left + 10, top + 10), COLOURS[colour]
    if shape == "circle":
        draw.ellipse(box, fill=ink)
    elif shape == "square":
        draw.rectangle(box, fill=ink)
    elif shape == "ring":
        draw.ellipse(box, outline=ink, width=2)
    else:
        draw.line((left, top, left + 10, top + 10), fill=ink, width=2)
        draw.line((left, top + 10, left + 10, top), fill=ink, width=2)
    return picture


def drawings(count: int, seed: int = 0) -> list[tuple[str, str, object]]:
    """Colour, shape and picture of each, all combinations in turn."""
    kinds = [(colour, shape) for colour in COLOURS for shape in SHAPES]
    return [(*kinds[i % len(kinds)], drawing(*kinds[i % len(kinds)], seed + i))
            for i in range(count)]  # fmt: skip


@cache
def trained_state() -> dict:
    """Weights of a CLIP that learned the colours of drawings, in two seconds."""
    import torch
    from transformers import CLIPModel

    torch.manual_seed(0)
    model = CLIPModel(clip_config()).train()
    made = drawings(24 * 12, seed=1000)
    pixels = np.stack([np.asarray(picture, np.float32) / 127.5 - 1 for *_, picture in made])
    pixels = torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy())
    place = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS])}
    ids = torch.tensor([[2, place["a"], place[c], place[s], 3] for c, s, _ in made])
    step = torch.optim.AdamW(model.parameters(), lr=6e-3)
    for number in range(100):
        # Each of the 24 kinds once a batch, so that no negative is a match.
        rows = torch.arange(24) + 24 * (number % 12)
        loss = model(input_ids=ids[rows], pixel_values=pixels[rows], return_loss=True).loss
        step.zero_grad()
        loss.backward()
        step.step()
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def save_trained(folder: Path) -> Path:
    """The CLIP of :func:`trained_state`."""
    from transformers import CLIPModel

    model = CLIPModel(clip_config())
    model.load_state_dict(trained_state())
    _save(model, folder)
    save_tokenizer(folder)
    save_pictures(folder, "CLIPImageProcessor")
    return folder
