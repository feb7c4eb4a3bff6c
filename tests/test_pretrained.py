"""A binding as a folder: exact round trips, a card that equals it, repositories by one line."""

import sys
from types import ModuleType

import numpy as np
import pytest

from conjoin.alignment.binding import Binding
from conjoin.alignment.hub import FILES
from conjoin.errors import ConjoinError, MissingDependency
from conjoin.report.pages.gallery import VERDICTS, gallery_page, picture
from conjoin.spaces import Space


def spaces():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(60, 4))
    return {
        name: Space.of(z @ rng.normal(size=(4, dim)), name=f"encoder of {name}")
        for name, dim in (("words", 7), ("pipes | `and` <b>", 5))
    }


@pytest.fixture(scope="module", params=["ridge", "procrustes", "cca"])
def binding(request):
    return Binding.fit(spaces(), method=request.param, seed=3)


def test_the_round_trip_is_exact(binding, tmp_path):
    binding.save_pretrained(tmp_path / "made")
    again = Binding.from_pretrained(tmp_path / "made")
    assert (again.frame, again.hub, again.seed) == (binding.frame, binding.hub, binding.seed)
    assert again.choice.to_json() == binding.choice.to_json()
    assert np.array_equal(again.trained, binding.trained)
    for name, space in spaces().items():
        before, after = binding.bind(name, space), again.bind(name, space)
        assert np.array_equal(np.asarray(before.vectors), np.asarray(after.vectors))
        assert after.frame.id == before.frame.id
    again.save_pretrained(tmp_path / "second")
    for path in (tmp_path / "made").rglob("*"):
        if path.is_file():
            twin = tmp_path / "second" / path.relative_to(tmp_path / "made")
            assert twin.read_bytes() == path.read_bytes(), path.name


def test_the_card_is_of_the_hubs_form_and_says_what_the_binding_is(binding, tmp_path):
    yaml = pytest.importorskip("yaml")
    binding.save_pretrained(tmp_path)
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    _, front, body = text.split("---\n", 2)
    assert yaml.safe_load(front)["library_name"] == "conjoin"
    for said in (binding.frame.id, binding.choice.method, "seed 3", "60 groups"):
        assert said in body
    assert "pipes \\| \\`and\\` \\<b\\>" in body
    (tmp_path / "README.md").write_text("mine")
    binding.save_pretrained(tmp_path)
    assert (tmp_path / "README.md").read_text() == "mine"


def test_a_repository_is_fetched_and_nothing_but_a_bindings_files(binding, tmp_path, monkeypatch):
    binding.save_pretrained(tmp_path / "copy")
    calls = []

    def snapshot_download(name, revision=None, allow_patterns=None):
        calls.append((name, revision, tuple(allow_patterns)))
        return str(tmp_path / "copy")

    fake = ModuleType("huggingface_hub")
    monkeypatch.setattr(fake, "snapshot_download", snapshot_download, raising=False)
    monkeypatch.setitem(sys.modules, "huggingface_hub", fake)
    monkeypatch.chdir(tmp_path)
    again = Binding.from_pretrained("someone/joined", revision="v1")
    assert again.frame == binding.frame
    assert calls == [("someone/joined", "v1", FILES)]

    def refused(name, **_):
        raise OSError("404 not found\nand more")

    monkeypatch.setattr(fake, "snapshot_download", refused)
    with pytest.raises(ConjoinError, match="someone/joined: is no folder, and not to be had") as e:
        Binding.from_pretrained("someone/joined")
    assert "\n" not in str(e.value)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingDependency, match="huggingface_hub: is not installed; run: pip"):
        Binding.from_pretrained("someone/joined")
    with pytest.raises(ConjoinError, match="holds no binding"):
        Binding.from_pretrained(tmp_path / "nowhere" / "at" / "all")


# --- the gallery of claims ------------------------------------------------------------------------


def claim(said="holds here", **change):
    return {
        "arm": "csls", "baseline": "none <b>", "task": "search", "condition": {"pairs": 50},
        "data": "emoji:image+text", "metric": "recall@10", "effect": 0.1, "low": 0.05,
        "high": 0.2, "said": said, "family": "hubness", **change,
    }  # fmt: skip


def test_a_picture_places_effects_where_they_are():
    import xml.etree.ElementTree as tree

    effects = [
        (-0.2, -0.4, 0.0), (0.1, 0.05, 0.2), (0.0, -0.1, 0.1), (0.05, -0.3, 0.4), (0.0, -0.2, 0.3),
    ]  # fmt: skip
    claims = [
        claim(said, effect=e, low=low, high=high)
        for (e, low, high), said in zip(effects, reversed(VERDICTS), strict=True)
    ]
    root = tree.fromstring(picture("hubness", claims))
    lines = [line for group in root.iter("g") for line in group.iter("line")]
    ends = np.array([[float(line.get(end)) for end in ("x1", "x2")] for line in lines])
    said = np.array([[low, high] for _, low, high in effects])
    # Places are a rising line of values.
    slope, start = np.polyfit(said.ravel(), ends.ravel(), 1)
    assert slope > 0
    assert np.allclose(slope * said + start, ends, atol=0.2)
    told = [text.text for text in root.iter("text")]
    assert all(verdict in told for verdict in VERDICTS)


def test_the_gallery_leads_to_every_claim_and_escapes_names():
    page = gallery_page({"claims": [claim(), claim("undecided", arm="ridge", family="closed")]})
    assert page.count("<svg") == 2
    assert page.count("](claims.md#") == 2
    assert "none <b>" not in "".join(part.split("</svg>")[0] for part in page.split("<svg")[1:])
    assert "\n\n" not in page.split("<figure>")[1].split("</figure>")[0]
