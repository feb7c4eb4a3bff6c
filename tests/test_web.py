"""Addresses: fetched once, kept with validators, politely, bounded, and not in private networks."""

import socket
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from conjoin.errors import CellError, Unreachable
from conjoin.items import Items, resolve
from conjoin.items.web import network as network_module
from conjoin.items.web import web as web_module
from conjoin.items.web.network import is_public
from conjoin.items.web.reach import Reach
from conjoin.items.web.web import Web


class Host:
    """A small host: what it answers by path, and every request it got."""

    def __init__(self):
        self.answers, self.asked, self.times = {}, [], []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def serving(host):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            host.asked.append((self.path, dict(self.headers)))
            host.times.append(time.monotonic())
            answer = host.answers.get(self.path, (404, {}, b""))
            if callable(answer):
                answer = answer(self)
                if answer is None:
                    self.close_connection = True
                    return
            status, headers, body = answer
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    service = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    service.daemon_threads = True
    host.port = service.server_port
    thread = threading.Thread(target=service.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield host
    service.shutdown()
    service.server_close()
    thread.join()


@pytest.fixture
def host():
    with serving(Host()) as made:
        yield made


def web(tmp_path, **more):
    return Web(["127.0.0.1"], tmp_path / "web", rate=10_000, **more)


def paths(host):
    return [path for path, _ in host.asked]


def test_an_address_is_asked_for_once_a_run_and_with_its_validators_the_next(host, tmp_path):
    def good(handler):
        same = handler.headers.get("If-None-Match") == '"1"'
        return (304, {"ETag": '"1"'}, b"") if same else (200, {"ETag": '"1"'}, b"a picture")

    host.answers["/a.png"] = good
    run = web(tmp_path)
    assert [run.get(f"{host.url}/a.png") for _ in range(3)] == [b"a picture"] * 3
    assert len(host.asked) == 1
    assert web(tmp_path).get(f"{host.url}/a.png") == b"a picture"
    assert host.asked[1][1]["If-None-Match"] == '"1"'
    host.answers["/a.png"] = (200, {"ETag": '"2"'}, b"another")
    assert web(tmp_path).get(f"{host.url}/a.png") == b"another"


def test_a_date_is_a_validator_and_max_age_spares_the_question(host, tmp_path):
    day = "Mon, 30 Nov 2026 08:00:00 GMT"
    host.answers["/a"] = (200, {"Last-Modified": day}, b"a")
    host.answers["/b"] = (200, {"Cache-Control": "public, max-age=60"}, b"b")
    host.answers["/c"] = (200, {"Cache-Control": "no-cache, max-age=60"}, b"c")
    for _ in range(2):
        run = web(tmp_path)
        assert [run.get(f"{host.url}/{name}") for name in "abc"] == [b"a", b"b", b"c"]
    assert paths(host) == ["/a", "/b", "/c", "/a", "/c"]
    assert host.asked[3][1]["If-Modified-Since"] == day


def test_a_torn_file_of_the_cache_is_fetched_again(host, tmp_path):
    host.answers["/a"] = (200, {"Cache-Control": "max-age=60"}, b"a picture")
    web(tmp_path).get(f"{host.url}/a")
    for file in (tmp_path / "web").glob("*/*"):
        file.write_bytes(b"{torn" if file.suffix else b"a pictur3")
        assert web(tmp_path).get(f"{host.url}/a") == b"a picture"
    assert len(host.asked) == 3


def test_many_threads_that_want_one_address_fetch_it_once(host, tmp_path):
    host.answers["/a"] = lambda handler: (time.sleep(0.1), (200, {}, b"a"))[1]
    run, got = web(tmp_path), []
    threads = [
        threading.Thread(target=lambda: got.append(run.get(f"{host.url}/a"))) for _ in range(60)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (got, len(host.asked)) == ([b"a"] * 60, 1)


def test_a_walk_and_the_reading_after_it_fetch_each_picture_once(host, tmp_path, monkeypatch):
    monkeypatch.setenv("CONJOIN_CACHE", str(tmp_path))
    host.answers |= {f"/{n}.png": (200, {}, b"%d" % n) for n in range(5)}
    items = Items.from_frame({"p": [f"{host.url}/{n}.png" for n in (0, 1, 2, 3, 4, 0, 0)]})
    cells = items.cells("p", "image")
    keys = cells.list_keys()
    assert [cells.get(key.id) for key in keys] == [b"0", b"1", b"2", b"3", b"4", b"0", b"0"]
    assert sorted(paths(host)) == [f"/{n}.png" for n in range(5)]


def test_hosts_are_asked_at_a_polite_rate(host, tmp_path):
    host.answers |= {f"/{n}": (200, {}, b"x") for n in range(5)}
    run = Web(["127.0.0.1"], tmp_path, rate=25)
    for n in range(5):
        run.get(f"{host.url}/{n}")
    assert host.times[-1] - host.times[0] >= 4 / 25 * 0.9


def test_what_may_be_better_soon_is_tried_again_and_nothing_else_is(host, tmp_path, monkeypatch):
    waits = []
    real = time.sleep
    monkeypatch.setattr(web_module.time, "sleep", lambda s: waits.append(s) or real(0))
    turns = iter([(503, {"Retry-After": "2"}, b""), (429, {}, b""), (200, {}, b"there")])
    host.answers["/a"] = lambda handler: next(turns)
    assert web(tmp_path).get(f"{host.url}/a") == b"there"
    assert [wait for wait in waits if wait >= 0.5] == [2.0, 1.0]
    broken = iter([None, (200, {"Content-Length": "99"}, b"short"), (200, {}, b"whole")])

    def cut_off(handler):
        handler.close_connection = True
        return next(broken)

    host.answers["/b"] = cut_off
    assert web(tmp_path).get(f"{host.url}/b") == b"whole"
    host.answers["/c"] = (403, {}, b"")
    with pytest.raises(Unreachable, match="/c answers 403"):
        web(tmp_path).get(f"{host.url}/c")
    assert paths(host).count("/c") == 1
    host.answers["/d"] = (500, {}, b"")
    with pytest.raises(Unreachable, match="answers 500"):
        web(tmp_path).get(f"{host.url}/d")
    assert paths(host).count("/d") == web_module.TRIES


def drip(pieces, pause):
    def answer(handler):
        for piece in pieces:
            handler.wfile.write(piece)
            handler.wfile.flush()
            time.sleep(pause)

    return answer


@pytest.mark.parametrize("where", ["body", "head", "nothing"])
def test_an_answer_that_drips_ends_with_the_deadline_of_the_whole(host, tmp_path, where):
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"
    pieces = {
        "body": [head, *[b"x"] * 40],
        "head": [bytes([byte]) for byte in head],
        "nothing": [b""] * 40,
    }[where]
    host.answers["/a"] = drip(pieces, 0.05)
    began = time.monotonic()
    with pytest.raises(Unreachable, match=r"no whole answer within 0\.4 s"):
        web(tmp_path, seconds=0.4).get(f"{host.url}/a")
    assert time.monotonic() - began < 1.2


def test_a_silent_host_is_left_alone_after_three_addresses(tmp_path, monkeypatch):
    monkeypatch.setattr(web_module, "TRIES", 1)
    run = web(tmp_path, seconds=2)
    for n in range(3):
        with pytest.raises(Unreachable, match="cannot be fetched"):
            run.get(f"http://127.0.0.1:1/{n}")
    with pytest.raises(Unreachable, match="was silent just now"):
        run.get("http://127.0.0.1:1/4")


def test_answers_are_bounded_and_pages_are_no_pictures(host, tmp_path):
    host.answers["/large"] = (200, {}, b"x" * 3000)
    chunk = b"400\r\n" + b"x" * 1024 + b"\r\n"
    host.answers["/lies"] = drip(
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", *[chunk] * 4], 0
    )
    for path in ("large", "lies"):
        with pytest.raises(CellError, match="is larger than") as caught:
            web(tmp_path, limit=2048).get(f"{host.url}/{path}")
        assert not isinstance(caught.value, Unreachable)
    host.answers["/page"] = (200, {}, b"<!-- a --> <!DOCTYPE html><html>please log in</html>")
    with pytest.raises(Unreachable, match="answers with a web page"):
        web(tmp_path).get(f"{host.url}/page")


def test_odd_addresses_are_read_or_fail_in_a_line(host, tmp_path, monkeypatch):
    monkeypatch.setattr(web_module, "TRIES", 1)
    host.answers["/a%20b.png"] = (200, {}, b"a blank")
    host.answers["/caf%C3%A9.png"] = (200, {}, b"an accent")
    run = web(tmp_path)
    assert run.get(f"{host.url}/a b.png") == b"a blank"
    assert run.get(f"{host.url}/café.png") == b"an accent"
    for odd in ("http://", "http://[::1", "http:///a.png", "https://a\x00b/", "http://a b/c.png",
                "http://127.0.0.1:99999/", "http://127.0.0.1:port/", "http://\ud800.org/x",
                "http://xn--/", "http://" + "a" * 300 + ".org/"):  # fmt: skip
        with pytest.raises(CellError) as caught:
            resolve(odd, tmp_path, "image", Reach(tmp_path, hosts=("127.0.0.1",)))
        assert str(caught.value).isprintable()


def test_passwords_of_addresses_are_not_told(host, tmp_path):
    with pytest.raises(Unreachable, match="answers 404") as caught:
        web(tmp_path).get(f"http://me:secret@127.0.0.1:{host.port}/a")
    assert "secret" not in str(caught.value)
    assert "Authorization" in host.asked[0][1]


# --- private networks


def test_addresses_of_private_networks_are_told_from_those_of_the_open_one():
    private = ("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0",
               "100.64.0.1", "::1", "fe80::1%eth0", "fd00::1", "::ffff:10.0.0.1", "224.0.0.1",
               "64:ff9b::7f00:1", "2002:7f00:1::", "255.255.255.255", "::")  # fmt: skip
    assert [address for address in private if is_public(address)] == []
    public = ("93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "64:ff9b::5db8:d822")
    assert [address for address in public if not is_public(address)] == []


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f.0.0.1"])
def test_no_spelling_of_this_machine_is_asked_unless_allowed(host, tmp_path, name):
    host.answers["/a"] = (200, {}, b"secret")
    with pytest.raises(Unreachable, match=r'refused unless conjoin.toml has hosts = \["'):
        Web([], tmp_path, rate=1000).get(f"http://{name}:{host.port}/a")
    assert host.asked == []
    assert Web([name], tmp_path, rate=1000).get(f"http://{name}:{host.port}/a") == b"secret"


def test_a_redirect_into_a_private_network_is_not_followed(host, tmp_path):
    """127.0.0.1 is allowed, and leads to localhost, which is not."""
    host.answers["/a"] = (302, {"Location": f"http://localhost:{host.port}/b"}, b"")
    host.answers["/b"] = (200, {}, b"secret")
    host.answers["/file"] = (302, {"Location": "file:///etc/passwd"}, b"")
    host.answers["/loop"] = (302, {"Location": "/loop"}, b"")
    with pytest.raises(Unreachable, match=r"localhost is .* refused"):
        web(tmp_path).get(f"{host.url}/a")
    for path in ("file", "loop"):
        with pytest.raises(CellError):
            web(tmp_path).get(f"{host.url}/{path}")
    assert "/b" not in paths(host)


def test_a_name_that_changes_its_mind_is_looked_at_when_connected_to(host, tmp_path, monkeypatch):
    real, answers = socket.getaddrinfo, iter(["93.184.216.34", "127.0.0.1"])
    asked = []

    def resolver(name, port, *args, **kwargs):
        if name != "rebinding.example":
            return real(name, port, *args, **kwargs)
        asked.append(name)
        return real(next(answers), port, *args, **kwargs)

    monkeypatch.setattr(network_module.socket, "getaddrinfo", resolver)
    monkeypatch.setattr(web_module, "TRIES", 1)
    run = Web([], tmp_path, rate=1000, seconds=0.3)
    connected = []
    real_connect = socket.create_connection

    def connect(address, *args, **kwargs):
        connected.append(address[0])
        if address[0] == "93.184.216.34":
            raise ConnectionRefusedError("nobody there")
        return real_connect(address, *args, **kwargs)

    monkeypatch.setattr(socket, "create_connection", connect)
    for path, said in (("/a", "nobody"), ("/b", "refused unless")):
        with pytest.raises(Unreachable, match=said):
            run.get(f"http://rebinding.example:{host.port}{path}")
    assert connected == ["93.184.216.34"]
    assert len(asked) == 2


def test_a_disk_that_takes_nothing_costs_no_second_request(host, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    host.answers["/a"] = (200, {}, b"a picture")
    run = Web(["127.0.0.1"], tmp_path / "file" / "web", rate=1000)
    assert [run.get(f"{host.url}/a") for _ in range(3)] == [b"a picture"] * 3
    assert len(host.asked) == 1


def test_the_oldest_answers_go_where_they_are_too_many(host, tmp_path, monkeypatch):
    monkeypatch.setattr(web_module, "KEPT", 3000)
    host.answers |= {f"/{n}": (200, {"Cache-Control": "max-age=99"}, b"x" * 900) for n in range(6)}
    for n in range(6):
        web(tmp_path).get(f"{host.url}/{n}")
    kept = sum(file.stat().st_size for file in (tmp_path / "web").glob("*/*"))
    assert 1000 < kept <= 3000 + 1200
    assert web(tmp_path).get(f"{host.url}/5") == b"x" * 900
    assert paths(host).count("/5") == 1


def test_a_proxy_is_asked_where_one_is_set_and_not_for_private_places(host, tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", host.url)
    monkeypatch.setenv("no_proxy", "")
    host.answers["http://93.184.216.34/a"] = (200, {}, b"by proxy")
    run = Web([], tmp_path, rate=1000)
    assert run.get("http://93.184.216.34/a") == b"by proxy"
    with pytest.raises(Unreachable, match="private network"):
        run.get("http://10.0.0.1/a")
    assert len(host.asked) == 1
