"""Cells that cannot be read now: their vectors stay, are told of, and are of nothing else."""

import csv

import numpy as np
import pytest
from PIL import Image

from conjoin.encoders.base import CellError
from conjoin.encoders.remarks import listening, remark
from conjoin.encoders.run import Survey, embed, encode, survey
from conjoin.errors import ConjoinError, MissingDependency, Unreachable
from conjoin.items import Items
from conjoin.spaces.store import Key, SpaceStore
from shelf import Caller
from test_embed_driver import Toy


@pytest.fixture
def conjoin(monkeypatch, capsys):
    return Caller(monkeypatch, capsys)


# --- no exception escapes a reader


def every_exception():
    """Every class of exception there is in this process, and one of each kind of its own."""

    class Mute(Exception):
        def __str__(self):
            raise RuntimeError("cannot be told")

    class Lines(Exception):
        def __str__(self):
            return "two\nlines\r\n\tand a tab"

    todo, found = [Exception], {}
    while todo:
        for kind in todo.pop().__subclasses__():
            if kind not in found:
                found[kind] = True
                todo.append(kind)
    return [Mute, Lines, *found]


def test_no_exception_of_a_reader_ends_the_run():
    kinds = every_exception()
    assert len(kinds) > 100
    assert {OSError, UnicodeDecodeError, MissingDependency, RecursionError, MemoryError} <= {*kinds}

    class Reader(Toy):
        def decode(self, cell):
            if isinstance(cell, type):
                error = cell.__new__(cell)
                error.args = ("a reason",)
                raise error
            return float(cell)

    cells = [1, *kinds, 2]
    found = encode(Reader(), cells)
    assert sorted(found.failed) == list(range(1, len(kinds) + 1))
    assert found.vectors[:, 2].tolist() == [1, 2]
    assert all(text and text.isprintable() and len(text) <= 400 for text in found.failed.values())
    assert found.failed[1] == "Mute"
    assert found.failed[2] == "Lines: two lines and a tab"


def test_no_exception_of_an_object_in_a_table_ends_a_walk():
    kinds = every_exception()

    class Odd:
        def __init__(self, kind):
            self.kind = kind

        def __array__(self, *args, **kwargs):
            error = self.kind.__new__(self.kind)
            error.args = ("a reason",)
            raise error

    items = Items.from_frame({"v": [[1.0, 2.0], *map(Odd, kinds), [3.0, 4.0]]})
    cells = [cell for _, cell in items.cells("v", "vector")]
    assert len(cells) == len(kinds) + 2
    assert all(isinstance(cell, CellError) for cell in cells[1:-1])
    assert cells[-1].tolist() == [3, 4]


def test_odd_values_fail_their_own_cells(tmp_path):
    deep = []
    for _ in range(5000):
        deep = [deep]
    odd = [deep, 10**400, "a\x00b", {"x": 1}, object(), True, "\ud800.png", "x" * 5000,
           "file://[", {"bytes": None, "path": None, "z": 1},
           {"array": "no", "sampling_rate": "x"}]  # fmt: skip
    items = Items.from_frame({"p": [*odd, np.zeros((2, 2), np.uint8)]}, base=tmp_path)
    for kind in ("image", "audio", "vector", "series", "text", "table"):
        keys = items.cells("p", kind).list_keys()
        assert keys[-1].id == str(len(odd))


# --- the driver


class Column:
    """Cells by item, each a number, an exception in its place, and the file it names."""

    def __init__(self, cells, places=None):
        self.cells, self.places = cells, places or {}

    def look(self):
        from conjoin.items.items import Look

        for item, cell in self.cells.items():
            away = str(cell) if isinstance(cell, Unreachable) else None
            content = 0 if away else 1 + int(cell if not isinstance(cell, CellError) else 77)
            yield Look(Key(item, 0, content), self.places.get(item, 0), away)

    def list_keys(self):
        return [look.key for look in self.look()]

    def get(self, item, part=0):
        if isinstance(self.cells[item], CellError):
            raise self.cells[item]
        return self.cells[item]


def run(folder, column, **more):
    encoder = Toy()
    return embed(SpaceStore(folder, encoder.frame), encoder, column, **more)


def stored(folder):
    space = SpaceStore(folder, Toy().frame).open()
    return (
        {} if space is None else dict(zip(space.ids, space.vectors[:][:, 2].tolist(), strict=True))
    )


away = Unreachable("the drive is away")


def test_a_cell_that_is_away_keeps_its_vector_until_it_is_back(tmp_path):
    here = Column({"a": 1, "b": 2}, {"a": 5, "b": 6})
    gone = Column({"a": away, "b": 2}, here.places)
    assert run(tmp_path, here).made == 2
    for _ in range(2):
        made = run(tmp_path, gone)
        assert (made.made, made.kept, made.dropped, made.failed) == (0, 2, 0, {})
        assert {key.id: why for key, why in made.away.items()} == {"a": "the drive is away"}
        assert stored(tmp_path) == {"a": 1, "b": 2}
    back = run(tmp_path, here)
    assert (back.made, back.kept, back.away) == (0, 2, {})


@pytest.mark.parametrize(
    ("now", "place"),
    [
        (away, 9),  # it names another file, which is away
        (CellError("no picture"), 5),  # the file is there, and is no picture any more
        (None, 0),  # the cell was emptied, or its row is gone
    ],
)
def test_a_vector_of_something_else_is_never_kept(tmp_path, now, place):
    run(tmp_path, Column({"a": 1, "b": 2}, {"a": 5}))
    cells = {"b": 2} if now is None else {"a": now, "b": 2}
    made = run(tmp_path, Column(cells, {"a": place}))
    assert made.dropped == 1
    assert stored(tmp_path) == {"b": 2}


def test_what_was_changed_while_it_was_away_is_made_anew(tmp_path):
    run(tmp_path, Column({"a": 1}, {"a": 5}))
    run(tmp_path, Column({"a": away}, {"a": 5}))
    made = run(tmp_path, Column({"a": 3}, {"a": 5}))
    assert (made.made, made.dropped) == (1, 1)
    assert stored(tmp_path) == {"a": 3}


def test_a_cell_that_was_away_from_the_start_is_made_when_it_comes(tmp_path):
    made = run(tmp_path, Column({"a": away, "b": 2}))
    assert [key.id for key in made.failed] == ["a"]
    assert made.away == {}
    made = run(tmp_path, Column({"a": 1, "b": 2}))
    assert (made.made, made.dropped, made.failed) == (1, 0, {})


def test_a_cell_that_goes_away_between_the_walk_and_the_reading_is_tried_again(tmp_path):
    class Fleeting(Column):
        def get(self, item, part=0):
            raise away

    column = Column({"a": 1, "b": 2}, {"a": 5})
    made = run(tmp_path, Fleeting(column.cells, column.places))
    assert sorted(made.failed.values()) == ["the drive is away"] * 2
    assert run(tmp_path, column).made == 2


def test_a_package_that_was_missing_is_no_lasting_failure(tmp_path):
    class Lacking(Toy):
        def decode(self, cell):
            raise MissingDependency("soundfile", "is not installed", "run: pip install it")

    store = SpaceStore(tmp_path, Toy().frame)
    rows = [(Key("a", 0, 4), 3)]
    assert "run: pip install it" in next(iter(embed(store, Lacking(), rows).failed.values()))
    assert embed(store, Toy(), rows).made == 1


def test_pruning_drops_what_is_away(tmp_path):
    run(tmp_path, Column({"a": 1, "b": 2}))
    gone = Column({"a": away, "b": 2})
    made = run(tmp_path, gone, keys=survey(gone).pruned())
    assert (made.dropped, list(made.failed.values())) == (1, ["the drive is away"])
    assert stored(tmp_path) == {"b": 2}


def test_a_job_that_was_killed_goes_on_though_some_cells_are_away(tmp_path):
    class Dying(Column):
        def get(self, item, part=0):
            if item == "c":
                raise KeyboardInterrupt
            return self.cells[item]

    cells = {name: number for number, name in enumerate("abcd", 20)}
    places = {name: 5 for name in cells}
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, Dying(cells, places), shard_rows=2)
    made = run(tmp_path, Column({**cells, "a": away, "d": away}, places), shard_rows=2)
    assert stored(tmp_path) == {"a": 20, "b": 21, "c": 22}
    assert [key.id for key in made.away] == ["a"]
    assert [key.id for key in made.failed] == ["d"]


def test_strict_refuses_what_is_away_before_anything_changes(tmp_path):
    run(tmp_path, Column({"a": 1}))
    with pytest.raises(ConjoinError, match="item a: the drive is away; bring it back"):
        run(tmp_path, Column({"a": away, "b": 2}), strict=True)
    assert stored(tmp_path) == {"a": 1}


def test_a_walk_tells_how_far_it_is():
    told = []
    survey(Column({"a": 1, "b": away}), told.append)
    assert told == [1, 2]


def test_a_survey_of_some_cells_keeps_what_it_knows_of_them():
    found = survey(Column({"a": 1, "b": away}, {"a": 5, "b": 6})).among({("b", 0)})
    assert found == Survey((Key("b", 0, 0),), {Key("b", 0, 0): 6}, {Key("b", 0, 0): str(away)})


# --- remarks


class Remarking(Toy):
    """Remarks on even cells, and on 13, which fails."""

    def decode(self, cell):
        if cell % 2 == 0 or cell == 13:
            remark("cut at 5 tokens")
        if cell > 100:
            remark("blank pictures")
        return super().decode(cell)


def test_remarks_are_counted_by_row_kept_and_forgotten_with_the_row(tmp_path):
    def go(numbers, contents=None):
        rows = [(Key(f"{n}", 0, 1 + (contents or {}).get(n, n)), (contents or {}).get(n, n))
                for n in numbers]  # fmt: skip
        return embed(SpaceStore(tmp_path, Toy().frame), Remarking(), rows, shard_rows=3).said

    assert go([1, 2, 4, 13]) == {"cut at 5 tokens": 2}
    assert go([1, 2, 4, 13]) == {"cut at 5 tokens": 2}
    assert go([1, 2, 102]) == {"blank pictures": 1, "cut at 5 tokens": 2}
    assert go([1, 2, 102], {2: 3, 102: 101}) == {"blank pictures": 1}
    assert go([1]) == {}
    assert not (tmp_path / "cells.safetensors").exists()


def test_remarks_on_equal_cells_count_each_row(tmp_path):
    rows = [(Key(f"{n}", 0, 5), 4) for n in range(4)]
    said = embed(SpaceStore(tmp_path, Toy().frame), Remarking(), rows).said
    assert said == {"cut at 5 tokens": 4}


def test_a_remark_is_heard_once_a_cell_and_by_nobody_outside():
    remark("lost")
    with listening() as heard:
        remark("a")
        remark("a")
        with listening() as inner:
            remark("b")
    assert (heard, inner) == (["a"], ["b"])


def test_a_torn_ledger_is_made_again(tmp_path):
    run(tmp_path, Column({"a": 1}, {"a": 5}))
    (tmp_path / "cells.safetensors").write_bytes(b"torn")
    run(tmp_path, Column({"a": 1}, {"a": 5}))
    assert run(tmp_path, Column({"a": away}, {"a": 9})).dropped == 1


# --- the command line


def drive(folder, count=30):
    (folder / "disk").mkdir()
    with (folder / "t.csv").open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["id", "photo", "caption"])
        for i in range(count):
            pixels = np.random.default_rng(i).integers(0, 255, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "disk" / f"p{i}.png")
            out.writerow([i, f"disk/p{i}.png", f"a caption number {i} of a thing"])
    (folder / "conjoin.toml").write_text(
        'version = 1\n[items]\ntable = "t.csv"\nid = "id"\n[modalities.image]\n'
        'column = "photo"\nencoder = "python:tiny_pictures:mean?kind=image"\n'
    )
    (folder / "tiny_pictures.py").write_text(
        "import numpy as np\n"
        "def mean(cells):\n"
        "    return np.stack([np.asarray(c, np.float32).mean((0, 1)) + 1 for c in cells])\n"
    )
    return folder


def test_a_drive_that_is_away_costs_nothing(conjoin, tmp_path, monkeypatch):
    monkeypatch.chdir(drive(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    assert "image: 30 made, 0 kept, 0 failed" in conjoin.good("embed").out
    (tmp_path / "disk").rename(tmp_path / "off")
    conjoin.bad(tmp_path, "embed", says=("image: 30 of 30 cells cannot be read now",
                       "its folder is not there", "give --yes"))  # fmt: skip
    assert conjoin("embed", "--strict", "--yes").code == 2
    kept = conjoin("embed", "--yes", "--json")
    (entry,) = kept.json["modalities"]
    assert (kept.code, entry["made"], entry["kept"], entry["dropped"]) == (1, 0, 30, 0)
    assert entry["failed"] == []
    assert entry["unreachable"][0]["reason"].endswith("no such file; its folder is not there")
    told = conjoin("embed", "--yes")
    assert "image: 0 made, 30 kept (30 of them unreachable), 0 failed" in told.out
    assert "item 0: kept, unreachable: " in told.err
    (tmp_path / "off").rename(tmp_path / "disk")
    assert "image: 0 made, 30 kept, 0 failed" in conjoin.good("embed").out
    for number in range(4):  # more than a tenth of thirty is four
        assert conjoin("embed").code == (0 if number == 0 else 1)
        (tmp_path / "disk" / f"p{number}.png").unlink()
    conjoin.bad(tmp_path, "embed", "--prune", says=("4 of 30 cells", "drop their vectors?"))
    pruned = conjoin("embed", "--prune", "--yes")
    assert "image: 0 made, 26 kept, 4 dropped, 4 failed" in pruned.out


def test_permission_that_is_missing_is_no_loss(conjoin, tmp_path, monkeypatch):
    folder = drive(tmp_path, 12)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    conjoin.good("embed")
    real = open

    def refusing(path, *args, **kwargs):
        if str(path).endswith("p3.png"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *args, **kwargs)

    monkeypatch.setattr("builtins.open", refusing)
    (entry,) = conjoin("embed", "--json").json["modalities"]
    assert (entry["kept"], entry["unreachable"][0]["id"]) == (12, "3")
    assert "Permission denied" in entry["unreachable"][0]["reason"]


def test_init_allows_what_the_table_names_outside_its_folder_and_says_so(
    conjoin, tmp_path, monkeypatch
):
    (tmp_path / "ws").mkdir()
    folder = drive(tmp_path / "ws", 12)
    monkeypatch.chdir(folder)
    (folder / "disk").rename(tmp_path / "disk")
    text = (folder / "t.csv").read_text()
    (folder / "t.csv").write_text(text.replace("disk/", f"{tmp_path}/disk/"))
    told = conjoin.good("init", "t.csv", "--yes")
    allowed = f'folders = ["{(tmp_path / "disk").resolve().as_posix()}"]'
    assert f"cells name files outside the table's folder, which conjoin.toml allows: {allowed}" in (
        told.err
    )
    assert allowed in (folder / "conjoin.toml").read_text()
    (folder / "t.csv").write_text(text.replace("disk/", "http://127.0.0.1:1/"))
    assert 'hosts = ["127.0.0.1"]' in conjoin.good("init", "t.csv", "--yes").err
    (folder / "t.csv").write_text(text.replace("disk/", "https://example.org/"))
    plain = conjoin.good("init", "t.csv", "--yes")
    assert "allows" not in plain.err
    assert "hosts" not in (folder / "conjoin.toml").read_text()


def test_what_a_run_noticed_is_on_one_line_and_in_json(conjoin, tmp_path, monkeypatch):
    folder = drive(tmp_path, 12)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    for number in (3, 4):
        Image.new("RGB", (8, 8), (9 * number, 0, 0)).save(folder / "disk" / f"p{number}.png")
    assert conjoin.good("embed").out.splitlines()[-1] == "note: image: 2 blank pictures"
    again = conjoin.good("embed", "--json").json
    assert again["modalities"][0]["remarks"] == {"blank pictures": 2}
    assert again["notes"] == []
