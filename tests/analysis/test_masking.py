"""Masked tokens: what a transformer attends to, what other models read, and which label is explained."""

import pytest
import torch
from allennlp.common.checks import ConfigurationError
from allennlp.data import Instance, Token
from allennlp.data.fields import TextField
from allennlp.data.token_indexers import SingleIdTokenIndexer
from allennlp.models.archival import load_archive

from allennlp_influence.analysis.masking import masked
from allennlp_influence.influence import InfluenceFunctions
from tests.influence.archives import QUERIES, make_archive
from tests.influence.conftest import bert_archive  # noqa: F401
from tests.influence.others import kinds


def tokens_of(instance):
    return [str(token) for token in instance["tokens"].tokens]


def test_a_masked_token_is_not_attended_to_and_the_others_keep_their_places(bert_archive):
    interpreter = InfluenceFunctions.from_path(bert_archive, import_plugins=False)
    instance = interpreter._test_dataset_reader.text_to_instance(QUERIES[0])
    interpreter._test_dataset_reader.apply_token_indexers(instance)
    tokens = tokens_of(instance)
    model = interpreter.model.eval()
    bert = model._text_field_embedder._token_embedders["tokens"].transformer_model
    for position in range(1, len(tokens) - 1):
        hidden = masked(instance, tokens, [position])
        attention = torch.ones(1, len(tokens))
        attention[0, position] = 0
        ids = torch.tensor([[token.text_id for token in instance["tokens"].tokens]])
        with torch.no_grad():
            state = bert(input_ids=ids, attention_mask=attention).last_hidden_state
            logits = model._classification_layer(state[:, 0])
        found = interpreter.prepared_query(hidden).log_probabilities
        assert found == pytest.approx(logits.log_softmax(-1)[0].tolist(), abs=1e-5)
        whole = interpreter.prepared_query(instance).log_probabilities
        assert found != pytest.approx(whole, abs=1e-4)
    assert tokens_of(instance) == tokens


def test_a_label_for_each_query(bert_archive):
    interpreter = InfluenceFunctions.from_path(bert_archive, import_plugins=False)
    reader = interpreter._test_dataset_reader
    instances = [reader.text_to_instance(text) for text in QUERIES * 2]
    names = interpreter.label_names
    labels = [names[0], names[1], names[2], "predicted"]
    for label, found in zip(labels, interpreter.explain(instances, 0, labels=labels)):
        interpreter.label = label
        assert label in (found.explained, "predicted")
        alone = next(interpreter.explain([found.test_instance], 0))
        assert found.explained == alone.explained
        assert found.scores == pytest.approx(alone.scores, rel=1e-4)


def test_of_other_models_the_token_is_taken_away(tiny_transformer, tmp_path):
    reader, model, frozen, write, queries = kinds(tiny_transformer)["lstm"]
    archive = make_archive(tmp_path / "m", reader=reader, model=model, train_data=write(tmp_path))
    reader = load_archive(archive).validation_dataset_reader
    instance = reader.text_to_instance("a good film")
    reader.apply_token_indexers(instance)
    assert tokens_of(masked(instance, ["a", "good", "film"], [1])) == ["a", "film"]
    with pytest.raises(ConfigurationError, match="nothing is left"):
        masked(instance, ["a", "good", "film"], [0, 1, 2])
    with pytest.raises(ConfigurationError, match="the model sees other tokens"):
        masked(instance, ["[CLS]", "a", "good", "film"], [1])


def test_of_a_pair_in_two_fields_only_one_changes():
    texts = {"premise": ["a", "good", "film"], "hypothesis": ["a", "film"]}
    instance = Instance(
        {
            name: TextField([Token(text) for text in words], {"tokens": SingleIdTokenIndexer()})
            for name, words in texts.items()
        }
    )
    hidden = masked(instance, texts["premise"] + texts["hypothesis"], [3])
    assert [str(token) for token in hidden["premise"].tokens] == texts["premise"]
    assert [str(token) for token in hidden["hypothesis"].tokens] == ["film"]
