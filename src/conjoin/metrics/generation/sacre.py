"""BLEU and chrF by sacrebleu, so that figures are those people compare with."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from conjoin.errors import optional
from conjoin.metrics.generation.base import References, Texts, check_texts


class _Sacre:
    """What metrics of sacrebleu share: scores in ``[0, 1]`` where it prints percent."""

    range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    higher_is_better: ClassVar[bool] = True
    sourced: ClassVar[bool] = False

    def _metric(self, single: bool) -> Any:
        raise NotImplementedError

    def per_item(
        self, outputs: Texts, references: References, sources: Texts | None = None
    ) -> np.ndarray:
        """``[n]`` scores, one of each text by itself."""
        check_texts(type(self).__name__, outputs, references, sources, self.sourced)
        metric = self._metric(True)
        lines = zip(outputs, references, strict=True)
        return np.array([metric.sentence_score(o, list(r)).score / 100 for o, r in lines])

    def corpus(self, outputs: Texts, references: References, sources: Texts | None = None) -> float:
        """The score of all texts, their counts pooled."""
        check_texts(type(self).__name__, outputs, references, sources, self.sourced)
        return float(
            self._metric(False).corpus_score(list(outputs), _columns(references)).score / 100
        )


def _columns(references: References) -> list[list[str | None]]:
    """References by place, as sacrebleu takes them; None where a text has fewer."""
    most = max(len(each) for each in references)
    return [[_at(each, place) for each in references] for place in range(most)]


def _at(texts: Sequence[str], place: int) -> str | None:
    return texts[place] if place < len(texts) else None


@dataclass(frozen=True)
class Bleu(_Sacre):
    """``BP · exp(¼ Σ_n log p_n)``, n from 1 to 4, tokens 13a, smoothed exponentially.

    Of one text by itself, n-grams longer than the text are left out (``effective_order``), as
    sacrebleu's sentence score does; the corpus score is that of WMT and no mean over texts.
    """

    def _metric(self, single: bool) -> Any:
        return optional("sacrebleu", "bench").metrics.BLEU(effective_order=single)


@dataclass(frozen=True)
class Chrf(_Sacre):
    """``(1 + β²) P R / (β² P + R)`` of character n-grams, n from 1 to 6, β = 2."""

    def _metric(self, single: bool) -> Any:
        return optional("sacrebleu", "bench").metrics.CHRF()
