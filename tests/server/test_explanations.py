"""What is answered is what the interpreters compute."""

from collections import Counter

import pytest
from allennlp.interpret import InfluenceInterpreter

from tests.server.conftest import SENTENCE


@pytest.fixture(scope="module")
def interpreter(sentence_archive):
    """Of one's own, beside the server's."""
    return InfluenceInterpreter.from_path(
        sentence_archive, interpreter_name="influence-functions", solver="gauss-newton"
    )


@pytest.mark.parametrize("label", ["predicted", "0", "1"])
def test_influence_is_the_interpreters_for_the_label_asked_for(
    client, endpoint, interpreter, label
):
    interpreter.label = label
    instance = endpoint.predictor._json_to_instance(SENTENCE)
    (expected,) = interpreter.interpret_instances([instance], k=3)
    answer = client.post(f"/interpret/influence_functions?label={label}", json=SENTENCE)
    found = answer.json["instance_1"]
    influence = found["influence"]
    assert found["label"] == influence["explained"] == expected.explained
    for side, listed in (("supporters", expected.top_k), ("opponents", expected.bottom_k)):
        assert [one["id"] for one in influence[side]] == [one.id for one in listed]
        assert [one["score"] for one in influence[side]] == pytest.approx(
            [one.score for one in listed], rel=1e-4
        )
    texts = {example.id: example.text for example in interpreter.examples}
    assert all(one["text"] == texts[one["id"]] for one in influence["supporters"])
    distribution = influence["distribution"]
    counts = dict(zip(distribution["rows"], map(sum, distribution["counts"])))
    assert counts == Counter(example.label for example in interpreter.examples)
    assert distribution["mean"] == pytest.approx(float(expected.scores.mean()), rel=1e-3)
    assert "None" not in answer.text  # which AllenNLP's sanitize makes of null


def test_saliency_is_ours_and_follows_the_label(client):
    ask = "/interpret/gradient_x_input?label="
    answers = [client.post(ask + label, json=SENTENCE).json["instance_1"] for label in "01"]
    assert [answer["label"] for answer in answers] == ["0", "1"]
    first, second = ([word["score"] for word in answer["words"]] for answer in answers)
    assert first == pytest.approx([-score for score in second], abs=1e-5)  # of two labels
    assert any(first)
    assert [word["text"] for word in answers[0]["words"]] == SENTENCE["sentence"].split()


def test_the_gold_label_may_be_explained(client):
    inputs = {**SENTENCE, "label": "0"}
    for name in ("gradient_x_input", "influence_functions"):
        answer = client.post(f"/interpret/{name}?label=gold", json=inputs)
        assert answer.json["instance_1"]["label"] == "0"
        answer = client.post(f"/interpret/{name}?label=gold", json=SENTENCE)
        assert answer.status_code == 400 and "gold" in answer.json["error"]


@pytest.mark.parametrize("name", ["gradient_x_input", "influence_functions", "simple_gradient"])
def test_a_label_the_model_lacks_is_refused(client, name):
    answer = client.post(f"/interpret/{name}?label=maybe", json=SENTENCE)
    assert answer.status_code == 400 and answer.json["error"]


def test_predictions_together_are_those_one_by_one(endpoint):
    texts = ["good", "a film", "", "tedious , tedious film ." * 5, "bad"]
    batch = [{"sentence": text} for text in texts]
    answers = endpoint.predict_batch(batch)
    assert "expected a text that is not empty" in str(answers[2])  # and the others are predicted
    for inputs, answer in (pair for pair in zip(batch, answers) if pair[0] != {"sentence": ""}):
        alone = endpoint.predictor.predict_json(inputs)
        assert answer["tokens"] == alone["tokens"]
        assert answer["probs"] == pytest.approx(alone["probs"], abs=1e-6)


def test_an_error_within_allennlps_interpreters_leaves_no_trace(client, endpoint, monkeypatch):
    model = endpoint.predictor._model
    before = client.post("/predict?no_cache", json=SENTENCE).json
    flags = [parameter.requires_grad for parameter in model.parameters()]
    hooks = [len(module._forward_hooks) + len(module._backward_hooks) for module in model.modules()]

    def fail(*args, **kwargs):
        raise RuntimeError("in the middle")

    monkeypatch.setattr(type(model), "make_output_human_readable", fail)
    # with the hooks on, and every parameter's requires_grad: AllenNLP's get_gradients restores neither
    answer = client.post("/interpret/simple_gradient?no_cache", json=SENTENCE)
    assert answer.status_code == 500 and "RuntimeError" in answer.json["error"]
    monkeypatch.undo()
    assert [parameter.requires_grad for parameter in model.parameters()] == flags
    assert hooks == [
        len(module._forward_hooks) + len(module._backward_hooks) for module in model.modules()
    ]
    assert all(parameter.grad is None for parameter in model.parameters())
    assert client.post("/predict?no_cache", json=SENTENCE).json == before
