"""``pretrained:``, an encoder that ``conjoin model pretrain`` trained."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from conjoin.encoders.names import uri
from conjoin.encoders.options import Options
from conjoin.errors import ConjoinError
from conjoin.models.pretraining.saved import Saved, load
from conjoin.spaces import Frame, Tokens
from conjoin.storage.digest import digest
from conjoin.storage.files import expanded


class Pretrained:
    """One view of a model made by ``conjoin model pretrain``, named by its run's folder.

    Options: ``view`` (which of its views; needed where it has several), ``output`` (pooled, the
    mean of the last states; tokens, all of them; joint, the projected mean by which the views of a
    contrastive model compare).

    The frame is minted from the weights that decide the vectors, from what cuts the cells, and
    from the pooling. ``joint`` has one frame for all views of the model.
    """

    batch_size = 64

    def __init__(self, saved: Saved, view: str, output: str, address: str):
        self.uri, self.view, self._saved, self._output = address, view, saved, output
        self._cells = saved.cells(view)
        self.kind = str(self._cells.kind)
        self.runtime = "torch fp32"
        model = saved.fitted.model
        self._proj = joint_label(saved)
        if output == "joint" and not self._proj:
            raise ConjoinError(
                f"{address}?output", "joint of a model without a contrastive target",
                "give pooled or tokens",
            )  # fmt: skip
        recipe: dict[str, Any] = {"body": vars(model.body), "longest": saved.longest}
        if output == "joint":
            recipe |= {"weights": weights_digest(saved), "pooling": "joint"}
        else:
            recipe |= {
                "weights": weights_digest(saved, view), "pooling": output, "view": view,
                "cells": self._cells.frame.id,
            }  # fmt: skip
        score = "maxsim" if output == "tokens" else "cosine"
        self.frame = Frame.mint(
            "encoder", f"pretrained {view}", model.body.dim, recipe, score=score
        )

    @classmethod
    def open(cls, rest: str, options: Mapping[str, str], cache: Path) -> "Pretrained":
        """Open by URI."""
        del cache
        given = Options(f"pretrained:{rest}", options, ("view", "output"))
        saved = load(expanded(rest))
        names = list(saved.specs)
        if len(names) > 1 and "view" not in options:
            raise ConjoinError(
                f"pretrained:{rest}", f"has views {', '.join(names)}", "name one: ?view=…"
            )
        view = given.text("view", names[0], names)
        output = given.text("output", "pooled", ("pooled", "tokens", "joint"))
        return cls(saved, view, output, uri("pretrained", rest, options))

    @classmethod
    def towers(cls, rest: str, options: Mapping[str, str], cache: Path) -> dict[str, str]:
        """With ``output=joint``, each view's encoder by the kind of cell it reads."""
        del cache
        saved = load(expanded(rest))
        own = str(options.get("view", next(iter(saved.specs))))
        if options.get("output") != "joint":
            return {str(saved.view(own)["kind"]): uri("pretrained", rest, options)}
        return {
            str(spec["kind"]): uri("pretrained", rest, {**options, "view": view})
            for view, spec in saved.specs.items()
        }

    def decode(self, cell: Any) -> Any:
        """As what cuts its cells reads it."""
        return self._cells.decode(cell)

    def length(self, item: Any) -> int:
        """As what cuts its cells counts it."""
        return int(self._cells.length(item))

    def forward(self, items: Sequence[Any]) -> np.ndarray | Tokens:
        """Decoded cells → ``[n, dim]``, or token sets."""
        sets = self._cells.forward(items)
        x, keep = self._saved.tokens(self.view, sets)
        if self._output == "tokens":
            ends = np.concatenate([[0], np.cumsum(keep.sum(1))]).astype(np.int64)
            return Tokens(np.ascontiguousarray(x[keep]), ends)
        mean = (x * keep[..., None]).sum(1) / np.maximum(keep.sum(1, keepdims=True), 1)
        if self._output == "joint":
            held = self._saved.fitted.params
            name = f"target/{self._proj}/proj/{self.view}"
            mean = mean @ held[f"{name}/weight"].T + held[f"{name}/bias"]
        return mean.astype(np.float32)


def joint_label(saved: Saved) -> str:
    """The label of the target whose projections make views compare; empty if none."""
    names = {k.split("/")[1] for k in saved.fitted.params if "/proj/" in k and k[:7] == "target/"}
    labels = [each.label for each in saved.fitted.model.targets if each.label in names]
    contrastive = [
        each.label
        for each in saved.fitted.model.targets
        if each.label in labels and type(each.target).__name__ == "Contrast"
    ]
    return contrastive[0] if contrastive else ""


def weights_digest(saved: Saved, view: str = "") -> str:
    """A hash of the tensors that decide a view's vectors; of all views where none is named."""
    names = []
    for name in sorted(saved.fitted.params):
        sort, _, rest = name.partition("/")
        stem = sort == "stem" and (not view or rest.startswith(f"{view}/"))
        body = sort == "body" and not rest.startswith("decoder/")
        head = sort == "target" and not view and "/proj/" in name
        if stem or body or head:
            names.append(name)
    held = saved.fitted.params
    stems = saved.fitted.model.stems
    scales = [
        [v, None if s.shift is None else digest(np.asarray(s.shift).tobytes()),
         None if s.scale is None else digest(np.asarray(s.scale).tobytes())]
        for v, s in stems.items() if not view or v == view
    ]  # fmt: skip
    return digest([[[n, digest(np.ascontiguousarray(held[n]).tobytes())] for n in names], scales])
