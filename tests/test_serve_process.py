"""``conjoin serve`` as a process: its address, its token, its signals, its workers, its reloads."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import pytest

pytest.importorskip("fastapi")
if sys.platform == "win32":
    pytest.skip("signals of POSIX", allow_module_level=True)

from conjoin.storage.files import read_json, write_json
from served import build, environment, picture, publish, serving
from shelf import Caller

TOKEN = "correct-horse-battery"
KEY = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return build(tmp_path_factory.mktemp("served"), each=2)


def call(url, body=None, **headers):
    """Status and JSON (or bytes) of one request."""
    data = None if body is None else json.dumps(body).encode()
    asked = urllib.request.Request(url, data, {"Content-Type": "application/json", **headers})
    try:
        with urllib.request.urlopen(asked, timeout=30) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def test_it_says_where_it_is_answers_and_ends_with_zero(folder, monkeypatch, capsys):
    with serving(folder) as service:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", service.url)
        assert service.told["items"] == 32
        assert service.told["modalities"] == ["text", "picture", "sound"]
        status, found = call(service.url + "/search", {"text": "a red bar", "into": ["text"]})
        assert status == 200
        assert found["lists"]["text"][0]["id"].startswith("red/bar")
        _upload(service.url)
        port = service.url.rpartition(":")[2]
        monkeypatch.chdir(folder)
        told = Caller(monkeypatch, capsys)("serve", "--port", port)
        assert (told.code, told.out, told.err.count("\n")) == (2, "", 1)
        assert f"--port {port}" in told.err
        assert "in use" in told.err
        code, out, err = service.end()
        assert code == 0
        assert out == ""
        assert [line.split()[1] for line in err.splitlines()] == ["opening", "loading", "serving"]
        assert service.url in err


def test_starts_that_are_refused_say_why_in_one_line(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    conjoin = Caller(monkeypatch, capsys)
    short = tmp_path / "short"
    short.write_text("abc\n")
    good = tmp_path / "good"
    good.write_text(TOKEN)
    good.chmod(0o600)
    cases = [
        (["--host", "0.0.0.0"], ["--host 0.0.0.0", "--token-file", "--open"]),
        (["--token-file", str(short)], ["3 characters"]),
        (["--token-file", str(tmp_path / "none")], ["no such file"]),
        (["--token-file", str(good), "--open"], ["--open"]),
        (["--host", "nowhere.invalid", "--open"], ["nowhere.invalid"]),
        (["--cors", "*"], ["--cors"]),
        (["--cors", "https://a.example/path"], ["--cors"]),
        (["--limit", "kk=3"], ["did you mean k"]),
        (["-w", str(tmp_path)], ["conjoin.toml"]),
    ]
    for words, says in cases:
        told = conjoin("serve", "--port", "0", *words)
        assert (told.code, told.out, told.err.count("\n")) == (2, "", 1), told
        for word in says:
            assert word in told.err, told


def test_a_new_index_is_taken_up_without_losing_a_request(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "ws")
    with serving(copy) as service:
        lost, names, going = [], set(), threading.Event()
        going.set()

        def ask():
            while going.is_set():
                status, found = call(service.url + "/search", {"text": "a blue frame", "k": 3})
                if status != 200:
                    lost.append((status, found))
                names.add(found.get("index"))

        askers = [threading.Thread(target=ask) for _ in range(4)]
        for each in askers:
            each.start()
        publish(copy, "procrustes", "second")
        _until(lambda: call(service.url + "/health")[1]["index"] == "second")
        # A torn one is told, and what was served stays.
        path = copy / ".conjoin" / "current.json"
        raw = {key: value for key, value in read_json(path).items() if key != "fit"}
        for part in ("maps", "index"):
            assert "second" in raw[part]
        write_json(path, {k: str(v).replace("second", "third") for k, v in raw.items()
                          if k != "version"} | {"version": 1})  # fmt: skip
        _until(lambda: call(service.url + "/health")[1]["trouble"])
        assert call(service.url + "/health")[1]["index"] == "second"
        write_json(path, {k: str(v).replace("second", "first") for k, v in raw.items()
                          if k != "version"} | {"version": 1})  # fmt: skip
        _until(lambda: call(service.url + "/health")[1]["index"] == "first")
        assert call(service.url + "/health")[1]["trouble"] is None
        service.process.send_signal(signal.SIGHUP)
        text = _metrics(service.url)
        going.clear()
        for each in askers:
            each.join()
        assert lost == []
        assert {"first", "second"} <= names
        assert "conjoin_reload_failures_total 1" in text
        code, _, err = service.end()
        assert code == 0
        assert "still serving second" in err


def test_what_is_being_answered_at_the_end_is_answered(folder):
    with serving(folder) as service:
        got = []

        def ask():
            got.append(call(service.url + "/search", {"text": "a green cross", "k": 50}))

        askers = [threading.Thread(target=ask) for _ in range(8)]
        host, port = service.url.removeprefix("http://").split(":")
        slow = _begun(host, int(port), '{"text": "a red bar"}')
        for each in askers:
            each.start()
        for each in askers:
            each.join()
        service.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        slow.sendall(b'"a red bar"}')  # the rest of a request that was under way
        answer = _read(slow)
        assert b"200 OK" in answer
        service.process.communicate(timeout=30)
        assert service.process.returncode == 0
        assert [status for status, _ in got] == [200] * 8


def _begun(host, port, whole):
    """A request whose body has begun to come."""
    line = socket.create_connection((host, port), timeout=30)
    head = f"POST /search HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    first, rest = '{"text": ', '"a red bar"}'
    assert first + rest == whole
    line.sendall(f"{head}Content-Length: {len(whole)}\r\n\r\n{first}".encode())
    return line


def _read(line):
    data = b""
    while more := line.recv(65536):
        data += more
        if b"\r\n\r\n" in data and b"index" in data:
            break
    line.close()
    return data


def test_slow_and_large_requests_are_ended(folder):
    limits = [
        "--limit",
        "body_seconds=0.5",
        "--limit",
        "head_seconds=0.7",
        "--limit",
        "body_mb=0.5",
    ]
    with serving(folder, *limits) as service:
        host, port = service.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as line:
            line.sendall(
                b"POST /search HTTP/1.1\r\nHost: localhost\r\n"
                b"Content-Type: application/json\r\nContent-Length: 500\r\n\r\n{"
            )
            assert b"408" in line.recv(4096)
        with socket.create_connection((host, int(port)), timeout=10) as line:
            line.sendall(b"GET / HTTP/1.1\r\nHost: loc")  # and never the rest
            began = time.monotonic()
            assert line.recv(100) == b""
            assert time.monotonic() - began < 8
        with socket.create_connection((host, int(port)), timeout=10) as line:
            line.sendall(
                b"POST /search HTTP/1.1\r\nHost: localhost\r\n"
                b"Content-Type: application/json\r\nContent-Length: 99999999\r\n\r\n"
            )
            assert b"413" in line.recv(4096)
        with socket.create_connection((host, int(port)), timeout=10) as line:
            line.sendall(
                b"POST /search HTTP/1.1\r\nHost: localhost\r\n"
                b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
            )
            answer = b""
            try:
                for _ in range(40):
                    line.sendall(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
            except OSError:
                pass
            answer = line.recv(4096)
            assert b"413" in answer
        assert call(service.url + "/search", {"text": "a red bar"})[0] == 200


@pytest.mark.skipif(not os.path.exists("/proc/self/smaps"), reason="needs /proc")
def test_workers_share_the_map_the_port_and_the_figures(folder):
    with serving(folder, "--workers", "2", CONJOIN_TOKEN=TOKEN) as service:
        assert service.told["token"] is True
        assert call(service.url + "/health")[0] == 200
        assert call(service.url + "/info")[0] == 401
        assert call(service.url + "/info", Authorization=f"Bearer {TOKEN}x")[0] == 401
        for _ in range(12):
            asked = {"text": "a red bar", "k": 2}
            assert call(service.url + "/search", asked, **KEY)[0] == 200
        text = _metrics(service.url)
        assert 'conjoin_requests_total{route="/search",code="2xx"} 12' in text
        assert "conjoin_workers_ready 2" in text
        pids = _children(service.process.pid)
        mapped = [pid for pid in pids if "safetensors" in _maps(pid)]
        assert len(mapped) == 2
        # One that is killed is replaced, and its figures go on.
        os.kill(mapped[0], signal.SIGKILL)
        _until(lambda: len(set(_children(service.process.pid)) - {mapped[0]} - set(pids)) == 1)
        _until(lambda: _figure(service.url, "conjoin_workers_ready") == 2)
        assert 'conjoin_requests_total{route="/search",code="2xx"} 12' in _metrics(service.url)
        code, _, err = service.end()
        assert code == 0
        assert "a worker ended" in err
    _until(lambda: not any(os.path.exists(f"/proc/{pid}/maps") and _maps(pid) for pid in mapped))


def _metrics(url):
    with urllib.request.urlopen(urllib.request.Request(url + "/metrics", headers=KEY)) as answer:
        return answer.read().decode()


def _figure(url, name):
    return float(next(x for x in _metrics(url).splitlines() if x.startswith(name)).split()[1])


def _children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(word) for word in file.read().split()]


def _maps(pid):
    try:
        with open(f"/proc/{pid}/maps") as file:
            return file.read()
    except OSError:
        return ""


def _until(happens, seconds=40):
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if happens():
            return
        time.sleep(0.1)
    raise AssertionError("it did not happen")


def _upload(url):
    data = picture((214, 40, 40), "square", 3)
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="../../a.png"\r\n'
    body = head + b"Content-Type: image/png\r\n\r\n" + data + b"\r\n--x--\r\n"
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    asked = urllib.request.Request(url + "/search/upload", body, kind)
    with urllib.request.urlopen(asked, timeout=30) as answer:
        found = json.loads(answer.read())
    assert found["lists"]["picture"][0]["id"].startswith("red/")


def test_without_the_extra_one_line_says_what_to_install(folder):
    hide = "import sys; sys.modules['fastapi'] = None; sys.argv = ['conjoin', 'serve']; " \
           "from conjoin.cli.main import main; main()"  # fmt: skip
    done = subprocess.run([sys.executable, "-c", hide], cwd=folder, env=environment(),
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "conjoin[serve]" in done.stderr
