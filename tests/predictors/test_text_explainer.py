import json

import numpy
import pytest
import torch
from allennlp.common import Params
from allennlp.common.checks import ConfigurationError
from allennlp.data import DatasetReader, Vocabulary
from allennlp.models import Model
from allennlp.predictors import Predictor
from allennlp.nn.util import get_text_field_mask

from allennlp_influence.data.example import example_of
from allennlp_influence.predictors import TextExplainer

WORDS = "a film is not good bad tedious".split()
SENTENCES = ["a film", "good", "a tedious film is not good", "bad bad bad bad"]
PAIRS = [("a film is good", "bad"), ("tedious", "a"), ("is", "is"), ("not not", "not")]
LABELS = {
    "sst2": ["1", "0"],
    "nli": ["neutral", "contradiction", "entailment"],
    "text_classification_json": ["good", "bad"],
    "snli": ["neutral", "contradiction", "entailment"],
    "sst_tokens": ["1", "0"],
}


class BagOfWords(Model):
    """Logits from the mean of random embeddings, which it puts out as it is told to."""

    def __init__(self, vocab, outputs, classes):
        super().__init__(vocab)
        generator = torch.Generator().manual_seed(7)
        table = 3 * torch.randn(len(WORDS) + 2, classes, generator=generator)
        self.table = torch.nn.Parameter(table)
        self.outputs = outputs

    def forward(self, tokens=None, premise=None, hypothesis=None, label=None, metadata=None):
        logits = sum(
            (-1) ** i * self.mean(text)
            for i, text in enumerate([tokens, premise, hypothesis])
            if text is not None
        )
        found = {"logits": logits, "probs": logits.softmax(-1), "score": logits[:, :1].exp()}
        if self.outputs == "tags":
            return {"logits": torch.zeros(len(logits), 4, 3)}
        output = {name: found[name] for name in self.outputs}
        if label is not None:
            output["loss"] = torch.nn.functional.cross_entropy(logits, label)
        return output

    def mean(self, text):
        mask = get_text_field_mask(text).unsqueeze(-1)
        return (self.table[text["tokens"]["tokens"]] * mask).sum(1) / mask.sum(1)


def predictor(reader="sst2", outputs=("logits", "probs"), labels=None, **options) -> Predictor:
    if reader in ("snli", "sst_tokens"):
        pytest.importorskip("allennlp_models.classification")
        pytest.importorskip("allennlp_models.pair_classification")
    if reader != "sst_tokens":
        options["tokenizer"] = "whitespace"
    indexers = {"tokens": "single_id"}
    reader_params = Params({"type": reader, "token_indexers": indexers, **options})
    labels = LABELS[reader] if labels is None else labels
    vocabulary = Vocabulary()
    vocabulary.add_tokens_to_namespace(WORDS, "tokens")
    vocabulary.add_tokens_to_namespace(labels, "labels")
    model = BagOfWords(vocabulary, outputs, len(labels) or 2).eval()
    return Predictor.by_name("text_explainer")(model, DatasetReader.from_params(reader_params))


def inputs_of(reader):
    if reader in ("nli", "snli"):
        return [{"premise": a, "hypothesis": b} for a, b in PAIRS]
    return [{"sentence": sentence} for sentence in SENTENCES]


@pytest.mark.parametrize("reader", LABELS)
def test_sentences_and_pairs_alone_and_in_a_batch(reader):
    explainer = predictor(reader)
    assert isinstance(explainer, TextExplainer)
    inputs = inputs_of(reader)
    batch = explainer.predict_batch_json(inputs)
    for given, output in zip(inputs, batch):
        single = explainer.predict_json(given)
        assert single == explainer.predict(**given)
        assert set(single) == set(output) == {"logits", "probs", "label"}
        assert single["label"] == output["label"] == LABELS[reader][numpy.argmax(single["probs"])]
        assert numpy.allclose(single["probs"], output["probs"], atol=1e-6)
        assert sum(single["probs"]) == pytest.approx(1)
        json.dumps(single)
    assert len({output["label"] for output in batch}) > 1
    assert explainer.predict_batch_json([]) == []


@pytest.mark.parametrize("reader", ["nli", "snli"])
def test_the_premise_comes_first_whatever_the_order_of_the_keys(reader):
    explainer = predictor(reader, **({"combine_input_fields": False} if reader == "snli" else {}))
    given = {"hypothesis": "bad", "premise": "a film is good"}
    instance = explainer._json_to_instance(given)
    if reader == "nli":
        assert example_of(instance, 0).text == given
    else:
        assert [token.text for token in instance["hypothesis"]] == ["bad"]


@pytest.mark.parametrize("outputs", [("logits",), ("probs",), ("logits", "probs", "score")])
def test_label_and_probs_whatever_the_model_puts_out(outputs):
    everything = predictor().predict_batch_json(inputs_of("sst2"))
    found = predictor(outputs=outputs).predict_batch_json(inputs_of("sst2"))
    for output, expected in zip(found, everything):
        assert set(output) == {*outputs, "probs", "label"}
        assert output["label"] == expected["label"]
        assert numpy.allclose(output["probs"], expected["probs"], atol=1e-6)


def test_large_logits():
    explainer = predictor(outputs=("logits",))
    explainer._model.table.data *= 1e4
    assert sorted(explainer.predict(sentence="a film is good")["probs"]) == [0, 1]


def test_labels_without_names():
    """As of readers that skip the indexing of labels."""
    for output in predictor(labels=[]).predict_batch_json(inputs_of("sst2")):
        assert output["label"] == str(numpy.argmax(output["probs"]))


@pytest.mark.parametrize("reader", LABELS)
def test_the_gold_label_has_no_part_in_the_prediction(reader):
    explainer = predictor(reader)
    inputs = inputs_of(reader)
    expected = explainer.predict_batch_json(inputs)
    gold = int if reader == "sst2" else str  # as JSON writes it
    inputs[0]["label"] = gold(LABELS[reader][1])
    assert explainer.predict_batch_json(inputs) == expected
    assert explainer.predict_json(inputs[0]).keys() == expected[0].keys()
    instance = explainer._json_to_instance(inputs[0])
    assert instance["label"].label == LABELS[reader][1]
    explainer.predict_instance(instance)
    assert instance["label"].label == LABELS[reader][1]


@pytest.mark.parametrize("outputs", [("logits",), ("probs",)])
@pytest.mark.parametrize("reader", ["sst2", "nli"])
def test_instances_get_the_predicted_label(reader, outputs):
    explainer = predictor(reader, outputs)
    for given in inputs_of(reader):
        predicted = explainer.predict_json(given)["label"]
        gold = next(label for label in LABELS[reader] if label != predicted)
        (labeled,) = explainer.json_to_labeled_instances({**given, "label": gold})
        index = explainer._model.vocab.get_token_index(predicted, "labels")
        assert labeled["label"].label == index
        labeled.index_fields(explainer._model.vocab)
        assert int(labeled["label"].as_tensor({})) == index
        assert example_of(labeled, 0).text == given


WRONG = [
    ({}, "keys []"),
    ({"text": "a"}, "keys ['text']"),
    ({"premise": "a"}, "keys ['premise']"),
    ({"sentence": "a", "hypothesis": "b"}, "keys ['hypothesis', 'sentence']"),
    ({"sentence": "a", "premise": "a", "hypothesis": "b"}, "'hypothesis', 'premise', 'sentence'"),
    (["a"], "a list"),
    ("a", "a str"),
    ({"sentence": ""}, "'sentence' is ''"),
    ({"sentence": " \n"}, "expected a text that is not empty"),
    ({"sentence": None}, "'sentence' is None"),
    ({"sentence": ["a"]}, "'sentence' is ['a']"),
    ({"sentence": "a", "label": "good"}, "label 'good'; expected 0 or 1"),
]


@pytest.mark.parametrize("given, said", WRONG, ids=lambda x: json.dumps(x)[:40])
def test_wrong_inputs(given, said):
    with pytest.raises(ConfigurationError) as error:
        predictor().predict_json(given)
    assert said in str(error.value) and "expected" in str(error.value)
    assert "\n" not in str(error.value).strip()


@pytest.mark.parametrize("reader", ["sst2", "text_classification_json", "sst_tokens"])
def test_a_pair_for_a_model_of_single_texts(reader):
    with pytest.raises(ConfigurationError, match='reads single texts.*give {"sentence"'):
        predictor(reader).predict(premise="a", hypothesis="b")


@pytest.mark.parametrize("reader", ["nli", "snli"])
def test_a_sentence_for_a_model_of_pairs(reader):
    with pytest.raises(ConfigurationError, match='reads pairs.*give {"premise"'):
        predictor(reader).predict(sentence="a")
    with pytest.raises(ConfigurationError, match="'hypothesis' is ''"):
        predictor(reader).predict(premise="a", hypothesis="")


def test_models_that_are_no_classifiers_of_texts():
    with pytest.raises(
        ConfigurationError, match=r"neither 'logits' nor 'probs' \(it has \['score'\]"
    ):
        predictor(outputs=("score",)).predict(sentence="a")
    with pytest.raises(ConfigurationError, match="labels the parts of a text"):
        predictor(outputs="tags").predict(sentence="a")
