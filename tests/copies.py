"""A tiny encoder and three trained copies of it, and what they add to it."""

from pathlib import Path

import numpy as np
import torch

import tiny_text
from conjoin.models.checkpoint import Checkpoint
from conjoin.models.tuning.text_model import TextModel

NAMES = ("one", "two", "three")


def made(folder: Path) -> Path:
    """Their folder: ``tiny/model`` and one for each name."""
    base = tiny_text.saved(folder / "tiny")
    for seed, name in enumerate(NAMES):
        model = TextModel.open(f"st:{base}")
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for parameter in model.transformer.parameters():
                parameter.add_(0.02 * torch.randn_like(parameter))
        model.save(folder / name)
    return folder


def experts(home: Path) -> dict[str, Path]:
    """Folders by name."""
    return {name: home / name for name in NAMES}


def changes(folder: Path, base: Path) -> dict[str, np.ndarray]:
    """What a copy adds to its base, by tensor."""
    with Checkpoint.open(folder) as own, Checkpoint.open(base) as start:
        return {
            name: own.read(name) - start.read(name)
            for name, entry in start.entries.items() if entry.floating
        }  # fmt: skip
