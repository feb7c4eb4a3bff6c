"""The same ranking elsewhere: faiss files read by faiss alone, and Qdrant in this process."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conjoin.errors import ConjoinError
from conjoin.retrieval.hubness.csls import CSLS, Correction
from conjoin.retrieval.index.export import Layout, export_faiss
from conjoin.retrieval.index.index import Index
from conjoin.retrieval.index.remote import open_remote, search_remote
from conjoin.spaces import Frame, Space, unit

FRAME = Frame.mint("given", "bound", 12, {})


@pytest.fixture
def index():
    rng = np.random.default_rng(0)
    ids = np.array([f"i{row}" for row in range(50)])
    text = Space(ids, unit(rng.standard_normal((50, 12))).astype(np.float32), FRAME)
    sound = Space(ids[:20], unit(rng.standard_normal((20, 12))).astype(np.float32), FRAME)
    image = Space(np.repeat(ids, 2), unit(rng.standard_normal((100, 12))).astype(np.float32), FRAME)
    fixes = {
        ("text", "image"): CSLS(3).fit(image.vectors, text.vectors),
        ("sound", "image"): CSLS(2).fit(image.vectors, sound.vectors),
    }
    made = Index.build({"text": text, "image": image, "sound": sound}, fixes)
    year = {n: pa.table({"year": [2000 + row % 9 for row in range(len(s))]})
            for n, s in made.spaces.items()}  # fmt: skip
    return Index(made.frame, made.spaces, made.corrections, about=year.__getitem__)


def test_a_faiss_file_ranks_as_the_index_by_faiss_alone(index, tmp_path):
    faiss = pytest.importorskip("faiss")
    paths = export_faiss(Layout.of(index, "image"), tmp_path)
    read, ids = faiss.read_index(paths["faiss"]), pq.read_table(paths["parquet"])
    told = json.loads((tmp_path / "image.json").read_text())
    assert ids.column_names == ["id", "part", "year"]
    for source in ("text", "sound"):
        queries = index.spaces[source]
        way = told["directions"][source]
        wide = np.zeros((len(queries), told["width"]), np.float32)
        wide[:, :12] = way["scale"] * np.asarray(queries.vectors)
        wide[:, slice(*way["offsets"])] = -1
        scores, rows = read.search(wide, 100)
        hits = index.search_many(queries, source, into=["image"], k=50)
        for line, score, hit in zip(rows, scores, hits, strict=True):
            names = np.array(ids.column("id").to_pylist())[line]
            first = np.sort(np.unique(names, return_index=True)[1])
            assert names[first].tolist() == [h.id for h in hit.best]
            np.testing.assert_allclose(score[first], [h.score for h in hit.best], atol=2e-6)


def test_qdrant_answers_as_the_index(index):
    pytest.importorskip("qdrant_client")
    remote = open_remote("qdrant::memory:")
    layout = Layout.of(index, "image")
    assert remote.push(layout) == 100
    for source in ("text", "sound", None):
        queries = index.spaces[source or "text"]
        found = search_remote(remote, layout, queries, source, k=6)
        hits = index.search_many(queries, source, into=["image"], k=6)
        for mine, hit in zip(found, hits, strict=True):
            assert [item for item, _ in mine] == [h.id for h in hit.best]
            np.testing.assert_allclose([s for _, s in mine], [h.score for h in hit.best], atol=1e-5)
    point = remote.client.retrieve("conjoin-image", [3], with_payload=True)[0]
    assert point.payload == {"id": "i1", "part": 1, "year": 2003, "frame": FRAME.id}
    fewer = Index.build({"image": index.spaces["image"].take(np.arange(40))})
    assert remote.push(Layout.of(fewer, "image")) == 40
    assert remote.client.count("conjoin-image", exact=True).count == 40
    other = Frame.mint("given", "other", 12, {"name": "other"})
    one = np.eye(12, dtype=np.float32)[:1]
    strange = Index.build({"image": Space(np.array(["a"]), one, other)})
    with pytest.raises(ConjoinError, match="is of frame"):
        remote.nearest(Layout.of(strange, "image"), one, 3)
    with pytest.raises(ConjoinError, match="is missing"):
        remote.nearest(Layout.of(index, "text"), one, 3)


def test_what_is_no_coordinate_is_refused(index):
    gated = Correction("csls", 1.0, np.zeros((100, 1)), np.ones((100, 1), dtype=bool))
    held = Index(index.frame, index.spaces, {("text", "image"): gated})
    with pytest.raises(ConjoinError, match="has a gate"):
        Layout.of(held, "image")
    assert Layout.of(held, "image", plain=True).width == 12
    with pytest.raises(ConjoinError, match="did you mean image"):
        Layout.of(index, "imag")
    for address in ("milvus:x", "qdrant:", "qdrant"):
        with pytest.raises(ConjoinError, match="--to"):
            open_remote(address)
