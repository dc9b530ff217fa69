"""What is told of instances that other readers made."""

import pytest
from allennlp.common import Params
from allennlp.common.checks import ConfigurationError
from allennlp.data import DatasetReader, Instance

from allennlp_influence.data import Example, example_of
from allennlp_influence.data.demo import demo_data


@pytest.mark.parametrize("architecture", ["bert", "roberta"])
def test_word_pieces_are_joined(tiny_transformer, architecture):
    indexer = {"type": "pretrained_transformer", "model_name": tiny_transformer(architecture)}
    reader = DatasetReader.from_params(
        Params(
            {
                "type": "text_classification_json",
                "tokenizer": dict(indexer),
                "token_indexers": {"tokens": dict(indexer)},
            }
        )
    )
    text = "a tedious café is not sometimes good"
    if architecture == "bert":  # "café" is in the vocabulary as "cafe"
        text = text.replace("café", "film")
    instance = reader.text_to_instance(text, "good")
    assert len(instance["tokens"]) > len(text.split()) + 2  # pieces and special tokens
    assert example_of(instance, 6) == Example(7, {"tokens": text}, "good")


def test_pairs_of_words():
    pytest.importorskip("allennlp_models.pair_classification")  # registers snli
    reader = DatasetReader.from_params(
        Params({"type": "snli", "tokenizer": "whitespace", "combine_input_fields": False})
    )
    instance = reader.text_to_instance("a film", "no film ĠĠ", "neutral")
    text = {"premise": "a film", "hypothesis": "no film ĠĠ"}
    assert example_of(instance, 0) == Example(1, text, "neutral")


def test_the_example_survives_the_instance():
    example = Example(3, {"sentence": " a "}, None, {"source": "x"})
    assert example_of(Instance({"metadata": example.as_field()}), 9) == example


def test_no_such_demo_data():
    with pytest.raises(ConfigurationError, match="no demo data 'reviews'"):
        demo_data("reviews")
