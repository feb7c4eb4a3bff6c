"""Recordings as parts: pictures of a video and stretches of its sound, found with their time."""

import base64
import threading

import numpy as np
import pytest

import clips
import joints
from conjoin.encoders.media import video as films
from conjoin.encoders.media.media import read_picture, read_sound
from conjoin.encoders.remarks import listening
from conjoin.encoders.run import encode
from conjoin.errors import CellError, ConjoinError
from conjoin.items.config import Config
from conjoin.items.items import Items
from conjoin.items.moments import Cut, Moment, moments
from conjoin.project.search.index import open_index
from conjoin.project.workspace import Workspace
from conjoin.spaces import Frame
from shelf import Caller

pytest.importorskip("av")

#: What the video of :func:`film` shows in the middle of each of its seconds.
SHOWN = ["red"] * 2 + ["green"] * 3 + ["blue"] * 3


@pytest.fixture
def conjoin(monkeypatch, capsys):
    return Caller(monkeypatch, capsys)


@pytest.fixture(scope="module")
def films_of(tmp_path_factory):
    """One video in five containers: two seconds of red, three of green, two and a half of blue."""
    folder = tmp_path_factory.mktemp("films")
    tones = [(440.0, 4.0), (880.0, 3.5)]
    parts = [("red", 2), ("green", 3), ("blue", 2.5)]
    return [
        clips.shots(folder / f"a{ending}", parts, () if ending == ".avi" else tones)
        for ending in (".mp4", ".mkv", ".webm", ".mov", ".avi")
    ]


def seen(where, cut: Cut) -> dict[int, str]:
    """By part, the colour it shows."""
    return {m.part: clips.colour_of(read_picture(m)) for m in moments(where, "image", cut)}


class Middles:
    """An encoder that gives the colour in a picture's middle."""

    uri, kind, batch_size = "tests:middles", "image", 8
    frame = Frame("middles", 3)

    def decode(self, cell):
        return np.asarray(read_picture(cell))[32, 32]

    def length(self, item):
        return 1

    def forward(self, items):
        return np.asarray(items, dtype=np.float32)


def pitch(samples: np.ndarray, rate: int) -> float:
    return float(np.abs(np.fft.rfft(samples)).argmax() * rate / len(samples))


# -- moments and what they show


def test_a_moment_shows_the_last_picture_not_after_it_in_every_container(films_of):
    for where in films_of:
        found = moments(str(where), "image", Cut(1.0))
        assert [m.part for m in found] == [1000 * n for n in range(8)], where.name
        assert [clips.colour_of(read_picture(m)) for m in found] == SHOWN, where.name
        back = [clips.colour_of(read_picture(m)) for m in found[::-1]]
        assert back[::-1] == SHOWN, "asked for from the end"
    data = films_of[0].read_bytes()
    assert seen(data, Cut(0.5)) == {500 * n: SHOWN[n // 2] for n in range(15)}, "bytes of a column"
    # One picture follows another at 2.0 and at 5.0: both sides of it.
    for start, colour in ((1.99, "red"), (2.0, "green"), (4.99, "green"), (5.0, "blue")):
        picture = read_picture(Moment(str(films_of[0]), start, Cut(1.0)))
        assert clips.colour_of(picture) == colour, start


def test_threads_that_ask_out_of_turn_get_their_own_moments(films_of):
    found = moments(str(films_of[1]), "image", Cut(0.5)) * 3
    order = np.random.default_rng(0).permutation(len(found)).tolist()
    told = {}

    def ask(mine):
        for place in mine:
            told[place] = clips.colour_of(read_picture(found[place]))

    threads = [threading.Thread(target=ask, args=(order[n::3],)) for n in range(3)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert [told[n] for n in range(len(found))] == [SHOWN[m.part // 1000] for m in found]
    assert len(films._films) <= films.OPEN


def test_sound_is_cut_into_stretches_and_a_short_rest_goes_with_the_last(films_of):
    for where in films_of[:4]:
        for cut, ends in ((Cut(2.0), [2, 4, 6, 7.5]), (Cut(3.5), [3.5, 7.5]), (Cut(20), [7.5])):
            found = moments(str(where), "audio", cut)
            starts = [0.0, *ends[:-1]]
            assert [m.start for m in found] == starts
            for moment, end in zip(found, ends, strict=True):
                samples, rate = films.samples_at(moment)
                assert len(samples) / rate == pytest.approx(end - moment.start, abs=0.05)
        low, high = (read_sound(m, 16_000, 30) for m in moments(str(where), "audio", Cut(4.0)))
        assert pitch(low, 16_000) == pytest.approx(440, abs=2)
        assert pitch(high, 16_000) == pytest.approx(880, abs=2)
    with listening() as heard:
        assert len(read_sound(Moment(str(films_of[0]), 0.0, Cut(6.0)), 16_000, 1.0)) == 16_000
    assert heard == ["cut at 1 s"]


def test_a_variable_rate_is_read_by_time(tmp_path):
    times = [0, 0.2, 0.4, 3, 3.1, 7, 7.2, 7.3]
    names = ["red"] * 3 + ["green"] * 2 + ["blue"] * 3
    for ending in (".mkv", ".mp4"):
        where = clips.save(tmp_path / f"v{ending}", [clips.flat(n) for n in names], times)
        told = seen(str(where), Cut(1.0))
        assert [told[1000 * n] for n in range(8)] == ["red"] * 3 + ["green"] * 4 + ["blue"]


def test_six_hours_are_bounded_and_streamed(tmp_path, monkeypatch):
    frames = [clips.flat("red" if n < 360 else "green") for n in range(720)]
    where = str(clips.save(tmp_path / "six.mkv", frames, [30.0 * n for n in range(720)]))
    found = moments(where, "image", Cut(1.0, 40))
    assert len(found) == 40
    assert found[1].start == 540
    assert found[-1].start == 39 * 540
    decoded = []
    plain = films._sought
    monkeypatch.setattr(films, "_sought", lambda *a: _counted(plain(*a), decoded))
    with listening() as heard:
        told = [clips.colour_of(read_picture(m)) for m in found]
    assert told == ["red"] * 20 + ["green"] * 20
    assert heard[:1] == ["of videos beyond 40 moments, taken further apart"]
    assert len(decoded) < 600, "key frames are sought: far from all 720 frames, 40 times over"
    assert Cut(1.0, 600).starts(600.0)[-1] == 599
    assert len(Cut(1.0, 600).starts(600.0)) == 600
    assert Cut(1.0, 600).starts(601.0)[1] == 2.0, "one more, and they lie further apart"


def _counted(frames, into):
    for one in frames:
        into.append(one[0])
        yield one


def test_a_file_that_does_not_say_its_length_is_walked(films_of, monkeypatch, tmp_path):
    import av

    streamed = tmp_path / "live.webm"
    with (
        av.open(str(films_of[2])) as source,
        av.open(str(streamed), "w", format="webm", options={"live": "1"}) as to,
    ):
        own = to.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = own
                to.mux(packet)
    with av.open(str(streamed)) as file:
        assert not file.duration
        assert not file.streams.video[0].duration
    assert list(seen(str(streamed), Cut(1.0)).values()) == SHOWN


# -- faults


def test_faults_fail_alone_with_a_reason(films_of, tmp_path):
    mute = clips.save(tmp_path / "mute.mp4", [], [], [(440.0, 1.0)])
    torn = tmp_path / "torn.mp4"
    torn.write_bytes(films_of[0].read_bytes()[:3000])
    long = clips.save(
        tmp_path / "long.mkv",
        [np.random.default_rng(n).integers(0, 255, (64, 64, 3), np.uint8) for n in range(100)],
        [n / 5 for n in range(100)],
    )
    half = tmp_path / "half.mkv"
    half.write_bytes(long.read_bytes()[: long.stat().st_size // 2])
    for cell, kind, reason in (
        (str(mute), "image", "there is no video stream"),
        (str(films_of[4]), "audio", "there is no audio stream"),
        (str(torn), "image", "torn, or no recording: Invalid data"),
        (b"no video at all", "image", "torn, or no recording: Invalid data"),
        (3, "image", "a int where the path or bytes of a recording belong"),
    ):
        with pytest.raises(CellError, match=reason):
            moments(cell, kind, Cut(1.0))
    names = ["mute.mp4", "torn.mp4", "half.mkv", str(films_of[0]), "gone.mp4", None]
    lists = [[str(films_of[0]), str(films_of[1])]]
    items = Items.from_frame({"id": list("abcdef"), "video": names}, id="id", base=tmp_path)
    cells = list(items.cells("video", "image", Cut(1.0)))
    result = encode(Middles(), [cell for _, cell in cells])
    lost = {(cells[n][0].id, cells[n][0].part): why for n, why in result.failed.items()}
    assert "there is no video stream" in lost.pop(("a", 0))
    assert "torn, or no recording" in lost.pop(("b", 0))
    assert "gone.mp4" in lost.pop(("e", 0))
    assert lost, "the half that is missing"
    assert {key[0] for key in lost} == {"c"}
    assert min(part for _, part in lost) > 5000
    assert all("torn video: its pictures end at 0:" in why for why in lost.values())
    assert len(result.vectors) == 8 + 20 - len(lost)
    two = Items.from_frame({"video": lists}).cells("video", "image", Cut(1.0))
    assert [str(cell) for _, cell in two] == [
        "2 recordings in one cell: give each a row of its own"
    ]
    with pytest.raises(ConjoinError, match="every = 1 for cells of kind text"):
        items.cells("video", "text", Cut(1.0))
    with pytest.raises(CellError, match="a video: add every"):
        read_picture(str(films_of[0]))


def test_content_follows_the_file_the_time_and_the_stretch(films_of, tmp_path):
    table = Items.from_frame({"video": [str(films_of[0])]})

    def keys(kind, cut):
        return {key.part: key.content for key in table.cells("video", kind, cut).list_keys()}

    once, twice = keys("image", Cut(2.0)), keys("image", Cut(1.0))
    assert once == {part: twice[part] for part in once}, "what stands is not read again"
    assert len(set(twice.values())) == 8
    assert not set(twice.values()) & set(keys("audio", Cut(1.0)).values())
    assert keys("audio", Cut(2.0))[0] != keys("audio", Cut(1.0))[0], "a longer stretch"
    own = table.cells("video", "image", Cut(1.0))
    assert own.get("0", 3000) == Moment(str(films_of[0]), 3.0, Cut(1.0))


def test_the_configuration_says_how_recordings_are_cut():
    def part(**more):
        values = {"column": "video", "encoder": "builtin:image", **more}
        return Config.of({"items": {"table": "a"}, "modalities": {"v": values}}).modalities["v"]

    assert part().cut is None
    assert part(every=2).cut == Cut(2.0, 600)
    assert part(every=0.001, most=1).cut == Cut(0.001, 1)
    for wrong in ({"every": 0.0009}, {"every": 86_401.0}, {"every": 1.0, "most": 0}):
        with pytest.raises(ConjoinError, match=r"every|most"):
            part(**wrong)
    with pytest.raises(ConjoinError, match="has most but no every"):
        part(most=5)


# -- from a folder to hits with their times


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """A folder of videos of drawings, and the joint model that knows their colours."""
    root = tmp_path_factory.mktemp("library")
    clip = joints.save_trained(root / "clip")
    (root / "videos").mkdir()
    drawn = {colour: np.asarray(picture) for colour, _, picture in joints.drawings(48)}
    names = [("red", "blue", "green"), ("blue", "green", "red"), ("green", "red", "blue")]
    for place, order in enumerate(names):
        large = [drawn[colour].repeat(8, axis=0).repeat(8, axis=1) for colour in order]
        frames = [large[n // 10] for n in range(30)]
        tones = [(300.0 * (1 + place), 6.0)]
        clips.save(root / "videos" / f"v{place}.mp4", frames, [n / 5 for n in range(30)], tones)
    (root / "videos" / "torn.webm").write_bytes(b"\x1a\x45\xdf\xa3 torn")
    return root, clip


def test_words_find_the_moment_of_a_video(conjoin, library, tmp_path):
    root, clip = library
    conjoin.good("init", root / "videos", "--encoder", f"hf:{clip}", "-w", tmp_path)
    text = (tmp_path / "conjoin.toml").read_text()
    assert "tower=image" in text
    assert "every = 1.0" in text
    assert '# encoder = "builtin:audio"' in text
    # As the comment offers: the sound tracks beside the pictures.
    begin, sounds = text.partition("# Their sound tracks")[::2]
    made = "\n".join(line.removeprefix("# ") for line in sounds.splitlines()[1:5])
    made = made.replace("every = 10.0", "every = 2.0")
    (tmp_path / "conjoin.toml").write_text(f"{begin}{made}\n")
    told = conjoin("embed", "-w", tmp_path)
    assert "video: 18 made, 0 kept, 1 failed" in told.out + told.err
    assert "video_sound: 9 made, 0 kept, 1 failed" in told.out + told.err
    assert (told.out + told.err).count("item torn: torn") == 2
    found = conjoin.good("search", "red circle", "--json", "--into", "video", "-w", tmp_path).json
    times = {hit["id"]: hit["time"] for hit in found["lists"]["video"]}
    assert {item: int(time // 2) for item, time in times.items()} == {"v0": 0, "v1": 2, "v2": 1}
    assert all(h["part"] == 1000 * h["time"] for h in found["lists"]["video"])
    shown = conjoin.good("search", "blue ring", "--into", "video", "-w", tmp_path).out
    assert "v0 · at 0:0" in shown
    assert "part" not in shown
    again = conjoin("embed", "-w", tmp_path)
    assert "video: 0 made, 18 kept" in again.out + again.err
    _vectors_are_those_of_the_pictures(Workspace(tmp_path, writes=False), root)
    _served(tmp_path, root / "videos" / "v0.mp4")


def _vectors_are_those_of_the_pictures(ws, root):
    space = ws.space("video")
    row = int(np.flatnonzero((space.ids == "v1") & (space.parts == 3000))[0])
    picture = read_picture(Moment(str(root / "videos" / "v1.mp4"), 3.0, Cut(1.0)))
    alone = encode(ws.encoder("video"), [picture]).vectors
    np.testing.assert_allclose(space.vectors[row], alone[0], atol=1e-5)
    assert space.frame == ws.encoder("video").frame
    assert open_index(ws).time_of("video", 3000) == 3.0


def _served(folder, video):
    pytest.importorskip("fastapi")
    from starlette.testclient import TestClient

    from conjoin.server.routes import create_app
    from conjoin.server.state import Settings

    token = "t" * 24
    settings = Settings(folder, token=token)
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as client:
        client.headers["Authorization"] = f"Bearer {token}"
        hits = client.post("/search", json={"text": "a green square"}).json()["lists"]["video"]
        assert {h["id"]: int(h["time"] // 2) for h in hits} == {"v0": 2, "v1": 1, "v2": 0}
        shown = client.get(hits[0]["media"])
        assert shown.status_code == 200
        assert shown.headers["content-type"] == "image/webp"
        late = client.get("/items/v0/media/video?part=5000")
        assert late.status_code == 200
        assert late.content != shown.content
        assert client.get("/items/v0/media/video?part=900000").status_code == 404
        _put(client, folder, video)


def _put(client, folder, video):
    """A video put beside the table is found by its moments; a torn one is told of."""
    column = Workspace(folder, writes=False).modality("video").column
    files = {"mine": video.read_bytes(), "broken": b"\x1a\x45\xdf\xa3 webm torn"}
    items = [
        {"id": name, "media": {column: base64.b64encode(data).decode()}}
        for name, data in files.items()
    ]
    told = client.put("/items", json={"items": items})
    assert told.status_code == 200, told.text
    assert told.json()["added"] == {"video": 6}  # its sounds are not bound
    assert {(one["id"], one["reason"].split(",")[0]) for one in told.json()["failed"]} == {
        ("broken", "torn")
    }
    hits = client.post("/search", json={"text": "a green square"}).json()["lists"]["video"]
    times = {hit["id"]: int(hit["time"] // 2) for hit in hits}
    assert times["mine"] == times["v0"] == 2
    assert client.get("/items/mine/media/video?part=5000").headers["content-type"] == "image/webp"


def test_a_stretch_of_sound_is_served_and_shown_as_a_wave(films_of):
    import io

    import soundfile

    from conjoin.report.thumbs import thumb
    from conjoin.server.media import sound

    moment = Moment(str(films_of[0]), 4.0, Cut(2.0))
    data, mime = sound(moment, 10**6)
    samples, rate = soundfile.read(io.BytesIO(data))
    assert mime == "audio/wav"
    assert pitch(samples, rate) == pytest.approx(880, abs=2)
    made = thumb(moment, "audio", "a")
    assert (made.kind, made.mime) == ("audio", "audio/wav")
    assert thumb(moment, "image", "a").kind == "image"
    gone = thumb(Moment(str(films_of[0]), 400.0, Cut(2.0)), "image", "a")
    assert gone.kind == "text"
    assert "cannot be shown" in gone.text
