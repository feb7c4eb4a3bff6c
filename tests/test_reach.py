"""What a cell may name: paths however they are written, folders that are allowed, data URIs."""

import base64
import io
import os
import unicodedata

import numpy as np
import pytest
from PIL import Image

from conjoin.errors import CellError, ConjoinError, Unreachable
from conjoin.items import Items, resolve
from conjoin.items.config import Config
from conjoin.items.web.reach import Reach, inside, locate


def png(colour="red"):
    out = io.BytesIO()
    Image.new("RGB", (4, 4), colour).save(out, "PNG")
    return out.getvalue()


def put(path, data=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png() if data is None else data)
    return path


def test_a_file_is_found_however_its_name_is_written(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    base = tmp_path / "table"
    plain = put(base / "img" / "x.png")
    blank = put(base / "a b.png")
    composed = put(base / unicodedata.normalize("NFC", "café.png"))
    apart = put(base / unicodedata.normalize("NFD", "señor.png"))
    home = put(tmp_path / "home" / "p.png")
    percent = put(base / "50%25.png")
    for written, file in [
        ("img/x.png", plain), ("./img/x.png", plain), ("img\\x.png", plain),
        (" img/x.png\n", plain),
        (plain.as_uri(), plain), (f"FILE://localhost{plain.as_posix()}", plain),
        ("a b.png", blank), ("a%20b.png", blank), (blank.as_uri(), blank),
        (unicodedata.normalize("NFD", "café.png"), composed),
        (unicodedata.normalize("NFC", "señor.png"), apart),
        ("~/p.png", home), ("50%25.png", percent),
    ]:  # fmt: skip
        found = locate(written, base)
        assert found.exists(), written
        assert os.path.samefile(found, file), written


def test_what_stands_literally_comes_before_every_other_reading(tmp_path):
    for name in ("a%20b.png", "~", "x\\y.png", " c.png"):
        put(tmp_path / name)
        assert locate(name, tmp_path).name == name
    put(tmp_path / "a b.png")
    assert locate("a%20b.png", tmp_path).name == "a%20b.png"


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("s3://bucket/a.png", r"s3:// is not read: fetch the files"),
        ("gs://bucket/a.png", "gs:// is not read"),
        ("ftp://host/a.png", "ftp:// is not read"),
        ("file://server/share/a.png", "a file: URL of another machine, server"),
        ("a\x00.png", "NUL"),
        ("data:image/png;base64", "without a comma"),
        ("data:image/png;base64,@@@@", "not base64"),
    ],
)
def test_places_that_are_no_files_are_refused_by_name(tmp_path, written, said):
    with pytest.raises(CellError, match=said):
        resolve(written, tmp_path, "image")


def test_data_uris_hold_the_picture_itself(tmp_path):
    packed = base64.b64encode(png()).decode()
    wrapped = packed[:20] + "\n" + packed[20:]
    urlsafe = base64.urlsafe_b64encode(png()).decode().rstrip("=")
    for text in (
        f"data:image/png;base64,{packed}", f"DATA:image/png;charset=x;BASE64,{wrapped}",
        f"data:;base64,{urlsafe}",
    ):  # fmt: skip
        assert resolve(text, tmp_path, "image") == png()
    assert inside("data:,a%20b") == b"a b"


def test_a_missing_file_says_what_is_there_instead(tmp_path):
    put(tmp_path / "a.PNG")
    items = Items.from_frame({"p": ["a.png", "gone/b.png", "c.png", "."]}, base=tmp_path)
    said = [str(cell) for _, cell in items.cells("p", "image")]
    assert [text.partition(": ")[2] for text in said[:3]] == [
        "no such file; there is a.PNG", "no such file; its folder is not there", "no such file",
    ]  # fmt: skip
    assert said[3].endswith("is a folder or no plain file")


# --- folders


def test_places_outside_the_table_are_refused_unless_a_folder_is_allowed(tmp_path):
    table = tmp_path / "table"
    inner = put(table / "in.png")
    outer = put(tmp_path / "other" / "out.png")
    put(tmp_path / "table2" / "near.png")  # a folder whose name begins alike
    (table / "link").symlink_to(outer.parent)
    (table / "home.png").symlink_to(inner)
    np.save(tmp_path / "other" / "v.npy", np.zeros(3))
    shut = Reach(table)
    for text in ("in.png", "./in.png", "sub/../in.png", str(inner), inner.as_uri(), "home.png"):
        assert resolve(text, table, "image", shut)
    refused = ("../other/out.png", str(outer), outer.as_uri(), "link/out.png",
               "..\\other\\out.png", "../table2/near.png",
               "in.png/../../other/out.png", "%2e%2e/other/out.png")  # fmt: skip
    for text in refused:
        with pytest.raises(Unreachable, match=r"lies outside .* folders = \[\""):
            resolve(text, table, "image", shut)
    with pytest.raises(Unreachable, match="lies outside"):
        resolve("../other/v.npy", table, "vector", shut)
    with pytest.raises(Unreachable, match="lies outside"):
        resolve({"bytes": None, "path": str(outer)}, table, "image", shut)
    open_ = Reach(table, (tmp_path / "other",))
    for text in ("../other/out.png", str(outer), "link/out.png"):
        assert resolve(text, table, "image", open_)
    with pytest.raises(Unreachable, match="lies outside"):
        resolve("../table2/near.png", table, "image", open_)
    assert resolve(str(outer), table, "image")  # code of one's own may name any file


def test_the_configuration_says_which_folders_and_hosts_are_allowed(tmp_path):
    outer = put(tmp_path / "other" / "out.png")
    (tmp_path / "ws").mkdir()
    (tmp_path / "ws" / "t.csv").write_text(f"id,p\n1,{outer}\n2,http://127.0.0.1:1/a.png\n")
    entry = {"image": {"column": "p", "encoder": "builtin:image"}}

    def said(**allowed):
        values = {"items": {"table": "t.csv", "id": "id", **allowed}, "modalities": entry}
        items = Items.load(Config.of(values), tmp_path / "ws")
        return [str(cell) for _, cell in items.cells("p", "image")]

    first, second = said()
    assert "lies outside" in first
    assert 'hosts = ["127.0.0.1"] under [items]' in second
    first, second = said(folders=["../other"], hosts=["127.0.0.1"])
    assert first == str(outer)
    assert "cannot be fetched" in second
    with pytest.raises(ConjoinError, match="folders"):
        said(folders="../other")


def test_the_service_reads_what_the_configuration_allows_and_nothing_else(tmp_path, monkeypatch):
    from conjoin.project.workspace import Workspace
    from conjoin.server.limits import Limits, Problem
    from conjoin.server.media import Shelf

    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "reads_red.py").write_text(
        "import numpy as np\ndef red(cells):\n"
        "    return np.array([[np.asarray(c)[..., 0].mean(), 1] for c in cells])\n"
    )
    put(tmp_path / "secret" / "out.png")
    put(tmp_path / "ws" / "in.png")
    rows = b"id,p\n1,in.png\n2,../secret/out.png\n3,http://127.0.0.1:1/x.png\n"
    put(tmp_path / "ws" / "t.csv", rows)
    toml = (
        '[items]\ntable = "t.csv"\nid = "id"\n{}\n[modalities.image]\ncolumn = "p"\n'
        'encoder = "python:reads_red:red?kind=image"\n'
    )

    def shown(allowed):
        (tmp_path / "ws" / "conjoin.toml").write_text(toml.format(allowed))
        shelf = Shelf(Workspace(tmp_path / "ws", writes=False), Limits())
        found = []
        for item in "123":
            try:
                found.append(shelf.get(item, "image", 0, 64).mime)
            except Problem as problem:
                found.append(problem.found)
        return found

    first, second, third = shown("")
    assert first == "image/webp"
    assert second == "the image of '2' cannot be read now"
    assert third == "the image of '3' cannot be read now"
    first, second, third = shown('folders = ["../secret"]')
    assert (first, second) == ("image/webp", "image/webp")
    assert "cannot be read now" in third
