"""Data sets of claims: what each holds, and how views are kept."""

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from conjoin.claims.datasets import registry as data
from conjoin.claims.datasets.emoji import LANGUAGES, VIEWS, Emoji
from conjoin.claims.datasets.graphs import degree_profile, read_triples
from conjoin.claims.datasets.registry import embedded, open_bench, texts
from conjoin.claims.datasets.small import ACIDS, COLOURS, WORDS
from conjoin.encoders.builtin import bundled
from conjoin.encoders.builtin.series import Series
from conjoin.encoders.open import kind_of
from conjoin.errors import ConjoinError, MissingDependency
from conjoin.items import Items
from conjoin.items.bundled import sample_path


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("emojy:image", "did you mean emoji"),
        ("wine:acids+colour", "did you mean colours"),
        ("wine", "no view; write wine:acids\\+colours"),
        ("wine:acids+acids", "twice"),
        ("kinships:name+graph", "no view 'name'"),
    ],
)
def test_bad_names_are_refused_in_a_line(text, says):
    with pytest.raises(ConjoinError, match=says):
        open_bench(text)


def test_a_digest_tells_data_apart():
    asked = ("wine:acids+colours", "wine:colours+acids", "digits:left+right", "digits:left+whole",
             "emoji:static+ja", "emoji-groups:static+ja")  # fmt: skip
    assert len({open_bench(text).digest for text in asked}) == len(asked)


def test_one_view_alone_has_no_pairs():
    bench = open_bench("wine:acids")
    assert len(bench.pairs) == 0
    assert len(bench.view("acids")) == 178


# -- how views are kept


def words(n):
    return {f"i{row}": f"word {row} of {row % 7}" for row in range(n)}


def items_of(n, counted=None):
    def make():
        if counted is not None:
            counted.append(n)
        table = words(n)
        return Items.from_frame({"id": list(table), "words": list(table.values())}, id="id")

    return make


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CONJOIN_CACHE", str(tmp_path))
    return tmp_path


def test_a_view_is_embedded_once_and_then_mapped(cache, capsys):
    calls = []
    first = embedded(items_of(40, calls), "words", "builtin:chargram", "s", "mine")
    assert "mine: 40 of 40" in capsys.readouterr().err
    again = embedded(items_of(40, calls), "words", "builtin:chargram", "s", "mine")
    assert calls == [40]
    assert capsys.readouterr().err == ""
    assert not again.vectors.flags.writeable
    assert first.vectors.tobytes() == again.vectors.tobytes()
    assert first.ids.tolist() == list(words(40))
    # Another source, column or encoder is another view.
    embedded(items_of(40, calls), "words", "builtin:chargram", "t")
    embedded(items_of(40, calls), "words", "builtin:chargram?dim=64", "s")
    assert len(calls) == 3


def test_a_killed_run_goes_on_where_it_was(cache, monkeypatch):
    monkeypatch.setattr(data, "SHARD", 16)
    whole = embedded(items_of(50), "words", "builtin:chargram", "whole")
    told = []

    def killed(line):
        told.append(line)
        if len(told) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(data, "_tell", killed)
    with pytest.raises(KeyboardInterrupt):
        embedded(items_of(50), "words", "builtin:chargram", "s")
    shards = list(cache.rglob("shards/*.safetensors"))
    assert len(shards) == 2
    stamps = {path.name: path.stat().st_mtime_ns for path in shards}
    held = {}

    def note(line):
        held.update({p.name: p.stat().st_mtime_ns for p in cache.rglob("shards/*.safetensors")})

    monkeypatch.setattr(data, "_tell", note)
    found = embedded(items_of(50), "words", "builtin:chargram", "s")
    assert stamps.items() <= held.items(), "a finished shard is not made again"
    assert found.vectors.tobytes() == whole.vectors.tobytes()


def test_two_at_once_embed_once(cache):
    calls = []
    with ThreadPoolExecutor(2) as pool:
        made = [
            pool.submit(embedded, items_of(600, calls), "words", "builtin:chargram", "s")
            for _ in range(2)
        ]
        one, two = (future.result() for future in made)
    assert one.vectors.tobytes() == two.vectors.tobytes()
    if sys.platform != "win32":
        assert len(calls) == 1


def test_a_cell_that_cannot_be_read_stops_it(cache):
    def make():
        cells = [[[1.0, 2.0], [3.0, 4.0]], [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]]
        return Items.from_frame({"id": ["a", "b"], "moves": cells}, id="id")

    with pytest.raises(ConjoinError, match="item b: 3 channels"):
        embedded(make, "moves", "builtin:series?channels=2", "s")


# -- the sample


def test_every_view_of_the_sample_has_its_column_and_encoder():
    from pyarrow import parquet

    columns = parquet.read_schema(sample_path()).names
    languages = {name[6:].replace("_", "-") for name in columns if name.startswith("label_")}
    assert set(LANGUAGES) == languages
    kinds = {"noto": "image", "twemoji": "image", "speech": "audio"}
    for column, uri in VIEWS.values():
        assert column in columns
        assert kind_of(uri) == kinds.get(column, "text")


def test_no_near_twin_of_a_held_out_emoji_is_trained_on():
    bench = open_bench("emoji:static")
    facts = Items.from_frame(_sample("label", "family", "subgroup", "group"), id="id")
    row = dict(zip(facts.column("label"), map(str, facts.ids), strict=True))
    assert bench.groups[row["man running"]] == bench.groups[row["woman running"]]
    assert len(set(bench.groups.values())) == 1592
    assert bench.labels[row["grapes"]] == "food-fruit"
    coarse = Emoji(labels="group").load(("static",))
    assert coarse.labels[row["grapes"]] == "food-drink"
    assert len(set(coarse.labels.values())) == 10


def _sample(*columns):
    from pyarrow import parquet

    return parquet.read_table(sample_path(), columns=["id", *columns])


def test_classes_are_embedded_by_their_words():
    bench = open_bench("emoji:static+ja")
    assert set(bench.names) == {"static"}, "English words say nothing to another language's view"
    place = bench.names["static"].ids.tolist().index("food-fruit")
    wanted = texts({"x": "food fruit"}, "builtin:text-static").vectors[0]
    np.testing.assert_allclose(bench.names["static"].vectors[place], wanted, rtol=1e-5)


def test_several_keywords_are_parts_of_their_item(cache):
    table = _sample("keywords").slice(0, 3)
    space = embedded(
        lambda: Items.from_frame(table, id="id"), "keywords", "builtin:chargram", "three"
    )
    lengths = [len(cell) for cell in table["keywords"].to_pylist()]
    assert len(space) == sum(lengths)
    assert space.parts.tolist() == [part for n in lengths for part in range(n)]


# -- the packages' own tables


def test_the_halves_of_a_digit_are_its_pixels():
    from sklearn.datasets import load_digits

    bench = open_bench("digits:left+right+whole")
    halves = [np.asarray(bench.spaces[v].vectors).reshape(-1, 8, 4) for v in ("left", "right")]
    whole = np.concatenate(halves, axis=2)
    assert np.array_equal(whole, load_digits().images)
    assert np.array_equal(whole.reshape(-1, 64), bench.spaces["whole"].vectors)
    assert list(bench.labels.values()) == list(map(str, load_digits().target))


def test_a_digit_s_word_is_its_class():
    bench = open_bench("digits:whole+static")
    assert bench.names["static"].ids.tolist() == [str(n) for n in range(10)]
    for item, digit in list(bench.labels.items())[:30]:
        np.testing.assert_allclose(
            bench.spaces["static"].vectors[int(item)], bench.names["static"].vectors[int(digit)],
            rtol=1e-5, atol=1e-7,
        )  # fmt: skip
    assert len(np.unique(bench.spaces["static"].content)) == len(WORDS)


def test_wine_is_scaled_by_its_training_part_alone():
    from sklearn.datasets import load_wine

    found = load_wine()
    assert sorted((*ACIDS, *COLOURS)) == sorted(found.feature_names)
    bench = open_bench("wine:acids+colours")
    for view, names in (("acids", ACIDS), ("colours", COLOURS)):
        held, values = bench.held(view), np.asarray(bench.spaces[view].vectors)
        np.testing.assert_allclose(values[~held].mean(axis=0), 0, atol=1e-5)
        np.testing.assert_allclose(values[~held].std(axis=0), 1, atol=1e-5)
        assert np.abs(values[held].mean(axis=0)).max() > 0.01
        raw = found.data[:, [found.feature_names.index(name) for name in names]]
        for column in range(len(names)):
            assert np.corrcoef(raw[:, column], values[:, column])[0, 1] > 0.99999


def test_motions_are_three_channels_of_each_kind():
    bench = open_bench("motions:acceleration+rotation")
    assert sorted(bench.labels.values()) == sorted(
        20 * ["Badminton", "Running", "Standing", "Walking"]
    )
    path = bundled.package_file("sktime", "datasets/data/BasicMotions/BasicMotions_TEST.ts")
    line = path.read_text().splitlines()[-1].split(":")  # the last of all cases
    channels = np.array([[float(x) for x in part.split(",")] for part in line[:6]]).T
    assert bench.labels["79"] == line[6]
    encoder = Series(3)
    for view, own in (("acceleration", channels[:, :3]), ("rotation", channels[:, 3:])):
        wanted = encoder.forward([encoder.decode(own)])[0]
        np.testing.assert_allclose(bench.spaces[view].vectors[-1], wanted, rtol=1e-6)


def test_a_graph_s_profile_counts_triples():
    triples = [("a", "likes", "b"), ("a", "likes", "c"), ("c", "is", "a")]
    counts = np.expm1(degree_profile(["a", "b", "c"], triples)).round()
    # Relations in order: is, likes; as subject, then as object.
    assert counts.tolist() == [[0, 2, 1, 0], [0, 0, 0, 1], [1, 0, 0, 1]]
    for graph, count in (("umls", 6529), ("kinships", 10686)):
        assert len(read_triples(graph)) == count
        whole = np.asarray(open_bench(f"{graph}:graph").view("graph").vectors, dtype=np.float64)
        assert np.expm1(whole).sum() == pytest.approx(2 * count, rel=1e-5)


def test_who_never_stands_on_a_side_has_no_row_there():
    bench = open_bench("umls:subject+object")
    seen = {view: set(space.ids) for view, space in bench.spaces.items()}
    assert seen["subject"] == {head for head, _, _ in read_triples("umls")}
    assert seen["object"] == {tail for _, _, tail in read_triples("umls")}
    assert seen["subject"] != seen["object"]


@pytest.mark.parametrize("text", ["motions:acceleration", "umls:graph"])
def test_a_missing_package_names_its_extra(text, monkeypatch):
    monkeypatch.setattr(bundled, "find_spec", lambda name: None)
    with pytest.raises(MissingDependency, match=r"conjoin\[claims\]"):
        open_bench(text)


def test_no_data_package_is_imported():
    open_bench("motions:acceleration")
    open_bench("kinships:graph")
    assert not {"sktime", "pykeen"} & set(sys.modules)
