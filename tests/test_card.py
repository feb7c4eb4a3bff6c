"""The card of a fit: baselines first, honest about what they say."""

import pytest

from conjoin.alignment.choice import Choice, Trial
from conjoin.report.cards.fit import card_facts, card_markdown, cautions, fold_interval, verdict

DATA = {
    "items": 100, "held_out": 30, "groups": 90,
    "modalities": [
        {"name": "text", "encoder": "builtin:text", "rows": 100, "dim": 384, "frame": "e-1"},
        {"name": "image", "encoder": "builtin:image", "rows": 90, "dim": 1280, "frame": "e-2"},
        {"name": "speech", "encoder": "builtin:audio", "rows": 80, "dim": 2305, "frame": "e-3"},
    ],
    "pairs": {"text–image": 60, "text–speech": 900},
}  # fmt: skip
MADE = {
    "frame": "binder-1",
    "seed": 0,
    "corrections": {"text → image": "csls"},
    "versions": {"conjoin": "0"},
}


def trial(name, *scores, **fields):
    return Trial(name, fields, "text", scores, 1.0)


def choice(own, *others):
    return Choice(own.method, own.fields, "text", (own, *others))


BETTER = choice(
    trial("cca", 0.50, 0.52, 0.51, 0.53, 0.52, lam=1.0),
    trial("ridge", 0.40, 0.41, 0.42, 0.43, 0.40),
    trial("mean-centering", 0.02, 0.02, 0.02, 0.02, 0.02),
)
NO_BETTER = choice(
    trial("cca", 0.50, 0.42, 0.51, 0.43, 0.52), trial("ridge", 0.48, 0.45, 0.49, 0.45, 0.50)
)


def test_a_method_that_wins_says_by_how_much():
    said = verdict(BETTER)
    assert said.startswith("cca beats ridge by +0.104 [")
    facts = card_facts(BETTER, 0.03, DATA, MADE)
    assert facts["verdict"] == said
    gap = next(c for c in facts["compared"] if c["method"] == "ridge")
    assert gap["gap"] == pytest.approx(0.104)
    assert 0 < gap["gap_low"] < 0.104 < gap["gap_high"]


def test_a_method_that_does_not_is_not_to_be_preferred():
    assert verdict(NO_BETTER).startswith("do not prefer cca to ridge")
    assert "do not prefer cca to ridge" in card_markdown(card_facts(NO_BETTER, 0.03, DATA, MADE))


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (choice(trial("ridge", 0.4, 0.5)), "is the baseline itself"),
        (Choice("cca", {}, "text"), "not compared with anything"),
        (choice(trial("cca", 0.4, 0.5)), "not compared with ridge"),
        (choice(trial("cca", 0.4), trial("ridge", 0.3)), "do not prefer"),
    ],
)
def test_other_cases_are_said_plainly(made, said):
    assert said in verdict(made)


def test_folds_give_a_t_interval():
    low, high = fold_interval([0.1, 0.2, 0.3])
    # 0.2 ± 4.3027 · 0.1 / √3
    assert (low, high) == pytest.approx((0.2 - 0.24841, 0.2 + 0.24841), abs=1e-4)
    assert fold_interval([0.3]) == (None, None)


def test_cautions_come_from_the_data():
    said = list(cautions(BETTER, DATA))
    assert any("text–image rests on 60 pairs" in line for line in said)
    assert not any("text–speech rests" in line for line in said)
    assert any("image and speech were never paired" in line for line in said)
    uneven = choice(trial("cca", 0.1, 0.9, 0.5))
    assert any("folds differ" in line for line in cautions(uneven, DATA))
    assert not any("folds differ" in line for line in said)


def test_only_what_ran_is_cited():
    facts = card_facts(BETTER, 0.03, DATA, MADE)
    keys = {s["key"] for s in facts["sources"]}
    assert "hotelling1936cca" in keys
    assert "hoerl1970ridge" in keys
    assert "schonemann1966procrustes" not in keys
    csls = next(s for s in facts["sources"] if "csls" in s["for"])
    assert csls["cited"]


def test_the_page_puts_baselines_first():
    page = card_markdown(card_facts(BETTER, 0.03, DATA, MADE))
    order = [page.index(part) for part in (
        "beats ridge", "## Baselines first", "| chance |", "| mean-centering |", "| ridge |",
        "**cca**",
        "## When not to use it", "## Data", "## Method", "## Sources",
    )]  # fmt: skip
    assert order == sorted(order)
    assert "nan" not in page.lower()
