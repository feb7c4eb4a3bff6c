"""Scores of a generated text against references: exact match, F1, ROUGE-L, CIDEr-D, distinct-n.

A text is its words: runs of letters and digits, in lower case (:func:`words`). The published
figures of COCO use the tokenizer of the Penn Treebank, which needs Java; figures of this tokenizer
differ from those a little and compare with themselves.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from conjoin.errors import ConjoinError

_WORD = re.compile(r"\w+", re.UNICODE)
#: Weight of recall against precision in ROUGE-L as COCO's code has it.
BETA = 1.2
#: Longest n-gram, and width of the penalty of lengths, of CIDEr-D.
LONGEST, SIGMA = 4, 6.0


def words(text: str) -> list[str]:
    """The words of a text, in lower case.

    >>> words("A dog, running!")
    ['a', 'dog', 'running']
    """
    return _WORD.findall(text.lower())


def exact_match(output: str, references: Sequence[str]) -> float:
    """1 where the words are those of a reference in order, else 0.

    >>> exact_match("A dog.", ["a dog"])
    1.0
    """
    return float(any(words(output) == words(each) for each in references))


def unigram_f1(output: str, references: Sequence[str]) -> float:
    """Harmonic mean of precision and recall of words, each counted as often as it stands in both.

    In ``[0, 1]``; the best over references.

    >>> unigram_f1("a dog runs", ["the dog runs"])
    0.6666666666666666
    """
    own = Counter(words(output))
    best = 0.0
    for each in references:
        other = Counter(words(each))
        both = (own & other).total()
        if both:
            best = max(best, 2 * both / (own.total() + other.total()))
    return best


def rouge_l(output: str, references: Sequence[str], beta: float = BETA) -> float:
    r"""Longest common subsequence of words, as precision and recall.

    :math:`(1 + β²) P R / (R + β² P)`, P and R being the largest over references, each by itself.
    In ``[0, 1]``.

    Sources: Lin, ROUGE (2004); the largest of each as ``pycocoevalcap/rouge/rouge.py`` of
    github.com/tylin/coco-caption has it.

    >>> rouge_l("a dog", ["a dog"])
    1.0
    """
    own = words(output)
    precision = recall = 0.0
    for each in references:
        other = words(each)
        if own and other:
            common = _common(own, other)
            precision = max(precision, common / len(own))
            recall = max(recall, common / len(other))
    if not precision:
        return 0.0
    return (1 + beta**2) * precision * recall / (recall + beta**2 * precision)


def _common(a: Sequence[str], b: Sequence[str]) -> int:
    row = [0] * (len(b) + 1)
    for word in a:
        fresh = [0]
        for place, other in enumerate(b):
            fresh.append(row[place] + 1 if word == other else max(fresh[-1], row[place + 1]))
        row = fresh
    return row[-1]


def cider_d(
    outputs: Mapping[str, str], references: Mapping[str, Sequence[str]]
) -> dict[str, float]:
    r"""By item, similarity of tf-idf weighted n-grams with the references, n from 1 to 4.

    .. math:: \frac{10}{4 m} \sum_n \sum_j e^{-(l - l_j)^2 / 2 σ^2}
              \frac{\min(g_n, g_{nj}) · g_{nj}}{‖g_n‖ ‖g_{nj}‖}

    with m references, σ = 6, lengths l in words, and weights g of count times
    ``log N − log max(1, items whose references hold the n-gram)`` over N items. In ``[0, 10]``.
    Texts shorter than n words add 0 for that n.

    Raises
    ------
    ConjoinError : fewer than two items, or an output without references.

    Source: Vedantam, Zitnick and Parikh, CIDEr (CVPR 2015).

    >>> told = cider_d({"a": "red dog", "b": "blue cat"}, {"a": ["red dog"], "b": ["blue cat"]})
    >>> round(told["a"], 6)
    5.0
    """
    lost = [item for item in outputs if not references.get(item)]
    if len(references) < 2 or lost:
        said = f"item {lost[0]} has no reference" if lost else f"{len(references)} items"
        raise ConjoinError("cider-d", said, "give references of two items or more")
    counted = {item: [_grams(each) for each in texts] for item, texts in references.items()}
    seen = Counter(gram for each in counted.values() for gram in set().union(*each))
    whole = float(np.log(len(references)))
    weigh = {gram: whole - float(np.log(n)) for gram, n in seen.items()}
    found = {}
    for item, text in outputs.items():
        own = _weighted(_grams(text), weigh, whole)
        length = len(words(text))
        total = sum(
            _alike(own, _weighted(grams, weigh, whole), length - len(words(each)))
            for grams, each in zip(counted[item], references[item], strict=True)
        )
        found[item] = 10 * total / len(references[item])
    return found


def _grams(text: str) -> Counter[tuple[str, ...]]:
    own = words(text)
    return Counter(
        tuple(own[at : at + n]) for n in range(1, LONGEST + 1) for at in range(len(own) - n + 1)
    )


def _weighted(
    grams: Counter[tuple[str, ...]], weigh: Mapping[tuple[str, ...], float], unseen: float
) -> list[dict[tuple[str, ...], float]]:
    parts: list[dict[tuple[str, ...], float]] = [{} for _ in range(LONGEST)]
    for gram, count in grams.items():
        parts[len(gram) - 1][gram] = count * weigh.get(gram, unseen)
    return parts


def _alike(
    own: list[dict[tuple[str, ...], float]], other: list[dict[tuple[str, ...], float]], apart: int
) -> float:
    total = 0.0
    for a, b in zip(own, other, strict=True):
        norm = np.sqrt(sum(v * v for v in a.values()) * sum(v * v for v in b.values()))
        if norm:
            total += (
                sum(min(v, b.get(gram, 0.0)) * b.get(gram, 0.0) for gram, v in a.items()) / norm
            )
    return float(total * np.exp(-(apart**2) / (2 * SIGMA**2)) / LONGEST)


def distinct_n(outputs: Sequence[str], n: int = 2) -> float:
    """Different n-grams over all n-grams of all outputs, in ``[0, 1]``; 0 where there are none.

    Source: Li et al., A Diversity-Promoting Objective Function (NAACL 2016).

    >>> distinct_n(["a b", "a b"], 1)
    0.5
    """
    found = [gram for text in outputs for gram in zip(*(words(text)[i:] for i in range(n)))]  # noqa: B905
    return len(set(found)) / len(found) if found else 0.0
