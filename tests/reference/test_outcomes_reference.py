"""Measures of results by condition, against plain loops over their definitions."""

from itertools import combinations

import numpy as np
import pytest

from conjoin.errors import ConjoinError
from conjoin.metrics.outcomes.answers import Answers, Refusal, RiskCoverage, risk_coverage
from conjoin.metrics.outcomes.crossed import CHANCE, Contrast, Winoground
from conjoin.metrics.outcomes.importance import ModalityImportance
from conjoin.metrics.outcomes.pairs import GapToText, OrderedPairs
from conjoin.metrics.outcomes.transfer import (
    EditRates,
    Integration,
    KnownTransfer,
    NormalisedGain,
    WiScore,
)


def coins(names, seed, n=60):
    rng = np.random.default_rng(seed)
    return {name: rng.integers(0, 2, n).astype(float) for name in names}


def named(found):
    return {one.name: one.value for one in found}


def test_importance_is_brute_force_over_subsets():
    names = ["audio", "image", "text"]
    every = [s for r in (1, 2, 3) for s in combinations(names, r)]
    made = coins(["+".join(s[::-1]) for s in every], 0)  # in any order of names
    found = ModalityImportance().units(made)
    for name in names:
        for item in range(60):
            inside = [made["+".join(s[::-1])][item] for s in every if name in s]
            outside = [made["+".join(s[::-1])][item] for s in every if name not in s]
            slow = sum(inside) / len(inside) - sum(outside) / len(outside)
            assert found[name][item] == pytest.approx(slow, abs=1e-12)
    with pytest.raises(ConjoinError, match="audio\\+image"):
        ModalityImportance().units({k: v for k, v in made.items() if k != "image+audio"})


def test_labels_of_importance_by_hand():
    right = {"a": [1, 1, 0, 0, 0, 1], "b": [1, 0, 0, 0, 0, 1], "a+b": [1, 1, 1, 0, 0, 0]}
    assert ModalityImportance().labels(right).tolist() == [
        "agnostic", "biased to a", "complementary", "unanswered", "unanswered", "agnostic",
    ]  # fmt: skip


def test_winoground_by_hand_and_its_chance():
    rng = np.random.default_rng(0)
    s = {key: rng.normal(size=20_000) for key in Winoground.example}
    found = named(Winoground()(s))
    for name, chance in CHANCE.items():
        assert found[f"winoground-{name}"] == pytest.approx(chance, abs=0.012)
    units = Winoground().units(s)
    for i in range(200):
        a, b, c, d = (s[key][i] for key in ("c0_i0", "c1_i0", "c0_i1", "c1_i1"))
        text, image = a > b and d > c, a > c and d > b
        assert [units[k][i] for k in ("text", "image", "group")] == [text, image, text and image]
    tied = {key: np.ones(3) for key in Winoground.example}
    assert set(named(Winoground()(tied)).values()) == {0.0}
    assert Contrast()({"true": np.ones(3), "foil": np.ones(3)})[0].value == 0


def test_pairs_by_loops():
    names = ["audio", "image", "text"]
    pairs = [(a, b) for a in names for b in names if a != b]
    made = coins([f"{a}>{b}" for a, b in pairs], 1)
    found = named(OrderedPairs()(made))
    mean = {(a, b): sum(made[f"{a}>{b}"]) / 60 for a, b in pairs}
    whole = sum(mean.values()) / 6
    assert found["competence"] == pytest.approx(whole)
    spread = (sum((x - whole) ** 2 for x in mean.values()) / 6) ** 0.5
    assert found["consistency"] == pytest.approx(spread)
    assert found["imbalance image > text"] == pytest.approx(
        mean["image", "text"] - mean["text", "image"]
    )
    slow = (mean["image", "audio"] - mean["text", "audio"]
            + mean["audio", "image"] - mean["audio", "text"]) / 2  # fmt: skip
    assert found["disparity image − text"] == pytest.approx(slow)
    with pytest.raises(ConjoinError, match="image>text"):
        OrderedPairs()({"image-text": [1.0]})


def test_gap_gain_transfer_wiscore_and_rates_by_loops():
    made = coins(["text", "image"], 2)
    assert GapToText()(made)[0].value == pytest.approx(
        sum(made["text"]) / 60 - sum(made["image"]) / 60
    )
    before, after = coins(["b", "a"], 3).values()
    gain = (sum(after) / 60 - sum(before) / 60) / (1 - sum(before) / 60)
    assert NormalisedGain()({"before": before, "after": after})[0].value == pytest.approx(gain)
    with pytest.raises(ConjoinError, match="all was right before"):
        NormalisedGain()({"before": [1, 1], "after": [1, 0]})
    both = sum(b == a == 1 for b, a in zip(before, after, strict=True))
    told = named(KnownTransfer()({"source": before, "target": after}))
    assert told["success"] == both / 60
    assert told["transfer"] == pytest.approx(both / sum(before))
    rng = np.random.default_rng(4)
    grades = {name: rng.integers(0, 3, 30) for name in WiScore.example}
    slow = [(0.7 * c + 0.2 * r + 0.1 * a) / 2 for c, r, a in zip(*grades.values(), strict=True)]
    assert WiScore()(grades)[0].value == pytest.approx(sum(slow) / 30)
    rates = named(EditRates()({"locality": [1, 1, 0], "reliability": [1]}))
    assert rates == {"reliability": 1.0, "locality": pytest.approx(2 / 3)}
    with pytest.raises(ConjoinError, match="give some of"):
        EditRates()({"fidelity": [1]})


def planted(effect: float, seed: int, targets: int = 200, folds: int = 10):
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=targets * folds)
    made = {
        name: shared + 0.3 * rng.normal(size=targets * folds)
        for name in ("joint", "first", "second", "concatenation")
    }
    made["joint"] = made["joint"] + effect
    return made


def test_integration_has_power_on_planted_data_and_its_level_on_none():
    metric = Integration(each=10)
    assert metric(planted(1.0, 0))[0].value > 0.95
    for seed in range(5):
        assert metric(planted(0.0, seed))[0].value <= 0.02
    one = planted(1.0, 1)
    one["concatenation"] = one["joint"].copy()  # a rival as good: nothing integrates
    assert metric(one)[0].value == 0


def test_integration_equals_scipys_test_and_correction():
    from scipy.stats import false_discovery_control, ttest_1samp

    made = planted(0.45, 3, targets=50)
    joint = made["joint"].reshape(50, 10)
    worst = np.zeros(50)
    for name in ("first", "second", "concatenation"):
        apart = joint - made[name].reshape(50, 10)
        worst = np.maximum(worst, ttest_1samp(apart, 0, axis=1, alternative="greater").pvalue)
    share = float((false_discovery_control(worst) < 0.05).mean())
    assert 0 < share < 1
    assert Integration(each=10)(made)[0].value == share


@pytest.mark.parametrize("seed", range(4))
def test_answers_refusals_and_risk_are_counted_question_by_question(seed):
    made = coins(Answers.example, seed)
    rows = list(zip(*(made[name] for name in Answers.example), strict=True))
    able = [row for row in rows if row[0]]
    spoken = [row for row in rows if not row[1]]
    good = sum(row[2] for row in able if not row[1])
    shut = sum(row[1] for row in rows if not row[0])
    expected = {
        "page recall": good / len(able),
        "citation precision": sum(row[3] for row in spoken) / len(spoken),
        "answer coverage": sum(not row[1] for row in able) / len(able),
        "refusal recall": shut / (60 - len(able)),
        "outcome": (good + shut) / 60,
    }
    assert named(Answers()(made)) == pytest.approx(expected)
    rng = np.random.default_rng(seed)
    sure = rng.integers(0, 6, 60) / 5  # with ties
    pairs = [
        (a > b) + 0.5 * (a == b)
        for a, one in zip(sure, made["answerable"], strict=True)
        for b, other in zip(sure, made["answerable"], strict=True)
        if one and not other
    ]
    found = Refusal()({"answerable": made["answerable"], "confidence": sure})[0].value
    assert found == pytest.approx(np.mean(pairs))
    area, most, before = 0.0, 0.0, 0.0
    for level in sorted(set(sure), reverse=True):
        inside = [right for c, right in zip(sure, made["found"], strict=True) if c >= level]
        risk, cover = 1 - sum(inside) / len(inside), len(inside) / 60
        area += (cover - before) * risk
        most = max(most, cover) if risk <= 0.45 else most
        before = cover
    told = named(RiskCoverage(risk=0.45)({"right": made["found"], "confidence": sure}))
    assert told == pytest.approx({"AURC": area, "coverage at risk 0.45": most})
    cover, _ = risk_coverage(sure, made["found"])
    assert len(cover) == len(set(sure))
    assert cover[-1] == 1


def test_refusing_everything_or_nothing_is_a_number():
    ones, zeros = [1.0, 1.0], [0.0, 0.0]
    shut = {"answerable": ones, "refused": ones, "found": zeros, "correct": zeros}
    assert set(named(Answers()(shut)).values()) == {0.0}
    assert Refusal()({"answerable": ones, "confidence": zeros})[0].value == 0.5
    assert named(RiskCoverage()({"right": zeros, "confidence": ones}))["AURC"] == 1.0
