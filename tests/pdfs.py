"""PDF files written by hand, for tests of their reader."""

import zlib
from collections.abc import Sequence


def pdf(
    pages: Sequence[Sequence[tuple[float, float, float, str]]],
    outline: Sequence[tuple[str, int]] = (),
    pictures: Sequence[tuple[int, tuple[float, float, float, float]]] = (),
    trailer: str = "",
) -> bytes:
    """A PDF of lines (x, y, size, text) a page, titles (title, page) and pictures on pages."""
    objects: list[bytes] = []

    def add(body: bytes) -> int:
        objects.append(body)
        return len(objects)

    add(b"")  # the catalogue, filled last
    add(b"")  # the pages
    font = add(b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>")
    raw = zlib.compress(bytes(i * 7 % 256 for i in range(32 * 24 * 3)))
    image = add(
        b"<</Type/XObject/Subtype/Image/Width 32/Height 24/ColorSpace/DeviceRGB"
        b"/BitsPerComponent 8/Filter/FlateDecode/Length %d>>stream\n%s\nendstream" % (len(raw), raw)
    )
    made = []
    for number, lines in enumerate(pages):
        said = []
        for x, y, size, text in lines:
            safe = text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
            said.append(f"BT /F1 {size} Tf 1 0 0 1 {x} {y} Tm ({safe}) Tj ET")
        for at, (x, y, wide, high) in pictures:
            if at == number:
                said.append(f"q {wide} 0 0 {high} {x} {y} cm /I1 Do Q")
        body = "\n".join(said).encode("cp1252")
        content = add(b"<</Length %d>>stream\n%s\nendstream" % (len(body), body))
        made.append(
            add(
                b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents %d 0 R/Resources"
                b"<</Font<</F1 %d 0 R>>/XObject<</I1 %d 0 R>>>>>>" % (content, font, image)
            )
        )
    objects[1] = b"<</Type/Pages/Count %d/Kids[%s]>>" % (
        len(made), b" ".join(b"%d 0 R" % one for one in made),
    )  # fmt: skip
    extra = b""
    if outline:
        first = len(objects) + 2
        add(b"<</Type/Outlines/First %d 0 R/Last %d 0 R>>" % (first, first + len(outline) - 1))
        for at, (title, page) in enumerate(outline):
            after = b"/Next %d 0 R" % (first + at + 1) if at + 1 < len(outline) else b""
            add(
                b"<</Title(%s)/Parent %d 0 R/Dest[%d 0 R/XYZ 0 700 0]%s>>"
                % (title.encode(), first - 1, made[page], after)
            )
        extra = b"/Outlines %d 0 R" % (first - 1)
    objects[0] = b"<</Type/Catalog/Pages 2 0 R%s>>" % extra
    out, places = b"%PDF-1.5\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    out += b"trailer<</Size %d/Root 1 0 R%s>>\nstartxref\n%d\n%%%%EOF" % (
        len(objects) + 1, trailer.encode(), start,
    )  # fmt: skip
    return out


def encrypted() -> bytes:
    """A PDF that opens with a password alone."""
    lock = (
        "/Encrypt<</Filter/Standard/V 1/R 2/Length 40/P -4/O<" + "41" * 32 + ">/U<" + "42" * 32
        + ">>>/ID[<00><00>]"
    )  # fmt: skip
    return pdf([[(72, 700, 12, "Secret.")]], trailer=lock)
