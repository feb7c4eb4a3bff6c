"""Requests made from the service's own OpenAPI, right and wrong ones: never a 5xx."""

import io

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("schemathesis")

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from PIL import Image

from served import build, serving

#: Requests an operation and mode; all of them take about twenty seconds of one core.
EXAMPLES = 40
QUICK = settings(
    max_examples=EXAMPLES, deadline=None, database=None, derandomize=True,
    phases=[Phase.generate], suppress_health_check=list(HealthCheck),
)  # fmt: skip


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    folder = build(tmp_path_factory.mktemp("served"), each=1)
    with serving(folder, "--limit", "body_mb=1") as made:
        yield made


@pytest.fixture(scope="module")
def client(service):
    with requests.Session() as made:
        yield made


def check(answer) -> None:
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        assert "application/problem+json" in answer.headers["content-type"]
        problem = answer.json()
        assert problem["status"] == answer.status_code
        assert problem["detail"]


@pytest.mark.parametrize("mode", ["positive", "negative"])
def test_no_request_of_the_schema_breaks_the_service(service, client, mode):
    spec = client.get(service.url + "/openapi.json").json()
    schema = schemathesis.openapi.from_dict(spec)
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) >= 10
    sent = [drive(operation, mode, service.url, client) for operation in operations]
    assert sum(count >= EXAMPLES // 2 for count in sent) >= 4
    assert mode == "negative" or all(sent)


def drive(operation, mode, url, client) -> int:
    """Send what is made of one operation; how many requests that was."""
    sent = 0
    try:
        cases = operation.as_strategy(generation_mode=schemathesis.GenerationMode(mode))
    except schemathesis.errors.SchemathesisError:
        return 0  # nothing can be wrong about a request without arguments

    @QUICK
    @given(case=cases)
    def ask(case):
        nonlocal sent
        answer = case.call(base_url=url, session=client, timeout=30)
        sent += 1
        check(answer)

    try:
        ask()
    except Unsatisfiable:
        return sent
    return sent


@QUICK
@given(
    data=st.binary(max_size=300), form=st.sampled_from(["PNG", "WEBP", "GIF", "BMP", "JPEG"]),
    cut=st.integers(0, 400), flip=st.integers(0, 10**6),
)  # fmt: skip
def test_no_torn_picture_breaks_the_service(service, client, data, form, cut, flip):
    out = io.BytesIO()
    Image.new("RGB", (9, 7), (1, 2, 3)).save(out, form)
    torn = bytearray(out.getvalue())
    torn[flip % len(torn)] ^= 1 + flip % 255
    for sent in (bytes(torn), bytes(torn[:cut]), bytes(torn[:cut]) + data, data):
        check(client.post(service.url + "/search/upload", files={"file": ("a", sent, "image/png")}))


@QUICK
@given(data=st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)))
def test_no_body_breaks_the_service(service, client, data):
    headers = {"Content-Type": "application/json"}
    for path in ("/search", "/embed"):
        check(client.post(service.url + path, data=data, headers=headers))
    for path in ("/search/upload", "/embed/upload"):
        headers = {"Content-Type": "multipart/form-data; boundary=a"}
        body = b"--a\r\n" + data + b"\r\n--a--\r\n"
        check(client.post(service.url + path, data=body, headers=headers))
