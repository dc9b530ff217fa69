"""Scores at several checkpoints: the mean of what each gives by itself."""

import numpy
import pytest
import torch
from allennlp.common.checks import ConfigurationError
from allennlp.models.archival import load_archive

from tests.influence.archives import (
    LABELS,
    QUERIES,
    TEXTS,
    make_archive,
    transformer_classifier,
    transformer_reader,
    write_texts,
)
from tests.influence.conftest import FROZEN
from tests.influence.reference import interpreter_of, queries_of

OPTIONS = [
    {"solver": {"type": "identity", "damping": 2.0}},
    {"solver": {"type": "identity", "damping": 2.0}, "normalisation": "relatif"},
    {"solver": {"type": "gauss-newton", "damping": 0.5}},
    {"solver": {"type": "conjugate-gradient", "damping": 30.0}},
]


def scores_of(archive, **options):
    interpreter = interpreter_of(archive, label="pos", **options)
    explanations = interpreter.interpret_instances(queries_of(interpreter, QUERIES), k=1)
    return numpy.stack([explanation.scores for explanation in explanations])


@pytest.fixture(scope="module")
def other_archive(bert_archive, tiny_transformer, tmp_path_factory) -> str:
    """Another head on the same frozen layers."""
    folder = tmp_path_factory.mktemp("other")
    name = tiny_transformer("bert")
    return make_archive(
        folder / "model",
        reader=transformer_reader(name),
        model=transformer_classifier(name),
        train_data=write_texts(folder / "train.jsonl", TEXTS, LABELS),
        trainer={"no_grad": FROZEN},
        seed=7,
    )


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_mean_of_what_each_gives(bert_archive, other_archive, options):
    own, others = scores_of(bert_archive, **options), scores_of(other_archive, **options)
    both = scores_of(bert_archive, checkpoints=[bert_archive, other_archive], **options)
    scale = abs(own + others).max()
    numpy.testing.assert_allclose(both, (own + others) / 2, rtol=0, atol=1e-5 * scale)
    assert not numpy.allclose(own, others, rtol=0, atol=0.1 * scale)


def test_training_examples_are_seen_by_all(bert_archive, other_archive):
    """Probabilities by their arithmetic mean, self-influence by its geometric one."""
    paths = [[bert_archive], [other_archive], [bert_archive, other_archive]]
    own, others, both = (interpreter_of(bert_archive, checkpoints=path, **OPTIONS[0]) for path in paths)
    p, q = (numpy.exp(each.training_log_probabilities) for each in (own, others))
    numpy.testing.assert_allclose(numpy.exp(both.training_log_probabilities), (p + q) / 2, rtol=1e-5)
    at_own_label = (p + q)[numpy.arange(len(p)), both.training_labels] / 2
    numpy.testing.assert_allclose(both.training_losses, -numpy.log(at_own_label), rtol=1e-4)
    product = own.self_influence.double() * others.self_influence.double()
    numpy.testing.assert_allclose(both.self_influence.double() ** 2, product, rtol=1e-4)
    assert not numpy.allclose(own.self_influence, others.self_influence, rtol=0.1)


def test_a_checkpoint_of_another_model_is_refused(bert_archive, tmp_path):
    state = load_archive(bert_archive).model.state_dict()
    frozen = next(name for name in state if "embeddings" in name and state[name].is_floating_point())
    path = str(tmp_path / "weights.th")
    torch.save({**state, frozen: state[frozen] + 1}, path)
    with pytest.raises(ConfigurationError, match="another .*embeddings.* than the archive"):
        interpreter_of(bert_archive, checkpoints=[path])
    torch.save({name: tensor for name, tensor in state.items() if name != frozen}, path)
    with pytest.raises(ConfigurationError, match="does not fit the archive's"):
        interpreter_of(bert_archive, checkpoints=[path])
    (tmp_path / "weights.th").write_text("no weights")
    with pytest.raises(ConfigurationError, match="can't be read"):
        interpreter_of(bert_archive, checkpoints=[path])
    with pytest.raises(ConfigurationError, match="no file of weights, archive or serialization"):
        interpreter_of(bert_archive, checkpoints=[str(tmp_path / "nothing")])
