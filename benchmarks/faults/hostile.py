"""What the newer verbs are not made for: documents, weights, endpoints and tables made to hurt."""
# ruff: noqa: E501 - what is hostile is long

import functools
import io
import json
import random
import socketserver
import struct
import threading
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

import pdfs
from conjoin.evaluation.formats.base import Cells, Foil, Rank
from conjoin.evaluation.formats.base import Contrast as Foils
from conjoin.evaluation.formats.beir import Beir
from conjoin.evaluation.formats.coco import CocoCaptions
from conjoin.evaluation.formats.mteb_folder import MtebFolder
from conjoin.evaluation.formats.trec import Trec
from conjoin.evaluation.formats.vl_checklist import VlChecklist

SAID = "The kettle holds 2 litres of water. It must not be boiled dry. Anna Holm sold it in Bergen."


def documents(folder: Path) -> None:
    """A small manual of every kind of document."""
    folder.mkdir()
    (folder / "a.md").write_text(f"# Kettle\n\n{SAID}\n\n## Care\n\nDescale it every month.\n")
    (folder / "b.html").write_text(
        f"<h1>Teapot</h1><p>{SAID}</p><table><tr><th>a</th></tr></table>"
    )
    (folder / "c.txt").write_text("Toaster\n=======\n\nIt toasts two slices.\n")
    (folder / "d.pdf").write_bytes(_paged(2))
    (folder / "e.docx").write_bytes(_docx(f"<w:p><w:r><w:t>{SAID}</w:t></w:r></w:p>"))


def _paged(count: int, text: str = "A mixer stirs dough.") -> bytes:
    lines = [(72.0, 700.0, 18.0, "Mixer"), (72.0, 660.0, 11.0, text)]
    return pdfs.pdf([lines] * count, outline=[("Mixer", 0)], pictures=[(0, (72, 300, 64, 48))])


def _docx(body: str, **more: bytes) -> bytes:
    kind = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("[Content_Types].xml", (
            '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
            '<Default Extension="rels" '
            'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
            f'<Override PartName="/word/document.xml" ContentType="{kind}"/></Types>'
        ))  # fmt: skip
        packed.writestr("_rels/.rels", (
            '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
            f'<Relationship Id="r1" Type="{office}" Target="word/document.xml"/></Relationships>'
        ))  # fmt: skip
        space = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
        packed.writestr("word/document.xml",
                        f'<w:document xmlns:w="{space}"><w:body>{body}</w:body></w:document>')  # fmt: skip
        for name, data in more.items():
            packed.writestr(name, data)
    return held.getvalue()


def _objects(*bodies: bytes, root: int = 1) -> bytes:
    """A PDF of numbered objects as given."""
    out, places = b"%PDF-1.5\n", []
    for number, body in enumerate(bodies, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(bodies) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    return out + b"trailer<</Size %d/Root %d 0 R>>\nstartxref\n%d\n%%%%EOF" % (
        len(bodies) + 1, root, start,
    )  # fmt: skip


def _stream(data: bytes, head: bytes = b"") -> bytes:
    packed = zlib.compress(data, 9)
    return b"<<%s/Filter/FlateDecode/Length %d>>stream\n%s\nendstream" % (head, len(packed), packed)


_PAGE = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R/Resources<<%s>>>>"
_ROOT = (b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Count 1/Kids[3 0 R]>>")
_FONT = b"/Font<</F1<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>"


def _bomb() -> bytes:
    return _objects(*_ROOT, _PAGE % _FONT, _stream(b"BT /F1 9 Tf (a b c) Tj ET " * 4_000_000))


def _image(wide: int, high: int) -> bytes:
    shape = _stream(b"\0" * 4096, b"/Type/XObject/Subtype/Image/Width %d/Height %d/ColorSpace"
                    b"/DeviceRGB/BitsPerComponent 8" % (wide, high))  # fmt: skip
    page = _PAGE % b"/XObject<</I1 5 0 R>>"
    return _objects(*_ROOT, page, _stream(b"q 90 0 0 90 9 9 cm /I1 Do Q"), shape)


def _forms() -> bytes:
    """A form that draws itself twice."""
    form = _stream(b"/X1 Do /X1 Do", b"/Type/XObject/Subtype/Form/BBox[0 0 9 9]/Resources"
                   b"<</XObject<</X1 5 0 R>>>>")  # fmt: skip
    return _objects(*_ROOT, _PAGE % b"/XObject<</X1 5 0 R>>", _stream(b"/X1 Do"), form)


def _declared(body: str) -> bytes:
    """A DOCX whose main part is as given, entities and all."""
    held = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(_docx(""))) as old, zipfile.ZipFile(held, "w", 8) as new:
        for name in old.namelist():
            new.writestr(name, body if name == "word/document.xml" else old.read(name))
    return held.getvalue()


_SPACE = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_LOL = (
    '<!DOCTYPE w [<!ENTITY l0 "lol">'
    + "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 10))
    + f']><w:document xmlns:w="{_SPACE}"><w:body><w:p><w:r><w:t>&l9;</w:t></w:r></w:p>'
    "</w:body></w:document>"
)
_FILE = (
    '<!DOCTYPE w [<!ENTITY e SYSTEM "file:///etc/passwd">]>'
    f'<w:document xmlns:w="{_SPACE}"><w:body><w:p><w:r><w:t>root &e;</w:t></w:r></w:p>'
    "</w:body></w:document>"
)

#: Names of files and what makes their bytes.
DOCUMENTS: tuple[tuple[str, Callable[[], bytes]], ...] = (
    ("cut.pdf", lambda: _paged(3)[:700]), ("locked.pdf", pdfs.encrypted),
    ("text.pdf", lambda: b"hello"), ("loop.pdf", lambda: _objects(
        _ROOT[0], b"<</Type/Pages/Count 9/Kids[2 0 R 2 0 R]>>")),
    ("many.pdf", lambda: _objects(
        _ROOT[0], b"<</Type/Pages/Count 2147483647/Kids[3 0 R]>>", _PAGE % b"", _stream(b""))),
    ("minus.pdf", lambda: _objects(_ROOT[0], b"<</Type/Pages/Count -5/Kids[3 0 R]>>", _PAGE % b"")),
    ("bomb.pdf", _bomb), ("wide.pdf", lambda: _image(10**6, 10**6)),
    ("odd.pdf", lambda: _image(-7, 20)), ("short.pdf", lambda: _image(4000, 4000)),
    ("forms.pdf", _forms), ("zeros.pdf", lambda: _objects(
        *_ROOT, _PAGE % _FONT, _stream(b"\0" * 300_000_000))),
    ("deep.pdf", lambda: _objects(*_ROOT, _PAGE % _FONT, _stream(b"[" * 3_000_000))),
    ("escape.pdf", lambda: _paged(1, "Clear \\033[2J\\033]0;owned\\007 the screen now.")),
    ("states.pdf", lambda: _objects(*_ROOT, _PAGE % _FONT, _stream(b"q " * 5_000_000))),
    ("deep.html", lambda: b"<div>" * 300_000 + b"x" + b"</div>" * 300_000),
    ("spans.html", lambda: b"<span>" * 60_000 + b"x"),
    ("font.html", lambda: b"<b><i>" * 9_000 + b"x</b>y</i>" * 9_000),
    ("tables.html", lambda: b"<table><tr><td>" * 9_000 + b"x"),
    ("attributes.html", lambda: b"<p " + b"a=1 " * 2_000_000 + b">x</p>"),
    ("outside.html", lambda: b'<p>x</p><img src="../../../../etc/passwd"><img src="file:///etc/hosts">'
     b'<img src="http://127.0.0.1:9/x.png"><img src="//evil/x.png"><img src="data:image/png;base64,AAAA">'
     b'<img src="http://[::1"><img src="a\0b.png"><img src="%00.png"><img src="' + b"x" * 5000 + b'">'),
    ("script.html", lambda: b"<script>" + b"x" * 1_000_000),
    ("nul.html", lambda: b"<p>a\0b</p>"), ("surrogate.html", lambda: b"<p>&#xD800; &#x110000;</p>"),
    ("comment.html", lambda: b"<!--" * 500_000), ("entity.html", lambda: b"&amp;" * 500_000),
    ("utf16.txt", lambda: "ö\ud83d".encode("utf-16", "surrogatepass")[:-1]),
    ("binary.txt", lambda: bytes(range(256)) * 99), ("line.txt", lambda: b"a" * 3_000_000),
    ("words.txt", lambda: b"word " * 1_000_000), ("blank.txt", lambda: b"\n" * 1_000_000),
    ("pages.txt", lambda: b"\f" * 300_000 + b"x"), ("rules.txt", lambda: b"a\n===\n\n" * 50_000),
    ("dots.txt", lambda: b". " * 500_000), ("numbers.txt", lambda: b"1." * 200_000 + b" a"),
    ("escape.txt", lambda: b"The kettle \x1b[2J\x1b]0;owned\x07 holds water.\x9b31m"),
    ("quotes.md", lambda: b">" * 20_000 + b" x"), ("lists.md", lambda: b"- " * 20_000 + b"x"),
    ("links.md", lambda: b"[" * 50_000 + b"x" + b"](y)" * 50_000),
    ("stars.md", lambda: b"*a **b " * 30_000), ("ticks.md", lambda: b"`" * 50_000 + b"a" + b"``b" * 20_000),
    ("front.md", lambda: b"---\na: 1\n"), ("table.md", lambda: b"|a|\n|-|\n" + b"|" * 200_000),
    ("image.md", lambda: b"![x](../../../etc/passwd) ![y](/dev/zero) ![z](a.png)"),
    ("html.md", lambda: b"<div " * 20_000), ("break.md", lambda: b"a  \n" * 100_000),
    ("text.docx", lambda: b"hello"), ("empty.docx", lambda: _docx("")),
    ("cut.docx", lambda: _docx("<w:p/>")[:-40]), ("entities.docx", lambda: _declared(_LOL)),
    ("file.docx", lambda: _declared(_FILE)), ("bare.docx", lambda: _declared("<a/>")),
    ("bomb.docx", lambda: _docx("<w:p><w:r><w:t>a</w:t></w:r></w:p>" * 1_500_000)),
    ("deep.docx", lambda: _docx("<w:p>" * 5_000 + "</w:p>" * 5_000)),
    ("nested.docx", lambda: _docx("<w:tbl><w:tr><w:tc>" * 60 + "</w:tc></w:tr></w:tbl>" * 60)),
    ("names.docx", lambda: _docx("<w:p/>", **{"../../up.xml": b"x", "/abs": b"y"})),
    ("blip.docx", lambda: _docx(
        '<w:p><a:blip xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main" '
        'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships" '
        'r:embed="r9"/></w:p>')),
)  # fmt: skip

#: URIs of models that write, as somebody mistypes them.
MODELS = (
    "http://", "http:///v1?model=m", "http://[::1", "http://[::1]:99999/v1?model=m", "x", "", " ",
    "http://localhost:port/v1?model=m", "ftp://h/v1?model=m", "file:///etc/passwd?model=m",
    "http://u:p@h/v1?model=m", "http://h/v1", "http://h/v1?model=", "http://h/v1?modl=m",
    "http://127.0.0.1:1/v1?model=m&seconds=1", "http://127.0.0.1:1/v1?model=m&seconds=nan",
    "http://127.0.0.1:1/v1?model=m&seconds=inf", "http://127.0.0.1:1/v1?model=m&tokens=1e3",
    "http://127.0.0.1:1/v1?model=m&seconds=-1", "http://127.0.0.1:1/a b?model=m&seconds=1",
    "http://127.0.0.1:1/\r\nHost: x?model=m&seconds=1", "http://é.invalid/v1?model=m&seconds=1",
    "http://" + "a" * 300 + "/v1?model=m&seconds=1", "http://127.0.0.1:0/v1?model=m&seconds=1",
    "http://127.0.0.1:1/v1?model=m&key_env=NO_SUCH_KEY", "http://127.0.0.1:1/v1?model=m&key_env==",
    "http://h .org/v1?model=m&seconds=1", "http://127.0.0.1:1/é?model=m&seconds=1", "NONE", "none:",
    "http://..//v1?model=m&seconds=1", "http://127.0.0.1:1\0/v1?model=m&seconds=1", "hf:gpt2",
    "http://0x7f.1:1/v1?model=m&seconds=1", "http://%31/v1?model=m&seconds=1", "//h/v1?model=m",
)  # fmt: skip

_OK = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"
_TOLD = json.dumps({"choices": [{"delta": {"content": "The kettle holds 2 litres. "}}]}).encode()


def _line(content: Any) -> bytes:
    return b"data: " + json.dumps({"choices": [{"delta": {"content": content}}]}).encode() + b"\n\n"


#: What an endpoint sends back, by name; a number is a pause in seconds.
ANSWERS: dict[str, tuple[bytes | float, ...]] = {
    "nothing": (), "no http": (b"hello\r\n\r\n",), "half a head": (b"HTTP/1.1 20",),
    "no status": (b"HTTP/1.1 abc\r\n\r\n",), "endless head": (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 900,),
    "wide head": (b"HTTP/1.1 200 OK\r\na: " + b"b" * 90_000 + b"\r\n\r\n",),
    "short body": (_OK + b"Content-Length: 900\r\n\r\n" + _line("a"),),
    "broken chunks": (_OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc",),
    "cut chunk": (_OK + b"Transfer-Encoding: chunked\r\n\r\nff\r\ndata: ",),
    "huge length": (_OK + b"Content-Length: 99999999999999999999999\r\n\r\n" + _line("a"),),
    "bad length": (_OK + b"Content-Length: x\r\n\r\n" + _line("a"),),
    "packed": (_OK + b"Content-Encoding: gzip\r\n\r\n" + b"\x1f\x8b\x08" + b"\0" * 40,),
    "garbage": (_OK + b"\r\n" + bytes(range(256)) * 8,), "page": (_OK + b"\r\n<html>no</html>",),
    "one long line": (_OK + b"\r\n" + b"x" * 8_000_000,), "slow": (_OK + b"\r\n", 3.0),
    "drips": (_OK + b"\r\n", *((b":", 0.2) * 30)),
    "number": (_OK + b"\r\n" + _line(7),), "list": (_OK + b"\r\n" + _line(["a"]),),
    "null": (_OK + b"\r\n" + _line(None),), "no choices": (_OK + b'\r\ndata: {"choices": []}\n\n',),
    "error": (_OK + b'\r\ndata: {"error": {"message": "no"}}\n\n',), "deep": (
        _OK + b"\r\ndata: " + b"[" * 100_000 + b"\n\n",), "number alone": (_OK + b"\r\ndata: 3\n\n",),
    "escape": (_OK + b"\r\n" + _line("The kettle holds 2 litres \x1b[2J\x1b]0;owned\x07 of water. "),),
    "surrogate": (_OK + b'\r\ndata: {"choices":[{"delta":{"content":"The kettle \\ud800. "}}]}\n\n',),
    "much": (_OK + b"\r\n" + _line("kettle " * 100_000),), "empty": (_OK + b"\r\n",),
    "elsewhere": (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nConnection: close\r\n\r\n",),
    "to a file": (b"HTTP/1.1 301 Moved\r\nLocation: file:///etc/passwd\r\nConnection: close\r\n\r\n",),
    "busy": (b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",),
    "denied": (b"HTTP/1.1 401 No\r\nWWW-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n",),
    "bad error": (b"HTTP/1.1 500 X\r\nContent-Length: 99\r\nConnection: close\r\n\r\n\xff\xfe\x1b[2J",),
    "bare json": (_OK + b"\r\n" + _TOLD.replace(b"delta", b"message"),),
    "early hints": (b"HTTP/1.1 100 Continue\r\n\r\n" * 200 + _OK + b"\r\n" + _line("a"),),
}  # fmt: skip


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True


@functools.cache
def endpoint(name: str) -> str:
    """The address of an endpoint that answers as named."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.settimeout(5)
            try:
                self.request.recv(1 << 20)
                for part in ANSWERS[name]:
                    if isinstance(part, float):
                        time.sleep(part)
                    else:
                        self.request.sendall(part)
            except OSError:
                return

    server = _Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}"


def _parquet(**columns: Any) -> Callable[[], bytes]:
    def made() -> bytes:
        held = io.BytesIO()
        pq.write_table(pa.table(columns), held)
        return held.getvalue()

    return made


#: Tables that hold too little, too much or something else.
TABLES: tuple[Callable[[], bytes], ...] = (
    lambda: b"", lambda: b"\xff\xfe\x00", lambda: b"id,text\n", lambda: b"a,b\n" + b"red cat,red\n" * 30,
    lambda: b"a,b\n" + b"red cat\n" * 30, lambda: b"a\n" + b'"open\n' * 30, lambda: b"PAR1" + b"\0" * 80,
    lambda: b"a,a\n" + b"red,blue\n" * 30, lambda: b"\xe9,b\n" + b"\xe9t\xe9,blue\n" * 30,
    lambda: b"id,vector\n" + b'i1,"[1,2]"\n' * 20, lambda: b"a,b\n" + b",\n" * 40,
    _parquet(a=[1, 2, 3], b=[1.5, None, 2.0]), _parquet(a=[["x"]] * 30, b=[{"c": 1}] * 30),
    _parquet(id=[f"i{i}" for i in range(30)], vector=[[float("nan")] * 12] * 30),
    _parquet(id=[f"i{i}" for i in range(30)], vector=[[1.0] * 5] * 30),
    _parquet(id=["i"] * 30, vector=[[1.0] * 12] * 30),
    _parquet(id=[f"i{i}" for i in range(30)], vector=[None] * 30), _parquet(a=[None] * 30, b=["x"] * 30),
    _parquet(id=[f"i{i}" for i in range(40)], vector=[[float(i % 7)] * 12 for i in range(40)]),
    _parquet(a=["\ud800".encode("utf-8", "surrogatepass")] * 30, b=[b"x"] * 30),
    _parquet(a=["red cat"] * 30, b=["blue dog"] * 30),
)  # fmt: skip


def weights(rng: random.Random, path: Path) -> None:  # noqa: C901 - one way of damage a branch
    """Change a file of tensors: numbers that are none, other shapes, names, types, headers."""
    from safetensors.numpy import load_file, save_file

    arrays = load_file(path)
    name = rng.choice(sorted(arrays))
    how = rng.randrange(10)
    if how == 0:
        arrays[name].reshape(-1)[0] = rng.choice((np.nan, np.inf, -np.inf))
    elif how == 1:
        del arrays[name]
    elif how == 2:
        arrays[name] = arrays[name].reshape(-1)[:-1]
    elif how == 3:
        arrays[name] = arrays[name].astype(rng.choice((np.float16, np.float64, np.int32, np.bool_)))
    elif how == 4:
        arrays["../x" if rng.random() < 0.5 else "extra"] = np.zeros(3, np.float32)
    elif how == 5:
        arrays[name] = np.full_like(arrays[name], 3e38)
    elif how == 6:
        arrays = {}
    if how <= 6:
        save_file(arrays, path, {"format": "pt"})
        return
    raw = path.read_bytes()
    size = struct.unpack("<Q", raw[:8])[0]
    head = json.loads(raw[8 : 8 + size])
    one = head[name]
    odd = rng.choice((
        {"data_offsets": [0, 2**62]}, {"data_offsets": [-4, 4]}, {"shape": [2**40, 2**40]},
        {"shape": ["a"]}, {"dtype": "F8_E4M3"}, {"dtype": 3}, {"data_offsets": [0]}, {"shape": None},
        {"shape": [-1, -1]}, {"shape": 5}, {"data_offsets": ["0", "4"]}, {"dtype": ["F32"]},
        {"shape": [1.5]}, {"data_offsets": [0.0, 4.0]}, {"shape": [True]},
    ))  # fmt: skip
    if how == 7:
        head[name] = {**one, **odd}
    elif how == 8:
        index = path.parent / "model.safetensors.index.json"
        where = rng.choice(("../../../../etc/passwd", "/etc/passwd", "model.safetensors", 3, None,
                            "", "a\0b", ["x"], "."))  # fmt: skip
        index.write_text(json.dumps({"weight_map": {name: where}}))
        return
    else:
        raw = struct.pack("<Q", rng.choice((2**63, 2**40, 0, 7, size - 1))) + raw[8:]
        path.write_bytes(raw)
        return
    text = json.dumps(head).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + raw[8 + size :])


def benchmarks(place: Path) -> None:
    """A small sound benchmark of every format."""
    texts = {f"d{i}": f"a {c} dog" for i, c in enumerate(("red", "blue", "green"))}
    asked = {f"q{i}": c for i, c in enumerate(("red", "blue", "green"))}
    judged = {f"q{i}": {f"d{i}": 1} for i in range(3)}
    task = Rank("t", judged, Cells("text", asked), Cells("text", texts), groups=dict(asked))
    Beir().write(task, place / "beir")
    MtebFolder().write(task, place / "mteb")
    runs = {"mine": {q: {d: 1.0 - i for i, d in enumerate(texts)} for q in asked}}
    Trec().write(Rank("t", judged, runs=runs), place / "trec")
    (place / "pictures").mkdir()
    files = []
    for i in range(3):
        files.append(str(place / "pictures" / f"{i}.png"))
        Image.new("RGB", (20, 20), (80 * i, 0, 0)).save(files[-1])
    shown = Cells("image", {f"d{i}": f for i, f in enumerate(files)})
    CocoCaptions().write(Rank("t", judged, Cells("text", asked), shown), place / "coco")
    VlChecklist().write(
        Foils("t", tuple(Foil(f, "red", "blue", "Attribute/color") for f in files)), place / "vl"
    )


#: What stands for a value of a record.
_VALUES = (
    None, 3, 2.5, True, [], {}, "", "x", ["x"], {"a": 1}, "\ud800", "a\0b", 10**400, "../../etc/passwd",
    "/etc/passwd", [[1]], float("nan"), -1, "é" * 3000, {"POS": 3, "NEG": []}, [["x", {}]], [3],
)  # fmt: skip


def records(rng: random.Random, folder: Path) -> None:
    """Replace a value somewhere in one file of records, or a whole record."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix != ".png")
    path, value = rng.choice(files), rng.choice(_VALUES)
    if path.suffix == ".json":
        path.write_text(json.dumps(_swapped(rng, json.loads(path.read_text()), value)))
    elif path.suffix == ".jsonl":
        held = [json.loads(line) for line in path.read_text().splitlines()]
        path.write_text("\n".join(json.dumps(r) for r in _swapped(rng, held, value, line=True)))
    elif path.suffix == ".parquet":
        table = pq.read_table(path)
        name = rng.choice(table.column_names)
        odd = rng.choice(
            (
                pa.nulls(table.num_rows),
                pa.array([1.5] * table.num_rows),
                pa.array([[1]] * table.num_rows),
                pa.array([b"\xff"] * table.num_rows),
                pa.array([{"bytes": None, "path": "/etc/passwd"}] * table.num_rows),
            )
        )
        table = table.set_column(table.column_names.index(name),
                                 rng.choice((name, name, "image", "x")), odd)  # fmt: skip
        pq.write_table(table, path)
    else:
        lines = path.read_text().splitlines()
        at = rng.randrange(len(lines))
        parts = lines[at].replace("\t", " ").split(" ")
        parts[rng.randrange(len(parts))] = rng.choice(
            ("", "x", "nan", "1e400", "-3", "9" * 5000, "1.5", "é\0", "/etc/passwd", "../..", "inf")
        )
        lines[at] = ("\t" if "\t" in lines[at] else " ").join(parts)
        path.write_text("\n".join(lines))


def _swapped(rng: random.Random, found: Any, value: Any, *, line: bool = False) -> Any:
    if not line and rng.random() < 0.15:
        return value
    if isinstance(found, dict) and found:
        key = rng.choice(sorted(found))
        return {**found, key: _swapped(rng, found[key], value)}
    if isinstance(found, list) and found:
        at = rng.randrange(len(found))
        return [*found[:at], _swapped(rng, found[at], value), *found[at + 1 :]]
    return value
