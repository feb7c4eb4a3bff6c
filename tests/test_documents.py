"""Documents as rows: each character and picture in one row or in the list of what was left out."""

import io
import json
import os
import re
from collections import Counter
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import docx
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from typer.testing import CliRunner

import pdfs
from conjoin.answering.documents.blocks import Block, Leavings, Unreadable
from conjoin.answering.documents.cut import pieces
from conjoin.answering.documents.docx import read_docx
from conjoin.answering.documents.read import read_documents
from conjoin.answering.documents.sentences import sentence_spans, sentences
from conjoin.cli.main import app
from conjoin.errors import ConjoinError

RNG = np.random.default_rng(0)


def picture(seed: int, side: int = 40) -> bytes:
    held = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(held, "PNG")
    return held.getvalue()


def letters(text: str) -> str:
    return "".join(text.split())


def rows_of(out: Path) -> list[dict]:
    return pq.read_table(out).to_pylist()


def held(rows: list[dict]) -> str:
    """All that rows hold, each character once, in order."""
    parts = []
    for row in rows:
        parts += [*row["opens"], row["text"] or "", row["caption"] or ""]
    return letters("".join(parts))


class Seen(HTMLParser):
    """The characters between the tags of a page, by the standard library."""

    def __init__(self):
        super().__init__()
        self.said = []

    def handle_data(self, data):
        self.said.append(data)


PAGE = """<html><head><title>Head</title><style>p {color: red}</style></head><body>
<nav>Home | About</nav><h1>Kettles</h1><p>A <b>kettle</b> boils water. It holds 1.5 l, e.g. tea
for four. <a href="#rules">Safety rules of the kettle</a></p><script>var x = "no";</script>
stray words<h2 id="rules">Rules</h2><ul><li>Never boil it dry.</li><li>Keep away from
children and from their toys.</li></ul><table id="t"><caption>Sizes</caption>
<tr><th>name</th><th>litres</th></tr>
<tr><td>small</td><td>1</td></tr><tr><td>large</td><td>2</td></tr></table>
<figure><img src="a.png" alt="x"><figcaption>Figure 1: the kettle</figcaption></figure>
<p>Inline <img src="tiny.png"> and <img src="../../etc/x.png"> gone.</p>
<pre>boil  --dry
   no</pre><h2>Nothing below</h2></body></html>"""


def test_each_character_of_a_page_lies_in_one_row_or_is_said_to_be_left_out(tmp_path):
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "k.html").write_text(PAGE)
    (docs / "a.png").write_bytes(picture(1))
    (docs / "tiny.png").write_bytes(picture(2, side=8))
    found = read_documents([docs], tmp_path / "items.parquet")
    rows = rows_of(tmp_path / "items.parquet")
    page = Seen()
    page.feed(PAGE)
    whole = Counter(letters("".join(page.said).replace("|", "")))
    spoken = Counter(held(rows).replace("|", ""))
    gone = Counter(letters("".join(one.text for one in found.left)).replace("|", ""))
    assert spoken + gone == whole
    assert {one.why for one in found.left if one.what == "text"} == {
        "head of the page", "navigation", "program code of the page",
    }  # fmt: skip
    assert sorted(one.count for one in found.left if one.what == "picture") == [1, 1]
    shown = [row for row in rows if row["pictures"]]
    assert [row["caption"] for row in shown] == ["Figure 1: the kettle"]
    assert (tmp_path / shown[0]["pictures"][0]).read_bytes() == picture(1)
    table = next(row for row in rows if row["kind"] == "table")
    assert table["table"] == [["name", "litres"], ["small", "1"], ["large", "2"]]
    assert table["path"] == ["Kettles", "Rules"]
    assert next(row for row in rows if "--dry\n   no" in row["text"])
    rules = next(row for row in rows if "boil it dry" in row["text"])
    assert "Safety rules of the kettle" in rules["asked"]
    assert rows[-1]["opens"] == ["Nothing below"]


def test_a_cut_table_repeats_its_header_and_holds_each_cell_once():
    cells = tuple((f"name {i}", "x" * 40) for i in range(40))
    block = Block("table", rows=(("name", "what"), *cells), header=True, caption="All names")
    made = pieces("d", [Block("heading", "T", level=1), block], most=400)
    assert len(made) > 3
    for piece in made:
        assert piece.rows[0] == ("name", "what")
        assert piece.shown.startswith("name | what")
    body = [row for piece in made for row in piece.rows[1:]]
    assert body == list(cells)
    assert sum("name | what" in piece.text for piece in made) == 1
    assert [piece.caption for piece in made] == ["All names", *[""] * (len(made) - 1)]


def test_no_sentence_is_cut_and_none_is_lost():
    said = [f"Sentence number {i} has {'very ' * int(RNG.integers(1, 40))}many words."
            for i in range(60)]  # fmt: skip
    long = "Endless " + "word " * 400 + "ends."
    text = " ".join([*said[:30], long, *said[30:]])
    made = pieces("d", [Block("text", text, page=3)], most=500)
    assert max(len(piece.text) for piece in made if long[:20] not in piece.text) <= 500
    parts = [one for piece in made for one in sentences(piece.text)]
    assert parts == [*said[:30], long, *said[30:]]
    assert letters("".join(piece.text for piece in made)) == letters(text)


def test_what_is_no_prose_is_cut_and_the_cut_is_said(tmp_path):
    (tmp_path / "long.txt").write_text("blob" * 5000)
    found = read_documents([tmp_path / "long.txt"], tmp_path / "o.parquet")
    assert "".join(row["text"] for row in rows_of(tmp_path / "o.parquet")) == "blob" * 5000
    assert [one.what for one in found.left] == ["note"]
    (tmp_path / "long.txt").write_text("blob" * 1999)
    assert not read_documents([tmp_path / "long.txt"], tmp_path / "o.parquet").left


def test_sentences_end_at_stops_and_not_at_abbreviations():
    text = "See Fig. 3, i.e. the J. Smith plot. Is it 3.5? Yes.\n\n- one\n- two\n\n他来了。他走了。"
    assert sentences(text) == [
        "See Fig. 3, i.e. the J. Smith plot.", "Is it 3.5?", "Yes.", "- one", "- two", "他来了。",
        "他走了。",
    ]  # fmt: skip
    for _ in range(200):
        noise = "".join(RNG.choice(list("aB.!? \n\"')-1。"), 30))
        spans = sentence_spans(noise)
        assert letters("".join(noise[a:b] for a, b in spans)) == letters(noise)
        assert all(a < b for a, b in spans)
        assert all(x[1] <= y[0] for x, y in pairwise(spans))


def test_a_pdf_has_headings_pages_captions_and_no_running_heads(tmp_path):
    sheets, titles = [], []
    for number in range(8):
        sheets.append([
            (72, 760, 9, "The Manual of Kettles"), (72, 700, 12, f"{number + 1} Part {number}"),
            (72, 660, 10, f"This sentence of part {number} goes"),
            (72, 648, 10, f"on below. Here is number {number * 11}."),
            (72, 300, 10, f"Figure {number}. The kettle from the side."),
            (300, 30, 9, str(number + 1)),
        ])  # fmt: skip
        titles.append((f"Part {number}", number))
    (tmp_path / "m.pdf").write_bytes(pdfs.pdf(sheets, titles, [(2, (72, 320, 100, 80))]))
    found = read_documents([tmp_path / "m.pdf"], tmp_path / "o.parquet")
    rows = rows_of(tmp_path / "o.parquet")
    whole = Counter(letters("".join(line[3] for sheet in sheets for line in sheet)))
    gone = Counter(letters("".join(one.text for one in found.left)))
    assert Counter(held(rows)) + gone == whole
    assert {one.why for one in found.left} == {"running head or foot"}
    texts = [row for row in rows if row["kind"] == "text"]
    assert [row["page"] for row in texts] == list(range(1, 9))
    assert [row["path"][0] for row in texts] == [f"{n + 1} Part {n}" for n in range(8)]
    assert texts[4]["asked"] == ["Part 4"]
    shown = [row for row in rows if row["kind"] == "figure"]
    assert [(row["page"], row["caption"]) for row in shown] == [
        (3, "Figure 2. The kettle from the side.")
    ]
    assert shown[0]["box"] == [72, 320, 172, 400]
    assert len({row["chapter"] for row in rows}) == 8


def test_a_sentence_over_two_pages_stays_whole_and_says_where_the_second_begins():
    made = pieces("d", [Block("text", "It begins\nand ends.", page=4, breaks=(10,))])
    assert (made[0].page, made[0].breaks, made[0].text[10:]) == (4, (10,), "and ends.")


def test_larger_letters_are_headings_where_there_is_no_outline(tmp_path):
    sheet = [(72, 700, 18, "Boiling"), (72, 660, 10, "Water boils at one hundred degrees."),
             (72, 600, 18, "Pouring"), (72, 560, 10, "Pour it slowly into the pot.")]  # fmt: skip
    (tmp_path / "m.pdf").write_bytes(pdfs.pdf([sheet]))
    read_documents([tmp_path / "m.pdf"], tmp_path / "o.parquet")
    assert [row["path"] for row in rows_of(tmp_path / "o.parquet")] == [["Boiling"], ["Pouring"]]


def test_markdown_and_text_have_headings_and_lose_no_letter(tmp_path):
    said = (
        "# Boil\n\nWater *boils*. See [the pot](#the-pot).\n\n## The pot\n\nA pot is what holds the"
        " water and the tea while it boils.\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n"
        "![seen from the side](s.png)\n"
    )
    (tmp_path / "m.md").write_text(said)
    (tmp_path / "s.png").write_bytes(picture(3))
    (tmp_path / "t.txt").write_text("1.2 Pots\n\nA pot.\n\nLids\n====\nA lid.\fNext page.\n")
    found = read_documents([tmp_path / "m.md", tmp_path / "t.txt"], tmp_path / "o.parquet")
    rows = rows_of(tmp_path / "o.parquet")
    mark = [row for row in rows if row["document"] == "m.md"]
    assert held(mark) == letters(
        "Boil Water boils. See the pot. The pot A pot is what holds the water and the tea while it"
        " boils. a | b 1 | 2 seen from the side"
    )
    assert [row["asked"] for row in mark if row["asked"]] == [["The pot"], ["seen from the side"]]
    plain = [row for row in rows if row["document"] == "t.txt"]
    assert [(row["path"], row["page"]) for row in plain] == [(["1.2 Pots"], 1), (["Lids"], 1)]
    assert plain[1]["text"][plain[1]["breaks"][0] :] == "Next page."
    assert held(plain) == letters("1.2 Pots A pot. Lids A lid. Next page.")
    assert [one.text for one in found.left] == ["===="]


def test_docx_has_headings_tables_pictures_and_says_what_is_beside_the_body(tmp_path):
    made = docx.Document()
    made.add_heading("Kettles", 1)
    made.add_paragraph("A kettle boils. It whistles.")
    made.add_picture(io.BytesIO(picture(4)))
    made.add_paragraph("Figure 1: a kettle")
    table = made.add_table(3, 2)
    for at, cell in enumerate(["name", "litres", "small", "1", "large", "2"]):
        table.cell(at // 2, at % 2).text = cell
    made.sections[0].header.paragraphs[0].text = "Secret head"
    made.save(str(tmp_path / "k.docx"))
    found = read_documents([tmp_path / "k.docx"], tmp_path / "o.parquet")
    rows = rows_of(tmp_path / "o.parquet")
    body = "".join(node.text or "" for node in made.element.body.iter() if node.tag.endswith("}t"))
    assert Counter(held(rows).replace("|", "")) == Counter(letters(body))
    assert [(row["kind"], row["caption"]) for row in rows] == [
        ("text", None), ("figure", "Figure 1: a kettle"), ("table", None),
    ]  # fmt: skip
    assert [(one.text, one.why) for one in found.left] == [("Secret head", "in the header")]


def test_hostile_files_are_one_line_each_and_the_others_are_read(tmp_path, monkeypatch):
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "broken.pdf").write_bytes(b"%PDF-1.5\ngarbage")
    (bad / "locked.pdf").write_bytes(pdfs.encrypted())
    (bad / "scan.pdf").write_bytes(pdfs.pdf([[]], (), [(0, (0, 0, 600, 790))]))
    (bad / "not.docx").write_bytes(b"PK\x03\x04garbage")
    (bad / "empty.txt").write_bytes(b"")
    (bad / "binary.txt").write_bytes(b"\x00\x01\x02" * 50)
    (bad / "deep.html").write_text("<div>" * 5_000 + "deep" + "</div>" * 5_000)
    (bad / "deeper.html").write_text("<div>" * 90_000)
    (bad / "good.md").write_text("Fine words stand here.")
    (bad / "bomb.html").write_text(f'<p>x<img src="data:image/png;base64,{"A" * 50}">y</p>')
    found = read_documents([bad], tmp_path / "o.parquet")
    lines = {one.document: one.line() for one in found.unread}
    assert set(lines) == {"broken.pdf", "locked.pdf", "not.docx", "empty.txt", "binary.txt",
                          "deeper.html"}  # fmt: skip
    assert "encrypted" in lines["locked.pdf"]
    assert all(line.count("\n") == 0 for line in lines.values())
    texts = {row["document"]: row["text"] for row in rows_of(tmp_path / "o.parquet")}
    assert texts["deep.html"] == "deep"
    assert texts["good.md"] == "Fine words stand here."
    assert any("scanned" in one.why for one in found.left if one.document == "scan.pdf")
    monkeypatch.setattr("conjoin.answering.documents.read.LARGEST", 10)
    assert len(read_documents([bad], tmp_path / "p.parquet").unread) == 10


def test_a_docx_that_unpacks_to_too_much_is_not_unpacked(tmp_path, monkeypatch):
    docx.Document().save(str(tmp_path / "k.docx"))
    monkeypatch.setattr("conjoin.answering.documents.docx.UNPACKED", 1000)
    with pytest.raises(Unreadable, match="unpacks to"):
        list(read_docx(tmp_path / "k.docx", Leavings("k.docx", tmp_path)))


#: What a parser may do to its process: never end, take all memory, end it, or print.
HARM = {
    "loops": ("while True: pass", "took more than 0.3 s"),
    "grows": ("bytearray(1 << 40)", "MemoryError"),
    "dies": ("import os; os._exit(7)", "ended its reader (code 7)"),
    "aborts": ("import os; os.abort()", "ended its reader (code -6)"),
    "fails": ("raise RuntimeError('x')", "its reader failed (RuntimeError: x)"),
    "prints": ("print('{}'); raise OSError('y')", "its reader failed (OSError: y)"),
}


START = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
import conjoin.answering.documents.apart as apart
real = apart.READERS['.pdf']
def read(path, left):
    if 'good' not in path.name:
        {code}
    yield from real(path, left)
apart.SECONDS, apart.READERS = 0.3, {{'.pdf': read}}
apart.serve()
"""


@pytest.mark.parametrize("name", HARM)
def test_a_parser_that_does_harm_ends_its_own_process_alone(tmp_path, monkeypatch, name):
    code, why = HARM[name]
    start = START.format(code=code)
    monkeypatch.setattr("conjoin.answering.documents.apart._START", start)
    monkeypatch.setattr("conjoin.answering.documents.apart.SECONDS", 0.3)
    sheet = [(72, 700, 12, "1 Kettles"), (72, 660, 10, "A kettle boils two litres.")]
    for own in ("bad.pdf", "good.pdf"):
        (tmp_path / own).write_bytes(pdfs.pdf([sheet]))
    found = read_documents(tmp_path, tmp_path / "o.parquet")
    assert [one.document for one in found.unread] == ["bad.pdf"]
    assert why in found.unread[0].why
    assert {row["document"] for row in rows_of(tmp_path / "o.parquet")} == {"good.pdf"}


def test_a_former_table_that_is_damaged_is_read_again(tmp_path):
    (tmp_path / "a.md").write_text("# Kettle\n\nIt boils.\n")
    out, note = tmp_path / "o.parquet", tmp_path / "o.parquet.read.json"
    read_documents([tmp_path / "a.md"], out)
    whole = out.read_bytes()
    assert read_documents([tmp_path / "a.md"], out).unchanged == 1
    for path, data in ((note, b"{}"), (note, b"\xff"), (out, whole[:-40]), (out, b"")):
        path.write_bytes(data)
        assert read_documents([tmp_path / "a.md"], out).unchanged == 0
        assert out.read_bytes() == whole


def test_paths_are_named_singly_and_folders_are_no_tables(tmp_path):
    (tmp_path / "a.md").write_text("# Kettle\n\nIt boils.\n")
    assert read_documents(str(tmp_path / "a.md"), str(tmp_path / "o.parquet")).rows == 1
    with pytest.raises(ConjoinError, match="is a folder"):
        read_documents([tmp_path / "a.md"], tmp_path)
    os.mkfifo(tmp_path / "pipe.md")
    with pytest.raises(ConjoinError, match="no plain file"):
        read_documents([tmp_path / "pipe.md"], tmp_path / "p.parquet")


def test_a_changed_file_changes_its_rows_alone(tmp_path, monkeypatch):
    docs, out = tmp_path / "docs", tmp_path / "o.parquet"
    docs.mkdir()
    for name in "abc":
        (docs / f"{name}.md").write_text(
            f"# {name}\n\nFirst words of {name}.\n\n# B\n\nLast words."
        )
    read_documents([docs], out)
    before = {row["id"]: row for row in rows_of(out)}
    (docs / "b.md").write_text("# b\n\nFirst words of b.\n\n# B\n\nOther words.")
    (docs / "c.md").unlink()
    seen = []
    real = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: seen.append(path.name) or real(path))
    found = read_documents([docs], out)
    assert [name for name in seen if name.endswith(".md")] == ["b.md"]
    after = {row["id"]: row for row in rows_of(out)}
    assert found.unchanged == 1
    assert found.removed == ("c.md",)
    assert {i: r for i, r in before.items() if r["document"] == "a.md"} == {
        i: r for i, r in after.items() if r["document"] == "a.md"
    }
    assert len(set(before) & set(after)) == 3  # two of a, and the piece of b that stayed
    read_documents([docs], out, most=900)
    assert len([name for name in seen if name == "a.md"]) == 1  # by another rule all is read again


def test_ids_are_unique_where_pieces_are_equal(tmp_path):
    (tmp_path / "a.md").write_text("# x\n\nSame.\n\n# x\n\nSame.\n")
    read_documents([tmp_path], tmp_path / "o.parquet")
    ids = [row["id"] for row in rows_of(tmp_path / "o.parquet")]
    assert len(set(ids)) == len(ids) == 2


def test_read_and_init_by_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    parts = [f"# Part {i}\n\nWhat part {i} says is said here in {i} words and at some length."
             for i in range(6)]  # fmt: skip
    (tmp_path / "docs/m.md").write_text("\n\n".join(parts))
    (tmp_path / "docs/x.pdf").write_bytes(b"no")
    run = CliRunner()
    told = run.invoke(app, ["read", "docs", "-o", "items.parquet", "--json"])
    assert told.exit_code == 1  # not all was read
    said = json.loads(told.stdout)
    assert (said["documents"], said["rows"], said["asked"]) == (1, 6, 6)
    assert [one["document"] for one in said["left_out"]] == ["x.pdf"]
    assert run.invoke(app, ["init", "items.parquet"]).exit_code == 0
    text = (tmp_path / "conjoin.toml").read_text()
    assert re.search(r'column = "asked"', text)
    assert re.search(r'group = "chapter"', text)
    assert "pictures" not in text  # no row has one
    told = run.invoke(app, ["read", "docs", "-o", "items.csv"])
    assert "items.parquet" in str(told.exception)
    with pytest.raises(ConjoinError, match="no such file"):
        read_documents([tmp_path / "none.pdf"], tmp_path / "o.parquet")
    with pytest.raises(ConjoinError, match="has no reader"):
        read_documents([tmp_path / "items.parquet"], tmp_path / "o.parquet")


def test_a_reader_of_your_own_gives_blocks_or_their_fields(tmp_path):
    (tmp_path / "a.xyz").write_text("one two")

    def mine(path: Path, left: Leavings):
        yield Block("heading", "Mine", level=1)
        yield {"kind": "text", "text": path.read_text(), "page": 7}

    read_documents([tmp_path / "a.xyz"], tmp_path / "o.parquet", reader=mine)
    row = rows_of(tmp_path / "o.parquet")[0]
    assert (row["text"], row["page"], row["path"]) == ("one two", 7, ["Mine"])

    def wrong(path: Path, left: Leavings):
        yield "a string"

    found = read_documents([tmp_path / "a.xyz"], tmp_path / "p.parquet", reader=wrong)
    assert "gave a str" in found.unread[0].why
