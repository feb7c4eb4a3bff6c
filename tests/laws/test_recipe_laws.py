"""What every recipe of the catalogue keeps, and the models that recipes make."""

import numpy as np
import pytest
import torch

import planted
from conjoin.catalogue import of_kind
from conjoin.errors import ConjoinError
from conjoin.models.pretraining.batches import Stepped, collate
from conjoin.models.pretraining.model import Plan
from conjoin.models.pretraining.recipe import Recipe, put, read
from conjoin.models.pretraining.steps import Step
from conjoin.models.pretraining.targets.base import Need, Pass

ROWS = of_kind("recipe")
#: Sizes under which every recipe is tried.
TINY = (
    "body.dim=16",
    "body.heads=2",
    "batch=8",
    "body.hidden=1",
    "course.lr=0.01",
    "course.dropout=0.0",
)


def items(views, count=32):
    """A planted column for each view of a recipe, by what its cells are."""
    signs = planted.signs_of(count)
    made = {}
    for at, (view, table) in enumerate(views.items()):
        cells = str(table.get("cells", "frozen")).partition(":")[0]
        if cells in ("letters", "subwords"):
            made[view] = planted.letters(signs)
        else:
            each = 3 if cells == "frames" else 1
            made[view] = planted.floats(signs, 12, at, each=each)
    return planted.corpus(made)


def small(name, *settings):
    made = ROWS[name].make()
    views = {v: {k: x for k, x in t.items() if k != "bands"} for v, t in made.views.items()}
    made = Recipe(**{**vars(made), "views": views})
    for text in (*TINY, *settings):
        made = put(made, text)
    return made


def test_every_recipe_builds_and_every_target_of_it_runs():
    """That they are learnt on planted data is shown by ``benchmarks/pretraining_controls.py``."""
    for name in ROWS:
        made = small(name)
        corpus = items(made.views)
        built = made.build(corpus)
        assert not built.left, name
        params = {k: p.tensor() for k, p in built.model.init(0).items()}
        rates = {stream: 1.0 for stream in made.mix}
        batches = Stepped(corpus, built.model.needs, rates, 8, 64, len(rates))
        ran = set()
        for number in range(len(rates)):
            found = built.model.losses(batches.at(number), params, Step())
            ran |= set(found.found)
            assert all(np.isfinite(loss) for loss, _ in found.found.values()), name
        assert ran == set(made.targets), name
        made.made_stages()


def models():
    """One of each sort of body, with tensors that are not where they start."""
    corpus = items({"image": {}, "text": {}}, 6)
    for body in (
        {"kind": "dual"},
        {"kind": "single"},
        {"kind": "multiway", "towers": 2},
        {"kind": "fusion"},
        {"kind": "fusion", "meet": "cross", "gated": True},
        {"kind": "fusion", "meet": "query"},
        {"kind": "fusion", "link": "bridge", "top": 2},
        {"kind": "fusion", "link": "manager", "meet": "cross"},
        {"kind": "single", "norm": "post"},
        {"kind": "single", "qk_norm": True},
    ):
        made = Recipe(body={"dim": 16, "heads": 2, **body}, targets={"contrast": 1.0})
        model = made.build(corpus).model
        params = {k: p.tensor() for k, p in model.init(3).items()}
        batch = collate(corpus, np.arange(6), frozenset(), longest=64, seed=(0, 1))
        yield body, model, params, Plan(model, batch, params, Step())


BOTH = ("image", "text")


def test_zero_gates_are_the_dual_encoder_and_apart_is_alone():
    seen = 0
    for body, _, _, plan in models():
        if body["kind"] == "dual":
            with pytest.raises(ConjoinError, match="never meet"):
                plan(Pass(BOTH, "fuse"))
            continue
        fused = plan(Pass(BOTH, "fuse"))
        for view in BOTH:
            alone = plan(Pass((view,))).tokens[view]
            assert fused.tokens[view].shape == alone.shape
            if body.get("gated"):
                torch.testing.assert_close(fused.tokens[view], alone)
                seen += 1
            if body["kind"] in ("single", "multiway"):
                apart = plan(Pass(BOTH, "fuse", apart=True)).tokens[view]
                torch.testing.assert_close(apart, alone)
                assert not torch.allclose(fused.tokens[view], alone)
                seen += 1
    assert seen == 10


def test_open_gates_let_views_see_each_other():
    for body, model, params, plan in models():
        if not body.get("gated"):
            continue
        opened = {k: v.detach() + 0.5 if k.endswith("gate") else v for k, v in params.items()}
        fused = Plan(model, plan.batch, opened, Step())(Pass(BOTH, "fuse"))
        assert not torch.allclose(fused.tokens["image"], plan(Pass(("image",))).tokens["image"])


def test_equal_requests_run_once():
    for _, _, _, plan in models():
        assert plan(Pass(("image",))) is plan(Pass(("image",)))
        assert plan(Pass(("image",))) is not plan(Pass(("text",)))


def test_a_hidden_token_is_never_shown():
    corpus = items({"image": {}, "text": {}}, 6)
    need = Need("plan", "image", "token:0.5")
    for _, model, params, _ in models():
        batch = collate(corpus, np.arange(6), {need}, longest=64, seed=(0, 1))
        hidden = batch.drawn[need.key]
        rows = dict(batch.rows)
        rows["image"] = torch.where(hidden[..., None], 9.0, rows["image"])
        wanted = Pass(("image",), hide=(need,))
        one, two = (
            Plan(model, b, params, Step())(wanted).tokens["image"]
            for b in (batch, batch.with_rows(rows))
        )
        torch.testing.assert_close(one, two, rtol=0, atol=0)


def test_size_counts_the_blocks():
    for _, model, params, _ in models():
        blocks = sum(v.numel() for k, v in params.items()
                     if "/attn/" in k or "/cross/" in k or "/ffn" in k)  # fmt: skip
        extra = sum(v.numel() for k, v in params.items() if k.endswith(("gate", "attn/scale")))
        assert model.body.size(BOTH) == blocks - extra


def test_settings_are_refused_by_name():
    for text, said in (
        ("[body]\nkind = 'fussion'", "fussion"), ("[bdy]\ndim = 3", "did you mean body"),
        ("[targets]\nmatchng = 1", "did you mean matching"), ("x =", "no TOML"),
        ("[body]\ndim = 10\nheads = 4", "heads"), ("recipe = 'albeff'", "did you mean albef"),
        ("[targets]\ncontrast = 0", "weight above 0"),
        ("[views.image]\ncels = 'frozen'", "did you mean cells"),
        ("[targets]\ncontrast = 1\n[[stages]]\ntargets = ['matching']", "matching"),
    ):  # fmt: skip
        with pytest.raises(ConjoinError, match=said):
            read(text)
    for text, said in (("course.steps", "name=value"), ("curse.steps=1", "did you mean course")):
        with pytest.raises(ConjoinError, match=said):
            put(Recipe(), text)
    made = put(put(Recipe(), "mix.unpaired.text=0.5"), "targets.contrast=0.25")
    assert made.mix["unpaired.text"] == 0.5
    assert made.targets["contrast"] == 0.25
    assert put(ROWS["albef"].make(), "targets.matching.negatives=random").made_targets()
