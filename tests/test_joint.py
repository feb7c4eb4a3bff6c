"""Joint encoders as they are: no pairs, no fit, their own vectors, and words by the text tower."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import joints
from conjoin.alignment.binding import Binding
from conjoin.encoders import devices
from conjoin.encoders.open import open_encoder, towers
from conjoin.encoders.run import encode
from conjoin.errors import ConjoinError, FrameError
from conjoin.project.fit import joint
from conjoin.project.search.index import open_index
from conjoin.project.workspace import Workspace
from conjoin.spaces import Space, unit
from shelf import Caller


@pytest.fixture
def conjoin(monkeypatch, capsys):
    return Caller(monkeypatch, capsys)


@pytest.fixture(scope="session")
def clip(tmp_path_factory) -> Path:
    return joints.save_trained(tmp_path_factory.mktemp("models") / "clip")


@pytest.fixture(scope="session")
def photos(tmp_path_factory) -> Path:
    """Forty-eight drawings, two of each colour and shape."""
    folder = tmp_path_factory.mktemp("drawn") / "photos"
    folder.mkdir()
    for place, (colour, shape, picture) in enumerate(joints.drawings(48)):
        picture.save(folder / f"{colour}-{shape}-{place}.png")
    return folder


@pytest.fixture(scope="module")
def album(tmp_path_factory, clip, photos) -> Path:
    """A folder of pictures, embedded by a joint encoder."""
    folder = tmp_path_factory.mktemp("album")
    shutil.copytree(photos, folder / "photos")
    with pytest.MonkeyPatch.context() as patch:
        import sys

        from conjoin.cli.main import main

        for words in (["init", folder / "photos", "--encoder", f"hf:{clip}"], ["embed", "-q"]):
            patch.setattr(sys, "argv", ["conjoin", *map(str, words), "-w", str(folder)])
            with pytest.raises(SystemExit) as stop:
                main()
            assert not stop.value.code
    return folder


def captioned(folder: Path, photos: Path, clip: Path, more: str = "", **columns) -> Path:
    """A table of the drawings with captions by the same model."""
    files = sorted(photos.iterdir())
    folder.mkdir(parents=True, exist_ok=True)
    table = {
        "id": [file.stem for file in files], "image": [str(file) for file in files],
        "caption": [f"a {file.stem.split('-')[0]} {file.stem.split('-')[1]}" for file in files],
        **columns,
    }  # fmt: skip
    pq.write_table(pa.table(table), folder / "items.parquet")
    (folder / "conjoin.toml").write_text(
        f'[items]\ntable = "items.parquet"\nid = "id"\nfolders = ["{photos}"]\n'
        f'[modalities.image]\ncolumn = "image"\nencoder = "hf:{clip}?tower=image"\n'
        f'[modalities.text]\ncolumn = "caption"\nencoder = "hf:{clip}?tower=text"\n{more}'
    )
    return folder


def oracle(clip: Path, text: str, files: list[Path]) -> np.ndarray:
    """Cosines by transformers alone."""
    import torch
    from PIL import Image
    from transformers import AutoTokenizer, CLIPModel

    model = CLIPModel.from_pretrained(clip).eval()
    pixels = np.stack([np.asarray(Image.open(f), np.float32) / 127.5 - 1 for f in files])
    with torch.inference_mode():
        out = model(
            **AutoTokenizer.from_pretrained(clip)([text], return_tensors="pt"),
            pixel_values=torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy()),
        )
    return (out.image_embeds @ out.text_embeds.T).numpy()[:, 0]


# -- towers


@pytest.mark.parametrize(
    ("shape", "kinds"),
    [("clip", {"text", "image"}), ("siglip", {"text", "image"}), ("align", {"text", "image"}),
     ("clap", {"text", "audio"}), ("vision_only", {"image"})],
)  # fmt: skip
def test_one_uri_names_every_tower_and_they_share_a_frame_and_their_weights(shape, kinds, tmp_path):
    folder = getattr(joints, f"save_{shape}")(tmp_path / shape)
    found = towers(f"hf:{folder}")
    assert set(found) == kinds
    opened = {kind: open_encoder(uri) for kind, uri in found.items()}
    assert {kind: encoder.kind for kind, encoder in opened.items()} == {k: k for k in kinds}
    assert len({encoder.frame for encoder in opened.values()}) == 1
    assert len({id(encoder.model) for encoder in opened.values()}) == 1, "weights are held once"
    for uri in found.values():
        assert towers(uri) == found, "any tower names the others"


def test_states_that_are_not_projected_are_of_no_joint_frame(clip):
    pooled = f"hf:{clip}?tower=image&pool=cls"
    assert towers(pooled) == {"image": f"hf:{clip}?pool=cls&tower=image"}
    assert open_encoder(pooled).frame != open_encoder(f"hf:{clip}?tower=text").frame
    assert towers("builtin:chargram") == {"text": "builtin:chargram"}


# -- pictures alone


def test_pictures_are_found_by_words_of_the_text_tower(conjoin, album, clip):
    assert not (album / "conjoin.toml").read_text().count("tower=text")
    told = conjoin.good("search", "a red circle", "-k", 48, "--json", "-w", album).json
    hits = told["lists"]["image"]
    files = [album / "photos" / f"{hit['id']}.png" for hit in hits]
    np.testing.assert_allclose(
        [hit["score"] for hit in hits], oracle(clip, "a red circle", files), atol=1e-5
    )
    assert [hit["score"] for hit in hits] == sorted((h["score"] for h in hits), reverse=True)
    assert {hit["id"].split("-")[0] for hit in hits[:6]} == {"red"}, "retrieval means something"
    assert told["query"]["modality"] == "text"
    assert told["uncalibrated"] == ["image"]
    assert {hit["probability"] for hit in hits} == {None}
    shown = conjoin.good("search", "a red circle", "-w", album).out
    assert "uncalibrated" in shown
    assert "match" not in shown


def test_what_is_served_is_what_the_encoder_gave(album):
    ws = Workspace(album, writes=False)
    index, space, encoder = open_index(ws), ws.space("image"), ws.encoder("image")
    assert index.frame == space.frame == encoder.frame
    fresh = encode(encoder, [ws.cells("image", "image").get(i) for i in space.ids.tolist()])
    np.testing.assert_array_equal(np.asarray(space.vectors), fresh.vectors)
    held, rows = index.spaces["image"], np.asarray(space.vectors)
    assert held.ids.tolist() == space.ids.tolist()
    np.testing.assert_array_equal(np.asarray(held.vectors), unit(rows))


def test_a_picture_asks_with_probabilities_told_by_pieces(conjoin, album):
    picture = next((album / "photos").glob("blue-ring-*"))
    told = conjoin.good("search", "--query", picture, "--json", "-w", album).json
    hits = told["lists"]["image"]
    assert hits[0]["id"] == picture.stem
    assert all(0 < hit["probability"] < 1 for hit in hits)
    assert told["uncalibrated"] == []


def test_fit_without_pairs_says_so_and_changes_nothing(conjoin, album):
    before = json.loads((album / ".conjoin" / "current.json").read_text())
    told = conjoin.good("fit", "-w", album)
    assert "no pairs, so nothing is fitted" in told.out
    assert "probabilities from pieces" in told.out
    assert json.loads((album / ".conjoin" / "current.json").read_text()) == before
    told = conjoin.good("fit", "--json", "-w", album).json
    assert told["frame"] == Workspace(album).encoder("image").frame.id
    assert told["served"]["asks"] == ["image", "text"]
    assert conjoin.good("fit", "--dry-run", "-w", album).out.startswith("no pairs")


def test_what_comes_and_goes_is_found_after_embed_and_others_score_the_same(
    conjoin, album, tmp_path
):
    folder = tmp_path / "album"
    shutil.copytree(album, folder)
    (folder / "conjoin.toml").write_text(
        (folder / "conjoin.toml").read_text().replace(str(album), str(folder))
    )

    def scores():
        told = conjoin.good("search", "a green ring", "-k", 60, "--json", "-w", folder).json
        return {hit["id"]: hit["score"] for hit in told["lists"]["image"]}

    before = scores()
    joints.drawing("green", "ring", 999).save(folder / "photos" / "new.png")
    gone = next((folder / "photos").glob("white-cross-*"))
    gone.unlink()
    told = conjoin.good("embed", "-w", folder)
    assert "run: conjoin fit" not in told.err
    after = scores()
    assert set(after) - set(before) == {"new"}
    assert set(before) - set(after) == {gone.stem}
    assert {k: v for k, v in after.items() if k in before} == {
        k: v for k, v in before.items() if k in after
    }, "bit for bit"


def test_the_service_reads_words_by_the_tower(album):
    pytest.importorskip("fastapi")
    from starlette.testclient import TestClient

    from conjoin.project.search.queries import Query
    from conjoin.project.search.session import search
    from conjoin.server.routes import create_app
    from conjoin.server.state import Settings

    with TestClient(create_app(Settings(album)), base_url="http://127.0.0.1") as client:
        found = client.post("/search", json={"text": "a blue square", "k": 5}).json()
        named = client.post("/search", json={"text": "a", "source": "text", "k": 5})
        vector = client.post("/embed", json={"text": "a blue square"}).json()
    ws = Workspace(album, writes=False)
    expected = search(ws, Query(text="a blue square"), into=(), k=5)
    assert [h["id"] for h in found["lists"]["image"]] == [h.id for h in expected.best]
    assert found["uncalibrated"] == ["image"]
    assert vector["frame"] == ws.encoder("image").frame.id
    assert named.status_code == 422, "no modality is called text"


def test_parts_of_a_query_are_read_by_towers_too(conjoin, album):
    told = conjoin.good("search", "a red circle", "--not", "a red ring", "--json", "-w", album).json
    assert len(told["lists"]["image"]) == 10


# -- two modalities, pairs, and modalities of other encoders


def test_modalities_of_one_encoder_need_no_fit_and_pairs_are_left_to_it(
    conjoin, photos, clip, tmp_path
):
    captioned(tmp_path, photos, clip)
    told = conjoin.good("embed", "--json", "-w", tmp_path).json["served"]
    assert told["modalities"] == ["image", "text"]
    assert {tuple(edge[:2]) for edge in told["uncalibrated"]} >= {("image", "text"),
                                                                ("text", "image")}  # fmt: skip
    assert set(told["hubs"]) == {f"{a} → {b}" for a in ("image", "text") for b in ("image", "text")}
    found = conjoin.good("search", "a red circle", "--into", "image", "--json", "-w", tmp_path).json
    assert found["query"]["modality"] == "text"
    assert {hit["id"].split("-")[0] for hit in found["lists"]["image"][:6]} == {"red"}
    evaluated = conjoin.good("evaluate", "--json", "-w", tmp_path).json
    assert any(row["chosen"] for row in evaluated["results"])


def test_the_identity_of_one_frame_mints_no_other(conjoin, photos, clip, tmp_path):
    captioned(tmp_path, photos, clip)
    conjoin.good("embed", "-q", "-w", tmp_path)
    told = conjoin.good("fit", "--method", "identity", "--json", "-w", tmp_path).json
    frame = Workspace(tmp_path).encoder("image").frame
    assert told["frame"] == frame.id
    assert open_index(Workspace(tmp_path)).frame == frame


def test_a_modality_of_another_encoder_binds_to_the_joint_frame_which_stays(
    conjoin, photos, clip, tmp_path
):
    ws = Workspace(captioned(tmp_path, photos, clip))
    conjoin.good("embed", "-q", "-w", tmp_path)
    rows = np.asarray(ws.space("image").vectors)
    mixing = np.random.default_rng(5).normal(size=(rows.shape[1], 6))
    place = {item: row for row, item in enumerate(ws.space("image").ids.tolist())}
    tags = [(rows[place[file.stem]] @ mixing).tolist() for file in sorted(photos.iterdir())]
    more = '[modalities.tags]\ncolumn = "tags"\nencoder = "builtin:vector"\n'
    captioned(tmp_path, photos, clip, more, tags=tags)
    before = {n: np.array(s.vectors) for n, s in open_index(ws).spaces.items()}
    told = conjoin.good("add", "tags", "--json", "-w", tmp_path).json
    index = open_index(Workspace(tmp_path))
    assert told["frame"] == index.frame.id == ws.encoder("image").frame.id
    assert list(index.spaces) == ["image", "text", "tags"]
    for name, vectors in before.items():
        np.testing.assert_array_equal(np.asarray(index.spaces[name].vectors), vectors)
    asked = next(file.stem for file in sorted(photos.iterdir()))
    words = ("search", "--item", asked, "--from", "tags", "--into", "image", "--json")
    found = conjoin.good(*words, "-w", tmp_path).json
    first = {hit["id"].split("-")[0] for hit in found["lists"]["image"][:3]}
    assert first == {asked.split("-")[0]}
    loaded = Binding.load(Workspace(tmp_path).state / Workspace(tmp_path).current["maps"])
    assert loaded.joint == ("image", "text")
    assert loaded.beside["tags"].method in ("ridge", "low-rank", "procrustes", "cca")
    worth = {trial.method: trial.mean for trial in loaded.beside["tags"].trials}
    assert worth[loaded.beside["tags"].method] == max(worth.values()) > 0.4


def test_towers_of_two_models_are_refused_by_their_frames(conjoin, photos, clip, tmp_path):
    other = joints.save_clip(tmp_path / "other", seed=1)
    folder = captioned(tmp_path / "w", photos, clip)
    text = (folder / "conjoin.toml").read_text()
    (folder / "conjoin.toml").write_text(text.replace(f"{clip}?tower=text", f"{other}?tower=text"))
    told = conjoin.good("embed", "-w", folder)
    assert "different joint encoders" in told.err
    says = ("nothing is fitted yet", f"text (hf:{other}?tower=text)", "name one encoder for all",
            "conjoin fit")  # fmt: skip
    conjoin.bad(folder, "search", "a", "-w", folder, says=says)
    ws = Workspace(folder)
    with pytest.raises(FrameError, match="modality text"):
        Binding.as_it_is(ws.spaces())
    index = joint.group_of(ws)
    assert (index.names, "different joint encoders" in index.why) == ((), True)


# -- faults


def test_a_model_without_a_text_tower_and_typed_words(conjoin, photos, tmp_path):
    model = joints.save_vision_only(tmp_path / "vision")
    folder = tmp_path / "w"
    folder.mkdir()
    conjoin.good("init", photos, "--encoder", f"hf:{model}", "-w", folder)
    conjoin.good("embed", "-q", "-w", folder)
    told = conjoin("search", "a red circle", "-w", folder)
    assert told.code == 2
    assert "no bound modality reads text" in told.err
    picture = next(photos.iterdir())
    own = conjoin.good("search", "--query", picture, "--json", "-w", folder).json
    assert own["lists"]["image"][0]["id"] == picture.stem, "its own kind finds it"


def test_an_encoder_that_reads_nothing_of_the_table_is_refused(conjoin, photos, tmp_path):
    clap = joints.save_clap(tmp_path / "clap")
    told = conjoin("init", photos, "--encoder", f"hf:{clap}", "-w", tmp_path)
    assert told.code == 2
    assert "--encoder: reads text and audio" in told.err


def test_texts_longer_than_the_tower_reads_are_counted(conjoin, photos, clip, tmp_path):
    folder = captioned(tmp_path, photos, clip)
    table = pq.read_table(folder / "items.parquet").to_pydict()
    table["caption"][:3] = ["a red circle " * 5 + word for word in ("at", "of", "in")]
    table["caption"][3] = "a " * 14  # fills the tower to the last place
    pq.write_table(pa.table(table), folder / "items.parquet")
    told = conjoin.good("embed", "text", "--json", "-w", folder).json["modalities"]
    assert [entry["remarks"] for entry in told] == [{"cut at 16 tokens": 3}]
    assert "text: 3 cut at 16 tokens" in conjoin.good("embed", "text", "-w", folder).out


def test_one_modality_is_searched_by_its_own_kind(conjoin, tmp_path):
    rows = np.random.default_rng(0).normal(size=(30, 6)).astype(np.float32)
    pq.write_table(pa.table({"v": rows.tolist()}), tmp_path / "items.parquet")
    (tmp_path / "conjoin.toml").write_text(
        '[items]\ntable = "items.parquet"\n[modalities.v]\ncolumn = "v"\n'
        'encoder = "builtin:vector"\n'
    )
    conjoin.bad(tmp_path, "search", "--item", "3", "-w", tmp_path, says=("conjoin embed",))
    conjoin.good("embed", "-w", tmp_path)
    told = conjoin.good("search", "--item", "3", "--json", "-w", tmp_path).json
    cosine = unit(rows) @ unit(rows)[3]
    order = [str(i) for i in np.argsort(-cosine) if i != 3][:10]
    assert [hit["id"] for hit in told["lists"]["v"]] == order


def test_sounds_are_found_by_words_of_their_model(conjoin, tmp_path):
    soundfile = pytest.importorskip("soundfile")
    clap = joints.save_clap(tmp_path / "clap")
    folder = tmp_path / "sounds"
    folder.mkdir()
    for number in range(12):
        wave = np.sin(np.arange(8000) * (0.05 + 0.02 * number)).astype(np.float32)
        soundfile.write(folder / f"s{number}.wav", wave, 8000)
    conjoin.good("init", folder, "--encoder", f"hf:{clap}", "-w", tmp_path)
    conjoin.good("embed", "-q", "-w", tmp_path)
    told = conjoin.good("search", "a high sound", "--json", "-w", tmp_path).json
    assert len(told["lists"]["audio"]) == 10


# -- hubs


def test_hubs_are_counted_as_a_loop_counts_them():
    rng = np.random.default_rng(3)
    a, b = (rng.normal(size=(40, 4)).astype(np.float32) for _ in range(2))
    ids = [f"i{n}" for n in range(40)]
    spaces = {"a": Space.of(a, ids, name="x"), "b": Space.of(b, ids, name="x")}
    found = joint.hubs(spaces, k=5)
    for query, target in (("a", "a"), ("a", "b")):
        counts = np.zeros(40)
        left, right = np.asarray(spaces[query].vectors), np.asarray(spaces[target].vectors)
        for row in range(40):
            cosine = [
                -2.0 if other == row else float(
                    left[row] @ right[other]
                    / np.linalg.norm(left[row]) / np.linalg.norm(right[other])
                )
                for other in range(40)
            ]  # fmt: skip
            for hit in sorted(range(40), key=lambda other: -cosine[other])[:5]:
                counts[hit] += 1
        one = found[query, target]
        spread = counts - counts.mean()
        assert one.skewness == pytest.approx((spread**3).mean() / counts.std() ** 3, rel=1e-6)
        assert one.never == pytest.approx((counts == 0).mean())


# -- devices


def test_a_device_that_is_not_there_is_refused_and_auto_follows_the_variable(monkeypatch, clip):
    import torch

    monkeypatch.delenv(devices.VARIABLE, raising=False)
    if not torch.cuda.is_available():
        with pytest.raises(ConjoinError, match="torch finds no cuda here"):
            open_encoder(f"hf:{clip}?tower=text", device="cuda")
    monkeypatch.setenv(devices.VARIABLE, "cpu")
    assert devices.chosen("auto", "x") == "cpu"
    monkeypatch.setenv(devices.VARIABLE, "gpu")
    with pytest.raises(ConjoinError, match="CONJOIN_DEVICE: 'gpu'"):
        devices.chosen("auto", "x")
    monkeypatch.delenv(devices.VARIABLE)
    monkeypatch.setattr(devices, "_accelerators", lambda: ["cuda", "mps"])
    assert devices.chosen("auto", "x") == "cuda"
    assert devices.chosen("mps", "x") == "mps"
    assert devices.chosen("cpu", "x") == "cpu"


def test_a_device_is_no_part_of_an_encoders_name_or_frame(clip):
    plain = open_encoder(f"hf:{clip}?tower=image")
    for way in ("device=cpu", "precision=float32"):
        other = open_encoder(f"hf:{clip}?tower=image&{way}")
        assert (other.uri, other.frame) == (plain.uri, plain.frame)


def test_bfloat16_is_taken_where_its_probes_agree_and_not_where_they_do_not(monkeypatch, clip):
    import torch

    monkeypatch.setattr(devices, "has_bfloat16", lambda: True)
    model = torch.nn.Linear(4, 3)
    rows = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))

    def near(moved):
        return (rows @ moved.weight.float().T).detach().numpy()

    def far(moved):
        turn = 0.05 if moved.weight.dtype == torch.bfloat16 else 0.0
        return near(moved) + turn

    assert devices.placed(model, "cpu", "fast", near).weight.dtype == torch.bfloat16
    assert devices.placed(model, "cpu", "fast", far) is model
    assert devices.placed(model, "cpu", "auto", near) is model, "a processor stays exact by itself"
    assert devices.placed(model, "cpu", "float32", near) is model
    monkeypatch.setattr(devices, "has_bfloat16", lambda: False)
    assert devices.placed(model, "cpu", "fast", near) is model
    assert model.weight.dtype == torch.float32


class Tight:
    """An encoder whose memory holds so many cells and no more."""

    uri, kind, batch_size = "test:tight", "vector", 16

    def __init__(self, room: int, *, grows: bool = False):
        self.frame = Space.of(np.eye(2), name="tight").frame
        self.sizes, self.room, self.seen = devices.BatchSize(16, grows=grows), room, []

    def decode(self, cell):
        return cell

    def length(self, item):
        return 1

    def forward(self, items):
        self.seen.append(len(items))
        if len(items) > self.room:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return np.array(items, dtype=np.float32)


def test_a_batch_that_does_not_fit_is_halved_and_one_that_does_is_doubled():
    cells = [[float(n), 1.0] for n in range(100)]
    small = Tight(5)
    np.testing.assert_array_equal(encode(small, cells).vectors, cells)
    assert small.seen[:3] == [16, 8, 4]
    assert set(small.seen[2:]) == {4}, "what did not fit is not tried again"
    wide = Tight(50, grows=True)
    np.testing.assert_array_equal(encode(wide, cells).vectors, cells)
    assert wide.seen[:4] == [16, 32, 52, 26]
    with pytest.raises(RuntimeError, match="out of memory"):
        encode(Tight(0), cells)


def test_other_errors_are_not_taken_for_a_lack_of_memory():
    assert devices.out_of_memory(MemoryError())
    assert devices.out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory"))
    assert not devices.out_of_memory(RuntimeError("shapes do not match"))
    assert not devices.out_of_memory(ValueError("out of memory"))


# -- the vectors as they are stand first


@pytest.mark.parametrize("turned", [False, True])
def test_a_method_takes_the_place_of_the_vectors_only_where_it_surely_gains(
    conjoin, tmp_path, turned
):
    rng = np.random.default_rng(4)
    z = rng.normal(size=(120, 6))
    turn = np.linalg.qr(rng.normal(size=(6, 6)))[0] if turned else np.eye(6)
    sides = {"a": z, "b": z @ turn + 0.3 * rng.normal(size=z.shape)}
    columns = {name: side.astype(np.float32).tolist() for name, side in sides.items()}
    pq.write_table(
        pa.table({"id": [f"i{n}" for n in range(120)], **columns}), tmp_path / "t.parquet"
    )
    (tmp_path / "conjoin.toml").write_text(
        '[items]\ntable = "t.parquet"\nid = "id"\n[fit]\namong = ["identity", "ridge"]\n'
        + "".join(
            f'[modalities.{name}]\ncolumn = "{name}"\nencoder = "builtin:vector?name=clip"\n'
            for name in columns
        )
    )
    conjoin.good("embed", "-q", "-w", tmp_path)
    own = Workspace(tmp_path).encoder("a").frame
    assert open_index(Workspace(tmp_path)).frame == own
    told = conjoin.good("fit", "-w", tmp_path).out
    bound = conjoin.good("info", "--json", "-w", tmp_path).json["bound"]
    assert (bound["method"], bound["frame"] == own.id) == (
        ("ridge", False) if turned else ("identity", True)
    )
    assert ("identity, which was in use, stays: the gain of" in told) is not turned
    again = conjoin.good("fit", "--fresh", "--json", "-w", tmp_path).json
    assert again["method"] == bound["method"], "--fresh forgets a choice, not the vectors"
