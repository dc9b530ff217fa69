"""Training above the frozen layers only, against AllenNLP's own trainer on the whole model."""

import json
import random

import numpy
import pytest
import torch
from allennlp.common import cached_transformers
from allennlp.common.checks import ConfigurationError

from allennlp_influence.analysis import (
    AllenNLPRetrainer,
    TrainedLayersRetrainer,
    trained_layers_retrainer,
)
from allennlp_influence.engine.frozen_prefix import FrozenPrefix
from tests.analysis.conftest import SEED, Trained, train
from tests.influence.archives import transformer_classifier, transformer_reader

FROZEN = ["embeddings", r"layer\.0\."]
TRAINER = {
    "num_epochs": 3,
    "validation_metric": "+accuracy",
    "no_grad": FROZEN,
    "grad_norm": 1.0,
    "optimizer": {
        "type": "huggingface_adamw",
        "lr": 0.02,
        "weight_decay": 0.1,
        "parameter_groups": [[["bias", "LayerNorm"], {"weight_decay": 0.0}]],
    },
    "learning_rate_scheduler": {"type": "slanted_triangular", "cut_frac": 0.3},
}


def without_dropout(name: str) -> dict:
    model = transformer_classifier(name, {"type": "bert_pooler", "pretrained_model": name}, dropout=0.0)
    embedder = model["text_field_embedder"]["token_embedders"]["tokens"]
    embedder["transformer_kwargs"] = {
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }
    return model


@pytest.fixture(scope="module", autouse=True)
def encoders_of_their_own():
    """AllenNLP keeps loaded encoders by name, whatever dropout they were loaded with."""
    cached_transformers._clear_caches()
    yield
    cached_transformers._clear_caches()


@pytest.fixture(scope="module")
def trained(tiny_transformer, tmp_path_factory) -> Trained:
    name = tiny_transformer("bert")
    return train(
        tmp_path_factory.mktemp("without_dropout"),
        dataset_reader=transformer_reader(name),
        model=without_dropout(name),
        trainer=TRAINER,
    )


@pytest.fixture(scope="module")
def layers(trained) -> TrainedLayersRetrainer:
    return TrainedLayersRetrainer(*trained)


@pytest.fixture(scope="module")
def whole(trained) -> AllenNLPRetrainer:
    return AllenNLPRetrainer(*trained)


ARGUMENTS = [([], SEED, None), ([0, 4], 1, None), ([2], 2, {1: 2, 5: 0})]


def test_without_dropout_it_is_allennlps_own_training(whole, layers, monkeypatch):
    for tokens_together in (256, 8):  # the latter takes the minibatches apart
        monkeypatch.setattr(trained_layers_retrainer, "_TOKENS_TOGETHER", tokens_together)
        for arguments in ARGUMENTS:
            expected = whole.log_probabilities(*arguments)
            numpy.testing.assert_allclose(
                layers.log_probabilities(*arguments), expected, atol=1e-5
            )
    assert layers.objective.prefix.num_frozen == 1
    assert abs(whole.log_probabilities([2], 2) - expected).max() > 1e-2  # without other labels
    assert layers.fingerprint != whole.fingerprint


def test_a_model_without_frozen_layers_is_trained_too(trained_words):
    no_dropout = {"overrides": '{"model.dropout": 0}'}
    whole = AllenNLPRetrainer(*trained_words, **no_dropout)
    layers = TrainedLayersRetrainer(*trained_words, **no_dropout)
    numpy.testing.assert_allclose(
        layers.log_probabilities([1], 3), whole.log_probabilities([1], 3), atol=1e-5
    )
    assert layers.objective.prefix is None


def test_with_dropout_it_is_another_draw_of_the_same(tiny_transformer, tmp_path_factory):
    name = tiny_transformer("bert")
    trained = train(
        tmp_path_factory.mktemp("with_dropout"),
        dataset_reader=transformer_reader(name),
        model=transformer_classifier(name),
        trainer={**TRAINER, "optimizer": {"type": "huggingface_adamw", "lr": 0.01}},
    )
    seeds = range(8)
    draws = []
    for kind in (AllenNLPRetrainer, TrainedLayersRetrainer):
        retrainer = kind(*trained)
        draws.append(numpy.stack([retrainer.log_probabilities([3], seed) for seed in seeds]))
    whole, layers = draws
    assert (abs(whole - layers) > 1e-4).all(axis=(1, 2)).all()
    # the same seeds begin with the same head and see the same minibatches: a paired comparison
    differences = whole - layers
    errors = differences.std(0, ddof=1) / numpy.sqrt(len(seeds))
    assert (abs(differences.mean(0)) < 4 * errors + 0.02).all()
    spread = whole.std(0, ddof=1).mean()
    assert abs(layers.std(0, ddof=1).mean() / spread - 1) < 0.5
    assert errors.mean() < spread / 2  # so the test can fail


def test_it_is_a_function_of_its_arguments(layers):
    first = layers.log_probabilities([1, 4], 7, {0: 1})
    parameters = layers.parameters([1, 4], 7, {0: 1})
    random.seed(1), numpy.random.seed(1), torch.manual_seed(1)
    layers.log_probabilities([2], 8)
    assert (layers.log_probabilities([4, 1, 1], 7, {0: 1}) == first).all()
    assert (layers.log_probabilities_at(parameters) == first).all()
    assert first.shape == (4, 3) and first.dtype == numpy.float64


def test_the_ends_of_epochs(trained, layers):
    without_validation = {
        "validation_data_path": None,
        "trainer.callbacks": [{"type": "should_validate_callback", "validation_start": 1}],
    }
    last = TrainedLayersRetrainer(*trained, overrides=json.dumps(without_validation))
    for retrainer in (layers, last):
        epochs = retrainer.parameters_by_epoch([1, 4], 7, {0: 1})
        found = [retrainer.log_probabilities_at(parameters) for parameters in epochs]
        assert len(found) == TRAINER["num_epochs"]
        assert all(abs(a - b).max() > 1e-3 for a, b in zip(found, found[1:]))
        own = retrainer.log_probabilities([1, 4], 7, {0: 1})
        assert any((own == each).all() for each in found)  # the best, by validation
    assert (own == found[-1]).all()


def test_frozen_outputs_are_kept_for_the_next_time(trained, layers, tmp_path, monkeypatch):
    runs = []
    outputs = FrozenPrefix.outputs
    monkeypatch.setattr(FrozenPrefix, "outputs", lambda *args: runs.append(1) or outputs(*args))
    number = []
    for time in range(2):
        own = TrainedLayersRetrainer(*trained, cache_dir=str(tmp_path))
        assert (own.log_probabilities([3], 1) == layers.log_probabilities([3], 1)).all()
        number.append(len(runs))
        runs.clear()
    assert number[1] < number[0]


def test_what_it_does_not_follow_is_refused(trained, layers):
    loader = {"data_loader": {"type": "simple", "batch_size": 2}}
    with pytest.raises(ConfigurationError, match="take the retrainer allennlp"):
        TrainedLayersRetrainer(*trained, overrides=json.dumps(loader)).log_probabilities([], 0)
    with pytest.raises(ConfigurationError, match="no training example at place 10"):
        layers.log_probabilities([10], 0)
    layers.log_probabilities([], 0)
    frozen = set(dict(layers.model.named_parameters())) - set(layers.objective.parameters)
    # not any of them: a key's bias, for one, changes nothing
    frozen = next(name for name in frozen if name.endswith("embeddings.LayerNorm.weight"))
    with torch.no_grad():
        layers.model.get_parameter(frozen).add_(1.0)
    try:
        with pytest.raises(ConfigurationError, match="not the same at every start"):
            layers.log_probabilities([], 1234)
    finally:
        with torch.no_grad():
            layers.model.get_parameter(frozen).sub_(1.0)
