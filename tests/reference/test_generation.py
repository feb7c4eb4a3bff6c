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


# Metrics as the catalogue has them: ExactMatch, UnigramF1, KnowledgeF1, RougeL, CiderD, Distinct,
# Sari, Bleu, Chrf


def slow_sari(source: str, output: str, references: list[str]) -> float:
    """From the paper: n-grams kept, added, deleted; those of references weigh by how many agree."""
    total = 0.0
    for n in (1, 2, 3, 4):
        s, o = slow_grams(source, n), slow_grams(output, n)
        r = [slow_grams(each, n) for each in references]
        every = [gram for grams in r for gram in grams]
        m = len(references)
        had = {g: m * s.count(g) for g in s}
        has = {g: m * o.count(g) for g in o}
        kept = {g: min(had[g], has.get(g, 0)) for g in had if has.get(g, 0)}
        ideal = {g: min(had[g], every.count(g)) for g in had if every.count(g)}
        good = {g: min(kept[g], every.count(g)) for g in kept if every.count(g)}
        p = sum(good[g] / kept[g] for g in good) / len(kept) if kept else 0
        q = sum(good[g] / ideal[g] for g in good) / len(ideal) if ideal else 0
        keep = 2 * p * q / (p + q) if p + q else 0
        gone = {g: had[g] - has.get(g, 0) for g in had if had[g] > has.get(g, 0)}
        right = {g: max(0, gone[g] - every.count(g)) for g in gone}
        delete = sum(right[g] / gone[g] for g in gone) / len(gone) if gone else 0
        new, asked = set(o) - set(s), set(every) - set(s)
        p = len(new & asked) / len(new) if new else 0
        q = len(new & asked) / len(asked) if asked else 0
        add = 2 * p * q / (p + q) if p + q else 0
        total += (keep + delete + add) / 3
    return total / 4


def test_sari_equals_plain_loops_and_the_authors_own_figures():
    from conjoin.metrics.generation.metrics import Sari, sari

    made = sentences(120, 4)
    for i in range(0, 120, 4):
        source, output, *references = made[i : i + 4]
        split = [each.split() for each in references]
        assert sari(source.split(), output.split(), split) == pytest.approx(
            slow_sari(source, output, references), abs=1e-12
        )
    source = "About 95 species are currently accepted ."
    references = ["About 95 species are currently known .", "About 95 species are now accepted .",
                  "95 species are now accepted ."]  # fmt: skip
    # What SARI.py of github.com/cocoxu/simplification gives for its own three sentences.
    for output, wanted in (
        ("About 95 you now get in .", 0.2682782411698074),
        ("About 95 species are now agreed .", 0.5889995423074248),
        ("About 95 species are currently agreed .", 0.5071608864657479),
    ):
        split = [each.lower().split() for each in references]
        found = sari(source.lower().split(), output.lower().split(), split)
        assert found == pytest.approx(wanted, abs=1e-9)
    with pytest.raises(ConjoinError, match="made from"):
        Sari().per_item(["a"], [["a"]])


def test_rouge_l_is_that_of_rouge_score_where_recall_weighs_as_precision():
    rouge_scorer = pytest.importorskip("rouge_score.rouge_scorer")
    from conjoin.metrics.generation.metrics import RougeL

    made = sentences(80, 5)
    scorer = rouge_scorer.RougeScorer(["rougeL"])
    found = RougeL(beta=1.0).per_item(made[::2], [[each] for each in made[1::2]])
    for own, output, reference in zip(found, made[::2], made[1::2], strict=True):
        assert own == pytest.approx(scorer.score(reference, output)["rougeL"].fmeasure, abs=1e-12)


def slow_bleu(outputs: list[str], references: list[list[str]]) -> float:
    """Papineni et al.: clipped counts pooled over texts, the nearest length of a reference."""
    logs, length, wanted = 0.0, 0, 0
    for output, texts in zip(outputs, references, strict=True):
        length += len(output.split())
        near = [(abs(len(t.split()) - len(output.split())), len(t.split())) for t in texts]
        wanted += min(near)[1]
    for n in (1, 2, 3, 4):
        right = all_of = 0
        for output, texts in zip(outputs, references, strict=True):
            grams = slow_grams(output, n)
            all_of += len(grams)
            for gram in set(grams):
                right += min(grams.count(gram), max(slow_grams(t, n).count(gram) for t in texts))
        logs += math.log(right / all_of) / 4
    return math.exp(min(0.0, 1 - wanted / length)) * math.exp(logs)


def slow_chrf(output: str, reference: str) -> float:
    """Popović: F2 of characters without spaces, each n from 1 to 6, averaged over n."""
    a, b = output.replace(" ", ""), reference.replace(" ", "")
    total, orders = [0.0, 0.0], 0
    for n in range(1, 7):
        x = [a[i : i + n] for i in range(len(a) - n + 1)]
        y = [b[i : i + n] for i in range(len(b) - n + 1)]
        if not x or not y:
            continue
        both = sum(min(x.count(g), y.count(g)) for g in set(x))
        total[0] += both / len(x)
        total[1] += both / len(y)
        orders += 1
    p, r = (each / orders for each in total)
    return 5 * p * r / (4 * p + r) if p + r else 0.0


def test_bleu_and_chrf_are_the_papers():
    pytest.importorskip("sacrebleu")
    from conjoin.metrics.generation.sacre import Bleu, Chrf

    made = sentences(90, 6)
    outputs = [f"the red dog {each}" for each in made[::3]]
    references = [[f"the red dog {a}", f"a red dog {b}"]
                  for a, b in zip(made[1::3], made[2::3], strict=True)]  # fmt: skip
    assert Bleu().corpus(outputs, references) == pytest.approx(slow_bleu(outputs, references))
    ragged = [texts[: 1 + i % 2] for i, texts in enumerate(references)]
    assert Bleu().corpus(outputs, ragged) == pytest.approx(slow_bleu(outputs, ragged))
    single = [[texts[0]] for texts in references]
    found = Chrf().per_item(outputs, single)
    for own, output, texts in zip(found, outputs, single, strict=True):
        assert own == pytest.approx(slow_chrf(output, texts[0]), abs=1e-9)


def test_the_catalogues_metrics_are_the_functions():
    from conjoin.metrics.generation.metrics import (
        CiderD,
        Distinct,
        ExactMatch,
        KnowledgeF1,
        UnigramF1,
    )

    made = sentences(60, 7)
    outputs, references = made[::3], [list(each) for each in zip(made[1::3], made[2::3],
                                                                strict=True)]  # fmt: skip
    items = {str(i): text for i, text in enumerate(outputs)}
    told = {str(i): texts for i, texts in enumerate(references)}
    for i, own in enumerate(CiderD().per_item(outputs, references)):
        assert own == pytest.approx(slow_cider(items, told, str(i)))
    for engine, of in ((ExactMatch, exact_match), (UnigramF1, unigram_f1),
                       (KnowledgeF1, unigram_f1)):  # fmt: skip
        found = engine().per_item(outputs, references)
        assert found.tolist() == [of(o, r) for o, r in zip(outputs, references, strict=True)]
    pairs = [gram for text in outputs for gram in slow_grams(text, 2)]
    assert Distinct(2).corpus(outputs, references) == len(set(pairs)) / len(pairs)
