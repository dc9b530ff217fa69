"""What training froze is frozen again."""

import json
import re

import pytest
from allennlp.common import Params
from allennlp.common.checks import ConfigurationError
from allennlp.data.data_loaders import SimpleDataLoader
from allennlp.interpret import InfluenceInterpreter
from allennlp.models.archival import load_archive
from allennlp.training import Trainer

from allennlp_influence.influence import InfluenceFunctions
from allennlp_influence.influence.trained_parameters import trained_parameters
from tests.influence.archives import (
    LABELS,
    TEXTS,
    make_archive,
    transformer_classifier,
    transformer_reader,
    write_texts,
)
from tests.influence.conftest import FROZEN

TRAINER = {
    "num_epochs": 1,
    "no_grad": ["embeddings", r"layer\.0\."],
    "optimizer": {
        "type": "sgd",
        "lr": 0.1,
        "parameter_groups": [
            [["_classification_layer.weight"], {"lr": 0.2}],
            [["attention", r"intermediate\.dense"], {"requires_grad": False}],
        ],
    },
}


@pytest.fixture(scope="module")
def archive(tiny_transformer, tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("archive")
    name = tiny_transformer("bert")
    return make_archive(
        folder / "model",
        reader=transformer_reader(name),
        model=transformer_classifier(name),
        train_data=write_texts(folder / "train.jsonl", TEXTS, LABELS),
        trainer=TRAINER,
    )


def test_what_allennlps_trainer_updates_is_what_is_differentiated(archive, tmp_path):
    fresh = load_archive(archive)
    loader = SimpleDataLoader(list(fresh.dataset_reader.read(fresh.config["train_data_path"])), 2)
    loader.index_with(fresh.model.vocab)
    before = {name: p.detach().clone() for name, p in fresh.model.named_parameters()}
    trainer = Trainer.from_params(
        Params({**json.loads(json.dumps(TRAINER)), "cuda_device": -1}),
        model=fresh.model,
        serialization_dir=str(tmp_path),
        data_loader=loader,
    )
    updatable = [name for name, p in fresh.model.named_parameters() if p.requires_grad]
    trainer.train()
    updated = {n for n, p in fresh.model.named_parameters() if (p != before[n]).any()}

    interpreter = InfluenceInterpreter.from_path(
        archive, interpreter_name="influence-functions", import_plugins=False
    )
    assert all(p.requires_grad for p in interpreter.model.parameters())  # AllenNLP forgot
    assert interpreter.trained.names == updatable
    # BERT's own pooler is not frozen, but no loss depends on it
    assert set(interpreter.objective.parameters) == updated < set(updatable)
    sizes = {name: before[name].numel() for name in updated}
    assert interpreter.objective.space.size == sum(sizes.values())
    assert interpreter.trained.patterns == [
        "embeddings",
        r"layer\.0\.",
        "attention",
        r"intermediate\.dense",
    ]


def test_patterns_are_searched_not_matched(archive):
    interpreter = InfluenceFunctions.from_archive(load_archive(archive))
    assert not any(re.match(p, n) for p in (r"layer\.0\.",) for n in interpreter.trained.names)
    assert not any(".layer.0." in name for name in interpreter.trained.names)


@pytest.mark.parametrize(
    "patterns, size",
    [
        (["_text_field_embedder"], 3 * 8 + 3),
        (["^_text", "bias"], 3 * 8),
        ([r"embeddings", r"layer\.[01]\."], 3 * 8 + 3),
    ],
)
def test_params_to_freeze_takes_the_place_of_the_configuration(archive, patterns, size):
    model = load_archive(archive)
    interpreter = InfluenceFunctions.from_archive(model, params_to_freeze=patterns)
    assert interpreter.trained.patterns == patterns
    assert interpreter.objective.space.size == size
    assert all(parameter.requires_grad for parameter in model.model.parameters())


def test_nothing_frozen_is_a_choice_too(archive):
    everything = InfluenceFunctions.from_archive(load_archive(archive), params_to_freeze=[])
    model = everything.model
    pooler = sum(p.numel() for n, p in model.named_parameters() if ".pooler." in n)
    assert everything.objective.space.size == sum(p.numel() for p in model.parameters()) - pooler
    without_config = InfluenceFunctions(
        model, str(everything._train_data_path), load_archive(archive).dataset_reader
    )
    assert without_config.trained == everything.trained


def test_what_the_model_itself_freezes_stays_frozen(archive):
    model = load_archive(archive).model
    model._text_field_embedder.requires_grad_(False)
    assert trained_parameters(model).names == [
        "_classification_layer.weight",
        "_classification_layer.bias",
    ]


@pytest.mark.parametrize(
    "patterns, expected",
    [
        (["("], "'\\(' is not a regular expression"),
        (["."], "freeze every parameter"),
        (["embedings"], "'embedings' is found in the name of no parameter"),
    ],
)
def test_unusable_patterns_are_refused(archive, patterns, expected):
    with pytest.raises(ConfigurationError, match=expected):
        InfluenceFunctions.from_archive(load_archive(archive), params_to_freeze=patterns)


@pytest.mark.parametrize("config", [{}, {"trainer": {}}, {"trainer": {"optimizer": "adam"}}])
def test_a_configuration_without_them_freezes_nothing(archive, config):
    model = load_archive(archive).model
    assert len(trained_parameters(model, config).names) == len(list(model.parameters()))
    assert FROZEN and trained_parameters(model, {"trainer": {"no_grad": FROZEN}}).patterns == FROZEN
