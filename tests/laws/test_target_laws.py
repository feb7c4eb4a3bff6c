"""What every target of the catalogue keeps: gradients, floors, and that it is learnt."""

import numpy as np
import pytest
import torch

import planted
from conjoin.catalogue import of_kind
from conjoin.models.pretraining.batches import Stepped, collate
from conjoin.models.pretraining.recipe import Recipe
from conjoin.models.pretraining.steps import Step
from conjoin.models.pretraining.targets.base import Target

ROWS = of_kind("target")
BODY = {"kind": "fusion", "dim": 16, "heads": 2, "decoder": 1, "dropout": 0.0}
#: Bodies and fields of targets that need their own.
OWN = {
    "next-id": ({"kind": "single", "towers": 2}, {}),
    "matching": ({}, {"negatives": "random"}),
    "masked-ids": ({}, {"mask": "token:0.4"}),
    "token-transport": ({}, {"iterations": 8}),
    "named-tokens": ({}, {"scale": 10.0}),
    "random-projections": ({}, {"networks": 2, "wide": 8}),
}
VIEWS = {
    "masked-ids": ("image", "words"), "write": ("image", "words"), "next-id": ("image", "words"),
    "transcribe": ("speech", "letters"),
}  # fmt: skip


def items(name, count=96):
    whole = planted.spoken(count) if name == "transcribe" else planted.world(count)
    views = VIEWS.get(name, ("image", "text"))
    return planted.corpus({view: whole.columns[view] for view in views})


def recipe(name, steps=1, **course):
    body, fields = OWN.get(name, ({}, {}))
    return Recipe(
        body={**BODY, **body}, targets={name: dict(fields)}, batch=20, validation=0.0,
        course={"steps": steps, "dropout": 0.0, "lr": 1e-2, **course},
    )  # fmt: skip


def test_they_keep_their_promise():
    for name, row in ROWS.items():
        assert isinstance(row.make(), Target), name


@pytest.mark.parametrize("name", ROWS)
def test_gradients_are_those_of_the_loss(name):
    corpus = items(name, 8)
    model = recipe(name).build(corpus).model
    own = {k: p.tensor(torch.float64) for k, p in model.init(1).items()}
    batch = collate(corpus, np.arange(8), model.needs, longest=64, seed=(0, 1))
    batch = batch.with_rows({k: v.double() if v.is_floating_point() else v
                             for k, v in batch.rows.items()})  # fmt: skip

    def loss():
        return model.losses(batch, own, Step()).total

    loss().backward()
    rng = np.random.default_rng(0)
    reached = [k for k, v in own.items() if v.grad is not None and bool(v.grad.abs().max() > 1e-7)]
    assert any(k.startswith("stem/") for k in reached)
    if getattr(ROWS[name].load(), "stops", False):
        return  # what it holds fixed moves the value, and by its own word not the gradient
    for key in rng.permutation(reached)[:6]:
        leaf = own[key]
        way = torch.from_numpy(rng.normal(size=tuple(leaf.shape)))
        ends = []
        for sign in (1, -1):
            with torch.no_grad():
                leaf += sign * 1e-6 * way
                ends.append(float(loss()))
                leaf -= sign * 1e-6 * way
        slope = (ends[0] - ends[1]) / 2e-6
        assert slope == pytest.approx(float((leaf.grad * way).sum()), rel=2e-4, abs=1e-7), key


@pytest.mark.parametrize("name", ROWS)
def test_it_falls_below_its_floor_and_stays_when_nothing_is_to_be_learnt(name):
    corpus = items(name)
    # Whether two things belong together is no sum of what each is: it takes longer to see.
    slow = name == "matching"
    made = recipe(name, 150, lr=5e-3) if slow else recipe(name, 60)
    learnt = made.fit(corpus, seed=0).trained.curves
    loss, floor = learnt.ends()[name]
    assert loss < 0.9 * floor
    assert not learnt.stuck()
    # Fresh lines every step, so that nothing can be learnt by heart.
    nothing = planted.shuffled(items(name, 400))
    loss, floor = recipe(name, 14, lr=2e-3).fit(nothing, seed=0).trained.curves.ends()[name]
    assert loss > 0.95 * floor


@pytest.mark.parametrize("name", ROWS)
def test_what_absent_rows_and_padding_hold_never_matters(name):
    corpus = items(name, 12)
    gone = planted.corpus(corpus.columns, absent={next(iter(corpus.columns)): [2, 5]})
    model = recipe(name).build(gone).model
    params = {k: p.tensor() for k, p in model.init(1).items()}
    batch = collate(gone, np.arange(12), model.needs, longest=64, seed=(0, 1))

    def cost(batch):
        with torch.no_grad():
            return model.losses(batch, params, Step()).found[name]

    def spoilt(view, rows):
        empty = ~batch.masks[view]
        return torch.where(empty[..., None] if rows.dim() == 3 else empty, 3, rows)

    before = cost(batch)
    rows = {view: spoilt(view, own) for view, own in batch.rows.items()}
    assert cost(batch.with_rows(rows)) == pytest.approx(before, rel=1e-5)


def test_one_family_gives_no_negatives_and_is_said():
    whole = planted.world(12)
    views = {view: whole.columns[view] for view in ("image", "text")}
    corpus = planted.corpus(views, family=12)
    for name in ("matching", "contrast", "token-contrast"):
        model = recipe(name).build(corpus).model
        params = {k: p.tensor() for k, p in model.init(1).items()}
        batch = collate(corpus, np.arange(12), model.needs, longest=64, seed=(0, 1))
        found = model.losses(batch, params, Step())
        assert found.total is None
        assert "famil" in found.skipped[name]


def test_the_collator_makes_the_union_of_needs_once():
    corpus = planted.world(12)
    made = Recipe(body=BODY, targets={"masked-ids": 1.0, "a": {"of": "masked-ids"},
                                      "masked-features": 1.0})  # fmt: skip
    needs = made.build(corpus).model.needs
    batch = Stepped(corpus, needs, {"pairs": 1}, 12, 64, 3).at(0)
    assert sorted(batch.drawn) == sorted(
        {"plan/words/token:0.15", "plan/image/token:0.5", "plan/text/token:0.5"}
    )
