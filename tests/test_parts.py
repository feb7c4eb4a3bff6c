"""``parts`` of a modality: an item's parts joined into one vector, in every verb."""

import json
import re
import shutil
from typing import get_args

import numpy as np
import pytest

from conjoin.catalogue import Choice
from conjoin.errors import ConjoinError, FrameError
from conjoin.items.config import ModalityPart
from conjoin.project.evaluation.evaluate import trust_workspace
from conjoin.project.fit import multi_part as parts
from conjoin.project.fit import pipeline as jobs
from conjoin.project.fit.stored import current_fit
from conjoin.project.search.index import open_index, pending
from conjoin.project.search.queries import Query
from conjoin.project.search.session import search
from conjoin.project.workspace import Workspace
from conjoin.retrieval.multi_vector.aggregate import Pooling, one_each
from conjoin.server.prometheus import Metrics
from conjoin.server.requests import Ask, Piece
from conjoin.server.session import Live
from conjoin.spaces import Space, Tokens, unit
from shelf import Caller, config, table, write_table

N = 48


def several(folder, rule=None, count=N):
    """A workspace whose items hold one to three vectors ``a``; rows of ``a`` end up apart."""
    columns = table(count)
    rng = np.random.default_rng(3)
    columns["a"] = [
        (np.asarray(x) + 0.3 * rng.normal(size=(1 + row % 3, len(x)))).tolist()
        for row, x in enumerate(columns["a"])
    ]
    write_table(folder, columns)
    config(folder)
    if rule is not None:
        joining(folder, rule)
    return columns


def joining(folder, rule, name="a"):
    """Write the key into the configuration, or take it out."""
    path = folder / "conjoin.toml"
    head = f'[modalities."{name}"]\n'
    key = "" if rule is None else f"parts = {json.dumps(rule)}\n"
    before, _, after = path.read_text().partition(head)
    path.write_text(before + head + key + re.sub("^parts = .*\n", "", after))


def embedded(folder, rule=None):
    columns = several(folder, rule)
    ws = Workspace(folder)
    for modality in ws.modalities:
        ws.embed(modality.name)
    return ws, columns


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parts") / "ws"
    _, columns = embedded(folder, "mean")
    joining(folder, "first", "text")
    jobs.fit(Workspace(folder), method="ridge")
    return folder, columns


@pytest.fixture
def call(monkeypatch, capsys):
    return Caller(monkeypatch, capsys)


def by_hand(cells, rule):
    x = unit(np.asarray(cells, np.float64))
    if rule == "first":
        return x[0]
    if rule == "sum":
        return x.sum(axis=0)
    return unit(x.max(axis=0) if rule == "peak" else x.mean(axis=0))


@pytest.mark.parametrize("rule", ["mean", "first", "sum", "peak"])
def test_a_modality_is_what_its_parts_make_by_hand(tmp_path, rule):
    ws, columns = embedded(tmp_path / "ws", rule)
    space = ws.space("a")
    assert space.ids.tolist() == columns["id"]
    assert space.parts.tolist() == [0] * N
    for row, cells in enumerate(columns["a"]):
        assert space.vectors[row] == pytest.approx(by_hand(cells, rule), abs=1e-5)
    whole = one_each(ws._each("a"), Pooling(rule))
    assert whole.frame == space.frame == ws.frame("a")
    assert np.array_equal(whole.vectors, space.vectors)
    assert f"parts joined by {rule}" in space.provenance
    assert rule in space.frame.label
    assert ws.space("b").frame == ws.encoder("b").frame


def test_joining_walks_in_blocks_and_in_any_order(monkeypatch):
    rng = np.random.default_rng(0)
    ids = np.repeat([f"i{n}" for n in range(40)], rng.integers(1, 6, 40))
    turn = rng.permutation(len(ids))
    space = Space.of(rng.normal(size=(len(ids), 5)), ids[turn], name="mine")
    whole = parts.joined(space, "peak")
    monkeypatch.setattr(parts, "BLOCK", 3)
    for rule in ("mean", "first", "sum", "peak"):
        pieces, plain = parts.joined(space, rule), one_each(space, Pooling(rule))
        assert pieces.ids.tolist() == plain.ids.tolist()
        assert np.allclose(pieces.vectors, plain.vectors, atol=1e-6)
        assert pieces.frame == plain.frame
    assert np.allclose(parts.joined(space, "peak").vectors, whole.vectors, atol=1e-6)


def test_what_an_item_shows_is_told_by_all_its_parts():
    space = Space.of(np.eye(4), ["x", "x", "y", "z"], name="mine")
    space.content[:] = [1, 2, 3, 0]
    found = parts.joined(space, "mean").content
    assert found[1:].tolist() == [3, 0]
    space.content[:] = [1, 9, 3, 0]
    assert parts.joined(space, "mean").content[0] not in (0, found[0])


def test_joined_vectors_are_kept_and_follow_the_table(tmp_path):
    ws, columns = embedded(tmp_path / "ws", "mean")
    ws.space("a")
    kept = list(ws.store("a").folder.glob("joined-*"))
    assert len(kept) == 1
    before = kept[0].stat().st_mtime_ns
    again = Workspace(ws.folder).space("a")
    assert kept[0].stat().st_mtime_ns == before
    assert isinstance(again.vectors, np.memmap)
    columns["a"][0] = [*columns["a"][0], [5.0] * 8]
    write_table(ws.folder, columns)
    ws = Workspace(ws.folder)
    old = ws.space("a").vectors[0].copy()
    ws.embed("a")
    assert ws.space("a").vectors[0] == pytest.approx(by_hand(columns["a"][0], "mean"), abs=1e-5)
    assert not np.allclose(ws.space("a").vectors[0], old)
    assert len(list(ws.store("a").folder.glob("joined-*"))) == 1
    made = np.array(ws.space("a").vectors)
    torn = next(iter(ws.store("a").folder.glob("joined-*")))
    torn.unlink()
    torn.write_bytes(b"torn")
    told = Workspace(ws.folder, writes=False).space("a")
    assert np.array_equal(told.vectors, made)
    assert torn.read_bytes() == b"torn"
    assert np.array_equal(Workspace(ws.folder).space("a").vectors, made)


def test_a_workspace_that_only_looks_keeps_joined_vectors_once_a_fit_is_in_use(tmp_path):
    ws, _ = embedded(tmp_path / "ws", "mean")
    looks = Workspace(ws.folder, writes=False)
    looks.space("a")
    assert not list(ws.state.rglob("joined-*"))
    looks.publish({"maps": "maps/x", "index": "index/x"})
    assert len(list(ws.state.rglob("joined-*"))) == 1
    assert isinstance(looks.space("a").vectors, np.memmap)


def test_every_verb_works_on_one_vector_an_item(fitted, call):
    folder, columns = fitted
    ws = Workspace(folder)
    made, index = current_fit(ws), open_index(ws)
    assert made.parts == {"a": "mean", "text": "first"}
    assert index.spaces["a"].ids.tolist() == columns["id"]
    own = made.binding.bind("a", ws.space("a"))
    assert np.allclose(np.asarray(index.spaces["a"].vectors), own.vectors, atol=1e-5)
    hits = search(ws, Query(item="i5"), into=["a", "b"], k=N)
    for listed in hits.lists["a"], hits.lists["b"]:
        assert {hit.part for hit in listed} == {0}
    q = made.binding.frame.query(np.asarray(made.binding.bind("b", ws.space("b")).vectors))[5]
    asked = search(ws, Query(item="i5", source="b"), into=["a"], k=N)
    scores = made.binding.frame.item(np.asarray(own.vectors)) @ q
    cosines = {hit.id: hit.scores["cosine"] for hit in asked.lists["a"]}
    assert cosines["i7"] == pytest.approx(scores[7], abs=1e-4)
    assert call.good("evaluate", "--json", "-w", folder).json["results"]
    words = call.good("search", "red thing 5", "--into", "a", "--json", "-w", folder).json
    assert len(words["lists"]["a"]) == 10
    call.good("explain", "--item", "i5", "--from", "a", "--hit", "i6", "--into", "b", "-w", folder)
    assert call.good("index", "add", "--dry-run", "--json", "-w", folder).json["rows"]["a"] == 0
    call.good("measure", "cka", "--json", "-w", folder)
    call.good("info", "-w", folder)
    assert "parts joined: mean" in (made.folder / "card.md").read_text()


@pytest.fixture
def mine(fitted, tmp_path):
    """A copy of the fitted workspace that a test may change."""
    folder = tmp_path / "ws"
    shutil.copytree(fitted[0], folder)
    return folder


def test_a_changed_item_is_put_in_its_place(fitted, mine, call):
    cells = [[list(part) for part in cell] for cell in fitted[1]["a"]]
    cells[4][1][0] += 3.0
    write_table(mine, {**fitted[1], "a": cells})
    call.good("embed", "-q", "-w", mine)
    told = call.good("index", "add", "--dry-run", "--json", "-w", mine).json
    assert (told["rows"]["a"], told["replacing"]["a"]) == (1, 1)


def test_another_rule_makes_the_fit_stale(mine, call, monkeypatch):
    monkeypatch.setattr(jobs, "write_card", lambda *_: None)
    says = ("modality a", 'was fitted with parts = "mean"', "conjoin fit")
    joining(mine, None)
    call.bad(mine, "search", "red", "-w", mine, says=(*says, 'says "each"'))
    joining(mine, "peak")
    call.bad(mine, "evaluate", "-w", mine, says=(*says, 'says "peak"'))
    for ask in (current_fit, trust_workspace, lambda ws: pending(ws, open_index(ws))):
        with pytest.raises(FrameError, match="was fitted with parts"):
            ask(Workspace(mine, writes=False))
    with pytest.raises(FrameError, match="was fitted with parts"):
        Live.open(mine)
    call.good("info", "-w", mine)
    before = Workspace(mine).current["maps"]
    assert jobs.fit(Workspace(mine), method="ridge").folder.name not in before
    call.good("search", "red", "-w", mine)


def test_what_is_served_is_joined_too(fitted, call):
    folder, _ = fitted
    live = Live.open(folder)
    words = live.answer([Ask((Piece("text", "red thing 5"),), into=("a",), k=5)], Metrics())[0]
    told = call.good("search", "red thing 5", "--into", "a", "-k", 5, "--json", "-w", folder).json
    served = [(hit.id, round(hit.score, 5)) for hit in words.hits.lists["a"]]
    assert served == [(hit["id"], round(hit["score"], 5)) for hit in told["lists"]["a"]]


def test_the_default_is_what_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "write_card", lambda *_: None)
    ws, _ = embedded(tmp_path / "ws")
    space = ws.space("a")
    stored = ws.store("a").open()
    assert len(space) == sum(1 + row % 3 for row in range(N))
    assert space.frame == ws.encoder("a").frame == ws.frame("a")
    assert np.array_equal(space.vectors, stored.vectors)
    assert not list(ws.state.rglob("joined-*"))
    first = jobs.fit(ws, method="ridge")
    raw = json.loads((first.folder / "fit.json").read_text())
    assert "parts" not in raw
    joining(ws.folder, "each")
    assert jobs.fit(Workspace(ws.folder), method="ridge").folder == first.folder


def test_what_cannot_be_is_refused_in_a_line(mine, call):
    joining(mine, "maxx")
    values = ("'each'", "'mean'", "'first'", "'sum'", "'peak'")
    call.bad(mine, "info", "-w", mine, says=("[modalities.a] parts", *values))
    joining(mine, "mean")
    call.bad(mine, "upgrade", "plan", "--modality", "a", "--to", "builtin:vector?x=1",
             "-w", mine, says=("a", 'parts = "mean"', "conjoin fit"))  # fmt: skip
    sets = Space.of(Tokens(np.eye(4), np.array([0, 2, 4])), ["x", "y"], name="late")
    with pytest.raises(ConjoinError, match=r"token sets, scored as they are.*remove the key"):
        parts.joined(sets, "mean")


def test_the_values_are_the_poolings_that_give_one_vector():
    values = get_args(ModalityPart.model_fields["parts"].annotation)
    rule = next(x for x in Pooling.__annotations__["rule"].__metadata__ if isinstance(x, Choice))
    assert set(values) == {*rule.values, parts.EACH} - {"max"}
