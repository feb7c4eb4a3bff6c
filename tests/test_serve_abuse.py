"""Files and vectors meant to harm: refused by their heads, before they are unpacked."""

import asyncio
import io
import struct
import wave
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi")

from conjoin.server.limits import Limits, Problem
from conjoin.server.media import sound as media_sound
from conjoin.server.uploads import LARGE, SIDE, Entrance, is_large, kind_of_upload, smaller
from served import picture, sound

LIMITS = Limits(pixels=4_000_000, audio_seconds=30)


def refused(data: bytes, kind: str, *words: str) -> None:
    with pytest.raises(Problem) as caught:
        kind_of_upload(data, LIMITS)
    assert caught.value.kind == kind, str(caught.value)
    for word in words:
        assert word in str(caught.value)


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_of(wide: int, high: int, rest: bytes = b"") -> bytes:
    head = struct.pack(">IIBBBBB", wide, high, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + rest
    return start + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def wav_of(rate: int, channels: int, claimed: int) -> bytes:
    head = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + claimed, b"WAVE", b"fmt ", 16, 1,
                       channels, rate, rate * channels * 2, channels * 2, 16, b"data",
                       claimed)  # fmt: skip
    return head + bytes(2000)


def test_pictures_and_sounds_are_told_by_content():
    assert kind_of_upload(picture((1, 2, 3), "bar"), LIMITS) == "image"
    assert kind_of_upload(sound(440), LIMITS) == "audio"
    for form in ("JPEG", "WEBP", "GIF", "BMP"):
        out = io.BytesIO()
        Image.new("RGB", (8, 8)).save(out, form)
        assert kind_of_upload(out.getvalue(), LIMITS) == "image"


def test_pixel_bombs_are_refused_by_their_heads():
    out = io.BytesIO()
    Image.new("1", (5000, 5000)).save(out, "PNG")
    assert len(out.getvalue()) < 100_000
    refused(out.getvalue(), "too-large", "5000×5000")
    for size in ((60_000, 60_000), (2**31 - 1, 2**31 - 1), (1, 2**31 - 1)):
        refused(png_of(*size), "too-large")
    refused(png_of(0, 7), "wrong-type")
    text = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(20_000_000), 9))
    with pytest.raises(Problem):
        kind_of_upload(png_of(8, 8, text), LIMITS)


def test_scripts_archives_and_other_formats_are_refused():
    script = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
    refused(script, "wrong-type", "SVG")
    refused(b'<?xml version="1.0"?>' + b" " * 300 + script.upper(), "wrong-type", "SVG")
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a", bytes(10_000_000))
    refused(out.getvalue(), "wrong-type", "archive")
    refused(zlib.compress(bytes(10)), "wrong-type")
    refused(b"\x1f\x8b" + bytes(40), "wrong-type", "archive")
    refused(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "wrong-type")
    refused(b"<html><script>alert(1)</script></html>", "wrong-type")
    refused(b"%PDF-1.7\n", "wrong-type")
    refused(b"", "bad-argument", "0 bytes")
    rng = np.random.default_rng(0)
    for size in (1, 7, 100, 4000):
        with pytest.raises(Problem):
            kind_of_upload(rng.bytes(size), LIMITS)


def test_torn_files_are_refused_or_fail_as_a_cell():
    for whole in (picture((9, 9, 9), "cross"), sound(300)):
        for size in range(1, len(whole), max(1, len(whole) // 25)):
            assert told(whole[:size]) in (
                "image",
                "audio",
                "bad-argument",
                "wrong-type",
                "too-large",
            )


def told(data: bytes) -> str:
    try:
        return kind_of_upload(data, LIMITS)
    except Problem as problem:
        return problem.kind


def test_sounds_that_claim_too_much_are_refused():
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(1)
        file.setframerate(1000)
        file.writeframes(bytes(31_000))
    refused(out.getvalue(), "too-large", "31 s")
    refused(wav_of(1, 1, 2**31), "too-large")
    many = io.BytesIO()
    with wave.open(many, "wb") as file:
        file.setnchannels(12)
        file.setsampwidth(1)
        file.setframerate(8000)
        file.writeframes(bytes(1200))
    refused(many.getvalue(), "too-large", "12 channels")
    refused(wav_of(900_000_000, 1, 2000), "too-large", "Hz")


def test_media_serves_sounds_only(tmp_path):
    page = tmp_path / "a.wav"
    page.write_bytes(b"<script>alert(1)</script>")
    with pytest.raises(ValueError, match="not a sound"):
        media_sound(str(page), 10**6)
    page.write_bytes(sound(440))
    assert media_sound(str(page), 10**6)[1] == "audio/wav"
    with pytest.raises(ValueError, match="not a sound"):
        media_sound(str(page), 10)
    data, kind = media_sound((np.zeros(100), 8000), 10**6)
    assert (data[:4], kind) == (b"RIFF", "audio/wav")


@pytest.mark.parametrize(
    ("given", "says"),
    [("k=0", "above 0"), ("k=x", "above 0"), ("kk=1", "did you mean k"), ("body_mb=nan", "above 0"),
     ("body_mb=inf", "above 0"), ("k", "above 0")],
)  # fmt: skip
def test_limits_are_changed_by_name(given, says):
    from conjoin.errors import ConjoinError

    assert Limits.of(["k=500", "body_mb=1.5"]) == Limits(k=500, body_mb=1.5)
    with pytest.raises(ConjoinError, match=says):
        Limits.of([given])


def large_picture() -> bytes:
    """A red upper and a blue lower half, stored on its side: upright only by its EXIF."""
    out = io.BytesIO()
    whole = Image.new("RGB", (3600, 2400), "red")
    whole.paste("blue", (0, 1200, 3600, 2400))
    exif = Image.Exif()
    exif[0x0112] = 6
    whole.rotate(90, expand=True).save(out, "JPEG", exif=exif)
    return out.getvalue()


def test_large_pictures_are_made_smaller_upright_and_one_by_one():
    data = large_picture()
    assert is_large(data)
    assert not is_large(picture((1, 2, 3), "bar"))
    assert LARGE < 3600 * 2400
    seen = []

    async def all_at_once() -> list[tuple[str, bytes]]:
        entrance = Entrance(Limits())
        real = entrance._smaller

        async def watched(one: bytes) -> bytes:
            made = await real(one)
            seen.append(len(made))
            return made

        entrance._smaller = watched
        return await asyncio.gather(*[entrance.admit(data) for _ in range(3)])

    for kind, made in asyncio.run(all_at_once()):
        assert kind == "image"
        with Image.open(io.BytesIO(made)) as small:
            assert max(small.size) <= SIDE
            assert small.width > small.height
            wide, high = small.size
            assert small.getpixel((wide // 2, high // 8))[0] > 200
            assert small.getpixel((wide // 2, high * 7 // 8))[2] > 200
    assert len(seen) == 3


def test_too_many_large_pictures_are_told_to_wait():
    async def late() -> None:
        entrance = Entrance(Limits(request_seconds=0.05))
        async with entrance._one:
            await entrance.admit(large_picture())

    with pytest.raises(Problem) as caught:
        asyncio.run(late())
    assert caught.value.kind == "busy"


def test_a_torn_large_picture_comes_back_as_it_is():
    torn = png_of(3600, 2400)
    assert is_large(torn)
    assert smaller(torn) == torn
