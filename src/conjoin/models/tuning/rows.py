"""Catalogue rows of ways to tune an encoder."""

from collections.abc import Mapping
from typing import Any

from conjoin.catalogue import Row

_HERE = "conjoin.models.tuning.methods"


def _row(
    name: str, engine: str, summary: str, papers: tuple[str, ...], settings: Mapping[str, Any],
    extra: str = "tune",
) -> Row:  # fmt: skip
    return Row(
        "tuning", name, f"{_HERE}:{engine}", summary, papers, frozenset(), "trained",
        dict(settings), extra, "peft",
    )  # fmt: skip


ROWS: tuple[Row, ...] = (
    _row("lora", "LowRank", "A low-rank change of the attention's projections.",
         ("hu2022lora",), {"method": "lora"}),
    _row("rslora", "LowRank", "The same, scaled by the root of the rank.",
         ("kalajdzievski2023rslora",), {"method": "rslora"}),
    _row("dora", "LowRank", "A low-rank change of direction, and the length of each column.",
         ("liu2024dora",), {"method": "dora"}),
    _row("ia3", "Scaled", "Scales of keys, values and feed-forward activations.",
         ("liu2022ia3",), {}),
    _row("bitfit", "Subset", "The biases alone.", ("benzaken2022bitfit",),
         {"which": "bitfit", "lr": 1e-3}),
    _row("norm", "Subset", "The gains and biases of normalisations alone.", ("zhao2024lntuning",),
         {"which": "norm", "lr": 1e-3}),
    _row("last-k", "Subset", "The last layers whole.", (), {"which": "last-k", "lr": 2e-4}),
    _row("full", "Subset", "Every parameter.", (), {"which": "full", "lr": 5e-5}),
)  # fmt: skip
