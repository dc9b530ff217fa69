"""What the clients of AllenNLP's demo rely on, and what its models' endpoints do to `ModelEndpoint`."""

import json
from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional

import pytest
from allennlp.interpret.saliency_interpreters import IntegratedGradient, SimpleGradient
from allennlp.models.archival import load_archive
from allennlp.predictors import Predictor
from allennlp.version import VERSION

from allennlp_influence.server import InfluenceEndpoint
from tests.server.conftest import PAIR, SENTENCE


def test_info_is_what_the_configuration_says_and_the_version(client, endpoint):
    info = client.get("/").json  # without an Accept header, as its health check
    assert info["id"] == "tiny" and info["archive_file"] == endpoint.model.archive_file
    assert info["allennlp"] == VERSION
    assert info["fields"] == ["sentence"] and sorted(info["labels"]) == ["0", "1"]


def test_a_browser_gets_a_page(client):
    accept = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
    page = client.get("/", headers={"Accept": accept})
    assert page.mimetype == "text/html" and "<title>" in page.text
    assert client.get("/", headers={"Accept": "*/*"}).is_json


def test_predict_is_the_predictors_answer_and_is_cached(client, endpoint):
    inputs = {"sentence": "a film that no other test asks about"}  # the endpoint is shared
    expected = endpoint.predictor.predict_json(inputs)
    answers = [
        client.post("/predict", json=inputs, query_string=query)
        for query in ({"no_cache": "true"}, {}, {}, {"no_cache": "true"})
    ]
    assert [answer.headers.get("X-Cache-Hit") for answer in answers] == [None, None, "1", None]
    for answer in answers:
        assert answer.status_code == 200 and answer.mimetype == "application/json"
        assert answer.json["label"] == expected["label"]
        assert answer.json["probs"] == pytest.approx(expected["probs"], abs=1e-6)


@pytest.mark.parametrize("query", ["", "?no_cache"])
def test_the_raw_body_counts_without_a_content_type(client, query):
    # the demo's own server answers 415 to ?no_cache then
    answer = client.post(f"/predict{query}", data=json.dumps(SENTENCE))
    assert answer.status_code == 200 and answer.json["label"] in ("0", "1")


def test_interpreters_of_allennlp_give_what_they_give_in_python(client, sentence_archive):
    predictor = Predictor.from_archive(load_archive(sentence_archive), "text_explainer")
    for name, interpreter in (
        ("simple_gradient", SimpleGradient),
        ("integrated_gradient", IntegratedGradient),
    ):
        expected = interpreter(predictor).saliency_interpret_from_json(SENTENCE)
        answer = client.post(f"/interpret/{name}", json=SENTENCE).json
        assert set(answer) == {"instance_1"} and set(answer["instance_1"]) == {"grad_input_1"}
        assert answer["instance_1"]["grad_input_1"] == pytest.approx(
            expected["instance_1"]["grad_input_1"], abs=1e-6
        )


def test_smooth_gradient_gives_the_same_twice(client):
    first, second = [
        client.post("/interpret/smooth_gradient?no_cache", json=SENTENCE).json for _ in range(2)
    ]
    assert first == second


@pytest.mark.parametrize(
    "which, inputs, others", [("endpoint", SENTENCE, PAIR), ("pair_endpoint", PAIR, SENTENCE)]
)
def test_every_interpreter_answers_in_the_demos_shape(request, which, inputs, others):
    endpoint = request.getfixturevalue(which)
    client = endpoint.app.test_client()
    info = client.get("/").json
    assert info["fields"] == list(inputs)
    for name in info["interpreters"]:
        answer = client.post(f"/interpret/{name}", json=inputs)
        assert answer.status_code == 200, answer.text
        tokens = client.post("/predict", json=inputs).json["tokens"]
        assert len(answer.json["instance_1"]["grad_input_1"]) == len(tokens)
        wrong = client.post(f"/interpret/{name}", json=others)
        assert wrong.status_code == 400 and "give {" in wrong.json["error"]  # the remedy


def test_errors_are_the_demos(client):
    answer = client.post("/interpret/nothing", json=SENTENCE)
    assert (answer.status_code, answer.json) == (
        404,
        {"error": "No interpreter with id 'nothing'"},
    )
    for path in ("/predict", "/interpret/gradient_x_input", "/predict?no_cache"):
        answer = client.post(path, data="{ invalid: json }")
        assert answer.status_code == 400 and list(answer.json) == ["error"]
        assert "Expecting property name" in answer.json["error"]
    assert client.get("/nothing").status_code == 404 and client.get("/nothing").json["error"]
    assert client.get("/predict").status_code == 405 and client.get("/predict").json["error"]


@dataclass(frozen=True)
class DemoModel:
    """The fields and the method of the configuration in AllenNLP's demo."""

    id: str
    archive_file: str
    pretrained_model_id: Optional[str] = None
    predictor_name: Optional[str] = None
    overrides: Optional[Dict[str, Any]] = None
    attackers: List[str] = field(default_factory=list)
    interpreters: List[str] = field(default_factory=list)
    use_old_load_method: bool = False
    model_card_data: Optional[Dict[str, Any]] = None

    def load_predictor(self) -> Predictor:
        return Predictor.from_path(self.archive_file, self.predictor_name, overrides=self.overrides)


class DemoEndpoint(InfluenceEndpoint):
    """As a model of the demo is added: a subclass that overrides."""

    def predict(self, inputs):
        return {**super().predict(inputs), "ours": True}

    def load_interpreters(self):
        return {**super().load_interpreters(), "another": SimpleGradient(self.predictor)}


def test_it_takes_the_place_of_the_demos_endpoint(sentence_archive):
    endpoint = DemoEndpoint(
        DemoModel(
            "demo", sentence_archive, None, "text_explainer", {"model.dropout": 0.1}, [], ["smooth_gradient"]
        )
    )
    try:
        client = endpoint.app.test_client()
        assert client.get("/").json["use_old_load_method"] is False
        assert client.post("/predict", json=SENTENCE).json["ours"] is True
        refused = client.post("/interpret/simple_gradient", json=SENTENCE)
        assert refused.status_code == 404
        assert refused.json["error"] == "Interpreter with id 'simple_gradient' is not supported for this model"
        for name in ("smooth_gradient", "another", "influence_functions"):
            answer = client.post(f"/interpret/{name}", json=SENTENCE)
            assert answer.status_code == 200 and answer.json["instance_1"]["grad_input_1"]
        assert len(answer.json["instance_1"]["influence"]["supporters"]) == 10  # all there are
    finally:
        endpoint.close()
