"""Bindings: who is the hub, what mints the frame, and what an extension leaves alone."""

import dataclasses
import itertools
import json
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conjoin.alignment.binding import FEWEST, Binding, pairs_digest
from conjoin.alignment.closed_form.linear import CCA, Ridge
from conjoin.alignment.modality_graph import hub_candidates, paths
from conjoin.catalogue import of_kind
from conjoin.errors import ConjoinError, FrameError, StateError
from conjoin.metrics.retrieval.relevance import relevance_by_id
from conjoin.metrics.retrieval.scores import chance, evaluate_direction
from conjoin.spaces import Pairs, Space, unit
from conjoin.storage.files import read_json, write_arrays, write_json

D = 6
ALIGNERS = sorted(of_kind("aligner"))
#: Makes training short; closed forms have none of these fields.
SHORT = {"steps": 20, "hidden": 16, "width": 16, "batch": 64}
each_aligner = pytest.mark.parametrize("name", ALIGNERS)
each_extended = pytest.mark.parametrize("name", ["cca", "ridge", "procrustes", "heads"])


def make(name):
    row = of_kind("aligner")[name]
    known = {field.name for field in dataclasses.fields(row.load())}
    return row.make({key: value for key, value in SHORT.items() if key in known})


def planted(names="abc", n=80, seed=0, noise=0.05):
    """Spaces that see one latent table each through a rotation and a shift of their own."""
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=(n, D))
    spaces = {}
    for name in names:
        turn = np.linalg.qr(rng.normal(size=(D, D)))[0]
        x = latent @ turn + rng.normal(size=D) + noise * rng.normal(size=(n, D))
        spaces[name] = Space.of(x.astype(np.float32), [f"i{k}" for k in range(n)], name=name)
    return spaces


def along(*edges, rows=range(60)):
    """Pairs of some rows along each edge; lines of one row are one group."""
    names = tuple(dict.fromkeys(name for edge in edges for name in edge))
    found = []
    for edge in edges:
        for row in rows:
            found.append([row if name in edge else -1 for name in names])
    group = np.tile(np.asarray(list(rows)), len(edges))
    return Pairs(names, np.array(found), group=group)


def first(binding, spaces, query, target, rows):
    """Share of rows whose nearest by angle in the target is their own."""
    q, x = (
        unit(np.asarray(binding.bind(name, spaces[name].take(rows)).vectors))
        for name in (query, target)
    )
    return float(np.mean((q @ x.T).argmax(axis=1) == np.arange(len(rows))))


HELD = np.arange(60, 80)


# The hub


def test_the_hub_has_most_neighbours_then_most_pairs():
    assert hub_candidates(along(("a", "b"), ("b", "c"), ("b", "d"))) == ["b"]
    more = along(("a", "b"), ("b", "c"), ("c", "d")).join(along(("b", "c"), rows=[70, 71]))
    assert hub_candidates(more) == ["b", "c"]
    uneven = along(("a", "b"), ("b", "c"), ("c", "d")).join(along(("c", "d"), rows=[70, 71]))
    assert hub_candidates(uneven) == ["c"]
    assert hub_candidates(along(("a", "b"))) == ["a", "b"]


def test_the_hub_is_chosen_or_named():
    spaces = planted("abc")
    pairs = along(("a", "c"), ("b", "c"))
    assert Binding.fit(spaces, pairs, method="ridge").hub == "c"
    named = Binding.fit(spaces, pairs, method="ridge", hub="a")
    assert named.hub == "a"
    assert first(named, spaces, "b", "a", HELD) == 1
    # A directed method leaves the hub where it is, but for its mean and length.
    moved = spaces["a"].vectors - spaces["a"].vectors[:60].mean(axis=0)
    np.testing.assert_allclose(named.bind("a", spaces["a"]).vectors, unit(moved), atol=1e-5)


def test_names_that_are_none_get_near_matches():
    spaces = planted("ab")
    with pytest.raises(ConjoinError, match=r"^hub: 'aa' is not a modality; did you mean a\?$"):
        Binding.fit(spaces, method="ridge", hub="aa")
    with pytest.raises(ConjoinError, match=r"'rigde' is unknown; did you mean ridge\b"):
        Binding.fit(spaces, method="rigde")
    binding = Binding.fit({"text": spaces["a"], "image": spaces["b"]}, method="ridge")
    with pytest.raises(ConjoinError, match=r"'txet' is not bound; did you mean text\?"):
        binding.bind("txet", spaces["a"])


# What is refused


def test_pieces_that_nothing_joins_are_named():
    spaces = planted("abcd")
    with pytest.raises(ConjoinError, match=r"nothing joins a, b \| c, d; "):
        Binding.fit(spaces, along(("a", "b"), ("c", "d")), method="ridge")


def test_one_modality_or_too_few_pairs_are_refused():
    spaces = planted("ab")
    with pytest.raises(ConjoinError, match=r"only \['a'\]"):
        Binding.fit({"a": spaces["a"]}, method="ridge")
    few = along(("a", "b"), rows=range(FEWEST - 1))
    with pytest.raises(ConjoinError, match=rf"modality a: 3 training pairs; .*least {FEWEST}"):
        Binding.fit(spaces, few, method="ridge")
    assert Binding.fit(spaces, along(("a", "b"), rows=range(FEWEST)), method="ridge").hub


def test_a_modality_without_pairs_is_refused():
    spaces = planted("abc")
    with pytest.raises(ConjoinError, match="view: 'c' is not paired"):
        Binding.fit(spaces, along(("a", "b")), method="ridge")


def test_another_encoders_vectors_are_refused():
    spaces = planted("ab")
    binding = Binding.fit(spaces, method="ridge")
    other = Space.of(spaces["a"].vectors, spaces["a"].ids, name="newer encoder")
    with pytest.raises(FrameError, match=r"modality a \(its map is stale\).*embed again"):
        binding.bind("a", other)
    bound = binding.bind("a", spaces["a"])
    with pytest.raises(FrameError, match="stale"):
        binding.bind("a", bound)
    assert bound.frame == binding.frame == binding.bind("b", spaces["b"]).frame
    assert bound.vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(bound.vectors, axis=1), 1, atol=1e-5)


# The frame


def test_the_frame_is_minted_from_what_decides_the_vectors():
    spaces, pairs = planted("abc"), along(("a", "c"), ("b", "c"))

    def minted(given=spaces, lines=pairs, method="ridge", hub="c", seed=0):
        return Binding.fit(given, lines, method=method, hub=hub, seed=seed).frame

    base = minted()
    assert minted() == base
    assert minted(method=Ridge()) == base, "an aligner and its name are one method"
    heavier = dataclasses.replace(pairs, weight=np.full(len(pairs), 2.0))
    other = {**spaces, "a": Space.of(spaces["a"].vectors, spaces["a"].ids, name="other")}
    changed = {
        "seed": minted(seed=1),
        "method": minted(method="procrustes"),
        "field": minted(method=Ridge(lam=0.31)),
        "hub": minted(hub="a"),
        "fewer pairs": minted(lines=pairs.take(np.arange(len(pairs)) > 0)),
        "weights": minted(lines=heavier),
        "source": minted(given=other),
    }
    for what, frame in changed.items():
        assert frame != base, what
    assert len({frame.id for frame in changed.values()}) == len(changed)


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(12)), st.permutations(range(12)))
def test_the_digest_of_pairs_forgets_the_order_of_rows_and_lines(lines, rows):
    spaces = planted("ab", n=12)
    pairs = along(("a", "b"), rows=range(12))
    moved = {**spaces, "a": spaces["a"].take(np.array(rows))}
    place = np.argsort(rows)
    turned = Pairs(("a", "b"), np.stack([place, np.arange(12)], axis=1)).take(np.array(lines))
    assert pairs_digest(moved, turned) == pairs_digest(spaces, pairs)
    wrong = turned.rows.copy()
    wrong[:2, 0] = wrong[1::-1, 0]
    assert pairs_digest(moved, Pairs(("a", "b"), wrong)) != pairs_digest(spaces, pairs)


def test_trained_groups_are_recorded():
    spaces = planted("abc")
    pairs = along(("a", "b"), rows=range(5, 50))
    binding = Binding.fit({k: spaces[k] for k in "ab"}, pairs, method="ridge")
    np.testing.assert_array_equal(binding.trained, np.arange(5, 50))
    grown = binding.extend({k: spaces[k] for k in "bc"}, along(("b", "c"), rows=range(40, 60)))
    np.testing.assert_array_equal(grown.trained, np.arange(5, 60))


# Extension


def files_of(folder):
    """Bytes and time of change of every file under a folder."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), os.stat(path).st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def bound_files(binding, spaces, folder):
    """Write the bound vectors of each modality; their bytes by name."""
    found = {}
    for name in binding.maps:
        path = folder / f"{name}.bound"
        write_arrays(path, {"vectors": np.asarray(binding.bind(name, spaces[name]).vectors)}, {})
        found[name] = path.read_bytes()
    return found


def check_extension(name, fitted, added, tmp_path):
    """Fit along some edges, save, extend along others, save again: nothing old moves."""
    spaces = planted("abcd")
    old = list(dict.fromkeys(k for edge in fitted for k in edge))
    here = list(dict.fromkeys(k for edge in added for k in edge))
    binding = Binding.fit({k: spaces[k] for k in old}, along(*fitted), method=make(name), seed=3)
    binding.save(tmp_path / "binding")
    files = files_of(tmp_path / "binding" / "maps")
    stored = bound_files(binding, spaces, tmp_path)
    grown = binding.extend({k: spaces[k] for k in here}, along(*added))
    grown.save(tmp_path / "binding")
    after = files_of(tmp_path / "binding" / "maps")
    assert grown.frame == binding.frame
    assert grown.hub == binding.hub
    for k in old:
        assert grown.maps[k] is binding.maps[k]
    assert {path: after[path] for path in files} == files, "bytes and times of change"
    assert len(after) == len(files) + len(set(here) - set(old))
    again = bound_files(Binding.load(tmp_path / "binding"), spaces, tmp_path)
    assert {k: again[k] for k in old} == stored
    return grown, spaces


@each_extended
def test_extending_leaves_what_is_stored(name, tmp_path):
    grown, spaces = check_extension(name, [("a", "b")], [("a", "c")], tmp_path)
    assert grown.hub == "a"
    assert first(grown, spaces, "c", "a", HELD) >= 0.9
    assert first(grown, spaces, "b", "c", HELD) >= 0.9, "never paired"


@each_extended
def test_extending_through_a_modality_that_is_not_the_hub(name, tmp_path):
    grown, spaces = check_extension(name, [("a", "b")], [("b", "c")], tmp_path)
    assert grown.hub == "a"
    assert first(grown, spaces, "a", "c", HELD) >= 0.85


@each_extended
def test_a_chain_is_extended_at_its_end(name, tmp_path):
    grown, spaces = check_extension(name, [("a", "b"), ("b", "c")], [("c", "d")], tmp_path)
    assert grown.hub == "b"
    assert first(grown, spaces, "a", "d", HELD) >= 0.8


def test_two_new_ones_at_once_one_reached_through_the_other():
    spaces = planted("abcd")
    binding = Binding.fit({k: spaces[k] for k in "ab"}, along(("a", "b")), method="ridge")
    grown = binding.extend({k: spaces[k] for k in "bcd"}, along(("b", "c"), ("c", "d")))
    assert first(grown, spaces, "a", "d", HELD) >= 0.9


def test_an_extension_that_adds_nothing_or_hangs_on_nothing_is_refused():
    spaces = planted("abcd")
    binding = Binding.fit({k: spaces[k] for k in "ab"}, along(("a", "b")), method="ridge")
    with pytest.raises(ConjoinError, match=r"\['a', 'b'\] are all bound; name a new one"):
        binding.extend({k: spaces[k] for k in "ab"}, along(("a", "b")))
    apart = along(("b", "a"), ("c", "d"))
    with pytest.raises(ConjoinError, match=r"nothing joins a, b \| c, d; "):
        binding.extend(spaces, apart)
    with pytest.raises(ConjoinError, match=r"none of \['c', 'd'\] is bound; pair them with a"):
        binding.extend({k: spaces[k] for k in "cd"}, along(("c", "d")))
    with pytest.raises(ConjoinError, match="modality c: 3 training pairs"):
        binding.extend({k: spaces[k] for k in "bc"}, along(("b", "c"), rows=range(3)))
    other = Space.of(spaces["a"].vectors, spaces["a"].ids, name="newer encoder")
    with pytest.raises(FrameError, match="modality a"):
        binding.extend({"a": other, "c": spaces["c"]}, along(("a", "c")))


def test_bound_ones_that_say_nothing_of_the_new_ones_may_be_given_too():
    spaces = planted("abcde")
    chain = along(("a", "b"), ("b", "c"))
    binding = Binding.fit({k: spaces[k] for k in "abc"}, chain, method="ridge")
    grown = binding.extend(spaces, along(("a", "d"), ("c", "e")).join(
        Pairs(("b",), np.empty((0, 1), dtype=np.int64))))  # fmt: skip
    for one, other in (("d", "e"), ("d", "b"), ("e", "a")):
        assert first(grown, spaces, one, other, HELD) >= 0.9


def test_extension_pairs_rows_of_one_item_when_none_are_given():
    spaces = planted("abc")
    train = {k: space.take(np.arange(60)) for k, space in spaces.items()}
    binding = Binding.fit({k: train[k] for k in "ab"}, method="ridge")
    grown = binding.extend({k: train[k] for k in "bc"})
    assert first(grown, spaces, "a", "c", HELD) >= 0.9


def test_one_can_be_taken_out_but_not_the_hub():
    spaces = planted("abc")
    binding = Binding.fit(spaces, along(("a", "b"), ("b", "c")), method="ridge")
    less = binding.without("c")
    assert sorted(less.maps) == ["a", "b"]
    assert less.maps["a"] is binding.maps["a"]
    assert less.frame == binding.frame
    assert sorted(binding.maps) == ["a", "b", "c"]
    again = less.extend({k: spaces[k] for k in "bc"}, along(("b", "c")))
    assert first(again, spaces, "a", "c", HELD) >= 0.9
    with pytest.raises(ConjoinError, match="'b' is the hub; refit"):
        binding.without("b")
    with pytest.raises(ConjoinError, match="'x' is not bound"):
        binding.without("x")


# On disk


@each_aligner
def test_what_is_saved_is_loaded_exactly(name, tmp_path):
    spaces = planted("abc")
    binding = Binding.fit(spaces, along(("a", "b"), ("b", "c")), method=make(name), seed=5)
    binding.save(tmp_path)
    again = Binding.load(tmp_path)
    assert again.frame == binding.frame
    assert again.frame.to_json() == binding.frame.to_json()
    assert (again.hub, again.seed) == (binding.hub, binding.seed)
    assert again.choice == binding.choice
    np.testing.assert_array_equal(again.trained, binding.trained)
    for k, space in spaces.items():
        np.testing.assert_array_equal(again.bind(k, space).vectors, binding.bind(k, space).vectors)
        assert again.maps[k].source == space.frame
        assert again.maps[k].target == binding.frame
    # What was loaded saves to the same bytes, and an extension of it is that of the original.
    (tmp_path / "again").mkdir()
    again.save(tmp_path / "again")
    strip = {path: data for path, (data, _) in files_of(tmp_path / "again").items()}
    assert strip == {path: (tmp_path / path).read_bytes() for path in strip}


def test_an_extension_after_loading_is_the_one_before(tmp_path):
    spaces = planted("abc")
    binding = Binding.fit(
        {k: spaces[k] for k in "ab"}, along(("a", "b")), method=CCA(lam=0.2, power=0.5), seed=5
    )
    binding.save(tmp_path)
    new = {k: spaces[k] for k in "bc"}
    one, other = (b.extend(new, along(("b", "c"))) for b in (binding, Binding.load(tmp_path)))
    np.testing.assert_array_equal(
        one.bind("c", spaces["c"]).vectors, other.bind("c", spaces["c"]).vectors
    )


def saved(tmp_path):
    spaces = planted("ab")
    Binding.fit(spaces, method="ridge").save(tmp_path)
    return tmp_path


def refused(folder, said, kind=ConjoinError):
    with pytest.raises(kind, match=said) as caught:
        Binding.load(folder)
    assert "\n" not in str(caught.value)


def test_what_cannot_be_read_is_refused_in_a_line(tmp_path):
    refused(tmp_path / "nowhere", "holds no binding; run: conjoin fit")
    folder = saved(tmp_path)
    path = folder / "binding.json"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    refused(folder, "binding.json: is not valid JSON", StateError)
    raw = json.loads(whole)
    write_json(path, {**raw, "version": 99})
    refused(folder, "format 99.*upgrade", StateError)
    for key in ("frame", "hub", "maps", "choice"):
        write_json(path, {k: v for k, v in raw.items() if k != key})
        refused(folder, "binding.json", StateError)
    write_json(path, [1, 2])
    refused(folder, "binding.json", StateError)
    path.write_bytes(whole)
    file = folder / next(iter(read_json(path)["maps"].values()))
    data = file.read_bytes()
    file.write_bytes(data[:-9])
    refused(folder, "torn", StateError)
    file.unlink()
    refused(folder, "is missing", StateError)
    file.write_bytes(data)
    (folder / "trained.safetensors").unlink()
    refused(folder, "trained.safetensors: is missing", StateError)


def test_a_aligner_of_the_users_own_is_used_and_refused_once_saved(tmp_path):
    spaces = planted("abc")
    binding = Binding.fit({k: spaces[k] for k in "ab"}, method=Mine(), seed=2)
    assert binding.choice.method == "Mine"
    assert first(binding, spaces, "a", "b", HELD) == 1
    assert (
        binding.frame
        != Binding.fit({k: spaces[k] for k in "ab"}, method=Mine(strength=0.5), seed=2).frame
    ), "fields of an aligner outside the catalogue decide the frame too"
    assert binding.extend({k: spaces[k] for k in "bc"}, along(("b", "c"))).maps["c"]
    binding.save(tmp_path)
    again = Binding.load(tmp_path)
    np.testing.assert_array_equal(
        again.bind("a", spaces["a"]).vectors, binding.bind("a", spaces["a"]).vectors
    )
    with pytest.raises(ConjoinError, match="'Mine' is unknown"):
        again.extend({k: spaces[k] for k in "bc"}, along(("b", "c")))


@dataclasses.dataclass(frozen=True)
class Mine:
    """An aligner that is not in the catalogue."""

    strength: float = 0.1

    def fit(self, views, pairs, *, frames={}, frozen={}, seed=0):  # noqa: B006
        assert seed == 2
        assert set(frames) == set(views)
        return Ridge(lam=self.strength).fit(views, pairs, frozen=frozen, seed=seed)


# Nothing to learn


@pytest.mark.parametrize("name", ["cca", "ridge", "procrustes"])
def test_shuffled_ids_bind_as_by_chance(name):
    held, n = 200, 500
    right = planted("ab", n=n)
    rng = np.random.default_rng(8)
    shuffled = {**right, "b": dataclasses.replace(right["b"], ids=rng.permutation(right["b"].ids))}

    def reached(spaces):
        order = np.argsort([int(i[1:]) for i in spaces["b"].ids])
        spaces = {"a": spaces["a"], "b": spaces["b"].take(order)}
        train = {k: s.take(np.arange(held, n)) for k, s in spaces.items()}
        test = {k: s.take(np.arange(held)) for k, s in spaces.items()}
        binding = Binding.fit(train, method=make(name))
        wanted = relevance_by_id(test["a"], test["b"])
        bound = {k: binding.bind(k, test[k]) for k in test}
        found = evaluate_direction(bound["a"], bound["b"], wanted, metrics=["recall@10"])[0]
        return found, chance(wanted, "recall@10")

    found, by_chance = reached(shuffled)
    assert by_chance == pytest.approx(10 / held)
    assert found.low <= by_chance <= found.high
    assert found.value < 0.12
    assert reached(right)[0].value > 0.95


# Paths


@settings(max_examples=50, deadline=None)
@given(st.sets(st.tuples(st.integers(0, 4), st.integers(0, 4)).filter(lambda e: e[0] < e[1])))
def test_paths_are_the_simple_ones_no_longer_than_asked(edges):
    named = [(str(a), str(b)) for a, b in sorted(edges)]
    joined = set(named) | {(b, a) for a, b in named}
    tried = [("0", *inner, "4") for k in range(3) for inner in itertools.permutations("123", k)]
    slow = [path for path in tried if set(itertools.pairwise(path)) <= joined]
    assert sorted(paths(named, "0", "4", 3)) == sorted(slow)
