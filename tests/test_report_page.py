"""``conjoin report``: its figures are the facts, its words stay words, it needs no network."""

import json
import re
import shutil
from html.parser import HTMLParser
from itertools import permutations
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("plotly")

from conjoin.project.report import build as reporting
from conjoin.project.report.extras import layers_of
from conjoin.project.workspace import Workspace
from conjoin.report import plots
from conjoin.report.cards.hub import hub_card
from conjoin.report.pages.report import embedded, figures_of, report_page
from conjoin.report.projection import flat
from conjoin.spaces import Space
from conjoin.storage.files import write_json
from served import COLOURS, EYES, SHAPES, picture
from shelf import Caller, shelf

HOSTILE = "</script><img src=x onerror=alert(1)><!--"
CONFIG = """
version = 1
[items]
table = "items.parquet"
id = "id"
[modalities.text]
column = "caption"
encoder = "builtin:chargram?dim=64"
[modalities.picture]
column = "picture"
encoder = "python:looks:look?kind=image"
[modalities.numbers]
column = "numbers"
encoder = "builtin:vector"
[split]
test = 0.3
"""


#: What a forecast says, as ``conjoin forecast`` would; measuring one takes longer.
FORECAST = {
    "said": "500 more pairs would bring +0.05", "points": [
        {"pairs": 600, "value": 0.75, "low": 0.5, "high": 0.875, "measured": False},
        {"pairs": 50, "value": 0.25, "low": 0.125, "high": 0.375, "measured": True},
        {"pairs": 100, "value": 0.5, "low": None, "high": None, "measured": True},
    ],
}  # fmt: skip

#: So few held-out queries give no calibration; this is one as ``conjoin evaluate`` keeps it.
TRUST = {
    "reliability": [{
        "query": "text", "target": "picture", "table": [[0.1, 0.2, 30], [0.8, 0.7, 50]],
        "error": 0.1, "error_low": 0.05, "error_high": 0.15, "kept": [0.9, 0.8, 0.95],
        "rejected": [0.6, 0.5, 0.7], "scrambled": [0.5, 0.4, 0.6],
    }]
}  # fmt: skip


@pytest.fixture
def conjoin(monkeypatch, capsys):
    return Caller(monkeypatch, capsys)


def build(folder: Path) -> Path:
    """Coloured shapes, with an item, a caption and a value of a column that hold markup."""
    columns = {name: [] for name in ("id", "label", "caption", "picture", "numbers", "colour")}
    rng = np.random.default_rng(0)
    for row, (colour, shape, turn) in enumerate(
        (c, s, t) for c in COLOURS for s in SHAPES for t in range(3)
    ):
        columns["id"].append(f"i{row}{HOSTILE if row == 5 else ''}")
        columns["label"].append(f"{colour} {shape} {HOSTILE if row % 7 == 0 else row}")
        columns["caption"].append(f"a {colour} {shape} {HOSTILE if row % 9 == 0 else turn}")
        columns["picture"].append(picture(COLOURS[colour], shape, row))
        code = [list(COLOURS).index(colour), SHAPES.index(shape), 1]
        columns["numbers"].append((np.eye(4)[code].ravel() + rng.normal(0, 0.1, 12)).tolist())
        columns["colour"].append(HOSTILE if colour == "red" else colour)
    pq.write_table(pa.table(columns), folder / "items.parquet")
    (folder / "conjoin.toml").write_text(CONFIG.lstrip())
    (folder / "looks.py").write_text(EYES)
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A fitted workspace, the facts of it, and its page."""
    from conjoin.project.fit import pipeline

    folder = build(tmp_path_factory.mktemp("report"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # where the encoder's function is found
        ws = Workspace(folder)
        for modality in ws.modalities:
            ws.embed(modality.name)
        pipeline.fit(ws, method="ridge", hub="numbers")
        facts = reporting.facts_of(ws, label="colour", budget=0.0, seed=0, note=lambda _: None)
    facts["forecast"], facts["trust"] = FORECAST, TRUST
    (folder / "report.html").write_text(report_page(facts), encoding="utf-8")
    return folder, facts


class Read(HTMLParser):
    """Elements of a page, and the text of its scripts."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict]] = []
        self.scripts: dict[str, str] = {}
        self._now: str | None = None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._now = dict(attrs).get("id", "") if tag == "script" else None

    def handle_endtag(self, tag):
        self._now = None

    def handle_data(self, data):
        if self._now:
            self.scripts[self._now] = self.scripts.get(self._now, "") + data


@pytest.fixture(scope="module")
def read(made):
    return Read((made[0] / "report.html").read_text(encoding="utf-8"))


# --- what the page says is what was measured ------------------------------------------------------


def span(row):
    if row["low"] is None:
        return f"{row['value']:.3f}"
    return f"{row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"


def test_the_figures_tables_are_the_facts(made):
    _, facts = made
    drawn = {figure.key: figure for figure in figures_of(facts)}
    assert list(drawn) == ["retrieval", "learning", "reliability", "masks"]
    rows = [r for r in facts["evaluation"]["results"] if r["metric"] == "recall@10"]
    assert [row[2] for row in drawn["retrieval"].rows] == [span(r) for r in rows]
    assert {row[0] for row in drawn["retrieval"].rows} == {
        f"{a} → {b}" for a, b in permutations(("text", "picture", "numbers"), 2)
    }  # fmt: skip
    told = facts["masks"]["masks"]
    assert [row[1] for row in drawn["masks"].rows[: len(told)]] == [span(r) for r in told]
    assert len(told) == 9
    assert facts["masks"]["said"].lower() in drawn["masks"].says.lower()
    (said,) = drawn["reliability"].rows
    assert said == ("text → picture", "0.100 [0.050, 0.150]", "0.900 [0.800, 0.950]",
                    "0.600 [0.500, 0.700]", "0.500 [0.400, 0.600]")  # fmt: skip
    points = sorted(facts["forecast"]["points"], key=lambda p: p["pairs"])
    assert [row[:2] for row in drawn["learning"].rows] == [
        (str(p["pairs"]), span(p)) for p in points
    ]


def test_what_is_drawn_is_what_the_table_says(made):
    _, facts = made
    for figure in figures_of(facts):
        if figure.key not in ("retrieval", "masks"):
            continue
        drawn = sorted(f"{x:.3f}" for trace in figure.traces for x in trace["x"])
        column = 2 if figure.key == "retrieval" else 1
        rows = [row for row in figure.rows if not row[0].startswith("collect ")]
        assert drawn == sorted(row[column].split()[0] for row in rows)
        for trace in figure.traces:
            bars = trace["error_x"]
            assert all(up >= 0 for up in (*bars["array"], *bars["arrayminus"]))
            assert all(x + up <= 1.001 for x, up in zip(trace["x"], bars["array"], strict=True))


def test_the_page_holds_every_part_and_every_row(made, read):
    _, facts = made
    ids = [attrs["id"] for _, attrs in read.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    sections = [attrs["id"] for tag, attrs in read.tags if tag == "section"]
    assert sections == [
        "card", "retrieval", "learning", "reliability", "masks", "geometry", "map", "queries",
        "costs",
    ]  # fmt: skip
    links = [attrs["href"] for tag, attrs in read.tags if tag == "a"]
    assert set(links) - {"#main"} == {f"#{name}" for name in sections}
    page = (made[0] / "report.html").read_text(encoding="utf-8")
    for row in facts["evaluation"]["results"]:
        if row["metric"] == "recall@10":
            assert span(row) in page
    assert "No encoder here keeps its layers" in page
    for source in facts["card"]["sources"]:
        assert source["key"] not in page.split('id="costs"')[1].split("</section>")[0]
    assert json.loads(read.scripts["all"])["masks"] == json.loads(json.dumps(facts["masks"]))
    assert "queries" not in json.loads(read.scripts["all"])


# --- words stay words -----------------------------------------------------------------------------


def test_hostile_labels_are_inert(made, read):
    _, facts = made
    assert sum(HOSTILE in point["label"] for point in facts["map"]["points"]) > 5
    assert all(attrs.get("src", "data:").startswith("data:") for _, attrs in read.tags)
    assert not any("onerror" in attrs for _, attrs in read.tags)
    assert [tag for tag, _ in read.tags].count("script") == 4
    drawn = json.loads(read.scripts["data"])
    assert drawn["map"] == facts["map"]


@given(
    st.recursive(
        st.none() | st.booleans() | st.text() | st.floats(allow_nan=False, allow_infinity=False)
        | st.sampled_from(["</script>", "<!--", "]]>", "\u2028", "&lt;/script&gt;"]),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=8,
    )
)  # fmt: skip
@settings(deadline=None, max_examples=60)
def test_embedded_values_read_back_and_close_no_script(value):
    said = embedded(value)
    assert not set("<>&\u2028\u2029") & set(said)
    assert json.loads(said) == value


def test_nothing_is_loaded_from_elsewhere(made, read):
    page = (made[0] / "report.html").read_text(encoding="utf-8")
    for tag, attrs in read.tags:
        for name in ("src", "href", "poster", "srcset", "action", "data"):
            value = attrs.get(name) or "data:"
            assert value.startswith(("data:", "#")), (tag, value[:80])
    assert "default-src 'none'" in page
    style = page.split("<style>")[1].split("</style>")[0]
    assert not re.search(r"url\(|@import|https?://", style)


# --- the card for the Hub -------------------------------------------------------------------------


def test_the_hub_card_is_yaml_and_equals_the_facts(made):
    yaml = pytest.importorskip("yaml")
    facts = {**made[1], "title": f'shapes: "{HOSTILE}"\n---\n\x85\x7f\U0001f600'}
    empty, front, body = hub_card(facts).split("---\n", 2)
    assert empty == ""
    said = yaml.safe_load(front)
    assert said["library_name"] == "conjoin"
    (index,) = said["model-index"]
    assert index["name"] == facts["title"]
    told = {r["task"]["name"]: r["metrics"][0]["value"] for r in index["results"]}
    assert told == {
        f"{r['query']} to {r['target']}": pytest.approx(r["value"], abs=5e-5)
        for r in facts["evaluation"]["results"]
        if r["chosen"] and r["metric"] == "recall@10"
    }
    assert "When not to use it" in body
    assert facts["card"]["verdict"] in body


# --- hits and misses ------------------------------------------------------------------------------


def test_hits_come_first_and_misses_last(made):
    _, facts = made
    for query in facts["queries"]:
        right = [place for place, hit in enumerate(query["hits"], start=1) if hit["right"]]
        if right:
            assert query["rank"] <= right[0]
        elif query["rank"] <= len(query["hits"]):
            pytest.fail(f"rank {query['rank']} but none of the hits is right")
    ways = {(q["query"], q["target"]) for q in facts["queries"]}
    assert len(ways) == 6
    for way in ways:
        own = [q for q in facts["queries"] if (q["query"], q["target"]) == way]
        hits = [q["rank"] for q in own if q["kind"] == "hit"]
        misses = [q["rank"] for q in own if q["kind"] == "miss"]
        assert hits == sorted(hits)
        assert max(hits) <= min(misses)
        assert misses == sorted(misses, reverse=True)


PAIRED = '[pairs.joined]\ntable = "joined.csv"\nleft = "text"\nright = "a"'


def test_right_is_what_the_pairs_name(tmp_path, conjoin, monkeypatch):
    """A table pairs every name with the vector of the next item, and many with two."""
    folder = shelf(tmp_path / "ws", ("text", "a"), n=40, more=PAIRED)
    rows = ["text,a"]
    for group in range(0, 40, 4):
        for k in range(4):
            rows.append(f"i{group + k},i{group + (k + 1) % 4}")
            if k % 2:
                rows.append(f"i{group + k},i{group + (k + 2) % 4}")
    (folder / "joined.csv").write_text("\n".join(rows) + "\n")
    monkeypatch.chdir(folder)
    conjoin.good("embed")
    conjoin.good("fit", "--method", "ridge")
    partners: dict[str, set[str]] = {}
    for line in rows[1:]:
        left, right = line.split(",")
        partners.setdefault(left, set()).add(right)
    ws = Workspace(folder)
    facts = reporting.facts_of(ws, label=None, budget=0.0, seed=0, note=lambda _: None)
    asked = [q for q in facts["queries"] if q["query"] == "text"]
    assert asked
    for query in asked:
        for hit in query["hits"]:
            assert hit["right"] == (hit["id"] in partners[query["id"]]), (query["id"], hit["id"])
    assert any(hit["right"] for query in asked for hit in query["hits"])


# --- layers, fusions, the map ---------------------------------------------------------------------


class Layered:
    """An encoder that keeps two layers side by side."""

    class reading:
        output = "layers"
        layers = (0, -1)


def test_layers_are_compared_one_by_one(made, monkeypatch):
    ws = Workspace(made[0])
    space = ws.space("numbers")
    rng = np.random.default_rng(0)
    noise = rng.normal(size=space.vectors[:].shape)
    both = np.concatenate([noise, space.vectors[:]], axis=1).astype(np.float32)
    doubled = Space.of(both, space.ids, name="both")
    spaces = {"numbers": doubled, "text": ws.space("text")}
    monkeypatch.setattr(ws, "spaces", lambda names=None: spaces)
    monkeypatch.setattr(ws, "encoder", lambda name: Layered if name == "numbers" else object())
    noted: list[str] = []
    found = layers_of(ws, noted)
    assert noted == []
    assert [(row["layer"], row["other"]) for row in found] == [(0, "text"), (-1, "text")]
    inner, last = found
    assert abs(inner["value"] - inner["chance"]) < 0.1
    assert last["low"] > inner["high"]
    page = report_page({**made[1], "layers": found})
    assert "numbers output" in page
    assert "numbers 0" in page
    assert plots.shown(last["value"], last["low"], last["high"]) in page


def test_a_fusions_masks_are_shown(made, tmp_path):
    folder = Path(shutil.copytree(made[0], tmp_path / "ws"))
    mask = {"names": ["text"], "items": 31, "value": 0.625, "low": 0.5, "high": 0.75, "whole": None}
    collect = {"name": "picture", "lacking": 3, "gain": 0.25, "low": 0.125, "high": 0.375,
               "covered": 1.0}  # fmt: skip
    fusion = {
        "version": 1, "label": f"colour{HOSTILE}", "use": "mean", "metric": "accuracy",
        "held_out": 40, "modalities": ["text", "picture"],
        "missing": {"masks": [mask], "importance": {"picture": [0.2, 0.1, 0.3]},
                    "collect": [collect], "said": ["collect picture next"]},
    }  # fmt: skip
    (folder / ".conjoin/fusions/key").mkdir(parents=True)
    write_json(folder / ".conjoin/fusions/key/fusion.json", fusion)
    facts = {**made[1], "fusions": reporting.fusions(Workspace(folder))}
    page = Read(report_page(facts))
    assert "fusions" in [attrs["id"] for tag, attrs in page.tags if tag == "section"]
    assert not any("onerror" in attrs for _, attrs in page.tags)
    text = report_page(facts)
    for said in ("0.625 [0.500, 0.750]", "+0.250 [+0.125, +0.375]", "collect picture next"):
        assert said in text


@pytest.mark.parametrize(
    "rows",
    [np.eye(1), np.eye(4), np.ones((30, 6)), np.arange(20.0)[:, None], np.eye(12)],
    ids=["one", "four", "alike", "one number", "twelve"],
)
def test_any_rows_can_be_laid_flat(rows):
    placed = flat(rows)
    assert placed.shape == (len(rows), 2)
    assert np.isfinite(placed).all()


def test_neighbours_stay_together():
    rng = np.random.default_rng(0)
    rows = np.repeat(np.eye(8)[:3] * 5, 20, axis=0) + rng.normal(0, 0.1, (60, 8))
    placed = flat(rows, seed=1)
    gaps = np.linalg.norm(placed[:, None] - placed[None], axis=-1)
    np.fill_diagonal(gaps, np.inf)
    assert (gaps.argmin(axis=1) // 20 == np.arange(60) // 20).all()
    assert np.array_equal(placed, flat(rows, seed=1))


# --- the verb -------------------------------------------------------------------------------------


def test_the_verb_writes_a_page_and_a_card(made, conjoin, tmp_path, monkeypatch):
    folder = Path(shutil.copytree(made[0], tmp_path / "ws"))
    monkeypatch.chdir(folder)
    (folder / "report.html").unlink()
    dry = conjoin.good("report", "--dry-run", "--json")
    assert dry.json == {"out": "report.html", "dry": True}
    assert not (folder / "report.html").exists()
    told = conjoin.good("report", "--markdown", "MODEL.md", "--json", "--label", "colour")
    assert told.json["method"] == "ridge"
    assert told.json["masks"] == json.loads(json.dumps(made[1]["masks"]))
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert (
        (folder / "MODEL.md").read_text(encoding="utf-8").startswith("---\nlibrary_name: conjoin")
    )


def test_an_unknown_label_or_no_fit_is_one_line(made, conjoin, tmp_path, monkeypatch):
    monkeypatch.chdir(made[0])
    conjoin.bad(made[0], "report", "--label", "color", says=("--label", "'color' is no column",
                "did you mean colour"))  # fmt: skip
    bare = shelf(tmp_path / "bare", n=20)
    monkeypatch.chdir(bare)
    conjoin.bad(bare, "report", says=("nothing is fitted yet", "conjoin fit"))


def test_too_little_held_out_is_a_note_on_the_page(tmp_path, conjoin, monkeypatch):
    folder = shelf(tmp_path / "ws", ("text", "a"), n=40)
    text = (folder / "conjoin.toml").read_text().replace("test = 0.25", "test = 1")
    (folder / "conjoin.toml").write_text(text)
    monkeypatch.chdir(folder)
    conjoin.good("embed")
    conjoin.good("fit", "--method", "ridge")
    told = conjoin.good("report", "--json", "--budget", "10s")
    assert told.json["notes"]
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert told.json["notes"][0] in page.replace("&#39;", "'")
    sections = [attrs["id"] for tag, attrs in Read(page).tags if tag == "section"]
    assert sections[0] == "card"
    assert "masks" not in sections


# --- in a browser ---------------------------------------------------------------------------------


def test_the_page_in_a_browser(made):
    """No errors, no requests, no broken rule, and the map and a download work by keyboard."""
    plays = pytest.importorskip("playwright.sync_api")
    axe = pytest.importorskip("axe_playwright_python")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no chromium here")
    rules = (Path(axe.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
    said: list[str] = []
    asked: list[str] = []
    with plays.sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        for scheme in ("light", "dark"):
            context = browser.new_context(color_scheme=scheme)
            page = context.new_page()
            page.on("console", lambda message: said.append(message.text))
            page.on("pageerror", lambda error: said.append(str(error)))
            page.on("dialog", lambda dialog: said.append(f"dialog: {dialog.message}"))
            page.on("request", lambda request: asked.append(request.url))
            page.goto((made[0] / "report.html").as_uri())
            page.wait_for_selector("#plot-map .main-svg")
            _walked(page)
            page.evaluate(rules)
            found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
            assert [(v["id"], v["nodes"][0]["html"][:120]) for v in found["violations"]] == []
            context.close()
        browser.close()
    assert said == []
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []


def _walked(page) -> None:
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.focus("#colour")
    page.keyboard.type("colour")
    assert page.input_value("#colour") == "colour"
    legend = page.locator("#plot-map .legendtext").all_text_contents()
    assert HOSTILE.replace(" ", "") in [
        text.replace("\xa0", "").replace(" ", "") for text in legend
    ]
    page.focus("#next")
    for _ in range(8):
        page.keyboard.press("Enter")
    assert page.locator("#panel strong").text_content()
    assert page.locator("#panel img[onerror], #plot-map img").count() == 0
    with page.expect_download() as waiting:
        page.focus("[data-csv=retrieval]")
        page.keyboard.press("Enter")
    lines = Path(waiting.value.path()).read_text(encoding="utf-8").splitlines()
    assert lines[0] == '"direction","method","recall@10","queries"'
    assert len(lines) == 1 + page.locator("#retrieval tbody tr").count()
