"""An upgrade from plan to rollback, as its user meets it, on small tables with a planted truth."""

import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from conjoin.errors import ConjoinError
from conjoin.maps.base import Affine
from conjoin.project.fit.stored import current_fit
from conjoin.project.search.index import open_index
from conjoin.project.upgrade import lifecycle as upgrading
from conjoin.project.upgrade import sample_embedding as upgrade_embed
from conjoin.project.upgrade import state as upgrade_state
from conjoin.project.upgrade.verify import verify
from conjoin.project.workspace import Workspace
from shelf import Caller, snapshot
from upgrades import NEW, OLD, THIRD, N, encoders, fitted


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A fitted workspace, made once and copied."""
    folder = tmp_path_factory.mktemp("upgrade")
    with encoders(folder / "code"):
        yield fitted(folder / "ws")


@pytest.fixture
def ws(made, tmp_path):
    target = tmp_path / "ws"
    shutil.copytree(made, target)
    return target


@pytest.fixture
def call(monkeypatch, capsys):
    return Caller(monkeypatch, capsys)


@pytest.fixture
def left_out(monkeypatch):
    """What scores mean is not fitted anew: it takes longest, and has tests of its own."""

    def refused(change):
        raise ConjoinError("pairs", "too few", "give more")

    monkeypatch.setattr(upgrading, "refitted", refused)


def planned(folder, **more):
    return upgrading.plan(Workspace(folder), upgrading.Wanted("text", NEW, **more))


KEYS = {"name", "metric", "value", "low", "high", "cost"}


def test_the_curve_has_every_arm_and_finds_what_is_worth_it(ws, call):
    told = call.good("upgrade", "plan", "--modality", "text", "--to", NEW, "-w", ws,
                     "--price", "2.5", "--svg", ws / "c.svg", "--json").json  # fmt: skip
    names = [arm["name"] for arm in told["arms"]]
    assert set(names) == {"nothing", "bridge", "cascade", "partial", "re-embed"}
    arms = {}
    for arm in told["arms"]:
        assert set(arm) >= KEYS
        assert 0 <= arm["low"] <= arm["value"] <= arm["high"] <= 1
        arms.setdefault(arm["name"], []).append(arm)
    assert {arm["direction"] for arm in arms["bridge"]} == {"new-to-old", "old-to-new"}
    best = max(arms["re-embed"], key=lambda arm: arm["value"])
    assert best["gain_low"] > 0
    assert best["cost"] == pytest.approx(told["seconds_per_item"] * N, rel=0.01)
    assert best["money"] == pytest.approx(2.5 * N / 1000)
    assert best["bytes"] >= 4 * 16 * N
    assert [arm["share"] for arm in arms["partial"]] == [0.25, 0.5, 0.75]
    costs = [arm["cost"] for arm in arms["partial"]]
    assert costs == sorted(costs)
    assert told["recommendation"] != "stay"
    assert (ws / "c.svg").read_text().startswith("<svg")


def test_staying_is_recommended_where_the_new_encoder_is_worse(made, tmp_path):
    folder = fitted(tmp_path / "ws", NEW)
    found = upgrading.plan(Workspace(folder), upgrading.Wanted("text", OLD))
    assert found.recommendation == "stay"
    assert found.chosen.name == "nothing"
    with pytest.raises(ConjoinError, match="the plan says stay"):
        upgrading.chosen_arm(upgrade_state.read_plan(Workspace(folder)), None)


def test_a_sample_is_embedded_once_and_a_larger_one_adds_to_it(ws):
    planned(ws, sample=200)
    after = upgrading.newer(Workspace(ws), upgrading.Wanted("text", NEW))
    assert len(after.store("text").live()) == 200
    first = snapshot(after.store("text").folder)
    planned(ws, sample=200)
    assert snapshot(after.store("text").folder) == first
    planned(ws, sample=220)
    assert len(after.store("text").live()) == 220
    small = set(upgrade_embed.drawn(open_index(Workspace(ws)).spaces["text"], 200, 0))
    large = set(upgrade_embed.drawn(open_index(Workspace(ws)).spaces["text"], 220, 0))
    assert small < large


ARMS = [
    {"name": "bridge", "direction": "new-to-old"}, {"name": "bridge", "direction": "old-to-new"},
    {"name": "cascade"}, {"name": "partial", "share": 0.5},
    {"name": "re-embed", "others": "stay"}, {"name": "re-embed", "others": "move"},
]  # fmt: skip


@pytest.mark.parametrize("arm", ARMS, ids=lambda a: "-".join(map(str, a.values())))
def test_every_arm_applies_verifies_and_rolls_back_to_the_byte(ws, arm, call, request):
    planned(ws)
    if arm.get("direction") != "new-to-old":
        request.getfixturevalue("left_out")
    before, space = snapshot(ws), Workspace(ws)
    held = open_index(space)
    one = held.spaces["text"].take(np.arange(1))
    answer = [hit.id for hit in held.search(one, "text", into=["a"]).lists["a"]]
    others = np.asarray(held.spaces["a"].vectors).tobytes()
    name, *_ = arm.values()
    words = [w for k, v in arm.items() if k != "name" for w in (f"--{k}", str(v))]
    call.good("upgrade", "apply", "--arm", name, *words, "-w", ws, "--yes")
    # A reader of before keeps what it had; one that opens now has the new.
    assert [hit.id for hit in held.search(one, "text", into=["a"]).lists["a"]] == answer
    space = Workspace(ws)
    fit, index = current_fit(space), open_index(space)
    assert space.encoder("text").frame == fit.binding.maps["text"].source
    assert index.frame == fit.binding.frame
    if arm.get("others") != "move" and arm.get("direction") != "old-to-new":
        assert index.frame == held.frame
        assert np.asarray(index.spaces["a"].vectors).tobytes() == others
    if name in ("bridge", "cascade") and arm.get("direction") != "old-to-new":
        same = np.asarray(index.spaces["text"].vectors) == np.asarray(held.spaces["text"].vectors)
        assert same.all()
    found = verify(space)
    assert found.ok, [c for c in found.checks if not c.ok]
    call.good("search", '{"b": [1], "s": [0.1, 1, 2, 0, 1, 1, 0, 1, 0, 1, 1, 0, 0, 1, 0, 2]}',
              "-w", ws)  # fmt: skip
    call.good("upgrade", "rollback", "-w", ws, "--yes")
    after = snapshot(ws)
    kept = {k: v for k, v in before.items() if "/spaces/" not in k and "/encoders/" not in k}
    assert {k: after[k] for k in kept} == kept
    # What was made stays for a service that may still answer from it, until it is cleaned away.
    call.good("clean", "-w", ws, "--yes")
    more = {k for k in snapshot(ws) if k not in before and "/spaces/" not in k}
    assert not more, more


def applied(folder, **arm):
    space = Workspace(folder)
    upgrading.apply(space, upgrading.chosen_arm(upgrade_state.read_plan(space), **arm))
    return Workspace(folder)


@pytest.mark.parametrize("arm", [
    {"name": "partial", "share": 0.5}, {"name": "bridge", "direction": "old-to-new"},
    {"name": "re-embed", "others": "move"},
], ids=lambda a: a["name"])  # fmt: skip
def test_scores_mean_something_again_after_an_upgrade(ws, arm):
    planned(ws)
    before = open_index(Workspace(ws))
    space = applied(ws, **arm)
    index, fit = open_index(space), current_fit(space)
    assert set(before.calibrations) == {("text", "a"), ("a", "text")} == set(index.calibrations)
    for edge, found in index.calibrations.items():
        assert found.frame == index.frame.id
        assert found.facts["encoder"] == space.encoder("text").frame.id
        assert found.to_json() != before.calibrations[edge].to_json()
        assert found.params == fit.rules.calibrations[edge].params
    assert verify(space).ok
    # Held-out queries by the new encoder: what is called likely is right more often.
    new = space.space("text")
    rows = np.flatnonzero(space.split.is_test(new.ids))[:60]
    asked = fit.binding.bind("text", new.take(rows))
    hits = [found.lists["a"][0] for found in index.search_many(asked, "text", into=["a"], k=1)]
    p = np.array([hit.probability for hit in hits])
    right = np.array([h.id == i for h, i in zip(hits, new.ids[rows], strict=True)])
    assert ((p > 0) & (p < 1)).all()
    assert abs(p.mean() - right.mean()) < 0.2
    assert p[right].mean() > p[~right].mean()


def test_what_is_left_out_of_scores_is_said(ws, left_out, call):
    planned(ws)
    told = call.good("upgrade", "apply", "--arm", "bridge", "-w", ws, "--yes", "--json").json
    assert "left out" in told["notes"][0]
    assert "too few" in told["notes"][0]
    assert not open_index(Workspace(ws)).calibrations


def test_a_bridge_by_labels_is_planned_and_applied(ws, call, left_out):
    words = ("upgrade", "plan", "--modality", "text", "--to", NEW, "-w", ws)
    for more, says in (
        (("--bridge", "cores"), ("learns from labels", "--labels")),
        (("--bridge", "ridge", "--labels", "kind"), ("does not learn from labels",)),
        (("--labels", "kind"), ("--bridge cores",)),
        (("--bridge", "cores", "--labels", "knd"), ("knd", "did you mean kind")),
        (("--bridge", "re-embed"), ("maps no encoder",)),
    ):
        call.bad(ws, *words, *more, says=says)
    told = call.good(*words, "--bridge", "stationary", "--labels", "kind", "--json").json
    assert told["bridge"]["method"] == "stationary"
    call.good("upgrade", "apply", "--arm", "bridge", "--direction", "new-to-old", "--yes", "-w", ws)
    space = Workspace(ws)
    assert current_fit(space).binding.maps["text"].source == space.encoder("text").frame
    call.good("upgrade", "rollback", "-w", ws, "--yes")
    call.good("upgrade", "apply", "--arm", "bridge", "--direction", "old-to-new", "--yes", "-w", ws)
    index = open_index(Workspace(ws))
    assert index.frame.dim == 2  # three kinds
    assert set(index.spaces) == {"text", "a"}
    call.good("search", "thing", "-w", ws)


def test_re_embedding_gains_what_was_promised_through_the_index(ws, left_out):
    found = planned(ws)
    arms = {arm.label: arm for arm in found.arms}
    space = Workspace(ws)
    before = verify_value(ws, None)
    arm = upgrading.chosen_arm(upgrade_state.read_plan(space), "re-embed", others="stay")
    upgrading.apply(space, arm)
    assert verify(Workspace(ws)).value == pytest.approx(arms["re-embed"].value, abs=0.03)
    assert verify_value(ws, True) > before + 0.05


def verify_value(folder, applied):
    if applied:
        return verify(Workspace(folder)).value
    return next(a["value"] for a in upgrade_state.read_plan(Workspace(folder))["arms"])


@pytest.mark.parametrize("stop", ["embed_some", "keep_index", "write_config"])
def test_killed_anywhere_it_goes_on_and_ends_with_the_same_bytes(
    ws, tmp_path, stop, monkeypatch, left_out
):
    planned(ws)
    other = tmp_path / "other"
    shutil.copytree(ws, other)
    arm = upgrading.chosen_arm(upgrade_state.read_plan(Workspace(ws)), "re-embed", others="stay")
    upgrading.apply(Workspace(ws), arm)

    owner = upgrade_state if stop == "write_config" else upgrading
    real = getattr(owner, stop)

    def killed(*given, **more):
        real(*given, **more)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(owner, stop, killed)
        with pytest.raises(KeyboardInterrupt):
            upgrading.apply(Workspace(other), arm)
    if stop not in ("_publish", "write_config"):
        assert current_fit(Workspace(other)).folder.name == upgrade_state.read_plan(
            Workspace(other))["fit"]  # fmt: skip
    upgrading.apply(Workspace(other), arm)
    assert verify(Workspace(other)).ok
    one, two = open_index(Workspace(ws)), open_index(Workspace(other))
    for name in one.spaces:
        assert (
            np.asarray(one.spaces[name].vectors).tobytes()
            == np.asarray(two.spaces[name].vectors).tobytes()
        )
    for part in ("conjoin.toml", ".conjoin/current.json"):
        assert (ws / part).read_bytes() == (other / part).read_bytes()


def test_between_the_two_files_that_publish_no_query_is_answered(ws, monkeypatch, call, left_out):
    planned(ws)
    arm = upgrading.chosen_arm(upgrade_state.read_plan(Workspace(ws)), "bridge")

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Workspace, "publish", killed)
        with pytest.raises(KeyboardInterrupt):
            upgrading.apply(Workspace(ws), arm)
    told = call("search", "thing", "-w", ws)
    assert told.code == 2
    assert "stale" in told.err
    call.good("upgrade", "apply", "-w", ws, "--yes")
    call.good("search", "thing", "-w", ws)


def test_rollback_restores_what_clean_took_away(ws, call, left_out):
    before = snapshot(ws)
    planned(ws)
    call.good("upgrade", "apply", "--arm", "bridge", "-w", ws, "--yes")
    call.good("clean", "-w", ws, "--yes")
    call.good("upgrade", "rollback", "-w", ws, "--yes")
    after = snapshot(ws)
    for path, held in before.items():
        if path.endswith(".lock"):  # empty, made by whoever writes
            continue
        if "/maps/" in path or "/index/" in path or path in ("conjoin.toml",):
            assert after[path] == held


@pytest.mark.parametrize(("words", "says"), [
    (("plan", "--modality", "txt", "--to", NEW), ("txt", "text")),
    (("plan", "--modality", "text", "--to", OLD), ("--to", "in use")),
    (("plan", "--modality", "text", "--to", "builtin:image"), ("--to", "image")),
    (("plan", "--modality", "text", "--to", "builtin:nothing-like-it"), ("unknown",)),
    (("plan", "--modality", "text", "--to", NEW, "--bridge", "rigde"), ("did you mean ridge",)),
    (("apply",), ("nothing is planned", "upgrade plan")),
    (("verify",), ("nothing was applied",)),
    (("rollback", "--yes"), ("nothing was applied",)),
])  # fmt: skip
def test_bad_input_is_one_line(ws, call, words, says):
    if "--bridge" in words:
        planned(ws)
        told = call("upgrade", *words, "-w", ws)
        assert told.code == 2
        assert told.err.count("\n") == 1
        assert "ridge" in told.err
        return
    call.bad(ws, "upgrade", *words, "-w", ws, says=says)


def test_arms_that_were_not_planned_are_refused(ws, call):
    planned(ws)
    call.bad(ws, "upgrade", "apply", "--arm", "leap", "-w", ws, "--yes", says=("--arm", "leap"))
    call.bad(ws, "upgrade", "apply", "--arm", "partial", "--share", "1.5", "-w", ws, "--yes",
             says=("--share",))  # fmt: skip
    dry = call.good("upgrade", "apply", "--arm", "re-embed", "-w", ws, "--dry-run")
    assert "would upgrade" in dry.out
    assert upgrade_state.read_job(Workspace(ws)) is None


def test_a_new_encoder_that_drifted_since_the_plan_is_refused(ws, monkeypatch):
    import upgrade_encoders

    planned(ws)
    arm = upgrading.chosen_arm(upgrade_state.read_plan(Workspace(ws)), "bridge")
    monkeypatch.setattr(upgrade_encoders, "SHIFT", 0.7)
    with pytest.raises(ConjoinError, match=r"drifted|changed since"):
        upgrading.apply(Workspace(ws), arm)


def test_a_plan_of_another_fit_is_refused(ws):
    planned(ws)
    from conjoin.project.fit import pipeline

    arm = upgrading.chosen_arm(upgrade_state.read_plan(Workspace(ws)), "bridge")
    pipeline.fit(Workspace(ws), method="procrustes")
    with pytest.raises(ConjoinError, match="of another fit"):
        upgrading.apply(Workspace(ws), arm)


def test_a_chain_of_upgrades_goes_on_from_the_last_and_back_by_one(ws, left_out, call):
    planned(ws)
    first = applied(ws, name="re-embed", others="stay")
    frame, config_of_first = current_fit(first).binding.frame, (ws / "conjoin.toml").read_bytes()
    call.bad(ws, "upgrade", "apply", "--arm", "bridge", "-w", ws, "--yes",
             says=("was upgraded already",))  # fmt: skip
    upgrading.plan(Workspace(ws), upgrading.Wanted("text", THIRD))
    assert verify(Workspace(ws)).ok, "the plan of the next does not spoil the check of the last"
    space = applied(ws, name="bridge", direction="new-to-old")
    made = current_fit(space).binding
    assert made.frame == frame
    assert made.maps["text"].source.dim == 40
    assert made.maps["text"].source == space.encoder("text").frame
    found = verify(space)
    assert found.ok, [c for c in found.checks if not c.ok]
    call.good("search", '{"s": [0.1, 1, 2, 0, 1, 1, 0, 1, 0, 1, 1, 0, 0, 1, 0, 2]}', "-w", ws)
    call.good("upgrade", "rollback", "-w", ws, "--yes")
    assert (ws / "conjoin.toml").read_bytes() == config_of_first
    assert current_fit(Workspace(ws)).folder == current_fit(first).folder


def test_each_guard_is_asked_where_it_matters(ws, monkeypatch, left_out):
    """A fault planted in the way of a plan or of its application, each stopped by its own guard."""
    import upgrade_encoders

    with monkeypatch.context() as patch:
        patch.setattr(upgrade_encoders, "SHUFFLED", True)
        with pytest.raises(ConjoinError, match="shuffled"):
            planned(shutil.copytree(ws, ws.parent / "shuffled"))
    with monkeypatch.context() as patch:
        first = np.asarray(open_index(Workspace(ws)).spaces["text"].vectors)[:, 0]
        order = [f"i{k}" for k in np.argsort(first)]
        patch.setattr(upgrading, "drawn", lambda space, count, seed: order[:120])
        with pytest.raises(ConjoinError, match="not like the collection"):
            planned(shutil.copytree(ws, ws.parent / "skewed"))
    planned(ws)
    arm = upgrading.chosen_arm(
        upgrade_state.read_plan(Workspace(ws)), "bridge", direction="new-to-old"
    )
    whole = upgrading.upgraded

    def backwards(*given, **more):
        made = whole(*given, **more)
        item, d = made.maps["text"], made.frame.dim
        turn = Affine(np.eye(d, dtype=np.float32)[::-1], *np.zeros((2, d), np.float32))
        flipped = item.between(None, None).then(turn).between(item.source, item.target)
        return replace(made, maps={**made.maps, "text": flipped})

    with monkeypatch.context() as patch:
        patch.setattr(upgrading, "upgraded", backwards)
        with pytest.raises(ConjoinError, match="wrong way"):
            upgrading.apply(Workspace(ws), arm)
    with monkeypatch.context() as patch:
        patch.setattr(upgrading.guards, "check_direction", lambda *_: 1.0)
        patch.setattr(upgrading.guards, "FAR", -9.0)
        with pytest.raises(ConjoinError, match="fitted to other rows"):
            upgrading.apply(Workspace(ws), arm)

    def reused(space, change):
        index, rules = open_index(space), current_fit(space).rules
        made = upgrading.Index.build(
            change.bound, index.corrections, calibrations=index.calibrations
        )
        return rules, made, ""

    with monkeypatch.context() as patch:
        patch.setattr(upgrading, "rescored", reused)
        upgrading.apply(Workspace(ws), arm)
    failed = [check for check in verify(Workspace(ws)).checks if not check.ok]
    assert [check.name for check in failed] == ["scores"]
    assert "was fitted before the upgrade" in failed[0].said


KILLED = """
import os, sys
sys.path.insert(0, sys.argv[2])
import upgrade_encoders as e
real, calls = e.new, []
def new(cells):
    calls.append(len(cells))
    if sum(calls) > int(sys.argv[3]):
        os.kill(os.getpid(), 9)
    return real(cells)
e.new = new
from pathlib import Path
from conjoin.project.upgrade import state as upgrade_state, lifecycle as upgrading
from conjoin.project.workspace import Workspace
ws = Workspace(Path(sys.argv[1]))
if sys.argv[4] == "plan":
    upgrading.plan(ws, upgrading.Wanted("text", sys.argv[5], sample=100))
else:
    arm = upgrading.chosen_arm(upgrade_state.read_plan(ws), "partial", share=0.75)
    upgrading.apply(ws, arm)
"""


def killed(folder, after, verb):
    """A process that is killed by the operating system after some cells were embedded."""
    here = next(p for p in sys.path if p.endswith("code"))
    words = [sys.executable, "-c", KILLED, str(folder), here, str(after), verb, NEW]
    assert subprocess.run(words, check=False).returncode == -9


def test_killed_for_good_in_the_middle_a_plan_and_a_partial_upgrade_go_on(ws, tmp_path, left_out):
    other = shutil.copytree(ws, tmp_path / "other")
    killed(ws, 60, "plan")
    for folder in (ws, other):
        planned(folder, sample=100)
    after = upgrading.newer(Workspace(ws), upgrading.Wanted("text", NEW))
    assert len(after.store("text").live()) == 100
    killed(ws, 40, "apply")
    space = Workspace(ws)
    assert upgrade_state.read_job(space)["step"] == "begun"
    assert current_fit(space).folder.name == upgrade_state.read_plan(space)["fit"]
    arm = upgrading.chosen_arm(upgrade_state.read_plan(Workspace(other)), "partial", share=0.75)
    for folder in (ws, other):
        upgrading.apply(Workspace(folder), arm)
    one, two = (open_index(Workspace(folder)).spaces["text"] for folder in (ws, other))
    assert np.asarray(one.vectors).tobytes() == np.asarray(two.vectors).tobytes()
    assert verify(Workspace(ws)).ok
