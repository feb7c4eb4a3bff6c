"""A small workspace with pictures, sounds and words, and the service run on it."""

import io
import json
import os
import signal
import subprocess
import sys
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from conjoin.alignment.binding import Binding
from conjoin.project.workspace import Workspace
from conjoin.retrieval.calibration.calibration import Calibration
from conjoin.retrieval.index.index import Index
from conjoin.storage.files import write_json

COLOURS = {
    "red": (214, 40, 40), "blue": (30, 80, 200), "green": (40, 150, 60), "yellow": (235, 200, 30),
}  # fmt: skip
SHAPES = ("square", "bar", "frame", "cross")

#: An image encoder of a few lines: mean colours of a grid of sixteen fields.
EYES = """
import numpy as np

def look(pictures):
    small = [np.asarray(p.resize((16, 16)), dtype=np.float32) / 255 for p in pictures]
    return np.stack([s.reshape(4, 4, 4, 4, 3).mean(axis=(1, 3)).ravel() for s in small])
"""

CONFIG = """
version = 1
[items]
table = "items.parquet"
id = "id"
[modalities.text]
column = "caption"
encoder = "builtin:chargram"
[modalities.picture]
column = "picture"
encoder = "python:eyes:look?kind=image"
[modalities.sound]
column = "sound"
encoder = "builtin:audio"
[split]
test = 0.2
"""


def picture(colour: tuple[int, int, int], shape: str, seed: int = 0, side: int = 48) -> bytes:
    """A PNG of one shape in one colour."""
    rng = np.random.default_rng(seed)
    pixels = np.full((side, side, 3), 255, np.float64)
    a, b = side // 6, side - side // 6
    c, d = 2 * side // 5, 3 * side // 5
    if shape == "cross":
        pixels[a:b, c:d] = colour
        pixels[c:d, a:b] = colour
    else:
        top, end = (c, d) if shape == "bar" else (a, b)
        pixels[top:end, a:b] = colour
    if shape == "frame":
        pixels[c:d, c:d] = 255
    noisy = np.clip(pixels + rng.normal(0, 6, pixels.shape), 0, 255).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(noisy).save(out, "PNG")
    return out.getvalue()


def sound(pitch: float, seconds: float = 0.4, rate: int = 8000, seed: int = 0) -> bytes:
    """A WAV of one tone."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * rate)) / rate
    samples = 0.6 * np.sin(2 * np.pi * pitch * time) + rng.normal(0, 0.01, len(time))
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((samples * 32000).clip(-32767, 32767).astype("<i2").tobytes())
    return out.getvalue()


def build(folder: Path, each: int = 3) -> Path:
    """Embed and fit a workspace of coloured shapes; captions hold markup that must stay words."""
    folder.mkdir(parents=True, exist_ok=True)
    columns: dict[str, list[Any]] = {
        name: []
        for name in ("id", "label", "caption", "picture", "sound", "colour", "year", "mass")
    }
    for row, (colour, shape, turn) in enumerate(
        (c, s, t) for c in COLOURS for s in SHAPES for t in range(each)
    ):
        pitch = 300 + 250 * list(COLOURS).index(colour) + 40 * SHAPES.index(shape)
        columns["id"].append(f"{colour}/{shape} {turn}")
        columns["label"].append(f"{colour} {shape} {turn}" if row else "<b>red</b> square 0")
        columns["caption"].append(f"a {colour} {shape}, number {turn}")
        columns["picture"].append(picture(COLOURS[colour], shape, row))
        columns["sound"].append(sound(pitch, seed=row))
        columns["colour"].append(colour)
        columns["year"].append(2000 + row)
        columns["mass"].append(float("nan") if row % 7 == 0 else row / 3)
    pq.write_table(pa.table(columns), folder / "items.parquet")
    (folder / "conjoin.toml").write_text(CONFIG.lstrip())
    (folder / "eyes.py").write_text(EYES)
    publish(folder)
    return folder


def publish(
    folder: Path,
    method: str = "ridge",
    name: str = "first",
    hub: str = "text",
    calibrated: bool = True,
) -> None:
    """Embed, fit and put to use; without the rehearsal that a verb would do, which takes longer."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # where the encoder's function is found
        ws = Workspace(folder)
        for modality in ws.modalities:
            ws.embed(modality.name)
        spaces = ws.spaces()
        train, _ = ws.pairs(spaces)
        binding = Binding.fit(spaces, train, method=method, hub=hub)
        place = ws.state / "maps" / name
        binding.save(place)
        write_json(place / "fit.json", {"version": 1, "corrections": []})
        bound = {each: binding.bind(each, space) for each, space in spaces.items()}
        calibrations = {}
        if calibrated:
            made = calibration(binding.frame.id, len(bound["picture"]))
            calibrations = {("text", "picture"): made}
        Index.build(bound, calibrations=calibrations).save(ws.state / "index" / name)
        ws.publish({"maps": f"maps/{name}", "index": f"index/{name}"})


def calibration(frame: str, rows: int) -> Calibration:
    """Cosines read as probabilities; a list whose first ten sum to less than 0.95 holds nothing."""
    params = {"at": [0.0, 0.8], "worth": [0.02, 0.98]}
    return Calibration(frame, "cosine", rows, "isotonic", params, threshold=0.95)


def environment(**more: str) -> dict[str, str]:
    """What the service is started with."""
    return {**os.environ, "PYTHONWARNINGS": "default", **more}


class Service:
    """A running ``conjoin serve``."""

    def __init__(self, process: subprocess.Popen[str], told: dict[str, Any]):
        self.process, self.told, self.url = process, told, told["url"]

    def end(self, sign: int = signal.SIGINT) -> tuple[int, str, str]:
        """Send a signal; exit code and what was printed."""
        self.process.send_signal(sign)
        out, err = self.process.communicate(timeout=30)
        return self.process.returncode, out, err


@contextmanager
def serving(folder: Path, *words: str, **more: str) -> Iterator[Service]:
    """``conjoin serve`` on a free port, until the block ends."""
    process = subprocess.Popen(
        [sys.executable, "-m", "conjoin.cli.main", "serve", "--port", "0", "--json", *words],
        cwd=folder, env=environment(**more), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.startswith("{") or "url" not in line:
            raise AssertionError(f"not served: {line} {process.communicate(timeout=10)}")
        yield Service(process, json.loads(line))
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=30)
