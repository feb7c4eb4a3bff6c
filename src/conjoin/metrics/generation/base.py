"""What every metric of texts promises: texts of a system and references in, numbers out."""

from collections.abc import Sequence
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np

from conjoin.errors import ConjoinError

Texts = Sequence[str]
References = Sequence[Sequence[str]]


@runtime_checkable
class TextMetric(Protocol):
    """A frozen dataclass that scores texts; ``sourced`` says that it also reads what was asked."""

    range: ClassVar[tuple[float, float]]
    higher_is_better: ClassVar[bool]
    sourced: ClassVar[bool]

    def per_item(
        self, outputs: Texts, references: References, sources: Texts | None = None
    ) -> np.ndarray:
        """``[n]`` scores, one of each text."""
        ...

    def corpus(self, outputs: Texts, references: References, sources: Texts | None = None) -> float:
        """One score of all texts: their mean unless the metric pools counts."""
        ...


class Mean:
    """What metrics share whose corpus score is the mean over items."""

    range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    higher_is_better: ClassVar[bool] = True
    sourced: ClassVar[bool] = False

    def one(self, output: str, references: Sequence[str]) -> float:
        """The score of one text."""
        raise NotImplementedError

    def per_item(
        self, outputs: Texts, references: References, sources: Texts | None = None
    ) -> np.ndarray:
        """``[n]`` scores, one of each text."""
        check_texts(type(self).__name__, outputs, references, sources, self.sourced)
        return np.array([self.one(o, r) for o, r in zip(outputs, references, strict=True)])

    def corpus(self, outputs: Texts, references: References, sources: Texts | None = None) -> float:
        """The mean over texts."""
        return float(np.mean(self.per_item(outputs, references, sources)))


def check_texts(
    name: str, outputs: Texts, references: References, sources: Texts | None, sourced: bool
) -> None:
    """Refuse texts that do not stand in line.

    Raises
    ------
    ConjoinError : lengths differ, there is no text, a text has no reference, or sources lack.
    """
    if not outputs or len(outputs) != len(references):
        said = f"{len(outputs)} texts, {len(references)} lists of references"
        raise ConjoinError(name, said, "give a list of references for each text")
    empty = next((i for i, texts in enumerate(references) if not texts), None)
    if empty is not None:
        raise ConjoinError(name, f"text {empty} has no reference", "give one or more")
    if sourced and (sources is None or len(sources) != len(outputs)):
        said = "none" if sources is None else f"{len(sources)} for {len(outputs)} texts"
        raise ConjoinError(f"{name}: sources", said, "give the text each output was made from")
