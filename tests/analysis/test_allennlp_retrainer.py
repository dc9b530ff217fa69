"""Training again with AllenNLP's trainer."""

import json
import random

import numpy
import pytest
import torch
from allennlp.common.checks import ConfigurationError
from allennlp.models import load_archive
from allennlp.predictors import Predictor

from allennlp_influence.analysis import AllenNLPRetrainer, Retrainer
from allennlp_influence.predictors.inputs import read_inputs
from tests.analysis.conftest import SEED
from tests.influence.archives import LABELS, TEXTS, write_texts


@pytest.fixture(scope="module")
def bert(trained_bert) -> AllenNLPRetrainer:
    return AllenNLPRetrainer(*trained_bert)


@pytest.fixture(scope="module")
def words(trained_words) -> AllenNLPRetrainer:
    return AllenNLPRetrainer(*trained_words)


def of_archive(trained) -> numpy.ndarray:
    predictor = Predictor.from_archive(load_archive(trained.archive), "text_explainer")
    instances = [instance for instance, _ in read_inputs(predictor, trained.queries)]
    return numpy.log([predictor.predict_instance(x)["probs"] for x in instances])


def test_nothing_left_out_and_the_archives_seed_give_the_archives_model(
    trained_bert, trained_words, bert, words
):
    for trained, retrainer in ((trained_bert, bert), (trained_words, words)):
        again = retrainer.log_probabilities([], SEED)
        numpy.testing.assert_allclose(again, of_archive(trained), atol=2e-6)
        assert abs(again - retrainer.log_probabilities([], SEED + 1)).max() > 0.01  # it can fail
        metrics = json.loads(open(trained.archive.replace("model.tar.gz", "metrics.json")).read())
        assert metrics["best_epoch"] < 2  # else the last epoch would do as well


def test_the_configuration_alone_is_enough(trained_bert, bert):
    config = trained_bert.archive.replace("model.tar.gz", "config.json")
    for path in (config, trained_bert.archive.replace("/model.tar.gz", "")):
        other = AllenNLPRetrainer(path, trained_bert.queries)
        assert other.fingerprint == bert.fingerprint
        assert (other.log_probabilities([3], 0) == bert.log_probabilities([3], 0)).all()


def test_it_is_a_function_of_its_arguments(words):
    first = words.log_probabilities([1, 4], 7, {0: 1})
    random.seed(1), numpy.random.seed(1), torch.manual_seed(1)
    words.log_probabilities([2], 8)
    assert (words.log_probabilities([4, 1, 1], 7, {0: 1}) == first).all()
    assert first.shape == (4, 3) and first.dtype == numpy.float64
    numpy.testing.assert_allclose(numpy.exp(first).sum(1), 1)


def test_leaving_out_is_training_on_a_file_without_the_lines(trained_bert, bert, tmp_path):
    """Of a model whose vocabulary does not come from the file."""
    kept = [i for i in range(len(TEXTS)) if i not in (3, 7)]
    shorter = write_texts(
        tmp_path / "train.jsonl", [TEXTS[i] for i in kept], [LABELS[i] for i in kept]
    )
    other = AllenNLPRetrainer(*trained_bert, train_data=str(shorter))
    assert [example.text for example in other.examples] == [bert.examples[i].text for i in kept]
    assert other.label_names == bert.label_names and other.fingerprint != bert.fingerprint
    without = bert.log_probabilities([3, 7], 3)
    assert (without == other.log_probabilities([], 3)).all()
    assert abs(without - bert.log_probabilities([], 3)).max() > 0.01


def test_classes_keep_their_index_when_one_is_left_out_entirely(words):
    assert sorted(words.label_names) == sorted(set(LABELS))
    positions = [i for i, label in enumerate(LABELS) if label == "none"]
    none = words.label_names.index("none")
    seeds = range(3)
    without = [words.log_probabilities(positions, seed)[:, none].mean() for seed in seeds]
    assert sum(without) < sum(words.log_probabilities([], seed)[:, none].mean() for seed in seeds)


def test_labels_that_are_replaced_matter(trained_bert, bert, tmp_path):
    labels = [{0: "pos", 2: "pos"}.get(i, label) for i, label in enumerate(LABELS)]
    other = AllenNLPRetrainer(
        *trained_bert, train_data=str(write_texts(tmp_path / "train.jsonl", TEXTS, labels))
    )
    assert other.label_names == bert.label_names
    pos = bert.label_names.index("pos")
    after = bert.log_probabilities([], 2, {0: pos, 2: pos})
    assert (after == other.log_probabilities([], 2)).all()
    before = bert.log_probabilities([], 2)
    assert abs(after - before).max() > 0.01
    same = {i: bert.label_names.index(label) for i, label in enumerate(LABELS)}
    assert (bert.log_probabilities([], 2, same) == before).all()
    without = bert.log_probabilities([0], 2)  # the label of what is left out does not matter
    assert (bert.log_probabilities([0], 2, {0: pos}) == without).all()


def test_the_fingerprint_is_of_contents(trained_words, words, tmp_path):
    train = str(write_texts(tmp_path / "moved.jsonl", TEXTS, LABELS))
    assert AllenNLPRetrainer(*trained_words, train_data=train).fingerprint == words.fingerprint
    queries = str(write_texts(tmp_path / "queries.jsonl", ["bad"]))
    others = [
        AllenNLPRetrainer(trained_words.archive, queries),
        AllenNLPRetrainer(*trained_words, overrides='{"trainer.num_epochs": 1}'),
        AllenNLPRetrainer(*trained_words, overrides='{"random_seed": 1}'),
    ]
    assert [x.fingerprint == words.fingerprint for x in others] == [False, False, True]


def test_nothing_is_left_on_disk(words, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    words.log_probabilities([0], 0)
    assert list(tmp_path.iterdir()) == []


def test_what_is_refused(trained_words, words, tmp_path):
    archive, queries = trained_words
    ends = {
        "there is no training example at place 10: there are 10, from 0": ([10], {}),
        "there is no training example at place -1": ([], {-1: 0}),
        "there is no class 3; the classes are 0": ([], {0: 3}),
        "nothing is left to train on without all 10 examples": (range(10), {}),
    }
    for expected, (leave_out, labels) in ends.items():
        with pytest.raises(ConfigurationError, match=expected):
            words.log_probabilities(leave_out, 0, labels)
    (tmp_path / "not.tar.gz").write_text("no archive")
    empty = write_texts(tmp_path / "empty.jsonl", [])
    unlabelled = str(write_texts(tmp_path / "unlabelled.jsonl", TEXTS))
    ends = {
        "archive or training configuration nothing.tar.gz does not exist": ("nothing.tar.gz", queries),
        "not.tar.gz can't be read as an archive or a training": (str(tmp_path / "not.tar.gz"), queries),
        "training file nothing does not exist; give it with --train-data": (archive, queries, "nothing"),
        "training example 1 of .*unlabelled.jsonl has no label": (archive, queries, unlabelled),
        "input file nothing does not exist": (archive, "nothing"),
        "there is nothing to predict": (archive, str(empty)),
        "'trainer' is missing": (archive, queries, None, '{"trainer": null}'),
        "trained by several processes": (archive, queries, None, '{"distributed": {"cuda_devices": [0, 1]}}'),
    }
    for expected, arguments in ends.items():
        with pytest.raises(ConfigurationError, match=expected):
            AllenNLPRetrainer(*arguments)
    broken = AllenNLPRetrainer(archive, queries, None, '{"trainer.optimizer.type": "nothing"}')
    with pytest.raises(ConfigurationError, match="training again as .* says fails: .*nothing"):
        broken.log_probabilities([], 0)


def test_it_is_registered():
    assert Retrainer.by_name("allennlp") is AllenNLPRetrainer
