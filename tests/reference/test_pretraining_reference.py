"""Targets of pretraining against their formulas in plain loops; the block against torch's own."""

import itertools

import numpy as np
import pytest
import torch

import planted
from conjoin.models.pretraining.batches import collate
from conjoin.models.pretraining.blocks import Shape, Sight, block, block_init
from conjoin.models.pretraining.model import Plan, part
from conjoin.models.pretraining.read import greedy, name_scores, prefix_beam
from conjoin.models.pretraining.recipe import Recipe
from conjoin.models.pretraining.steps import Step
from conjoin.models.pretraining.targets.base import Pass
from conjoin.models.pretraining.targets.contrast import Contrast, TokenContrast
from conjoin.models.pretraining.targets.fine import (
    NamedTokens,
    RandomProjections,
    TokenTransport,
    barlow_rows,
    ipot,
)
from conjoin.models.pretraining.targets.language import NextId, Transcribe, Write, ctc
from conjoin.models.pretraining.targets.masked import MaskedFeatures, MaskedIds, feature_loss
from conjoin.models.pretraining.targets.matching import FLOOR, Matching

BODY = {"kind": "fusion", "dim": 16, "heads": 2, "decoder": 1}


def planned(targets, views=("image", "words"), items=6, body=BODY, family=1):
    """A model of some targets, its tensors, one batch, and what the target gives on it."""
    whole = planted.spoken(items) if "speech" in views else planted.world(items)
    corpus = planted.corpus({view: whole.columns[view] for view in views}, family)
    model = Recipe(body=body, targets=targets).build(corpus).model
    params = {k: p.tensor() for k, p in model.init(1).items()}
    batch = collate(corpus, np.arange(items), model.needs, longest=64, seed=(0, 5))
    plan = Plan(model, batch, params, Step())
    each = model.targets[0]
    own = part(params, f"target/{each.label}")
    with torch.no_grad():
        loss, floor = each.target(plan, batch, own, model.world)
    return each.target, plan, batch, own, float(loss), float(floor)


def plan_by_loops(cost, beta, iterations):
    """IPOT of one pair, one sum at a time."""
    n, m = cost.shape
    kernel, plan, sigma = np.exp(-cost / beta), np.ones((n, m)), np.full(m, 1 / m)
    for _ in range(iterations):
        q = kernel * plan
        delta = np.array([1 / (n * sum(q[i, j] * sigma[j] for j in range(m))) for i in range(n)])
        sigma = np.array([1 / (m * sum(q[i, j] * delta[i] for i in range(n))) for j in range(m)])
        plan = np.array([[delta[i] * q[i, j] * sigma[j] for j in range(m)] for i in range(n)])
    return plan


def test_transport_is_the_proximal_point_method_and_nears_the_best_plan():
    import ot

    target, _, _, _, loss, floor = planned({"token-transport": 1.0}, ("image", "text"))
    assert isinstance(target, TokenTransport)
    assert floor == 1.0 != loss
    cost = np.random.default_rng(0).random((4, 3))
    padded = np.zeros((1, 6, 5))
    padded[0, :4, :3] = cost
    keep = torch.arange(6)[None] < 4, torch.arange(5)[None] < 3
    found = ipot(torch.from_numpy(padded), keep, 0.5, 50)[0].numpy()
    np.testing.assert_allclose(found[:4, :3], plan_by_loops(cost, 0.5, 50), atol=1e-10)
    assert found[4:].sum() + found[:, 3:].sum() == 0
    best = ot.emd2(np.full(4, 1 / 4), np.full(3, 1 / 3), cost)
    assert (found[:4, :3] * cost).sum() == pytest.approx(best, abs=2e-3)


def test_named_tokens_are_found_in_the_batch():
    target, plan, batch, _, loss, floor = planned({"named-tokens": {"view": "image"}},
                                                  ("image", "text"))  # fmt: skip
    assert isinstance(target, NamedTokens)
    need = next(iter(plan.model.needs))
    states = plan(Pass(("image",), hide=(need,))).tokens["image"]
    whole = plan(Pass(("image",)))
    bank = numbers(whole.tokens["image"][whole.keep["image"]])
    bank = bank / np.linalg.norm(bank, axis=1, keepdims=True)
    paid = []
    for i, t in itertools.product(range(6), range(5)):
        if batch.drawn[need.key][i, t]:
            h = numbers(states[i, t])
            paid.append(-np.log(soft(2.5 * bank @ h / np.linalg.norm(h))[i * 5 + t]))
    assert loss == pytest.approx(np.mean(paid), rel=1e-4)
    assert floor == pytest.approx(np.log(30), rel=1e-5)


def test_random_projections_agree_by_rows():
    target, _, _, _, _, floor = planned({"random-projections": 1.0}, ("image", "text"))
    assert isinstance(target, RandomProjections)
    assert floor == 1.0
    c = np.random.default_rng(0).uniform(-1, 1, (5, 5))
    total = sum((1 - c[i, i]) ** 2 for i in range(5))
    total += 0.01 * sum(c[i, j] ** 2 for i in range(5) for j in range(5) if i != j)
    assert float(barlow_rows(torch.from_numpy(c), 0.01)) == pytest.approx(total / 5)
    raw = torch.randn(4, 12)
    torch.testing.assert_close(target.project(raw, "image", 1), target.project(raw, "image", 1))


def soft(row):
    row = np.asarray(row, dtype=np.float64)
    e = np.exp(row - row.max())
    return e / e.sum()


def numbers(x):
    return x.detach().numpy().astype(np.float64)


def test_contrast_is_infonce_of_projected_means():
    _, plan, _, own, loss, floor = planned({"contrast": 1.0}, ("image", "text"))
    z = {}
    for view in ("image", "text"):
        out = plan(Pass((view,)))
        mean = [numbers(x)[np.asarray(k)].mean(0) for x, k in zip(out.tokens[view], out.keep[view],
                                                                 strict=True)]  # fmt: skip
        made = np.array(mean) @ numbers(own[f"proj/{view}/weight"]).T
        made = made + numbers(own[f"proj/{view}/bias"])
        z[view] = made / np.linalg.norm(made, axis=1, keepdims=True)
    held = [v for k, v in own.items() if k.startswith("loss/")]
    assert len(held) == 1
    for scale in (np.exp(float(held[0].detach())), 1 / float(held[0].detach())):
        s = scale * z["image"] @ z["text"].T
        found = np.mean([-np.log(soft(m[i])[i]) for m in (s, s.T) for i in range(len(m))])
        if found == pytest.approx(loss, rel=1e-4):
            break
    else:
        pytest.fail("no scale gives the loss")
    assert floor == pytest.approx(np.log(6), rel=1e-5)
    assert Contrast.decomposes is False


def test_token_contrast_takes_weighted_best_matches():
    target, plan, _, own, loss, floor = planned({"token-contrast": 1.0}, ("image", "text"))
    assert isinstance(target, TokenContrast)
    sets = {}
    for view in ("image", "text"):
        out = plan(Pass((view,)))
        rows = []
        for x, keep in zip(out.tokens[view], out.keep[view], strict=True):
            x = numbers(x)[np.asarray(keep)]
            p = x @ numbers(own[f"proj/{view}/weight"]).T + numbers(own[f"proj/{view}/bias"])
            w = soft(x @ numbers(own[f"weigh/{view}/weight"])[0])
            rows.append((p / np.linalg.norm(p, axis=1, keepdims=True), w))
        sets[view] = rows
    s = np.zeros((6, 6))
    for i, j in itertools.product(range(6), range(6)):
        (a, w), (b, v) = sets["image"][i], sets["text"][j]
        every = a @ b.T
        s[i, j] = 0.5 * (sum(w[k] * every[k].max() for k in range(len(a)))
                         + sum(v[k] * every[:, k].max() for k in range(len(b))))  # fmt: skip
    s /= target.temperature
    wanted = np.mean([-np.log(soft(m[i])[i]) for m in (s, s.T) for i in range(6)])
    assert loss == pytest.approx(wanted, rel=1e-4)
    assert floor == pytest.approx(np.log(6), rel=1e-5)


def test_matching_is_one_true_to_two_false():
    target, plan, batch, own, loss, floor = planned({"matching": 1.0}, ("image", "text"))
    assert isinstance(target, Matching)
    lines = torch.arange(6)
    legal = batch.ids["image"][:, None] != batch.ids["image"][None]
    a, b = target._wrong(plan, batch, ("image", "text"), lines, legal)
    assert bool((a != lines).all())
    assert bool((b != lines).all())
    total = 0.0
    for i in range(6):
        for left, right, true in ((i, i, 1), (i, int(b[i]), 0), (int(a[i]), i, 0)):
            rows = {"image": torch.tensor([left]), "text": torch.tensor([right])}
            fused = plan.again(Pass(("image", "text"), "fuse"), rows).whole()
            logit = numbers(fused) @ numbers(own["head/weight"])[0] + numbers(own["head/bias"])[0]
            chance = 1 / (1 + np.exp(-logit[0]))
            total -= np.log(chance if true else 1 - chance)
    assert loss == pytest.approx(total / 18, rel=1e-4)
    assert floor == FLOOR == pytest.approx(-(np.log(1 / 3) + 2 * np.log(2 / 3)) / 3)


def test_matching_takes_no_partner_of_the_same_family():
    target, plan, batch, _, _, _ = planned({"matching": 1.0}, ("image", "text"), 12, family=3)
    legal = batch.ids["image"][:, None] != batch.ids["image"][None]
    a, b = target._wrong(plan, batch, ("image", "text"), torch.arange(12), legal)
    owner = np.arange(12) // 3
    assert (owner[a.numpy()] != owner).all()
    assert (owner[b.numpy()] != owner).all()


def logits_of(plan, own, states, view):
    """A layer, GELU, its norm and the table, one number at a time where it matters."""
    from math import erf, sqrt

    x = numbers(states) @ numbers(own[f"{view}/inner/weight"]).T + numbers(
        own[f"{view}/inner/bias"]
    )
    x = np.vectorize(lambda u: u * 0.5 * (1 + erf(u / sqrt(2))))(x)
    x = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)
    x = x * numbers(own[f"{view}/norm/weight"]) + numbers(own[f"{view}/norm/bias"])
    return x @ numbers(plan.table(view)).T + numbers(own[f"{view}/bias"])


def shares(batch, view):
    ids = batch.rows[view][batch.masks[view]].numpy()
    return np.bincount(ids, minlength=20) / len(ids)


def test_masked_ids_are_named_at_hidden_places_only():
    target, plan, batch, own, loss, floor = planned({"masked-ids": {"mask": "token:0.4"}})
    assert isinstance(target, MaskedIds)
    key = next(k for k in batch.drawn)
    need = next(iter(plan.model.needs))
    out = plan(Pass(("image", "words"), "fuse", (need,)))
    paid, constant = [], []
    share = shares(batch, "words")
    for i in range(6):
        for t in range(5):
            if batch.drawn[key][i, t]:
                right = int(batch.rows["words"][i, t])
                row = logits_of(plan, own, out.tokens["words"][i, t][None], "words")[0]
                paid.append(-np.log(soft(row)[right]))
                constant.append(-np.log(share[right]))
    assert len(paid) == 12
    assert loss == pytest.approx(np.mean(paid), rel=1e-4)
    assert floor == pytest.approx(np.mean(constant), rel=1e-4)


def test_masked_features_are_given_back():
    target, _, _, _, _, _ = planned({"masked-features": 1.0}, ("image", "text"))
    assert isinstance(target, MaskedFeatures)
    rng = np.random.default_rng(0)
    made, true = rng.normal(size=(2, 5, 4))
    a, b = torch.from_numpy(made), torch.from_numpy(true)
    loss, floor = feature_loss(a, b, "mse")
    assert float(loss) == pytest.approx(np.mean((made - true) ** 2))
    assert float(floor) == pytest.approx(np.mean(true**2))
    normed = np.array([(row - row.mean()) / np.sqrt(row.var() + 1e-6) for row in true])
    loss, _ = feature_loss(a, b, "patch")
    assert float(loss) == pytest.approx(np.mean((made - normed) ** 2), rel=1e-5)
    cosines = [
        x @ y / np.linalg.norm(x) / np.linalg.norm(y) for x, y in zip(made, true, strict=True)
    ]
    assert float(feature_loss(a, b, "cos")[0]) == pytest.approx(1 - np.mean(cosines))
    unit = [z / np.linalg.norm(z, axis=1, keepdims=True) for z in (made, true)]
    s = unit[0] @ unit[1].T / 0.07
    loss, floor = feature_loss(a, b, "nce")
    assert float(loss) == pytest.approx(np.mean([-np.log(soft(s[i])[i]) for i in range(5)]))
    assert floor == pytest.approx(np.log(5))


def test_writing_and_the_next_id_see_only_what_stands_before():
    for targets, body, made in (
        ({"write": 1.0}, BODY, Write),
        ({"next-id": 1.0}, {"kind": "single", "dim": 16, "heads": 2, "towers": 2}, NextId),
    ):
        target, plan, batch, own, loss, floor = planned(targets, body=body)
        assert isinstance(target, made)
        paid, constant = [], []
        share = shares(batch, "words")
        if made is Write:
            states = plan.write("words", plan(Pass(("image",))))
            places = range(5)
        else:
            out = plan(Pass(("image", "words"), "fuse", order=True)).tokens["words"]
            states = torch.cat([out[:, :1], out[:, :-1]], 1)
            places = range(1, 5)
        for i, t in itertools.product(range(6), places):
            right = int(batch.rows["words"][i, t])
            row = logits_of(plan, own, states[i, t][None], "words")[0]
            paid.append(-np.log(soft(row)[right]))
            constant.append(-np.log(share[right]))
        assert loss == pytest.approx(np.mean(paid), rel=1e-4)
        assert floor == pytest.approx(np.mean(constant), rel=1e-4)
        # What comes after a place changes nothing at it.
        rows = {**batch.rows, "words": batch.rows["words"].clone()}
        rows["words"][:, 3:] = 0
        other = Plan(plan.model, batch.with_rows(rows), plan.params, Step())
        if made is Write:
            again = other.write("words", other(Pass(("image",))))
            upto = 4
        else:
            again = other(Pass(("image", "words"), "fuse", order=True)).tokens["words"]
            states, upto = out, 3
        torch.testing.assert_close(again[:, :upto], states[:, :upto])
        assert not torch.allclose(again[:, upto:], states[:, upto:])


def collapse(path, blank):
    kept = [b for a, b in zip([None, *path[:-1]], path, strict=True) if b != a]
    return [x for x in kept if x != blank]


def test_transcribing_sums_over_every_path():
    target, _, _, _, loss, floor = planned({"transcribe": 1.0}, ("speech", "letters"))
    assert isinstance(target, Transcribe)
    assert np.isfinite(loss)
    assert np.isfinite(floor)
    rng = np.random.default_rng(2)
    chances = np.array([soft(row) for row in rng.normal(size=(5, 3))])
    for letters in ([0], [0, 1], [1, 1]):
        total = sum(
            np.prod([chances[t, s] for t, s in enumerate(path)])
            for path in itertools.product(range(3), repeat=5)
            if collapse(path, 2) == letters
        )
        given = torch.from_numpy(np.log(chances))[None]
        sizes = torch.tensor([len(letters)])
        found = ctc(given, torch.tensor([letters]), torch.tensor([5]), sizes)
        assert float(found) == pytest.approx(-np.log(total) / len(letters))
        named = name_scores([np.log(chances)], [letters])[0, 0]
        assert named == pytest.approx(np.log(total) / len(letters), rel=1e-5)
    # A beam wide enough holds every string with the sum of its paths.
    best = {}
    for path in itertools.product(range(3), repeat=5):
        text = tuple(collapse(path, 2))
        best[text] = best.get(text, 0.0) + np.prod([chances[t, s] for t, s in enumerate(path)])
    ranked = sorted(best.items(), key=lambda entry: -entry[1])
    beam = prefix_beam(np.log(chances), 200)
    assert [tuple(text) for text, _ in beam[:5]] == [text for text, _ in ranked[:5]]
    np.testing.assert_allclose(np.exp([s for _, s in beam[:5]]), [s for _, s in ranked[:5]])
    path = chances.argmax(1).tolist()
    assert greedy(np.log(chances)) == collapse(path, 2)


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_the_block_is_that_of_torch(norm):
    shape = Shape(16, 4, 32, norm)
    params = {k: p.tensor(torch.float64) for k, p in
              block_init(np.random.default_rng(0), "b", shape).items()}  # fmt: skip
    theirs = torch.nn.TransformerEncoderLayer(
        16, 4, 32, 0.0, "gelu", batch_first=True, norm_first=norm == "pre"
    ).double()
    parts = ("query", "key", "value")
    held = {
        "self_attn.in_proj_weight": torch.cat([params[f"b/attn/{p}/weight"] for p in parts]),
        "self_attn.in_proj_bias": torch.cat([params[f"b/attn/{p}/bias"] for p in parts]),
        "self_attn.out_proj.weight": params["b/attn/out/weight"],
        "self_attn.out_proj.bias": params["b/attn/out/bias"],
        "linear1.weight": params["b/ffn/up/weight"], "linear1.bias": params["b/ffn/up/bias"],
        "linear2.weight": params["b/ffn/down/weight"], "linear2.bias": params["b/ffn/down/bias"],
        "norm1.weight": params["b/attn/norm/weight"], "norm1.bias": params["b/attn/norm/bias"],
        "norm2.weight": params["b/ffn/norm/weight"], "norm2.bias": params["b/ffn/norm/bias"],
    }  # fmt: skip
    theirs.load_state_dict({k: v.detach() for k, v in held.items()})
    rng = np.random.default_rng(1)
    x = torch.from_numpy(rng.normal(size=(3, 7, 16)))
    keep = torch.arange(7)[None] < torch.tensor([[7], [4], [1]])
    found = block(x, Sight(keep), params, "b", shape, step=Step())
    wanted = theirs(x, src_key_padding_mask=~keep)
    for row, count in enumerate((7, 4, 1)):
        torch.testing.assert_close(found[row, :count], wanted[row, :count])
