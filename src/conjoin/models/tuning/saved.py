"""Tuned encoders on disk: the folded model, its adapter, and what both came from."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from conjoin.errors import ConjoinError, StateError
from conjoin.models.tuning.methods import library, quiet
from conjoin.models.tuning.text_model import TextModel
from conjoin.storage.files import read_json, write_json

#: What says where a tuned folder came from, and the folder of its adapter.
CARD, ADAPTER = "tuned.json", "adapter"
#: Largest difference of a coordinate between folded, unfolded and reopened vectors.
ALIKE = 1e-5


def save_tuned(
    model: TextModel, folder: Path, *, adapter: Any, expected: tuple[list[str], np.ndarray],
    facts: Mapping[str, Any],
) -> None:  # fmt: skip
    """Write a folded model and its adapter, provided that the folder gives the vectors expected.

    Nothing is left behind where it does not.

    Parameters
    ----------
    model : folded.
    adapter : a function of the folder to write the adapter to, or ``None``.
    expected : some texts, and their vectors as the tuned model gave them before it was folded.

    Raises
    ------
    ConjoinError : the folder is there already.
    StateError : folded or reopened vectors differ by more than :data:`ALIKE`.
    """
    if folder.exists():
        raise ConjoinError(str(folder), "is there already", "name another folder: --out DIR")
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    texts, before = expected
    try:
        _alike(before, model.encode(texts), "folding the adapter")
        part.mkdir(parents=True)
        if adapter is not None:
            adapter(part / ADAPTER)
        model.save(part)
        _alike(before, TextModel.open(f"st:{part}").encode(texts), "saving and opening again")
        write_json(part / CARD, {"base": model.base, "from": model.name, **facts})
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _alike(before: np.ndarray, after: np.ndarray, step: str) -> None:
    off = float(np.abs(before - after).max()) if before.shape == after.shape else float("inf")
    if not off <= ALIKE:
        raise StateError(
            "tuned encoder", f"{step} moves vectors by {off:.1e}", "take another method"
        )


def with_adapter(model: TextModel, folder: Path) -> None:
    """Put the adapter of a tuned folder on its base.

    Raises
    ------
    ConjoinError : the adapter is of another base, or there is none.
    """
    card, where = folder / CARD, folder / ADAPTER
    if not card.exists() or not where.exists():
        raise ConjoinError(str(folder), "holds no adapter", "name a folder of conjoin model tune")
    base = read_json(card)["base"]
    if base != model.base:
        raise ConjoinError(
            str(folder), f"its adapter is of another base ({read_json(card)['from']})",
            "open that encoder",
        )  # fmt: skip
    with quiet():
        made = library().PeftModel.from_pretrained(model.transformer, str(where))
    model.put(made.eval())
