"""The paths of the server, in the habits of AllenNLP's demo."""

import hashlib
import json
import time
from concurrent.futures import wait
from typing import TYPE_CHECKING, Callable, Iterator, Union

from allennlp.common.util import JsonDict
from flask import Response, jsonify, request

from allennlp_influence.server.errors import in_json
from allennlp_influence.server.page import PAGE
from allennlp_influence.server.requests import MOST_BYTES, inputs_of
from allennlp_influence.server.security import protect
from allennlp_influence.server.worker import Job, Stopped

if TYPE_CHECKING:
    from allennlp_influence.server.endpoint import InfluenceEndpoint

_EVENTS = "text/event-stream"
_SECONDS_BETWEEN_EVENTS = 0.2


def add_routes(endpoint: "InfluenceEndpoint") -> None:
    """
    `GET /` (a page for browsers, JSON for others), `POST /predict` and `POST /interpret/<id>`. The body is JSON whatever
    its Content-Type; `?no_cache` asks for a fresh answer; one that was kept has the header `X-Cache-Hit: 1`. With
    `Accept: text/event-stream` the answer is the last of a stream of events that say how far it is.
    """
    app = endpoint.app
    app.config.update(MAX_CONTENT_LENGTH=MOST_BYTES, LOOPBACK=True)
    protect(app, PAGE.content_security_policy)

    @app.errorhandler(Exception)
    def error_handler(error: Exception) -> Response:
        body, status, retry_after = in_json(error)
        response = jsonify(body)
        response.status_code = status
        if retry_after is not None:
            response.headers["Retry-After"] = str(retry_after)
        return response

    @app.get("/")
    def info_handler() -> Response:
        if request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html":
            return Response(PAGE.html, mimetype="text/html")
        return jsonify(endpoint.info())

    @app.post("/predict")
    def predict_handler() -> Response:
        return answer("predict", endpoint.start_predict)

    @app.post("/interpret/<string:interpreter_id>")
    def interpret_handler(interpreter_id: str) -> Response:
        label = request.args.get("label", "predicted")
        return answer(
            f"interpret {interpreter_id} {label}",
            lambda inputs: endpoint.start_interpret(interpreter_id, inputs, label),
        )

    def answer(what: str, start: Callable[[JsonDict], Job]) -> Response:
        body = request.get_data(cache=False)

        def ask() -> Job:
            return start(inputs_of(body))

        if "no_cache" in request.args:
            found: Union[bytes, Job] = ask()
        else:
            found = endpoint.answers.get((what, hashlib.sha256(body).digest()), ask)
        if request.accept_mimetypes.best == _EVENTS:
            response = Response(_events(found), mimetype=_EVENTS)
        else:
            content = _awaited(found) if isinstance(found, Job) else found
            response = Response(content, mimetype="application/json")
        if isinstance(found, bytes):
            response.headers["X-Cache-Hit"] = "1"
        return response


def _awaited(job: Job) -> bytes:
    has_gone = request.environ.get("waitress.client_disconnected", lambda: False)
    try:
        while not wait([job.future], timeout=1).done:
            if has_gone():
                raise Stopped("the client has gone")
        return job.future.result()
    finally:
        job.leave()


def _events(found: Union[bytes, Job]) -> Iterator[str]:
    """`progress` every now and then, then `result` or `error`."""
    if isinstance(found, bytes):
        yield _event("result", found.decode())
        return
    begin = time.monotonic()
    try:
        while not wait([found.future], timeout=_SECONDS_BETWEEN_EVENTS).done:
            step = found.step
            progress = {
                "before": found.worker.number_before(found),
                "seconds": round(time.monotonic() - begin, 1),
                "expected": found.worker.seconds,
                **(step._asdict() if step else {}),
            }
            yield _event("progress", json.dumps(progress))
        try:
            yield _event("result", found.future.result().decode())
        except Exception as error:
            yield _event("error", json.dumps(in_json(error)[0]))
    finally:
        found.leave()


def _event(name: str, data: str) -> str:
    return f"event: {name}\ndata: {data}\n\n"
