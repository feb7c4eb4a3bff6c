import json
import tomllib
from pathlib import Path

import pytest

from conjoin.errors import ConjoinError
from conjoin.items import Config, config, write_schema

FULL = """\
version = 1
[items]
table = "items.parquet"
id = "id"
[modalities.image]
column = "picture"
encoder = "builtin:image"
[modalities.text]
column = "caption"
encoder = "builtin:text"
[modalities.sound]
column = "speech"
encoder = "builtin:audio"
[modalities.facts]
column = ["size", "colour"]
encoder = "builtin:table"
[pairs.spoken]
table = "pairs.parquet"
left = "text"
right = "sound"
weight = "w"
[split]
test = 0.3
group = "family"
seed = 4
[fit]
method = "ridge"
hub = "text"
fields = { lam = 0.5 }
[index]
storage = "int8"
prefix = 64
funnel = true
engine = "exact"
[relevance]
keywords = "tags"
"""
SHORT = {
    "items": {"table": "items.csv"},
    "modalities": {"text": {"column": "caption", "encoder": "builtin:text"}},
}


def write(folder: Path, text: str) -> Path:
    path = folder / "conjoin.toml"
    path.write_text(text)
    return path


def test_the_form_of_the_design_is_read(tmp_path):
    read = Config.load(write(tmp_path, FULL))
    assert read.folder == tmp_path
    assert read.items.id == "id"
    assert list(read.modalities) == ["image", "text", "sound", "facts"]
    assert read.modalities["facts"].column == ["size", "colour"]
    assert read.pairs["spoken"].weight == "w"
    assert (read.split.test, read.split.group, read.split.seed) == (0.3, "family", 4)
    assert read.fit.fields == {"lam": 0.5}
    assert Config.load(tmp_path) == read


def test_what_is_left_out_has_a_default():
    read = Config.of(SHORT)
    assert (read.version, read.items.id, read.pairs) == (1, None, {})
    assert (read.split.test, read.split.column, read.fit.method) == (0.2, None, "auto")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[items]", "[itmes]", ":2: itmes: unknown key; did you mean items"),
        ('encoder = "builtin:text"', 'encodr = "x"',
         ":10: [modalities.text] encodr: unknown key; did you mean encoder?"),
        ("group =", "groups =", ":24: [split] groups: unknown key; did you mean group?"),
        ('table = "items.parquet"', "table = 3", ":3: [items] table: input should be a valid str"),
        ('table = "items.parquet"', "", "[items] table: is missing; add it"),
        ('left = "text"', 'left = "txet"', ":19: [pairs.spoken] left: no modality 'txet'; did you "
         "mean text?"),
        ('right = "sound"', 'right = "text"', ":20: [pairs.spoken] right: 'text' on both sides"),
        ('hub = "text"', 'hub = "tex"', ":28: [fit] hub: no modality 'tex'; did you mean text?"),
        ("test = 0.3", "test = 1.5", "[split] test: is neither a share between 0 and 1 nor a num"),
        ("test = 0.3", "test = 0", "[split] test: is neither a share between 0 and 1 nor a number"),
        ("test = 0.3", "test = true", "[split] test: "),
        ("test = 0.3", 'test = 0.3\ncolumn = "fold"', "split: has both test and column: keep one"),
        ('column = ["size", "colour"]', "column = []", "[modalities.facts] column: names no colu"),
        ("[modalities.text]", '[modalities."../text"]', "is no name; use letters, digits"),
        ("version = 1", "version = 2", "version: 2, this conjoin reads up to 1; upgrade conjoin"),
        ("version = 1", 'version = "1"', "version: '1', this conjoin reads up to 1; write version"),
        ("version = 1", "version = 0", "version: 0 is older than any this conjoin reads; write v"),
        ("version = 1", "version = ", "is not TOML: Invalid value (at line 1, column 11); correct"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_place_and_remedy(tmp_path, old, new, said):
    assert old in FULL
    path = write(tmp_path, FULL.replace(old, new, 1))
    with pytest.raises(ConjoinError) as caught:
        Config.load(path)
    assert str(caught.value).startswith(str(path))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_names_init(tmp_path):
    with pytest.raises(ConjoinError, match="no such file; run: conjoin init TABLE"):
        Config.load(tmp_path)


def test_no_modality_is_refused():
    with pytest.raises(ConjoinError, match="modalities: "):
        Config.of({**SHORT, "modalities": {}})


def test_older_versions_migrate_step_by_step(monkeypatch):
    def rename_rows(values):
        return {**{k: v for k, v in values.items() if k != "rows"}, "items": values["rows"]}

    monkeypatch.setitem(config.MIGRATIONS, 0, rename_rows)
    old = {"version": 0, "rows": SHORT["items"], "modalities": SHORT["modalities"]}
    assert Config.of(old) == Config.of(SHORT)
    assert "rows" in old


def test_integer_counts_stay_integers():
    assert Config.of({**SHORT, "split": {"test": 5}}).split.test == 5


def test_the_published_schema_is_the_generated_one(tmp_path):
    write_schema(tmp_path / "schema.json")
    published = Path(__file__).parent.parent / "docs" / "conjoin.schema.json"
    assert published.read_bytes() == (tmp_path / "schema.json").read_bytes(), (
        "run: python -c 'from pathlib import Path; from conjoin.items import write_schema; "
        'write_schema(Path("docs/conjoin.schema.json"))\''
    )


def test_the_schema_knows_every_key_of_the_full_form():
    schema = json.loads(json.dumps(Config.json_schema()))
    assert set(tomllib.loads(FULL)) == set(schema["properties"])
    assert schema["additionalProperties"] is False
    assert schema["$defs"]["SplitPart"]["additionalProperties"] is False
