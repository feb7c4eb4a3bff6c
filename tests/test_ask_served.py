"""Questions over HTTP and on the page: streamed, bounded, guarded by the token."""

import asyncio
import json
import shutil
import threading

import pytest
from typer.testing import CliRunner

pytest.importorskip("fastapi")

from conjoin.answering.documents.read import read_documents
from conjoin.cli.main import app as cli
from conjoin.errors import ConjoinError
from conjoin.server.limits import Limits
from conjoin.server.routes import create_app
from conjoin.server.run import Address, check_model
from conjoin.server.state import Settings
from served import build, publish, serving
from test_ask import TOPICS, endpoint

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ASKED = "How often do I clean the toaster with vinegar?"
TOKEN = "correct-horse-battery"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A manual, embedded by letters and joined."""
    made = tmp_path_factory.mktemp("asked")
    said = [
        f"# The {name}\n\nThe {name} weighs {at + 2} kilograms and stands on the shelf. Clean the"
        f" {name} with vinegar once in {at + 3} months. Never put the {name} into water.\n"
        for at, name in enumerate(TOPICS)
    ]
    (made / "m.md").write_text("\n".join(said))
    read_documents([made / "m.md"], made / "items.parquet")
    run = CliRunner().invoke(cli, ["init", str(made / "items.parquet"), "-w", str(made)])
    assert run.exit_code == 0, run.output
    told = (made / "conjoin.toml").read_text()
    lines = ['encoder = "builtin:chargram"' if line.startswith("encoder") else line
             for line in told.splitlines()]  # fmt: skip
    (made / "conjoin.toml").write_text("\n".join(lines) + "\n")
    publish(made, hub="passage", calibrated=False)
    return made


def client_of(folder, **settings):
    from starlette.testclient import TestClient

    app = create_app(Settings(folder, **settings))
    return TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=True)


@pytest.fixture(scope="module")
def client(folder):
    with client_of(folder, limits=Limits(text=200, history=2)) as made:
        yield made


def lines_of(answer):
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    return [json.loads(line) for line in answer.text.splitlines()]


def test_an_answer_has_stable_keys_and_is_that_of_the_command_line(client, folder):
    said = client.post("/ask", json={"question": ASKED}).json()
    told = CliRunner().invoke(cli, ["ask", ASKED, "-w", str(folder), "--json"])
    own = json.loads(told.stdout)
    assert set(said) == {*own, "index"}
    assert said["quotes"][0]["text"] == "Clean the toaster with vinegar once in 6 months."
    assert [one["id"] for one in said["evidence"]] == [one["id"] for one in own["evidence"]]
    assert client.get("/info").json()["answers"] == {"documents": True, "model": None}
    off = client.post("/ask", json={"question": "Who won the world cup?"}).json()
    assert (off["refused"], off["cause"]) == (True, "unlike")


def test_a_follow_up_brings_its_history(client):
    asked = {"question": "And how many kilograms?", "history": [ASKED]}
    said = client.post("/ask", json=asked).json()
    assert said["quotes"][0]["path"] == ["The toaster"]


@pytest.mark.parametrize("name", ["relevance-cut", "two-gates", "difference", "enriched", "routed"])
def test_a_learned_selector_keeps_the_right_piece(client, name):
    said = client.post("/ask", json={"question": ASKED, "selector": name}).json()
    assert said["evidence"][0]["path"] == ["The toaster"], said["cause"]
    follow = {"question": "And how many kilograms?", "history": [ASKED], "selector": name}
    assert client.post("/ask", json=follow).status_code == 200


@pytest.mark.parametrize(
    ("body", "word"),
    [({}, "question"), ({"question": "  "}, "question"), ({"question": "x" * 201}, "201"),
     ({"question": "x", "history": ["a"] * 3}, "history"), ({"question": "x", "model": "m"},
     "model"), ({"question": "x", "history": ["y" * 201]}, "history"), ({"question": 3}, "3"),
     ({"question": "toaster", "selector": "nope"}, "nope"),
     ({"question": "x", "stream": "yes"}, "stream")],
)  # fmt: skip
def test_what_is_too_much_or_wrong_is_one_problem(client, body, word):
    answer = client.post("/ask", json=body)
    assert answer.status_code == 422
    assert word in answer.json()["detail"]


def test_sentences_stream_before_the_answer_and_a_lie_is_struck(folder):
    said = "Clean the toaster with vinegar once in 6 months [99]. Clean it with oil 9 times."
    with endpoint(said) as (_, model):
        uri = f"{model.base}?model=m&seconds=5"
        with client_of(folder, model=uri) as client:
            assert client.get("/info").json()["answers"]["model"] == "m"
            lines = lines_of(client.post("/ask", json={"question": ASKED, "stream": True}))
    assert [list(line) for line in lines] == [["sentence"], ["sentence"], ["answer"]]
    assert [line["sentence"]["stands"] for line in lines[:2]] == [True, False]
    assert lines[2]["answer"]["written"] == [line["sentence"] for line in lines[:2]]


@pytest.mark.parametrize("says", [b"data: {garbage\n\n", None, 404])
def test_a_model_that_fails_ends_the_stream_with_a_problem_that_hides_where_it_is(folder, says):
    with endpoint(says) as (_, model):
        uri = f"{model.base}?model=m&seconds=0.3"
        with client_of(folder, model=uri) as client:
            lines = lines_of(client.post("/ask", json={"question": ASKED, "stream": True}))
            whole = client.post("/ask", json={"question": ASKED})
    assert list(lines[-1]) == ["problem"]
    assert whole.status_code == lines[-1]["problem"]["status"] == 503
    assert model.base not in json.dumps(lines) + whole.text


def test_more_than_the_bound_are_told_to_come_again(folder):
    held = threading.Event()
    with client_of(folder, limits=Limits(answers=1)) as client:
        answers = client.app.state.answers
        documents = asyncio.run(answers.documents())

        class Slow:
            def ask(self, *given, **more):
                held.wait(10)
                return documents.ask(*given, **more)

        answers._open = (answers.desk.live, Slow())
        got = []
        first = threading.Thread(
            target=lambda: got.append(client.post("/ask", json={"question": ASKED}))
        )
        first.start()
        while not answers._asked:
            pass
        busy = client.post("/ask", json={"question": ASKED})
        held.set()
        first.join()
    assert (busy.status_code, busy.headers["retry-after"]) == (503, "1")
    assert got[0].status_code == 200
    assert answers._asked == 0


def test_a_token_guards_questions_and_other_sites_may_not_ask(folder):
    with client_of(folder, token=TOKEN, local=False) as client:
        body = {"question": ASKED}
        assert client.post("/ask", json=body).status_code == 401
        headers = {"authorization": f"Bearer {TOKEN}"}
        assert client.post("/ask", json=body, headers=headers).status_code == 200
        other = {**headers, "origin": "https://elsewhere.example"}
        assert client.post("/ask", json=body, headers=other).status_code == 403


def test_an_open_service_spends_nobodys_tokens():
    check_model(Address(), "http://127.0.0.1:9/v1?model=m")
    with pytest.raises(ConjoinError, match="spend"):
        check_model(Address(open=True), "http://127.0.0.1:9/v1?model=m")
    with pytest.raises(ConjoinError, match="names no model"):
        check_model(Address(), "http://127.0.0.1:9/v1")


def test_a_service_without_documents_says_so(tmp_path):
    made = build(tmp_path / "served", each=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made)
        with client_of(made) as client:
            assert client.get("/info").json()["answers"] == {"documents": False, "model": None}
            answer = client.post("/ask", json={"question": ASKED, "stream": True})
    assert answer.status_code == 404
    assert "none are served" in answer.json()["detail"]
    assert str(made) not in answer.text


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")
def test_a_question_by_keyboard_is_answered_on_the_page_and_followed_up(folder):
    pytest.importorskip("playwright")
    from playwright.sync_api import expect, sync_playwright

    from test_serve_page import Visit

    with serving(folder) as service, sync_playwright() as plays:
        browser = plays.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        context = browser.new_context(bypass_csp=True)
        visit = Visit(context, service.url)
        page = visit.open().page
        expect(page.get_by_role("button", name="Ask", exact=True)).to_be_visible()
        page.keyboard.press("/")
        page.keyboard.type(ASKED)
        for _ in range(3):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.id") == "question":
                break
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name=ASKED)).to_be_focused()
        answer = page.get_by_role("region", name=ASKED)
        expect(answer.locator("blockquote").first).to_have_text(
            "Clean the toaster with vinegar once in 6 months."
        )
        expect(answer.locator(".what").first).to_contain_text("m.md › The toaster")
        expect(page.get_by_role("status")).to_contain_text("Answered with")
        pytest.importorskip("axe_playwright_python")
        assert visit.broken_rules() == []
        page.fill("#words", "And how many kilograms?")
        page.get_by_role("button", name="Ask", exact=True).click()
        expect(page.locator("#answer-text .what").first).to_contain_text("The toaster")
        page.fill("#words", "Who won the world cup?")
        page.get_by_role("button", name="Ask", exact=True).click()
        expect(page.get_by_role("status")).to_contain_text("Nothing in these documents")
        page.get_by_role("button", name="New conversation").click()
        expect(page.locator("#words")).to_be_focused()
        page.get_by_role("button", name="Ask", exact=True).click()
        expect(page.get_by_role("alert")).to_contain_text("no question")
        page.fill("#words", "toaster")
        page.keyboard.press("Enter")
        expect(page.get_by_role("status")).to_contain_text("result")
        expect(page.locator("#answer")).to_be_hidden()
        assert visit.said == []
        assert visit.elsewhere == []
        browser.close()
