"""A real server on a loopback port."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Iterator

import pytest
import requests
from allennlp.common.checks import ConfigurationError

from allennlp_influence.engine.progress import progress
from allennlp_influence.server.serving import address, bound_server
from tests.server.conftest import SENTENCE

PATIENCE = 60


@contextmanager
def running(endpoint) -> Iterator[str]:
    """The address of an endpoint that is being served."""
    server = bound_server(endpoint, "127.0.0.1", 0)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield address(server, "127.0.0.1")
    finally:
        server.close()


@pytest.fixture(scope="module")
def url(endpoint):
    with running(endpoint) as url:
        yield url


def test_200_requests_at_once_lose_nothing(url, endpoint):
    """Of all kinds, good and bad, some of them the same."""
    paths = ["predict", "interpret/gradient_x_input", "predict?no_cache", "interpret/simple_gradient"]
    texts = [{"sentence": f"{'good ' * (i % 7)}film {i % 40}"} for i in range(200)]
    asked = [
        (paths[i % 4], "{broken" if i % 10 == 9 else json.dumps(texts[i])) for i in range(180)
    ]
    # as many different ones as can wait
    asked += [("interpret/influence_functions", json.dumps(texts[20 + i % 8])) for i in range(20)]
    start = threading.Barrier(200)

    def ask(question):
        path, body = question
        start.wait(PATIENCE)
        return requests.post(url + path, data=body, timeout=PATIENCE)

    with ThreadPoolExecutor(200) as pool:
        answers = list(pool.map(ask, asked))
    for (path, body), answer in zip(asked, answers):
        if body == "{broken":
            assert answer.status_code == 400 and answer.json()["error"]
            continue
        assert answer.status_code == 200, answer.text
        inputs = json.loads(body)
        if path.startswith("predict"):
            expected = endpoint.predictor.predict_json(inputs)
            assert answer.json()["tokens"] == expected["tokens"]  # nobody got another's
            assert answer.json()["probs"] == pytest.approx(expected["probs"], abs=1e-6)
        else:
            tokens = endpoint.predictor.predict_json(inputs)["tokens"]
            assert len(answer.json()["instance_1"]["grad_input_1"]) == len(tokens)


@pytest.fixture
def slow_influence(endpoint, monkeypatch):
    """Influence queries take until they are let go."""
    let_go, asked = threading.Event(), []

    def influence(inputs, label):
        asked.append(inputs["sentence"])
        for _ in progress(range(10**6), "waiting"):
            if let_go.wait(0.01):
                return {"instance_1": {"influence": inputs["sentence"]}}

    monkeypatch.setattr(endpoint, "_influence", influence)
    yield let_go, asked
    let_go.set()


def until(condition) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_full_queue_answers_503_and_predictions_go_on(url, slow_influence):
    let_go, asked = slow_influence
    with ThreadPoolExecutor(30) as pool:
        answers = [
            pool.submit(
                requests.post,
                url + "interpret/influence_functions",
                json={"sentence": f"film {i}"},
                timeout=PATIENCE,
            )
            for i in range(20)
        ]
        until(lambda: sum(answer.done() for answer in answers) == 11)  # one runs, eight wait
        refused = [answer.result() for answer in answers if answer.done()]
        assert {answer.status_code for answer in refused} == {503}
        assert all(int(answer.headers["Retry-After"]) >= 1 for answer in refused)
        assert all("try again in" in answer.json()["error"] for answer in refused)
        assert requests.post(url + "predict?no_cache", json=SENTENCE, timeout=PATIENCE).ok
        let_go.set()
        served = [answer.result() for answer in answers if answer.result().ok]
    assert len(served) == 9 and sorted(asked) == sorted(
        answer.json()["instance_1"]["influence"] for answer in served
    )


def test_progress_is_streamed_and_the_same_question_waits_for_one_answer(url, slow_influence):
    let_go, asked = slow_influence

    def stream(sentence):
        with requests.post(
            url + "interpret/influence_functions",
            json={"sentence": sentence},
            headers={"Accept": "text/event-stream"},
            stream=True,
            timeout=PATIENCE,
        ) as answer:
            assert answer.headers["Content-Type"].startswith("text/event-stream")
            for event in answer.iter_content(None):
                for block in event.decode().strip().split("\n\n"):
                    name, data = block.split("\n")
                    yield name.removeprefix("event: "), json.loads(data.removeprefix("data: "))

    first, same, other = stream("one"), stream("one"), stream("two")
    until(lambda: next(first)[1].get("stage") == "waiting")
    until(lambda: next(same)[1].get("stage") == "waiting")
    name, progress = next(other)
    assert name == "progress" and progress["before"] == 1
    let_go.set()
    for events, sentence in ((first, "one"), (same, "one"), (other, "two")):
        *_, (name, result) = events
        assert (name, result) == ("result", {"instance_1": {"influence": sentence}})
    assert asked == ["one", "two"]
    ((name, result),) = stream("one")  # kept
    assert (name, result["instance_1"]["influence"]) == ("result", "one")


@pytest.mark.parametrize("accept", ["text/event-stream", "application/json"])
def test_a_query_whose_asker_has_gone_is_given_up(url, endpoint, slow_influence, accept):
    let_go, asked = slow_influence
    sentence = f"gone {accept}"
    body = json.dumps({"sentence": sentence}).encode()
    host, port = url.removeprefix("http://").strip("/").split(":")
    with socket.create_connection((host, int(port))) as connection:
        head = f"POST /interpret/influence_functions HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n"
        connection.sendall(head.encode() + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        until(lambda: asked == [sentence])
    until(lambda: endpoint.slow.submit(lambda x: x, 1).future.result(PATIENCE) == 1)
    assert not let_go.is_set()  # it ended before its time


def test_a_broken_request_closes_its_connection_only(url):
    host, port = url.removeprefix("http://").strip("/").split(":")
    for nonsense in (b"\0" * 100, b"GET\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n"):
        with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
            connection.sendall(nonsense)
            connection.shutdown(socket.SHUT_WR)
            connection.recv(1000)
    assert requests.get(url, timeout=PATIENCE).json()["id"] == "tiny"


def test_a_port_that_is_taken_is_said(url, endpoint):
    port = int(url.strip("/").split(":")[-1])
    with pytest.raises(ConfigurationError, match="choose others with --host and --port"):
        bound_server(endpoint, "127.0.0.1", port)
    with pytest.raises(ConfigurationError, match="can't listen at nowhere.invalid"):
        bound_server(endpoint, "nowhere.invalid", 0)
    assert endpoint.app.config["LOOPBACK"]  # as it was


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_and_ends_cleanly(sentence_archive, number):
    command = [sys.executable, "-m", "allennlp_influence", "influence-server", sentence_archive, "--port", "0"]
    environment = {**os.environ, "ALLENNLP_DEBUG": ""}
    server = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    try:
        for line in server.stdout:
            if line.startswith("Ready"):
                break
        url = line.split()[-1]
        assert requests.post(url + "predict", json=SENTENCE, timeout=PATIENCE).ok
        assert requests.post(url + "interpret/influence_functions", json=SENTENCE, timeout=PATIENCE).ok
        server.send_signal(number)
        out, err = server.communicate(timeout=PATIENCE)
    finally:
        server.kill()
    assert server.returncode == 0 and out.splitlines()[-1] == "Stopped"
    assert "Traceback" not in err
