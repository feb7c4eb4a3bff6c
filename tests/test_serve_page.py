"""The page in a real browser: by pointer, by keyboard, by file; its errors, names and rules."""

import json
import re
import shutil
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("playwright")

from playwright.sync_api import expect, sync_playwright

from served import COLOURS, build, picture, serving, sound

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM is None:
    pytest.skip("no chromium here", allow_module_level=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return build(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="module")
def service(folder):
    with serving(folder, "--limit", "body_mb=1") as made:
        yield made


@pytest.fixture(scope="module")
def browser():
    words = [
        "--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
        "--disable-dev-shm-usage",
    ]  # fmt: skip
    with sync_playwright() as plays:
        made = plays.chromium.launch(executable_path=CHROMIUM, args=words)
        yield made
        made.close()


class Visit:
    """One page, with what it said on the console and asked of other places."""

    def __init__(self, context, url: str):
        self.page, self.url = context.new_page(), url
        self.said: list[str] = []
        self.elsewhere: list[str] = []
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", self._watch)

    def _hear(self, message) -> None:
        # A refusal that the page puts in words is logged by the browser itself.
        refused = message.text.startswith("Failed to load resource: the server responded with")
        if message.type in ("error", "warning") and not refused:
            self.said.append(message.text)

    def _watch(self, request) -> None:
        if not request.url.startswith((self.url, "blob:", "data:")):
            self.elsewhere.append(request.url)

    def open(self, path: str = "/") -> "Visit":
        self.page.goto(self.url + path)
        return self

    def type(self, words: str) -> None:
        self.page.fill("#words", words)
        self.page.keyboard.press("Enter")
        expect(self.page.get_by_role("status")).to_contain_text("result")

    def ids(self, modality: str | None = None) -> list[str]:
        mark = f'[data-modality="{modality}"]' if modality else ""
        return [c.get_attribute("data-id") for c in self.page.locator(f"#lists .card{mark}").all()]

    def broken_rules(self) -> list[str]:
        """What axe finds wrong."""
        import axe_playwright_python

        axe = Path(axe_playwright_python.__file__).parent / "axe.min.js"
        self.page.evaluate(axe.read_text(encoding="utf-8"))
        found = self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        return [
            f"{rule['id']}: {node['html'][:200]}"
            for rule in found["violations"]
            for node in rule["nodes"]
        ]


@pytest.fixture
def visit(browser, service):
    context = browser.new_context(
        viewport={"width": 1100, "height": 800}, permissions=["microphone"]
    )
    context.set_default_timeout(20_000)
    made = Visit(context, service.url)
    yield made
    context.close()
    assert made.said == []
    assert made.elsewhere == []


def test_words_find_and_the_link_finds_the_same_again(visit):
    page = visit.open().page
    expect(page.locator("#samples li")).to_have_count(12)
    visit.type("a blue cross")
    assert any(item.startswith("blue/cross") for item in visit.ids()[:3])
    first = visit.ids()
    assert parse_qs(urlsplit(page.url).query) == {"q": ["a blue cross"]}
    assert page.title() == "a blue cross — conjoin"
    # The label that holds markup is shown as words.
    visit.type("a red square, number 0")
    expect(page.get_by_role("heading", name="<b>red</b> square 0").first).to_be_visible()
    page.go_back()
    expect(page.locator("#words")).to_have_value("a blue cross")
    expect(page.get_by_role("status")).to_contain_text("a blue cross")
    assert visit.ids() == first
    page.reload()
    expect(page.get_by_role("status")).to_contain_text("a blue cross")
    assert visit.ids() == first


def test_probability_and_nothing_relevant_are_said_in_words(visit):
    page = visit.open("/?q=a+blue+cross&into=picture").page
    expect(page.locator(".card .what").first).to_contain_text("% likely ")
    visit.type("zzzz qqqq")
    told = page.locator("#lists .nothing")
    expect(told).to_contain_text("Nothing relevant")
    expect(page.get_by_role("status")).to_contain_text("Nothing relevant")
    page.locator("#lists summary").first.click()
    expect(page.locator("#lists dl").first).to_contain_text("nearness of the vectors")
    expect(page.locator("#lists .card").first).to_contain_text("Training pairs behind it")
    expect(page.locator("#lists dl").nth(1)).to_contain_text("colour")


def test_more_and_less_like_this_make_a_query_of_parts(visit):
    page = visit.open("/?q=a+green+frame").page
    page.get_by_role("button", name=re.compile("^More like this: green")).first.click()
    expect(page.get_by_role("status")).to_contain_text("green")
    query = parse_qs(urlsplit(page.url).query)
    assert re.fullmatch(r"1:item@\w+:green/\w+ \d", query["t"][0])
    asked = query["t"][0].rpartition(":")[2]
    # The focus moves once the new list stands; the status said "green" before, too.
    expect(page.locator("#lists h2").first).to_be_focused()
    assert asked not in visit.ids()
    page.get_by_role("button", name=re.compile("^Less like this")).nth(1).click()
    expect(page.locator("#terms li")).to_have_count(2)
    page.locator("#terms select").first.select_option("much")
    expect(page.locator("#terms li")).to_have_count(2)
    page.wait_for_url(re.compile(r"t=2%3Aitem"))
    page.fill("#words", "blue")
    page.get_by_role("button", name="Add words to the query").click()
    expect(page.locator("#terms li")).to_have_count(3)
    page.reload()
    expect(page.locator("#terms li")).to_have_count(3)
    expect(page.locator("#terms li").first).to_contain_text("like green")
    page.get_by_role("button", name="Remove blue").click()
    expect(page.locator("#terms li")).to_have_count(2)


def test_files_are_chosen_dropped_and_recorded(visit, tmp_path):
    page = visit.open().page
    given = tmp_path / "mine.png"
    given.write_bytes(picture(COLOURS["yellow"], "bar", 50))
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Picture or sound…").click()
    chooser.value.set_files(given)
    expect(page.get_by_role("status")).to_contain_text("result")
    assert visit.ids("picture")[0].startswith("yellow/"), visit.ids("picture")
    expect(page.locator("#terms")).to_contain_text("mine.png")
    page.get_by_role("button", name="Copy link").click()
    expect(page.get_by_role("status")).to_contain_text("leaves out your file")
    drop = """async ([name, type, data]) => {
      const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
      const carried = new DataTransfer();
      carried.items.add(new File([bytes], name, { type }));
      const how = { dataTransfer: carried, bubbles: true, cancelable: true };
      for (const kind of ["dragenter", "dragover", "drop"])
        document.body.dispatchEvent(new DragEvent(kind, how));
    }"""
    import base64

    heard = base64.b64encode(sound(300, seed=9)).decode()
    page.evaluate(drop, ["tone.wav", "audio/wav", heard])
    expect(page.locator("#terms")).to_contain_text("tone.wav")
    expect(page.get_by_role("status")).to_contain_text("a sound")
    expect(page.locator("#drop")).to_be_hidden()
    page.get_by_role("button", name="Record a sound").click()
    expect(page.get_by_role("status")).to_contain_text("Recording")
    page.wait_for_timeout(700)
    page.get_by_role("button", name="Stop recording").click()
    expect(page.locator("#terms")).to_contain_text("recording.wav")
    expect(page.get_by_role("status")).to_contain_text("result")


def test_filters_kinds_and_views(visit):
    page = visit.open("/?q=a+square").page
    page.get_by_text("Filters and options").click()
    page.get_by_label("Column").select_option("colour")
    page.get_by_label("Value", exact=True).fill("green")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_label("Filter", exact=True)).to_have_value("colour=green")
    expect(page.get_by_role("status")).to_contain_text("result")
    page.wait_for_function("() => [...document.querySelectorAll('#lists .card')]"
                           ".every((one) => one.dataset.id.startsWith('green/'))")  # fmt: skip
    page.get_by_role("radio", name="by kind").check()
    heads = page.locator("#lists h2")
    expect(heads).to_have_count(3)
    assert [text.split(" (")[0] for text in heads.all_inner_texts()] == ["text", "picture", "sound"]
    page.get_by_role("checkbox", name="sound").uncheck()
    expect(heads).to_have_count(2)
    page.reload()
    expect(heads).to_have_count(2)
    page.get_by_label("Filter", exact=True).fill("colour=mauve")
    page.keyboard.press("Enter")
    nothing = page.locator("#lists .nothing").first
    expect(nothing).to_contain_text("The filter meets none of 48 rows")


def test_by_keyboard_alone(visit):
    page = visit.open().page
    expect(page.locator("#samples li")).to_have_count(12)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to results")).to_be_focused()
    page.keyboard.press("/")
    expect(page.locator("#words")).to_be_focused()
    page.keyboard.type("a yellow square")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("yellow square")
    expect(page.locator("#words")).to_be_focused()
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.className") == "like":
            break
    first = page.evaluate("document.activeElement.closest('.card').dataset.id")
    page.keyboard.press("ArrowRight")
    second = page.evaluate("document.activeElement.closest('.card').dataset.id")
    assert page.evaluate("document.activeElement.className") == "like"
    assert [first, second] == visit.ids()[:2]
    page.keyboard.press("Enter")
    expect(page.locator("#terms li")).to_have_count(1)
    expect(page.locator("#lists h2").first).to_be_focused()
    visible = page.evaluate("getComputedStyle(document.querySelector('#words')).outlineStyle")
    assert visible in ("none", "solid")


def test_errors_are_said_in_words(visit, tmp_path):
    page = visit.open().page
    alert = page.get_by_role("alert")
    page.get_by_role("button", name="Search", exact=True).click()
    expect(alert).to_contain_text("Nothing to look for")
    expect(page.get_by_role("button", name="Add words to the query")).to_be_hidden()
    visit.type("red")
    page.fill("#words", "")
    page.get_by_role("button", name="Add words to the query").click()
    expect(alert).to_contain_text("no words to add")
    visit.open("/?q=red&where=colur%3Dred")
    expect(alert).to_contain_text("did you mean colour")
    large = tmp_path / "large.png"
    large.write_bytes(bytes(2_000_000))
    page.locator("#file").set_input_files(large)
    expect(alert).to_contain_text("too large")
    odd = tmp_path / "notes.txt"
    odd.write_text("x")
    page.locator("#file").set_input_files(odd)
    expect(alert).to_contain_text("neither a picture nor a sound")
    torn = tmp_path / "torn.png"
    torn.write_bytes(b"no picture at all")
    page.locator("#file").set_input_files(torn)
    expect(alert).to_contain_text("neither a picture nor a sound")
    visit.open("/?t=1:item:nobody")
    expect(alert).to_contain_text("nobody")
    visit.open()
    expect(page.locator("#samples li")).to_have_count(12)
    page.route("**/search", lambda route: route.abort())
    page.fill("#words", "red")
    page.keyboard.press("Enter")
    expect(alert).to_contain_text("does not answer")
    visit.said.clear()  # the browser's own line of the lost connection
    page.unroute("**/search")
    visit.type("red")
    expect(alert).to_be_empty()


def test_a_token_is_asked_for_and_media_come_with_it(browser, folder):
    with serving(folder, CONJOIN_TOKEN="correct-horse-battery") as service:
        context = browser.new_context()
        visit = Visit(context, service.url)
        page = visit.open("/?q=red+bar").page
        field = page.get_by_label("This server asks for a token")
        expect(field).to_be_focused()
        field.fill("wrong-wrong-wrong-wrong")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("token")
        field.fill("correct-horse-battery")
        page.keyboard.press("Enter")
        expect(page.get_by_role("status")).to_contain_text("result")
        page.wait_for_function("() => document.querySelector('#lists img')?.naturalWidth > 0")
        assert page.locator("#lists img").first.get_attribute("src").startswith("blob:")
        assert "correct-horse" not in page.url
        assert visit.said == []
        context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1100, 800), (360, 740)])
def test_axe_finds_nothing_and_nothing_sticks_out(browser, service, scheme, size):
    pytest.importorskip("axe_playwright_python")
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]}, color_scheme=scheme,
        reduced_motion="reduce", bypass_csp=True,
    )  # fmt: skip
    visit = Visit(context, service.url)
    page = visit.open().page
    expect(page.locator("#samples li")).to_have_count(12)
    assert visit.broken_rules() == []
    visit.open("/?t=1:text:a+red+bar&t=-0.5:item:blue/bar+0&where=year%3E1999")
    expect(page.get_by_role("status")).to_contain_text("result")
    page.locator("#lists summary").first.click()
    expect(page.locator("#lists dl").nth(1)).to_contain_text("colour")
    assert visit.broken_rules() == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    running = page.evaluate("document.getAnimations().length")
    assert running == 0
    visit.open("/?q=zzz&where=nope%3D1")
    expect(page.get_by_role("alert")).to_contain_text("nope")
    assert visit.broken_rules() == []
    assert visit.said == []
    context.close()


def test_names_and_roles(visit):
    page = visit.open("/?q=a+red+bar").page
    expect(page.get_by_role("status")).to_contain_text("result")
    expect(page.get_by_role("search", name="Search the items")).to_be_visible()
    expect(page.get_by_role("searchbox", name="What are you looking for?")).to_be_visible()
    expect(page.get_by_role("region", name="Results", exact=True)).to_be_visible()
    expect(page.get_by_role("main")).to_be_visible()
    assert page.get_by_role("img").count() == page.locator("#lists img[alt]:not([alt=''])").count()
    sounds = page.locator("#lists audio")
    assert all(one.get_attribute("aria-label").startswith("Sound: ") for one in sounds.all())
    assert page.locator("[role=status][aria-live=polite]").count() == 1
    facts = page.evaluate(
        "JSON.stringify(performance.getEntriesByType('paint').map((p) => p.startTime))"
    )
    assert all(at < 5000 for at in json.loads(facts))
