"""A trained model on disk: one file of tensors that says how they were assembled."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from conjoin.errors import ConjoinError, nearest
from conjoin.models.pretraining.batches import Column, padded
from conjoin.models.pretraining.bodies import Body
from conjoin.models.pretraining.cells import open_cells
from conjoin.models.pretraining.model import Model
from conjoin.models.pretraining.recipe import Fitted, Recipe
from conjoin.models.pretraining.stems import Stem
from conjoin.models.pretraining.targets.base import World
from conjoin.models.pretraining.targets.language import Transcribe
from conjoin.spaces import Tokens
from conjoin.storage.files import map_arrays, write_arrays

#: The file in a run's folder.
MODEL = "model.safetensors"
#: Fields of a stem that are arrays.
_ARRAYS = ("shift", "scale")


@dataclass(frozen=True, eq=False)
class Saved:
    """A model, and what cuts the cells of each of its views.

    Parameters
    ----------
    fitted : model and arrays.
    specs : by view, ``cells`` (as the recipe has it), ``uri``, ``state`` and ``kind``.
    longest : tokens a set is cut to.
    """

    fitted: Fitted
    specs: Mapping[str, Mapping[str, Any]]
    longest: int

    def cells(self, view: str) -> Any:
        """What cuts a view's cells."""
        spec = self.view(view)
        return open_cells(spec["cells"], spec["uri"], state=spec["state"])

    def view(self, view: str) -> Mapping[str, Any]:
        """What is known of a view.

        Raises
        ------
        ConjoinError : the model has none of the name.
        """
        if view not in self.specs:
            raise ConjoinError("view", f"{view!r} is none", nearest(view, self.specs))
        return self.specs[view]

    def tokens(self, view: str, sets: Tokens) -> tuple[np.ndarray, np.ndarray]:
        """A view's states ``[n, t, dim]`` of token sets, and what exists of them."""
        return states(self.fitted, view, sets, self.longest)


def states(
    fitted: Fitted, view: str, sets: Tokens, longest: int, rows: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """A view's states ``[n, t, dim]`` outside training, and ``[n, t]`` what exists of them."""
    import torch

    column = Column(sets, fitted.model.world.vocabulary[view])
    chosen = np.arange(len(sets)) if rows is None else rows
    raw, keep = padded(column, chosen, np.ones(len(chosen), dtype=bool), longest)
    with torch.no_grad():
        params = {k: torch.from_numpy(np.ascontiguousarray(v)) for k, v in fitted.params.items()}
        x = fitted.model.encode(view, torch.from_numpy(raw), torch.from_numpy(keep), params)
    return x.numpy(), keep


#: Rows that pass the model at once.
ROWS = 256


def pooled(fitted: Fitted, view: str, sets: Tokens, longest: int) -> np.ndarray:
    """The mean of each row's states ``[n, dim]``, some hundred rows at a time."""
    found = []
    for start in range(0, len(sets), ROWS):
        rows = np.arange(start, min(start + ROWS, len(sets)))
        x, keep = states(fitted, view, sets, longest, rows)
        found.append((x * keep[..., None]).sum(1) / np.maximum(keep.sum(1, keepdims=True), 1))
    return np.concatenate(found or [np.empty((0, fitted.model.body.dim))]).astype(np.float32)


def transcribed(saved: Saved) -> tuple[str, str] | None:
    """The signal and the letters of a transcribing target; ``None`` of a model without one."""
    for each in saved.fitted.model.targets:
        if isinstance(each.target, Transcribe):
            world = saved.fitted.model.world
            return each.target.signal(world), each.target.letters(world)
    return None


def letter_chances(saved: Saved, view: str, sets: Tokens) -> list[np.ndarray]:
    """Log-probabilities ``[t, letters + 1]`` of signals, the blank last.

    Raises
    ------
    ConjoinError : the model was not trained to transcribe.
    """
    import torch

    labels = [t.label for t in saved.fitted.model.targets if isinstance(t.target, Transcribe)]
    if not labels:
        raise ConjoinError("model", "was not trained to transcribe", "train recipe speech-letters")
    own = f"target/{labels[0]}/head"
    weight, bias = (saved.fitted.params[f"{own}/{name}"] for name in ("weight", "bias"))
    found = []
    for start in range(0, len(sets), 64):
        rows = np.arange(start, min(start + 64, len(sets)))
        x, keep = states(saved.fitted, view, sets, saved.longest, rows)
        logits = torch.log_softmax(torch.from_numpy(x @ weight.T + bias), -1).numpy()
        found += [logits[row][keep[row]] for row in range(len(rows))]
    return found


def save(saved: Saved, path: Path) -> None:
    """Write a model as one file, whole or not at all."""
    model = saved.fitted.model
    arrays = {f"params/{k}": np.ascontiguousarray(v) for k, v in saved.fitted.params.items()}
    stems = {}
    for view, stem in model.stems.items():
        stems[view] = {k: v for k, v in vars(stem).items() if k not in _ARRAYS}
        for name in _ARRAYS:
            if getattr(stem, name) is not None:
                arrays[f"stem/{view}/{name}"] = getattr(stem, name)
    world = {k: v for k, v in vars(model.world).items() if k not in ("paired", "counts")}
    for view, counts in model.world.counts.items():
        arrays[f"counts/{view}"] = np.asarray(counts)
    write_arrays(path, arrays, {
        "recipe": dict(model.facts), "stems": stems, "body": vars(model.body), "specs": saved.specs,
        "longest": saved.longest, "labels": [each.label for each in model.targets],
        "world": {**world, "paired": sorted(sorted(couple) for couple in model.world.paired)},
    })  # fmt: skip


def load(path: Path) -> Saved:
    """Read a model back.

    Raises
    ------
    StateError : the file is torn, rotten, or of a newer version.
    ConjoinError : there is none.
    """
    place = path / MODEL if path.is_dir() else path
    if not place.exists():
        raise ConjoinError(
            f"pretrained:{path}", "holds no trained model", "run: conjoin model pretrain"
        )
    arrays, meta = map_arrays(place)

    def part(name: str) -> dict[str, np.ndarray]:
        own = f"{name}/"
        return {k[len(own) :]: np.array(v) for k, v in arrays.items() if k.startswith(own)}

    stems = {}
    for view, fields in meta["stems"].items():
        held: dict[str, Any] = {**fields, **part(f"stem/{view}")}
        stems[view] = Stem(**held)
    told = meta["world"]
    world = World(
        tuple(told["views"]), told["vocabulary"], told["wide"], told["dim"], told["meets"],
        told["writes"], frozenset(map(frozenset, told["paired"])), part("counts"), told["labels"],
    )  # fmt: skip
    recipe = Recipe(**meta["recipe"])
    targets = tuple(t for t in recipe.made_targets() if t.label in meta["labels"])
    model = Model(stems, Body(**meta["body"]), targets, world, meta["recipe"])
    return Saved(Fitted(model, part("params")), meta["specs"], int(meta["longest"]))
