"""A binding as a folder that others can take over, with a card that says what it is."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from conjoin.alignment.choice import Choice
from conjoin.errors import ConjoinError, optional
from conjoin.spaces import Frame
from conjoin.storage.files import atomic

#: The card's name, as the Hub has it.
CARD = "README.md"
#: What is fetched of a repository: a binding's own files and nothing that runs.
FILES = ("binding.json", "trained.safetensors", "maps/*.safetensors", CARD)
_HUB = re.compile(r"[\w.-]+/[\w.-]+")


class Described(Protocol):
    """What a card tells: a :class:`~conjoin.alignment.binding.Binding` is one."""

    @property
    def frame(self) -> Frame:
        """The frame of all modalities."""
        ...

    @property
    def hub(self) -> str:
        """The modality the others were fitted to."""
        ...

    @property
    def maps(self) -> Mapping[str, Any]:
        """A map per modality."""
        ...

    @property
    def choice(self) -> Choice:
        """The method, and what it was compared with."""
        ...

    @property
    def seed(self) -> int:
        """The seed it was fitted with."""
        ...

    @property
    def trained(self) -> np.ndarray:
        """Groups of the pairs it was fitted to."""
        ...

    def save(self, folder: Path) -> None:
        """Write it to a folder."""
        ...


def save_pretrained(binding: Described, folder: Path | str) -> None:
    """Write a binding and its card; a card that is there stays."""
    folder = Path(folder)
    binding.save(folder)
    if not (folder / CARD).exists():
        with atomic(folder / CARD) as file:
            file.write(card(binding).encode())


def resolve(source: Path | str, revision: str | None = None) -> Path:
    """The folder of a binding: one on disk, else a repository's copy.

    Raises
    ------
    ConjoinError : there is neither, or the repository cannot be read.
    MissingDependency : it is a repository and ``huggingface_hub`` is not installed.
    """
    folder = Path(source)
    if folder.exists() or not _HUB.fullmatch(str(source)):
        return folder
    hub = optional("huggingface_hub", "text")
    try:
        found = hub.snapshot_download(str(source), revision=revision, allow_patterns=list(FILES))
    except (OSError, ValueError) as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ConjoinError(
            str(source), f"is no folder, and not to be had from the Hub: {said}",
            "check the name and the connection",
        ) from error  # fmt: skip
    return Path(found)


def card(binding: Described) -> str:
    """What a binding knows of itself, in the form of the Hub's model cards.

    No licence is guessed, and no score that was not measured on the pairs it was fitted to.
    """
    choice = binding.choice
    fields = ", ".join(f"{k} {v}" for k, v in choice.fields.items()) or "defaults"
    rows = [f"| {_plain(n)} | {_plain(m.source.label)} | `{m.source.id}` | {m.source.dim} |"
            for n, m in sorted(binding.maps.items()) if m.source is not None]  # fmt: skip
    parts = [
        "---\nlibrary_name: conjoin\ntags:\n- cross-modal\n- embeddings\n- retrieval\n---",
        f"# {choice.method} over {', '.join(map(_plain, sorted(binding.maps)))}",
        f"Maps of {len(binding.maps)} modalities into the frame `{binding.frame.id}` of "
        f"{binding.frame.dim} dimensions, scored by {binding.frame.score}. Method "
        f"{choice.method} ({_plain(fields)}), hub {_plain(binding.hub)}, seed {binding.seed}, "
        f"fitted to pairs of {len(binding.trained)} groups.",
        "\n".join(["| modality | encoder | frame | width |", "|---|---|---|---|", *rows]),
        "A map takes the vectors of the encoder it was fitted to, and refuses those of another.",
        *_compared(choice),
        '```python\nfrom conjoin import Binding\n\nbinding = Binding.from_pretrained("'
        'FOLDER")\nbound = binding.bind(NAME, space)\n```',
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _compared(choice: Any) -> list[str]:
    best = choice.best_of()
    if not best:
        return ["It was not compared with anything."]
    rows = [f"| {name} | {trial.mean:.3f} | {len(trial.scores)} |" for name, trial in best.items()]
    head = ["| method | score | folds |", "|---|---|---|"]
    return [
        "Mean of recall@1, @5 and @10 over all directions, on folds of the training pairs:",
        "\n".join([*head, *rows]),
    ]


def _plain(text: str) -> str:
    """Words of the user's that cannot change a table or become markup."""
    marked = re.sub(r"([\\`*_\[\]<>|#&])", r"\\\1", str(text))
    return " ".join(marked.split())
