"""Verbs of ``conjoin model`` in Python: encoders made, changed and judged on a workspace."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conjoin.project.workspace import Workspace

if TYPE_CHECKING:
    from conjoin.models.pretraining.export import Exported
    from conjoin.project.models.adapt import Adapted
    from conjoin.project.models.pretrain import Pretrained
    from conjoin.project.models.shrink import Shrunk
    from conjoin.project.models.transcribe import Transcript
    from conjoin.project.models.tune import TunedResult

Note = Callable[[str], None]


@dataclass(frozen=True)
class Models:
    """What makes or changes encoders, on the items of one workspace.

    None of these changes what is in use; each gives the table of arms and a verdict.
    """

    workspace: Workspace = field(repr=False)

    def pretrain(
        self, recipe: str, *, settings: Sequence[str] = (), budget: float | None = None,
        seed: int = 0,
    ) -> "Pretrained":  # fmt: skip
        """Train an encoder by a recipe, as ``conjoin model pretrain``.

        Parameters
        ----------
        recipe : a name of the catalogue, or a TOML file.
        settings : as in ``targets.itm=0``.
        budget : seconds that training may take, about.

        Raises
        ------
        ConjoinError : the recipe is unknown, or these items cannot feed it.
        """
        from conjoin.project.models import pretrain

        name, made = pretrain.named(recipe, settings)
        prepared = pretrain.ready(self.workspace, made)
        plan = pretrain.planned(name, made, prepared)
        short = pretrain.within(made, plan, budget)
        if short is not made:
            plan = pretrain.planned(name, short, prepared)
        return pretrain.run(self.workspace, plan, prepared, seed=seed)

    def tune(
        self, modality: str, *, peft: str = "lora", label: str | None = None,
        settings: Mapping[str, Any] | None = None, steps: int = 64, out: Path | str | None = None,
        seed: int = 0,
    ) -> "TunedResult":  # fmt: skip
        """Tune a copy of a text encoder, as ``conjoin model tune``.

        Parameters
        ----------
        label : column of classes; the workspace's pairs where not given.
        settings : fields of the way of tuning, such as ``{"rank": 4}``.

        Raises
        ------
        ConjoinError : the encoder cannot be tuned, or there is too little to learn from.
        """
        from conjoin.project.models.tune import TuneAsk, tune_modality

        folder = None if out is None else Path(out)
        ask = TuneAsk(
            modality, peft, dict(settings or {}), label, steps=steps, out=folder, seed=seed
        )
        return tune_modality(self.workspace, ask)

    def adapt(
        self, modality: str, to: Path | str, label: str, *, method: str = "auto",
        score: str | None = None, out: Path | str | None = None, seed: int = 0,
    ) -> "Adapted":  # fmt: skip
        """Take a head to another domain by unlabelled rows, as ``conjoin model adapt``.

        Parameters
        ----------
        to : table of the other domain.
        label : column of the workspace's classes.
        score : column of the other table's classes, used to score alone.

        Raises
        ------
        ConjoinError : a column or table is missing, or predictions collapse.
        """
        from conjoin.project.models.adapt import AdaptAsk, adapt_modality

        folder = None if out is None else Path(out)
        ask = AdaptAsk(modality, Path(to), label, method, score, out=folder, seed=seed)
        return adapt_modality(self.workspace, ask)

    def shrink(
        self, modality: str, *, speed: float = 2.0, keep: float = 0.98,
        methods: Sequence[str] = (), label: str | None = None, out: Path | str | None = None,
        seed: int = 0,
    ) -> "Shrunk":  # fmt: skip
        """Make a cheaper copy of an encoder where one keeps its score, as ``conjoin model shrink``.

        Parameters
        ----------
        speed : how many times as fast it should be.
        keep : share of the original's score that may not be lost.

        Raises
        ------
        ConjoinError : no copy can be made, or there is too little to judge by.
        """
        from conjoin.project.models.shrink import ShrinkAsk, shrink_modality

        folder = None if out is None else Path(out)
        ask = ShrinkAsk(modality, speed, keep, tuple(methods), label, folder, seed)
        return shrink_modality(self.workspace, ask)

    def export(self, uri: str, to: str, out: Path | str | None = None) -> "Exported":
        """Write a pretrained encoder as ``hf``, ``safetensors`` or ``onnx``, and read it back.

        Raises
        ------
        ConjoinError : the URI is of another scheme, or the copy's vectors differ.
        """
        from conjoin.project.models.pretrain import exported

        return exported(uri, to, None if out is None else Path(out))

    def transcribe(
        self, uri: str, files: Sequence[Path | str], *, names: Sequence[str] = (), beam: int = 1
    ) -> "list[Transcript]":
        """Read sounds by a pretrained encoder, as letters or as the likeliest of known names.

        Raises
        ------
        ConjoinError : the encoder was not trained to transcribe.
        """
        from conjoin.project.models.transcribe import transcribe

        return transcribe(uri, [Path(file) for file in files], names=names, beam=beam)
