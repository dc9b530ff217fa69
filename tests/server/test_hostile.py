"""Whatever is sent, the answer is JSON with a remedy, or an explanation, and nothing acts on the reader's browser."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from allennlp_influence.server.requests import MOST_BYTES, MOST_CHARACTERS
from allennlp_influence.server.security import is_loopback
from tests.server.conftest import SENTENCE

PATHS = ["/predict", "/interpret/gradient_x_input", "/interpret/influence_functions", "/predict?no_cache"]
SLOWLY = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def check_refused(answer, status=400):
    assert answer.status_code == status, answer.text
    assert list(answer.json) == ["error"] and answer.json["error"]
    assert "Traceback" not in answer.text and ".py" not in answer.text


@SLOWLY
@given(body=st.binary(max_size=200), path=st.sampled_from(PATHS))
def test_any_bytes(client, body, path):
    check_refused(client.post(path, data=body))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=8,
)


@SLOWLY
@given(value=JSON, path=st.sampled_from(PATHS))
def test_any_json(client, value, path):
    check_refused(client.post(path, data=json.dumps(value)))
    check_refused(client.post(path, data=json.dumps({"premise": value})))


@SLOWLY
@given(
    text=st.text(max_size=80),
    more=st.dictionaries(st.sampled_from(["label", "id", "tokens", "metadata", "__class__"]), JSON),
    path=st.sampled_from(PATHS),
)
def test_any_text(client, text, more, path):
    answer = client.post(path, data=json.dumps({**more, "sentence": text}))
    if answer.status_code != 200:
        check_refused(answer)
    else:
        assert answer.json and text.strip()


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"sentence": ' + b"9" * 100_000 + b"}",
        b'{"sentence": "\\ud800"}',
        b"\xff\xfe{",
        b"",
        b'"a fine film"',
        b'{"sentence": ["a"]}',
        json.dumps({"sentence": "a" * (MOST_CHARACTERS + 1)}).encode(),
        json.dumps({"sentence": "a", "label": {"a": "b"}}).encode(),
    ],
)
@pytest.mark.parametrize("path", PATHS)
def test_bodies_made_to_hurt(client, body, path):
    answer = client.post(path, data=body)
    if b'"label"' not in body or answer.status_code != 200:
        check_refused(answer)


def test_a_body_too_large_is_refused_before_it_is_read(client):
    answer = client.post("/predict", data=b"x" * (MOST_BYTES + 1))
    check_refused(answer, 413)
    assert f"{MOST_BYTES:,}" in answer.json["error"]


def test_the_longest_text_is_answered(client):
    answer = client.post("/predict", json={"sentence": "good " * (MOST_CHARACTERS // 5)})
    assert answer.status_code == 200


@pytest.mark.parametrize("path", ["/", "/predict", "/interpret/x", "/../../etc/passwd", "/%2e%2e/"])
def test_every_answer_has_the_headers(client, path):
    for answer in (client.get(path), client.post(path, data="{"), client.options(path)):
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy and "*" not in policy
        assert "Access-Control-Allow-Origin" not in answer.headers


def test_another_sites_name_or_page_gets_nothing(client, monkeypatch):
    rebound = client.post("/predict", json=SENTENCE, headers={"Host": "evil.example:8000"})
    check_refused(rebound, 403)
    check_refused(client.get("/", headers={"Host": "localhost.evil.example"}), 403)
    check_refused(client.get("/", headers={"Host": "[::1"}), 403)
    for origin in ("https://evil.example", "null", "http://localhost:1", "http://[::1"):
        answer = client.post("/predict", json=SENTENCE, headers={"Origin": origin})
        check_refused(answer, 403)
    for host in ("localhost", "127.0.0.1:8000", "[::1]:99", "LOCALHOST:1"):
        own = {"Host": host, "Origin": f"http://{host}"}
        assert client.post("/predict", json=SENTENCE, headers=own).status_code == 200
    # bound to an address that others may reach, it is known by any name; its pages stay its own
    monkeypatch.setitem(client.application.config, "LOOPBACK", False)
    assert client.get("/", headers={"Host": "demo.example"}).status_code == 200
    foreign = {"Host": "demo.example", "Origin": "https://evil.example"}
    check_refused(client.post("/predict", json=SENTENCE, headers=foreign), 403)


def test_loopback():
    assert all(map(is_loopback, ["localhost", "127.0.0.1", "127.1.2.3", "::1", "[::1]"]))
    assert not any(map(is_loopback, ["", "0.0.0.0", "::", "localhost.example", "192.168.0.1", "1"]))
