"""Pictures and sounds as they are found: depths, grounds, channels, rates, formats, remarks."""

import io
import struct
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from conjoin.encoders.base import CellError
from conjoin.encoders.media import containers, media, pixels
from conjoin.encoders.media import waveforms as waves
from conjoin.encoders.remarks import listening
from conjoin.items.reading.folder import KINDS

soundfile = pytest.importorskip("soundfile")


def saved(picture, form, **more):
    out = io.BytesIO()
    picture.save(out, form, **more)
    return out.getvalue()


def png_of_sixteen_bits(values):
    """A PNG of 16 bits a channel, which Pillow reads but does not write in colour."""

    def chunk(name, data):
        check = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + check

    high, wide, channels = values.shape
    rows = b"".join(b"\x00" + row.astype(">u2").tobytes() for row in values)
    head = struct.pack(">IIBBBBB", wide, high, 16, {1: 0, 3: 2, 4: 6}[channels], 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows))
            + chunk(b"IEND", b""))  # fmt: skip


def read(cell):
    return np.asarray(media.read_picture(cell))


def ramp(top, kind=np.uint16):
    return np.linspace(0, top, 64).reshape(8, 8).astype(kind)


# --- depths


@pytest.mark.parametrize("bits", [8, 9, 10, 11, 12, 13, 14, 16])
@pytest.mark.parametrize("form", ["array", "colour", "PNG", "colour PNG", "TIFF", "int32", "float"])
def test_full_brightness_is_what_is_held_and_not_the_width_it_is_stored_in(bits, form):
    values = ramp(2**bits - 1)
    expected = np.round(values / (2**bits - 1) * 255)
    cell = {
        "array": lambda: values,
        "colour": lambda: np.stack([values] * 3, axis=2),
        "PNG": lambda: saved(Image.fromarray(values), "PNG"),
        "colour PNG": lambda: png_of_sixteen_bits(np.stack([values] * 3, axis=2)),
        "TIFF": lambda: saved(Image.fromarray(values), "TIFF"),
        "int32": lambda: values.astype(np.int32),
        "float": lambda: saved(Image.fromarray(values.astype(np.float32)), "TIFF"),
    }[form]()
    assert np.abs(read(cell)[..., 0] - expected).max() <= 1


def test_no_value_makes_a_step():
    """One more unit, or a hundredth more, moves no pixel by more than a few grey levels."""
    for kind, first in ((np.uint16, 255.0), (np.int32, 255.0), (np.float64, 1.0)):
        tops = [1, 254, 255, 256, 257, 1023, 16383, 16384, 32767, 32768, 65534, 65535]
        if kind is not np.uint16:
            tops += [65536, 70_000]
        for top in tops:
            now, more = (pixels.full_scale(top * f, first) for f in (1.0, 1.01))
            assert abs(top * 255 / now - top * 1.01 * 255 / more) <= 8
    assert read(np.array([[0, 255]], np.uint16))[0, 1, 0] == 255
    assert read(np.array([[0, 256]], np.uint16))[0, 1, 0] == 255


def test_dark_pictures_of_a_usual_scale_stay_dark():
    assert read(np.full((2, 2), 60, np.uint16))[0, 0, 0] == 60
    assert read(np.full((2, 2), 32768, np.uint16))[0, 0, 0] == 128
    assert read(np.full((2, 2), 0.25))[0, 0, 0] == 64
    assert read(np.full((2, 2), 128.0))[0, 0, 0] == 128


def test_wide_floats_negative_values_and_overshoot():
    assert read(np.array([[0.0, 5e6, 1e7]]))[0, :, 0].tolist() == [0, 128, 255]
    assert read(np.array([[-1.0, 0.0, 1.0]]))[0, :, 0].tolist() == [0, 128, 255]
    assert read(np.array([[-1000, 1000, 3000]], np.int16))[0, :, 0].tolist() == [0, 128, 255]
    assert read(np.array([[0.0, 1.02]]))[0, 1, 0] == 255
    assert read(np.array([[False, True]]))[0, :, 0].tolist() == [0, 255]
    assert read(ramp(2**31 - 1, np.int64))[-1, -1, 0] == 255


def test_what_a_file_declares_is_believed():
    values = np.full((2, 2), 1000, np.uint16)
    tiff = saved(Image.fromarray(values), "TIFF", tiffinfo={281: 4000})
    assert read(tiff)[0, 0, 0] == 64
    assert read(b"P5\n2 1\n1023\n" + struct.pack(">HH", 100, 1023))[0, :, 0].tolist() == [25, 255]
    assert read(b"P5\n2 1\n1023\n" + struct.pack(">HH", 100, 100))[0, 0, 0] == 25


def test_opacity_has_a_scale_of_its_own():
    deep = np.zeros((2, 2, 4), np.uint16)
    deep[..., 0], deep[..., 3] = 4095, 65535
    assert read(deep)[0, 0].tolist() == [255, 0, 0]
    assert read(png_of_sixteen_bits(deep))[0, 0].tolist() == [255, 0, 0]


def test_channels_may_come_first():
    red = np.zeros((3, 5, 6), np.uint8)
    red[0] = 255
    assert media.read_picture(red).size == (6, 5)
    assert read(red)[0, 0].tolist() == [255, 0, 0]
    torch = pytest.importorskip("torch")
    assert read(torch.from_numpy(red))[0, 0].tolist() == [255, 0, 0]


def test_sixteen_bit_colour_is_turned_upright():
    values = np.zeros((2, 4, 3), np.uint16)
    values[0, 0] = 4095
    exif = Image.Exif()
    exif[0x0112] = 6
    data = png_of_sixteen_bits(values)
    body = exif.tobytes()
    body = body[6:] if body.startswith(b"Exif\x00\x00") else body
    piece = struct.pack(">I", len(body)) + b"eXIf" + body
    data = data[:33] + piece + struct.pack(">I", zlib.crc32(b"eXIf" + body)) + data[33:]
    turned = media.read_picture(data)
    assert turned.size == (2, 4)
    assert turned.getpixel((1, 0)) == (255, 255, 255)


# --- grounds and blanks


def drawing(colour, opacity=255):
    layer = Image.new("RGBA", (9, 9), (*colour, 0))
    for step in range(9):
        layer.putpixel((step, step), (*colour, opacity))
    return layer


@pytest.mark.parametrize("colour", [(255, 255, 255), (250, 250, 200), (0, 0, 0), (200, 30, 30)])
def test_the_ground_contrasts_with_what_is_visible(colour):
    forms = [saved(drawing(colour), "PNG"), saved(drawing(colour, 200), "WEBP", lossless=True),
             np.asarray(drawing(colour)), saved(drawing(colour).quantize(8), "PNG")]  # fmt: skip
    for form in forms:
        with listening() as heard:
            found = read(form).astype(int)
        line, ground = found[4, 4], found[0, 8]
        assert abs(line - ground).sum() > 200
        assert heard == []


def test_opaque_pictures_have_no_ground_and_faint_ones_do():
    light = Image.new("RGBA", (4, 4), (255, 255, 255, 255))
    assert read(light)[0, 0].tolist() == [255, 255, 255]
    faint = Image.new("RGBA", (4, 4), (255, 255, 255, 128))
    assert read(faint)[0, 0, 0] < 140


def test_pictures_that_come_out_blank_are_remarked_upon():
    for blank in (Image.new("RGB", (4, 4), "red"), Image.new("RGBA", (4, 4), (0, 0, 0, 0)),
                  np.zeros((4, 4), np.uint16)):  # fmt: skip
        with listening() as heard:
            media.read_picture(blank)
        assert heard == ["blank pictures"]
    with listening() as heard:
        media.read_picture(ramp(255))
    assert heard == []


# --- formats of pictures


def test_every_ending_that_pillow_reads_and_people_use_is_a_picture():
    Image.init()
    readable = {end for end, form in Image.registered_extensions().items() if form in Image.OPEN}
    listed = {end for end, kind in KINDS.items() if kind == "image"}
    assert listed - readable <= {".heic", ".heif", ".svg"}


def test_avif_and_heic_are_read():
    pytest.importorskip("pillow_heif")
    pixels_in = np.zeros((32, 32, 3), np.uint8)
    pixels_in[:, 16:] = 250, 20, 20
    containers.allow_heif()
    for form in ("AVIF", "HEIF"):
        found = read(saved(Image.fromarray(pixels_in), form))
        assert np.abs(found.astype(int) - pixels_in).mean() < 12, form


def test_heic_without_its_library_names_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    head = b"\x00\x00\x00\x18ftypheic" + b"\x00" * 40
    with pytest.raises(CellError, match=r'HEIC .* pip install "conjoin\[media\]"'):
        media.read_picture(head)
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    with pytest.raises(CellError, match=r"an SVG needs .*conjoin\[media\]"):
        media.read_picture(b"<svg/>")


SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 20 10">{}</svg>'


def test_drawings_of_lines_are_drawn():
    pytest.importorskip("resvg_py")
    found = media.read_picture(SVG.format('<rect width="10" height="10" fill="red"/>').encode())
    assert found.size == (512, 256)
    assert found.getpixel((50, 50)) == (255, 0, 0)
    assert found.getpixel((400, 50)) == (255, 255, 255)
    light = SVG.format('<rect width="5" height="5" fill="white"/>')
    assert read(light.encode()).min() == 0  # white lines are laid on black
    tall = SVG.replace("20 10", "10 20").format('<path d="M0 0H5V5Z"/>').encode()
    assert media.read_picture(tall).size == (256, 512)
    for bad, said in (("<svg", "SVG"), (SVG.replace("20 10", "9000 1").format(""), "9000 by 1")):
        with pytest.raises(CellError, match=said):
            media.read_picture(bad.encode())


def test_a_drawing_reads_no_file(tmp_path):
    pytest.importorskip("resvg_py")
    Image.new("RGB", (8, 8), (0, 255, 0)).save(tmp_path / "secret.png")
    path = str(tmp_path / "secret.png")
    hidden = '<!DOCTYPE svg [<!ENTITY a "{}">]>'
    tries = [
        SVG.format(f'<image href="{path}" width="10" height="10"/>'),
        SVG.format(f"<image href='{path}' width='10' height='10'/>"),
        SVG.format(f'<image HREF="x" href = "file://{path}" width="10" height="10"/>'),
        hidden.format(path) + SVG.format('<image href="&a;" width="10" height="10"/>'),
    ]
    for svg in tries:
        found = read((svg).encode())
        assert not ((found[..., 1] > 200) & (found[..., 0] < 50)).any()
    nested = hidden.format(f"<image href=&#34;{path}&#34; width=&#34;9&#34; height=&#34;9&#34;/>")
    with pytest.raises(CellError, match="entities"):
        media.read_picture((nested + SVG.format("&a;")).encode())


# --- sounds

RATE = 8000


def tone(hertz=440, seconds=1.0, rate=RATE):
    return np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate)


def heard_of(cell, seconds=30, rate=RATE):
    with listening() as heard:
        made = media.read_sound(cell, rate, seconds)
    return made, heard


def test_either_axis_may_hold_the_channels():
    both = np.stack([tone(), 0.5 * tone()])
    expected = 0.75 * tone()
    for cell in (both, both.T, (both, RATE), (RATE, both), both[None],
                 both.astype(np.float32), {"array": both, "sampling_rate": RATE},
                 {"path": None, "array": both.T}):  # fmt: skip
        np.testing.assert_allclose(media.read_sound(cell, RATE, 30), expected, atol=1e-5)
    torch = pytest.importorskip("torch")
    np.testing.assert_allclose(media.read_sound(torch.tensor(both), RATE, 30), expected, atol=1e-5)
    with pytest.raises(CellError, match="channels, more than"):
        media.read_sound(np.zeros((100, 200)), RATE, 30)


@pytest.mark.parametrize(
    ("kind", "offset", "size"),
    [("u1", 128, 127), ("u2", 32768, 32767), ("i1", 0, 127), ("i2", 0, 32767),
     ("i4", 0, 32767), ("i4", 0, 2**23 - 1), ("i4", 0, 2**31 - 1), ("i8", 0, 32767),
     ("f4", 0, 1), ("f8", 0, 1), ("f4", 0, 32767)],
)  # fmt: skip
def test_samples_of_every_kind_of_number_have_one_scale(kind, offset, size):
    values = (offset + np.round(tone() * size)) if kind[0] != "f" else tone() * size
    found = media.read_sound(values.astype(kind), RATE, 30)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, tone(), atol=0.02)


def test_quiet_sounds_of_sixteen_bits_stay_quiet():
    quiet = np.round(tone() * 100).astype(np.int16)
    assert np.abs(media.read_sound(quiet, RATE, 30)).max() == pytest.approx(100 / 32768, abs=1e-5)
    assert np.abs(media.read_sound(tone() * 0.01, RATE, 30)).max() == pytest.approx(0.01, abs=1e-4)


def test_channels_that_cancel_out_are_not_silence():
    for other in (-1.0, -0.95, -1.05):
        cell = np.column_stack([tone(), other * tone()])
        found, heard = heard_of(cell)
        assert np.abs(found).max() > 0.9
        assert heard == []
    out = io.BytesIO()
    soundfile.write(out, np.column_stack([tone(), -tone()]), RATE, format="FLAC")
    assert np.abs(media.read_sound(out.getvalue(), RATE, 30)).max() > 0.9
    apart = np.column_stack([tone(440), tone(660)])
    np.testing.assert_allclose(waves.mono(apart), apart.mean(axis=1))


def test_silence_and_what_is_cut_are_remarked_upon():
    assert heard_of(np.zeros(RATE))[1] == ["silent sounds"]
    assert heard_of(np.full(RATE, 2e-5))[1] == ["silent sounds"]
    assert heard_of(tone() * 1e-3)[1] == []
    long = tone(seconds=3)
    out = io.BytesIO()
    soundfile.write(out, long, RATE, format="WAV")
    for cell in (long, (long, RATE), out.getvalue()):
        found, heard = heard_of(cell, seconds=2)
        assert (len(found), heard) == (2 * RATE, ["cut at 2 s"])
        assert heard_of(cell, seconds=3)[1] == []


def m4a(samples, rate):
    av = pytest.importorskip("av")
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as file:
        stream = file.add_stream("aac", rate=rate)
        frame = av.AudioFrame.from_ndarray(
            samples.astype(np.float32)[None], format="fltp", layout="mono"
        )
        frame.sample_rate = rate
        for packet in (*stream.encode(frame), *stream.encode(None)):
            file.mux(packet)
    return out.getvalue()


def test_m4a_is_read_or_refused_by_name(monkeypatch, tmp_path):
    data = m4a(tone(440, 2.0, 44_100), 44_100)
    (tmp_path / "a.m4a").write_bytes(data)
    for cell in (data, str(tmp_path / "a.m4a")):
        found, heard = heard_of(cell, rate=16_000)
        assert abs(len(found) / 16_000 - 2) < 0.1
        assert np.abs(np.fft.rfft(found[:16_000])).argmax() == 440
        assert heard == []
        assert heard_of(cell, seconds=1, rate=16_000)[1] == ["cut at 1 s"]
    with pytest.raises(CellError, match="unreadable sound"):
        media.read_sound(data[:200], RATE, 30)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(CellError, match=r"this format of sound needs av; .*conjoin\[media\]"):
        media.read_sound(data, RATE, 30)


def test_every_ending_that_is_a_sound_is_read():
    """By libsndfile, by its own name of the format; m4a by PyAV."""
    known = set(soundfile.available_formats())
    named = {".wav": "WAV", ".flac": "FLAC", ".ogg": "OGG", ".oga": "OGG", ".opus": "OGG",
             ".mp3": "MP3", ".aif": "AIFF", ".aiff": "AIFF", ".aifc": "AIFF", ".au": "AU",
             ".caf": "CAF", ".w64": "W64"}  # fmt: skip
    listed = {end for end, kind in KINDS.items() if kind == "audio"}
    assert listed - set(named) <= set(containers.BY_AV)
    assert {named[end] for end in listed & set(named)} <= known


def test_thumbnails_show_what_the_encoder_sees():
    from conjoin.report.thumbs import picture

    def shown(cell):
        return np.asarray(Image.open(io.BytesIO(picture(cell))).convert("RGB")).astype(int)

    deep = saved(Image.fromarray(ramp(1023)), "PNG")
    assert abs(shown(deep) - read(deep)).max() < 20
    assert abs(shown(ramp(4095)) - read(ramp(4095))).max() < 20
    pytest.importorskip("resvg_py")
    drawn = shown(SVG.format('<rect width="20" height="10" fill="red"/>').encode())
    assert drawn[5, 5, 0] > 240
