"""Scores of generated texts against plain loops over the papers' formulas."""

import math
import random

import pytest

from conjoin.errors import ConjoinError
from conjoin.metrics.generation.text import (
    cider_d,
    distinct_n,
    exact_match,
    rouge_l,
    unigram_f1,
    words,
)


def sentences(count: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    known = ["a", "dog", "cat", "runs", "sits", "the", "red", "on"]
    return [" ".join(rng.choices(known, k=rng.randint(1, 9))) for _ in range(count)]


def slow_common(a: list[str], b: list[str]) -> int:
    if not a or not b:
        return 0
    if a[0] == b[0]:
        return 1 + slow_common(a[1:], b[1:])
    return max(slow_common(a[1:], b), slow_common(a, b[1:]))


def slow_rouge(text: str, references: list[str]) -> float:
    own = text.split()
    common = [slow_common(own, each.split()) for each in references]
    p = max(c / len(own) for c in common)
    r = max(c / len(each.split()) for c, each in zip(common, references, strict=True))
    return 0.0 if not p else (1 + 1.44) * p * r / (r + 1.44 * p)


def slow_grams(text: str, n: int) -> list[tuple[str, ...]]:
    own = text.split()
    return [tuple(own[i : i + n]) for i in range(len(own)) if i + n <= len(own)]


def slow_cider(outputs: dict[str, str], references: dict[str, list[str]], item: str) -> float:
    def weight(text: str, gram: tuple[str, ...]) -> float:
        holds = 0
        for texts in references.values():
            holds += any(gram in slow_grams(each, len(gram)) for each in texts)
        idf = math.log(len(references)) - math.log(max(1, holds))
        return slow_grams(text, len(gram)).count(gram) * idf

    total = 0.0
    text = outputs[item]
    for reference in references[item]:
        away = len(text.split()) - len(reference.split())
        for n in (1, 2, 3, 4):
            mine, other = set(slow_grams(text, n)), set(slow_grams(reference, n))
            dot = sum(
                min(weight(text, g), weight(reference, g)) * weight(reference, g) for g in mine
            )
            norm = math.sqrt(sum(weight(text, g) ** 2 for g in mine))
            norm *= math.sqrt(sum(weight(reference, g) ** 2 for g in other))
            if norm:
                total += math.exp(-(away**2) / 72) * dot / norm / 4
    return 10 * total / len(references[item])


def test_rouge_f1_and_exact_match_equal_plain_loops():
    made = sentences(80, 0)
    for text, a, b in zip(made[::3], made[1::3], made[2::3], strict=False):
        assert rouge_l(text, [a, b]) == pytest.approx(slow_rouge(text, [a, b]), abs=1e-12)
        pool, both = a.split(), 0
        for word in text.split():
            if word in pool:
                pool.remove(word)
                both += 1
        p, r = both / len(text.split()), both / len(a.split())
        assert unigram_f1(text, [a]) == pytest.approx(2 * p * r / (p + r) if both else 0.0)
        assert exact_match(text, [a, text.upper() + "!"]) == 1
        assert exact_match(text + " x", [a, text]) == 0


def test_cider_d_equals_plain_loops():
    made = sentences(24, 1)
    references = {str(i): made[2 * i : 2 * i + 2] for i in range(8)}
    outputs = {str(i): made[16 + i] for i in range(8)}
    found = cider_d(outputs, references)
    assert max(found.values()) > 0.5
    for item, value in found.items():
        assert value == pytest.approx(slow_cider(outputs, references, item), abs=1e-9)
        assert 0 <= value <= 10
    with pytest.raises(ConjoinError, match="item 9 has no reference"):
        cider_d({"9": "a"}, references)


def test_distinct_counts_each_gram_once():
    assert distinct_n(["a b a b"], 2) == pytest.approx(2 / 3)
    assert distinct_n(["a"], 2) == 0
    assert words("It's 3.5") == ["it", "s", "3", "5"]
