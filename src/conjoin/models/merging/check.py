"""Whether models can be merged: names, shapes, numbers, and the files beside them."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from conjoin.errors import ConjoinError
from conjoin.models.checkpoint import Tensors
from conjoin.models.merging.base import Models, Part

#: Files a tokenizer may be in; the first that both have is compared.
TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json")


def check_alike(base: Tensors, experts: Sequence[Tensors]) -> None:
    """Refuse experts whose names or shapes are not the base's.

    Raises
    ------
    ConjoinError : the first three differences are named.
    """
    if not experts:
        raise ConjoinError("merge", "no expert", "name one or more")
    for expert in experts:
        # Tables of whole numbers (positions) are saved by some versions and not by others.
        own, theirs = ({n for n, e in m.entries.items() if e.floating} for m in (base, expert))
        apart = [
            *(f"{name} only in {base.label}" for name in base.entries if name in own - theirs),
            *(f"{name} only in {expert.label}" for name in expert.entries if name in theirs - own),
            *(
                f"{name} is {list(expert.entries[name].shape)}, not {list(entry.shape)}"
                for name, entry in base.entries.items()
                if name in own & theirs and expert.entries[name].shape != entry.shape
            ),
        ]
        if apart:
            more = f" and {len(apart) - 3} more" if len(apart) > 3 else ""
            raise ConjoinError(
                expert.label, f"does not fit {base.label}: " + "; ".join(apart[:3]) + more,
                _remedy(apart),
            )  # fmt: skip


def _remedy(apart: Sequence[str]) -> str:
    if all("head" in one or "decoder" in one or "classifier" in one for one in apart):
        return "one of them ties or lacks its head: save both with the same class"
    if all("embed" in one for one in apart):
        return "tokens were added to one of them: merge models of one vocabulary"
    return "merge only models trained from one base"


def check_finite(part: Part, models: Models) -> None:
    """Refuse a block with numbers that are NaN or infinite.

    Raises
    ------
    ConjoinError : the model and the tensor are named.
    """
    held = [part.base, *part.experts]
    for model, values in zip([models.base, *models.experts], held, strict=True):
        # A sum is finite where all are, and cheaper than asking each.
        if math.isfinite(float(values.sum())):
            continue
        wrong = int((~np.isfinite(values)).sum())
        if wrong:
            raise ConjoinError(
                model.label, f"{part.name} has {wrong} numbers that are NaN or infinite",
                "save it again from a run that did not diverge",
            )  # fmt: skip


def check_tokenizers(base: Path, experts: Sequence[Path]) -> None:
    """Refuse experts that split texts otherwise than the base.

    Raises
    ------
    ConjoinError : the first three tokens that differ are named.
    """
    for expert in experts:
        ours, theirs = tokens_of(base), tokens_of(expert)
        if ours is None or theirs is None or ours == theirs:
            continue
        apart = sorted(
            token for token in ours.keys() | theirs.keys() if ours.get(token) != theirs.get(token)
        )
        raise ConjoinError(
            str(expert), f"its tokenizer differs from the base's in {len(apart)} tokens: "
            + ", ".join(map(repr, apart[:3])),
            "merge only models of one vocabulary",
        )  # fmt: skip


def tokens_of(folder: Path) -> dict[str, int] | None:
    """Tokens and their numbers, where the folder has a tokenizer that can be read so."""
    for name in TOKENIZERS:
        path = folder / name
        if not path.is_file():
            continue
        if name == "vocab.txt":
            return {token: place for place, token in enumerate(path.read_text("utf-8").split("\n"))}
        try:
            return _vocabulary(json.loads(path.read_bytes()))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ConjoinError(str(path), "is no tokenizer", "copy it here again") from None
    return None


def _vocabulary(said: Any) -> dict[str, int]:
    held = said["model"]["vocab"] if "model" in said else said
    known = dict(held) if isinstance(held, dict) else {e[0]: i for i, e in enumerate(held)}
    for added in said.get("added_tokens", ()):
        known[added["content"]] = added["id"]
    return known
