"""Foils by hand: what each rule makes of a sentence, and what it must leave alone."""

from conjoin.evaluation.foils.inconsistency import Inconsistency
from conjoin.evaluation.foils.rules import (
    Negate,
    ReplaceObject,
    Shuffle,
    SwapAttributes,
    SwapRelation,
)


def test_each_rule_by_hand():
    assert SwapAttributes().make(["A red ball on a blue box"]) == ["A blue ball on a red box"]
    assert SwapAttributes().make(["a red ball on a big box", "a red red ball"]) == [None, None]
    assert SwapRelation().make(["a cup on the red box, today"]) == ["the red box on a cup, today"]
    assert SwapRelation().make(["a cup on a cup", "on top", "no relation"]) == [None] * 3
    assert Negate().make(["The dog is big", "a dog", "it is not big", ""]) == [
        "The dog is not big", "not a dog", "it is big", None,
    ]  # fmt: skip
    assert ReplaceObject().make(["a red ball", "a blue box"]) == ["a red box", "a blue ball"]
    assert ReplaceObject().make(["a red ball"]) == [None]
    assert Shuffle().make(["red dog", "red red"]) == ["dog red", None]


def test_each_kind_of_inconsistency_by_hand():
    made = {kind: Inconsistency(kind) for kind in ("identity", "context", "quantity", "order")}
    assert made["order"].make(["left arrow", "a cup"]) == ["right arrow", None]
    assert made["context"].make(["a cup", "a dog"]) == ["a dog", "a cup"]
    assert made["identity"].make(["a red cup", "the dog runs"]) == ["a red dog", "the cup runs"]
    found = made["quantity"].make(["3 cups", "two dogs", "a cup"])
    assert found[0].split()[1] == "cups"
    assert found[0].split()[0] != "3"
    assert found[1].endswith(" dogs")
    assert not found[1].startswith("two")
    assert found[2] is None
    assert Inconsistency("factual").make(["it is wet"]) == ["it is not wet"]
