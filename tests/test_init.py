"""What init tells of a table: columns left out and why, ids that repeat, what was guessed."""

import base64
import io
import subprocess
import sys
import tomllib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from conjoin.errors import ConjoinError
from conjoin.items import Config
from conjoin.items.reading.guess import look
from shelf import Caller


def png():
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (8, 8, 3), np.uint8)).save(out, "PNG")
    return out.getvalue()


def seen(tmp_path, columns):
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    found = look(tmp_path / "t.parquet")
    return found, tomllib.loads(found.toml).get("modalities", {})


@pytest.mark.parametrize(
    ("cells", "kind", "why"),
    [
        (["", " img/1.png", "img/2.png ", "img/3.JPG"], "builtin:image", "paths ending in .png"),
        (["data:image/png;base64," + base64.b64encode(png()).decode()] * 4, "builtin:image",
         "data URIs"),
        (["data:audio/wav;base64,UklGRg=="] * 4, "builtin:audio", "data URIs"),
        ([base64.b64encode(png()).decode()] * 4, None, "image in base64: write data:image/"),
        ([f"https://a.org/p/{i}" for i in range(4)], None, "URLs without an ending"),
        ([f"https://a.org/p/{i}.jpg?w=3#top" for i in range(4)], "builtin:image",
         "URLs ending in .jpg"),
        (["https://a.org/1", "https://a.org/2.png", "https://a.org/3"], "builtin:image",
         "URLs ending in .png, and 2 URLs without an ending"),
        (["a.png", "b.png", "no picture here", "nor is one here"], None, "in 2 of 4 cells"),
        (["a.png", "b.wav", "c.png", "d.wav"], None, "in 2 of 4 cells"),
        ([{"array": [0.0, 1.0], "sampling_rate": 8000}] * 4, "builtin:audio", "sounds with"),
        ([{"bytes": None, "path": "a.png"}, {"bytes": png(), "path": None}], "builtin:image",
         "bytes;"),
        ([{"a": 1}] * 4, None, "records of a"),
        ([[[1.0, None], [2.0, 3.0]]] * 2, None, "more than numbers"),
        ([[None], [None]], None, "every list holds nothing"),
        (["[1,,2,3,4]"] * 4, None, "short texts"),
    ],
)  # fmt: skip
def test_columns_are_known_by_several_of_their_cells(tmp_path, cells, kind, why):
    found, modalities = seen(tmp_path, {"x": cells})
    encoders = [part["encoder"] for part in modalities.values() if part["column"] == "x"]
    assert encoders == ([kind] if kind else [])
    told = found.toml if kind else found.left_out["x"]
    assert why in told
    assert kind or found.figures or why in " ".join(found.said_left_out())


def test_urls_without_an_ending_follow_the_name_of_their_column(tmp_path):
    links = [f"https://a.org/{i}" for i in range(4)]
    _, modalities = seen(tmp_path, {"photo_url": links, "speech": links, "link": links})
    assert {part["column"]: part["encoder"] for part in modalities.values()} == {
        "photo_url": "builtin:image", "speech": "builtin:audio"
    }  # fmt: skip


def test_one_id_that_repeats_is_named(tmp_path):
    ids = [f"k{i}" for i in range(30)]
    ids[20] = "k3"
    found, _ = seen(tmp_path, {"id": ids, "caption": [f"a caption number {i}" for i in range(30)]})
    assert "'k3' is on rows 3 and 20" in found.notes[-1]
    assert "# column 'id' would be the ids, but 'k3' is on rows 3 and 20" in found.toml
    found, _ = seen(tmp_path, {"id": [*ids[:29], None], "n": range(30)})
    assert "is on rows 3 and 20" in found.notes[-1]
    found, _ = seen(tmp_path, {"id": [None, *ids[:20], *ids[21:]], "n": range(30)})
    assert "row 0 has none" in found.notes[-1]
    found, _ = seen(tmp_path, {"id": ["a", "b"] * 15, "n": range(30)})  # a class, no id
    assert found.notes == ()


def test_odd_names_and_texts_make_a_file_that_is_read(tmp_path):
    names = ["a\nb", 'q"uote', "tab\t", "del\x7f", "é", "x" * 300, "#", "[s]", "'", "\\", " "]
    columns = {name: [f"some {i} words {name}.png\n" for i in range(5)] for name in names}
    columns["p\x01"] = [f"{i}.p\x01\x7fg?.png" for i in range(5)]
    found, modalities = seen(tmp_path, columns)
    Config.of(tomllib.loads(found.toml))
    assert {part["column"] for part in modalities.values()} | set(found.left_out) == set(columns)


def test_what_is_left_out_is_said_and_is_in_json(tmp_path, monkeypatch, capsys):
    conjoin = Caller(monkeypatch, capsys)
    text = "id;caption;photo;size;price\n" + "".join(
        f"{i};a caption of {i};https://a.org/{'x' * i};{i};{i},5\n" for i in range(6)
    )
    (tmp_path / "t.csv").write_text(text.replace("photo", "page"))
    told = conjoin.good("init", tmp_path / "t.csv", "-w", tmp_path)
    lines = told.err.splitlines()
    assert lines == [
        "t.csv: fields are separated by semicolons",
        "left out: column 'page': URLs without an ending: give builtin:image or builtin:audio if "
        "they are such",
        "left out: 2 columns of numbers or categories ('size', 'price'): builtin:table makes a "
        "modality of them",
    ]
    told = conjoin.good("init", tmp_path / "t.csv", "-w", tmp_path, "--json", "--yes").json
    assert list(told["left_out"]) == ["page", "size", "price"]
    assert told["notes"] == ["t.csv: fields are separated by semicolons"]


def test_a_path_that_is_not_unicode_is_one_line(tmp_path):
    import os

    with pytest.raises(ConjoinError, match=r"caf\\xe9.csv: is a name that is not UTF-8; rename it"):
        look(tmp_path / os.fsdecode(b"caf\xe9.csv"))


def test_the_command_line_runs_as_a_module_and_k_has_two_spellings(tmp_path):
    for module in ("conjoin", "conjoin.cli.main"):
        told = subprocess.run(
            [sys.executable, "-m", module, "search", "x", "--k", "3", "-w", str(tmp_path)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert told.returncode == 2
        assert "conjoin.toml: is missing; run: conjoin init TABLE" in told.stderr
