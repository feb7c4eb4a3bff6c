import io
import tomllib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from conjoin.errors import ConjoinError
from conjoin.items import Config, Items, guess, sample_path
from conjoin.spaces import Space
from conjoin.storage.digest import stable_hash


def png():
    file = io.BytesIO()
    Image.new("RGB", (3, 2), "red").save(file, "PNG")
    return file.getvalue()


# --- workspaces and pairs ----------------------------------------------------------------------

WORKSPACE = {
    "items": {"table": "items.csv", "id": "id"},
    "modalities": {
        "text": {"column": "caption", "encoder": "t"},
        "image": {"column": "picture", "encoder": "i"},
        "sound": {"column": "speech", "encoder": "s"},
    },
    "split": {"group": "family", "test": 0.5},
}
ROWS = "id,caption,picture,speech,family\n" + "".join(
    f"{i},c{i},p{i},s{i},{f}\n"
    for i, f in zip("abcdef", ["F", "F", "G", "", "H", "I"], strict=True)
)
LINKED = {"spoken": {"table": "pairs.csv", "left": "text", "right": "sound", "weight": "w"}}


def workspace(folder, pairs_csv=None, **change):
    (folder / "items.csv").write_text(ROWS)
    values = {**WORKSPACE, **change}
    if pairs_csv is not None:
        (folder / "pairs.csv").write_text(pairs_csv)
        values = {**values, "pairs": LINKED}
    config = Config.of(values, folder / "conjoin.toml")
    return config, Items.load(config)


def spaces(**ids):
    rng = np.random.default_rng(0)
    return {n: Space.of(rng.normal(size=(len(i), 2)), list(i), name=n) for n, i in ids.items()}


def lines(pairs, views):
    """The ids on each line, a view at a time."""
    columns = [[str(views[n].ids[row]) for row in pairs.column(n)] for n in pairs.names]
    return list(zip(*columns, strict=True))


def test_cells_of_one_row_are_pairs_grouped_by_the_column(tmp_path):
    config, items = workspace(tmp_path)
    views = spaces(text="abcd", image="acdf")
    pairs = items.pairs(config, views)
    assert lines(pairs, views) == [("a", "a"), ("c", "c"), ("d", "d")]
    assert pairs.group.tolist() == [stable_hash("F"), stable_hash("G"), stable_hash("d")]


def test_a_pairs_table_replaces_only_what_it_names(tmp_path):
    config, items = workspace(tmp_path, "text,sound,w\na,c,2\na,e,1\nd,e,0.5\n")
    views = spaces(text="abcdef", image="abcdef", sound="abcdef")
    pairs = items.pairs(config, views)
    assert pairs.names == ("text", "image", "sound")
    left, right, weight = pairs.between("text", "sound")
    found = {(str(views["text"].ids[i]), str(views["sound"].ids[j])): w
             for i, j, w in zip(left, right, weight, strict=True)}  # fmt: skip
    assert found == {("a", "c"): 2.0, ("a", "e"): 1.0, ("d", "e"): 0.5}
    for other in ("text", "sound"):
        left, right, _ = pairs.between(other, "image")
        assert list(views[other].ids[left]) == list(views["image"].ids[right]) == list("abcdef")


def test_lines_never_tear_linked_groups_apart(tmp_path):
    config, items = workspace(tmp_path, "text,sound,w\na,c,2\nd,e,1\n")
    assert list(items.groups(config)) == ["F", "F", "F", "H", "H", "I"]
    views = spaces(text="abcdef", image="abcdef", sound="abcdef")
    pairs = items.pairs(config, views)
    split = items.split(config)
    test_groups = {stable_hash(g) for g in items.groups(config)[split.is_test(items.ids)]}
    for row, group in zip(pairs.rows, pairs.group, strict=True):
        ids = [views[n].ids[r] for n, r in zip(pairs.names, row, strict=True) if r >= 0]
        assert set(split.is_test(np.array(ids))) == {group in test_groups}


def test_parts_of_linked_items_take_turns(tmp_path):
    config, items = workspace(tmp_path, "left,right,w\na,c,1\nb,c,1\n")
    views = spaces(text="aaabf", sound="ccb")
    pairs = items.pairs(config, views)
    assert [(int(i), int(j)) for i, j in pairs.rows] == [(0, 0), (1, 1), (2, 0), (3, 0), (3, 1)]


def test_failed_cells_are_just_absent(tmp_path):
    config, items = workspace(tmp_path, "text,sound,w\na,c,1\nb,d,1\nc,e,1\n")
    views = spaces(text="abc", sound="cd")
    assert len(items.pairs(config, views)) == 2


def test_a_pairs_table_of_absent_modalities_still_merges_groups(tmp_path):
    config, items = workspace(tmp_path, "text,sound,w\na,c,1\n")
    pairs = items.pairs(config, spaces(text="acdf", image="acdf"))
    assert pairs.group[0] == pairs.group[1]


def test_without_a_config_every_item_is_its_own_group():
    items = Items.from_frame({"id": list("abc")}, id="id")
    pairs = items.pairs(None, spaces(x="abc", y="ab"))
    assert pairs.group.tolist() == [stable_hash("a"), stable_hash("b")]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (
            "text,sound,w\na,z,1\n",
            "pairs.csv, column 'sound': row 0 names item 'z', which the item",
        ),
        ("text,noise,w\na,c,1\n", "pairs.csv: has neither a column 'sound' nor 'right'; name the"),
        ("text,sound\na,c\n", "pairs.csv: has no column 'w'"),
        ("text,sound,w\na,c,0\n", "pairs.csv, column 'w': row 0 weighs 0; give numbers above 0"),
        ("text,sound,w\na,c,1\nb,c,\n", "column 'w': row 1 weighs None"),
        ("text,sound,w\na,,1\n", "column 'sound': row 0 has no id"),
    ],
)
def test_a_bad_pairs_table_is_refused(tmp_path, table, said):
    config, items = workspace(tmp_path, table)
    with pytest.raises(ConjoinError) as caught:
        items.pairs(config, spaces(text="abc", sound="abc"))
    assert said in str(caught.value)


def test_too_few_pairs_are_refused(tmp_path):
    config, items = workspace(tmp_path)
    with pytest.raises(ConjoinError, match=r"1 pairs between text, image; give items with cells"):
        items.pairs(config, spaces(text="ab", image="bc"))


def test_columns_named_in_the_workspace_must_be_there(tmp_path):
    modalities = {"text": {"column": "captoin", "encoder": "t"}}
    for change, said in [
        (
            {"modalities": modalities},
            "([modalities.text] column): has no column 'captoin'; did you",
        ),
        ({"split": {"group": "famly"}}, "([split] group): has no column 'famly'; did you mean fam"),
        ({"items": {"table": "items.csv", "id": "key"}}, "([items] id): has no column 'key'"),
    ]:
        with pytest.raises(ConjoinError) as caught:
            workspace(tmp_path, **change)
        assert str(caught.value).startswith(str(tmp_path / "items.csv"))
        assert said in str(caught.value)


def test_a_column_can_say_the_split(tmp_path):
    (tmp_path / "items.csv").write_text("id,caption,fold\na,x,train\nb,y,test\nc,z,val\n")
    values = {
        "items": {"table": "items.csv", "id": "id"},
        "modalities": {"text": {"column": "caption", "encoder": "t"}},
        "split": {"column": "fold"},
    }
    config = Config.of(values, tmp_path / "conjoin.toml")
    split = Items.load(config).split(config)
    assert (list(split.train), list(split.test)) == (["a", "c"], ["b"])


# --- guesses -----------------------------------------------------------------------------------


def test_a_guess_is_a_workspace_that_loads(tmp_path):
    rows = 20
    table = pa.table(
        {
            "id": [f"item-{i}" for i in range(rows)],
            "photo": [f"photos/{i}.jpg" for i in range(rows)],
            "drawing": [png()] * rows,
            "speech": [b"OggS...."] * rows,
            "caption": [f"a picture of {i} red fruits" for i in range(rows)],
            "caption_ja": [f"赤い果物の絵です{i}" for i in range(rows)],
            "embedding": [np.arange(8.0)] * rows,
            "pulse": [[1.0] * (5 + i) for i in range(rows)],
            "weight": [1.5 * i for i in range(rows)],
            "colour": ["red", "green"] * (rows // 2),
            "family": [f"f{i // 3}" for i in range(rows)],
        }
    )
    pq.write_table(table, tmp_path / "items.parquet")
    text = guess(tmp_path / "items.parquet")
    values = tomllib.loads(text)
    encoders = {name: part["encoder"] for name, part in values["modalities"].items()}
    assert encoders == {
        "photo": "builtin:image", "drawing": "builtin:image", "audio": "builtin:audio",
        "text": "builtin:text", "vector": "builtin:vector", "series": "builtin:series",
    }  # fmt: skip
    assert values["items"] == {"table": "items.parquet", "id": "id"}
    assert values["split"] == {"test": 0.2, "group": "family", "seed": 0}
    for said in ("paths ending in .jpg", "begin as a picture does", "lists of 8 numbers",
                 '# column = ["weight", "colour"]', '# encoder = "builtin:chargram"',
                 "7 groups of up to 3 items", "lists of 5 to 24 numbers"):  # fmt: skip
        assert said in text
    (tmp_path / "conjoin.toml").write_text(text)
    config = Config.load(tmp_path)
    assert len(Items.load(config)) == rows


def test_a_guess_takes_text_of_other_scripts_by_its_letters(tmp_path):
    (tmp_path / "a.csv").write_text(
        "key,name\n" + "".join(f"{i},紅い果物{i}番\n" for i in range(9)), encoding="utf-8"
    )
    values = tomllib.loads(guess(tmp_path / "a.csv"))
    assert values["modalities"]["text"] == {"column": "name", "encoder": "builtin:chargram"}
    assert values["items"]["id"] == "key"


def test_a_guess_finds_a_split_column_and_odd_names(tmp_path):
    (tmp_path / "a.csv").write_text(
        'the "words",fold,more text\n'
        + "".join(f"one two {i},{s},three four {i}\n" for i, s in enumerate(["train", "test"] * 4))
    )
    text = guess(tmp_path / "a.csv", tmp_path / "work")
    values = tomllib.loads(text)
    assert values["items"] == {"table": "../a.csv"}
    assert values["split"] == {"column": "fold", "seed": 0}
    assert {m["column"] for m in values["modalities"].values()} == {'the "words"', "more text"}
    Config.of(values)
    assert "row numbers are used" in text


def test_a_guess_of_numbers_alone_asks_for_a_modality(tmp_path):
    (tmp_path / "a.csv").write_text("x,y\n1,2\n2,2\n")
    text = guess(tmp_path / "a.csv")
    assert "no column looks like a modality" in text
    with pytest.raises(ConjoinError, match="modalities: is missing; add it"):
        Config.of(tomllib.loads(text))


def test_the_sample_is_guessed_and_read():
    values = tomllib.loads(guess(sample_path()))
    encoders = [part["encoder"] for part in values["modalities"].values()]
    assert encoders.count("builtin:image") == 2
    assert encoders.count("builtin:audio") == 1
    assert values["items"]["id"] == "id"
    assert values["split"]["group"] == "family"
    config = Config.of(values, sample_path().parent / "conjoin.toml")
    assert len(Items.load(config)) > 1800


def test_entries_without_a_table_name_the_couples_a_row_pairs() -> None:
    table = {"id": list("abc"), "x": list("123"), "y": list("456"), "z": list("789")}
    items = Items.from_frame(table, id="id")
    spaces = {n: Space.of(np.eye(3) + k, ["a", "b", "c"], name=n) for k, n in enumerate("xyz")}
    config = Config.of(
        {
            "items": {"table": "t.csv", "id": "id"},
            "modalities": {n: {"column": n, "encoder": "builtin:text"} for n in "xyz"},
            "pairs": {"one": {"left": "x", "right": "y"}, "two": {"left": "z", "right": "y"}},
        }
    )
    assert items.pairs(config, spaces).edges() == [("x", "y"), ("y", "z")]
    assert items.pairs(None, spaces).edges() == [("x", "y"), ("x", "z"), ("y", "z")]
