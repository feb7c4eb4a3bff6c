"""Metrics of texts as the catalogue lists them; what they compute stands in plain functions."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from conjoin.metrics.generation.base import Mean, References, Texts, check_texts
from conjoin.metrics.generation.text import (
    BETA,
    cider_d,
    distinct_n,
    exact_match,
    rouge_l,
    unigram_f1,
    words,
)


@dataclass(frozen=True)
class ExactMatch(Mean):
    """1 where the words of a text are those of a reference: ``1[words(o) ∈ {words(r)}]``."""

    def one(self, output: str, references: Sequence[str]) -> float:
        """The score of one text."""
        return exact_match(output, references)


@dataclass(frozen=True)
class UnigramF1(Mean):
    """``2 P R / (P + R)`` of words counted as often as both have them; the best reference."""

    def one(self, output: str, references: Sequence[str]) -> float:
        """The score of one text."""
        return unigram_f1(output, references)


@dataclass(frozen=True)
class KnowledgeF1(Mean):
    """:class:`UnigramF1` against the knowledge a reply should rest on: ``F1(o, k)``, best k.

    References are the sentences of knowledge, not replies of people: a reply may be good and
    share no word with another, while one that invents its facts shares few with the knowledge.
    """

    def one(self, output: str, references: Sequence[str]) -> float:
        """The score of one text."""
        return unigram_f1(output, references)


@dataclass(frozen=True)
class RougeL(Mean):
    """``(1 + β²) P R / (R + β² P)`` of the longest common subsequence of words.

    Parameters
    ----------
    beta : weight of recall; 1.2 as COCO's captions are scored, 1 as summaries are.
    """

    beta: float = BETA

    def one(self, output: str, references: Sequence[str]) -> float:
        """The score of one text."""
        return rouge_l(output, references, self.beta)


@dataclass(frozen=True)
class CiderD(Mean):
    """``10/(4m) Σ_n Σ_j penalty · cos(g_n, g_nj)``; whole in ``text.cider_d``.

    Weights of n-grams come from the references of all items: a text's score depends on which
    other items are there.
    """

    range: ClassVar[tuple[float, float]] = (0.0, 10.0)

    def per_item(
        self, outputs: Texts, references: References, sources: Texts | None = None
    ) -> np.ndarray:
        """``[n]`` scores, one of each text."""
        check_texts("cider-d", outputs, references, sources, self.sourced)
        told = cider_d(
            {str(i): text for i, text in enumerate(outputs)},
            {str(i): texts for i, texts in enumerate(references)},
        )
        return np.array([told[str(i)] for i in range(len(outputs))])


@dataclass(frozen=True)
class Distinct:
    """``|set of n-grams| / |n-grams|`` over all texts; of one text, over its own.

    References are not looked at. The more texts, the lower: compare equal numbers only.

    Parameters
    ----------
    n : words of an n-gram.
    """

    n: int = 2
    range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    higher_is_better: ClassVar[bool] = True
    sourced: ClassVar[bool] = False

    def per_item(
        self, outputs: Texts, references: References, sources: Texts | None = None
    ) -> np.ndarray:
        """``[n]`` scores, one of each text by itself."""
        return np.array([distinct_n([text], self.n) for text in outputs])

    def corpus(self, outputs: Texts, references: References, sources: Texts | None = None) -> float:
        """The score of all texts together."""
        return distinct_n(list(outputs), self.n)


@dataclass(frozen=True)
class Sari(Mean):
    """``(F1 of kept + precision of deleted + F1 of added n-grams) / 3``, each averaged over n.

    n runs from 1 to 4; n-grams of the source and the output count as often as there are
    references, so that one that half of the references keep is half right. In ``[0, 1]`` where
    the papers print percent. Words are split as :func:`~conjoin.metrics.generation.text.words`
    does.

    Source: Xu et al., Optimizing Statistical Machine Translation for Text Simplification (TACL
    2016); ``SARI.py`` of github.com/cocoxu/simplification, whose figures these are on its words.

    Examples
    --------
    >>> said = Sari().per_item(["a b"], [["a b"]], ["a c"])
    >>> float(said[0].round(3))
    0.417
    """

    sourced: ClassVar[bool] = True

    def per_item(
        self, outputs: Texts, references: References, sources: Texts | None = None
    ) -> np.ndarray:
        """``[n]`` scores, one of each text."""
        check_texts("sari", outputs, references, sources, self.sourced)
        lines = zip(sources or (), outputs, references, strict=True)
        return np.array([
            sari(words(s), words(o), [words(r) for r in texts]) for s, o, texts in lines
        ])  # fmt: skip


def sari(
    source: Sequence[str], output: Sequence[str], references: Sequence[Sequence[str]]
) -> float:
    """:class:`Sari` of one text that is split already."""
    parts = [
        _sari_of(_grams(source, n), _grams(output, n), [_grams(r, n) for r in references])
        for n in range(1, 5)
    ]
    return float(np.mean(parts))


def _grams(text: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(text[i : i + n]) for i in range(len(text) - n + 1))


def _sari_of(
    source: Counter[tuple[str, ...]],
    output: Counter[tuple[str, ...]],
    references: Sequence[Counter[tuple[str, ...]]],
) -> float:
    """Mean of keeping, deleting and adding for n-grams of one length."""
    wanted: Counter[tuple[str, ...]] = Counter()
    for each in references:
        wanted += each
    often = len(references)
    had = Counter({gram: count * often for gram, count in source.items()})
    has = Counter({gram: count * often for gram, count in output.items()})
    kept, right = had & has, had & has & wanted
    ideal = had & wanted
    keep = _f1(
        sum(right[g] / kept[g] for g in right) / len(kept) if kept else 0,
        sum(right[g] / ideal[g] for g in right) / len(ideal) if ideal else 0,
    )
    gone = had - has
    rightly = gone - wanted
    delete = sum(rightly[g] / gone[g] for g in rightly) / len(gone) if gone else 0
    fresh, asked = set(output) - set(source), set(wanted) - set(source)
    good = len(fresh & asked)
    add = _f1(good / len(fresh) if fresh else 0, good / len(asked) if asked else 0)
    return (keep + delete + add) / 3


def _f1(precision: float, recall: float) -> float:
    both = precision + recall
    return 2 * precision * recall / both if both else 0.0
