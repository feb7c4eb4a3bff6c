"""What it costs to make pictures searchable by a joint encoder, beside the encoder's own cost.

A CLIP of random weights (six layers of 256, 64 × 64 pixels) stands for one from a hub: what is
measured is everything around it. ``encoder`` reads the files, decodes and embeds them in batches
and does nothing else; ``embed`` is what ``conjoin embed`` does until the first query can be asked.
``open`` is a joint folder of so many vectors, opened by a fresh process.

    OMP_NUM_THREADS=1 python benchmarks/joint.py --pictures 10000 --vectors 100000 \
        --out benchmarks/results/joint.json
"""

import argparse
import contextlib
import io
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

OPEN = """
import json, re, sys, time
from pathlib import Path
began = time.perf_counter()
from conjoin.project.search.index import open_index
from conjoin.project.workspace import Workspace
loaded = time.perf_counter()
index = open_index(Workspace(Path(sys.argv[1]), writes=False))
opened = time.perf_counter()
print(json.dumps({
    "rows": sum(map(len, index.spaces.values())), "import_s": loaded - began,
    "open_s": opened - loaded,
    # Not ru_maxrss, which a process takes over from the one that started it.
    "mb": int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024,
}))
"""


def save_clip(folder: Path) -> None:
    """A CLIP of random weights."""
    import torch
    from transformers import CLIPConfig, CLIPModel

    torch.manual_seed(0)
    inner = {"hidden_size": 256, "num_hidden_layers": 6, "num_attention_heads": 4,
             "intermediate_size": 1024}  # fmt: skip
    text = {**inner, "vocab_size": 64, "max_position_embeddings": 16, "pad_token_id": 0,
            "bos_token_id": 2, "eos_token_id": 3}  # fmt: skip
    vision = {**inner, "image_size": 64, "patch_size": 8}
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=512)
    CLIPModel(config).eval().save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({
        "image_processor_type": "CLIPImageProcessor", "do_resize": True,
        "size": {"height": 64, "width": 64}, "do_center_crop": False, "do_normalize": True,
        "do_rescale": True, "rescale_factor": 1 / 255, "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3, "resample": 3,
    }))  # fmt: skip


def draw(folder: Path, count: int) -> None:
    """Pictures of noise over a gradient, 96 × 96."""
    from PIL import Image

    rng = np.random.default_rng(0)
    folder.mkdir()
    y, x = np.mgrid[0:96, 0:96] / 95
    for number in range(count):
        ink = rng.uniform(0, 255, (2, 3))
        ground = ink[0] * x[..., None] + ink[1] * y[..., None]
        picture = np.clip(ground / 2 + rng.normal(0, 20, (96, 96, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(picture).save(folder / f"{number:06d}.jpg")


def conjoin(*words: str) -> None:
    """A command, within this process."""
    from conjoin.cli.main import main

    sys.argv = ["conjoin", *words]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        main()


def searchable(folder: Path, count: int) -> dict[str, float]:
    """CPU-seconds of the encoder alone and of ``conjoin embed``."""
    from conjoin.encoders.open import open_encoder

    save_clip(folder / "clip")
    draw(folder / "photos", count)
    uri = f"hf:{folder / 'clip'}?tower=image"
    encoder = open_encoder(uri)
    files = sorted((folder / "photos").iterdir())
    encoder.forward([encoder.decode(str(file)) for file in files[:32]])
    began = time.process_time()
    for start in range(0, count, 16):
        encoder.forward([encoder.decode(str(file)) for file in files[start : start + 16]])
    alone = time.process_time() - began
    conjoin("init", str(folder / "photos"), "--encoder", f"hf:{folder / 'clip'}", "-w", str(folder))
    began = time.process_time()
    conjoin("embed", "-q", "-w", str(folder))
    whole = time.process_time() - began
    assert (folder / ".conjoin" / "current.json").exists()
    return {"pictures": count, "encoder_cpu_s": alone, "embed_cpu_s": whole, "ratio": whole / alone}


def opening(folder: Path, count: int, tries: int = 5) -> dict[str, float]:
    """Seconds and memory of opening a joint folder of so many vectors, the best of some tries."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = np.random.default_rng(1).normal(size=(count, 512)).astype(np.float32)
    flat = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), 512)
    pq.write_table(pa.table({"id": [f"i{n}" for n in range(count)], "v": flat}),
                   folder / "items.parquet")  # fmt: skip
    (folder / "conjoin.toml").write_text(
        '[items]\ntable = "items.parquet"\nid = "id"\n[modalities.image]\ncolumn = "v"\n'
        'encoder = "builtin:vector"\n'
    )
    conjoin("embed", "-q", "-w", str(folder))
    made = [
        json.loads(subprocess.run([sys.executable, "-c", OPEN, str(folder)], check=True,
                                  capture_output=True, text=True).stdout)
        for _ in range(tries)
    ]  # fmt: skip
    best = min(made, key=lambda one: one["open_s"])
    return {**best, "mb": max(one["mb"] for one in made)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=10_000)
    parser.add_argument("--vectors", type=int, default=100_000)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    found = {}
    with tempfile.TemporaryDirectory() as held:
        if given.pictures:
            (Path(held) / "a").mkdir()
            found["searchable"] = searchable(Path(held) / "a", given.pictures)
        if given.vectors:
            (Path(held) / "b").mkdir()
            found["open"] = opening(Path(held) / "b", given.vectors)
    text = json.dumps(found, indent=1)
    print(text)
    if given.out:
        given.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
