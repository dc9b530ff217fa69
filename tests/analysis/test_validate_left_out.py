"""Leaving one example out where that is exact, the proximal response, and labels that were planted."""

import numpy
import pytest
import torch
from allennlp.common.checks import ConfigurationError

from allennlp_influence.analysis.convex_head import head_of
from allennlp_influence.analysis.explained_models import ExplainedModel
from allennlp_influence.analysis.left_out import agreement, choose_left_out
from allennlp_influence.analysis.model_bank import ModelBank
from allennlp_influence.analysis.proximal_bregman import response
from allennlp_influence.analysis.settings import settings
from allennlp_influence.analysis.validate_leave_one_out import validate_leave_one_out
from allennlp_influence.analysis.validate_mislabel import (
    detection,
    flipped_labels,
    validate_mislabel,
)
from allennlp_influence.analysis.validate_pbrf import validate_pbrf
from allennlp_influence.engine import GaussNewton
from tests.analysis.conftest import L2


@pytest.fixture(scope="module")
def bank(trained_head, tmp_path_factory):
    config = {
        "type": "trained-layers",
        "archive_file": trained_head.archive,
        "input_file": trained_head.queries,
    }
    with ModelBank(tmp_path_factory.mktemp("bank"), config) as bank:
        yield bank


def test_exact_influence_is_what_leaving_one_out_does(bank):
    found = validate_leave_one_out(bank, settings(["gauss-newton", "ek-fac"], [0.05, 1e3]), 20)
    rows = {(row["name"], row["damping"]): row for row in found["rows"]}
    exact = rows["gauss-newton", 0.05]
    assert exact["pearson"] > 0.99 and exact["spearman"] > 0.97
    assert exact["slope"] == pytest.approx(1, abs=0.15)
    assert exact["largest"] > 1e-3
    assert abs(rows["ek-fac", 0.05]["slope"] - 1) > abs(exact["slope"] - 1)
    assert rows["gauss-newton", 1e3]["largest"] < exact["largest"] / 10  # hardly trained at all
    with pytest.raises(ConfigurationError, match="between 3 and all 38"):
        validate_leave_one_out(bank, settings(["gauss-newton"]), 39)


def test_the_head_is_the_last_layer_of_the_model(bank):
    """Trained with the same L2 regularisation, it is the model: the same logits up to its convergence."""
    model = ExplainedModel(bank, 0)
    head = head_of(model.training_set, numpy.array(model.training_labels))
    theta = head.fit(L2, numpy.ones(38), numpy.zeros((2, head.features.shape[1])))
    numpy.testing.assert_allclose(head.losses(theta), model.training_losses(), atol=1e-3)
    engine = head.training_set(theta).log_probabilities().double().numpy()
    numpy.testing.assert_allclose(-engine[numpy.arange(38), head.labels], head.losses(theta), atol=1e-6)


def test_the_response_is_the_minimum_that_influence_approximates(bank):
    rows = validate_pbrf(bank, settings(["gauss-newton"], [0.1, 1.0]), 6)["rows"]
    small, large = sorted(rows, key=lambda row: row["damping"])
    for row in rows:
        assert row["pearson"] > 0.99 and row["gradient_left"] <= 0.01
    # of 38 examples one is much: what is measured is beyond first order, the less the larger the damping
    assert abs(large["slope"] - 1) < abs(small["slope"] - 1) < 0.2
    assert large["slope"] == pytest.approx(1, abs=0.1)
    # it is a minimum: anywhere near is worse
    training_set = ExplainedModel(bank, 0).training_set
    solver = GaussNewton(0.1)
    shift, _ = response(training_set, solver.curvature_of(training_set), solver, 4, tolerance=1e-4)
    objective = training_set.objective
    start = objective.space.flatten(objective.parameters)
    whole = training_set.batch(range(38))
    before = objective.logits(objective.parameters, whole).double().log_softmax(-1)

    def value(shift):
        after = objective.logits(objective.space.unflatten(start + shift), whole).double().log_softmax(-1)
        divergence = (before.exp() * (before - after)).sum(-1).mean()
        loss = -after[4, whole.labels[4]] / 38
        return float(divergence - loss + 0.05 * shift.double().square().sum())

    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        other = torch.randn(shift.shape, generator=generator)
        assert value(shift) < value(shift + 0.05 * shift.norm() * other / other.norm())
    assert value(shift) < value(0.9 * shift) and value(shift) < value(1.1 * shift)
    assert value(shift) < value(0 * shift)


def test_detection_by_hand():
    suspicion = numpy.array([5.0, 1.0, 4.0, 3.0, 2.0, 0, 0, 0, 0, 0])
    wrong = numpy.isin(numpy.arange(10), [0, 3])
    found = detection(suspicion, wrong, (0.1, 0.3))
    # of the 2 × 8 pairs only (3, 2) is in the wrong order
    assert found.auc == pytest.approx(15 / 16) and found.found == {0.1: 0.5, 0.3: 1.0}
    assert detection(-suspicion, wrong).auc == pytest.approx(1 / 16)


def test_flips_are_other_classes_of_a_random_share():
    labels = [0, 1, 2] * 30
    flips = flipped_labels(labels, 3, 0.1, seed=0)
    assert len(flips) == 9 and all(labels[place] != label for place, label in flips.items())
    assert flips == flipped_labels(labels, 3, 0.1, seed=0) != flipped_labels(labels, 3, 0.1, seed=1)
    assert set(flipped_labels(labels, 3, 1.0, 0).values()) == {0, 1, 2}


def test_wrong_labels_are_found_by_the_model_that_was_trained_on_them(bank):
    compared = settings(["gauss-newton", "conjugate-gradient"], [L2])
    rows = validate_mislabel(bank, compared, [0.1], 2, 1)["rows"]
    assert {row["models"] for row in rows} == {1}
    found = {(row["evidence"], row["solver"]): row for row in rows}
    assert ("self-influence", "conjugate-gradient") not in found  # has no affordable way to it
    assert ("opposing influence", "conjugate-gradient") in found and ("chance", None) in found
    for row in rows:
        assert 0 <= row["auc"]["min"] <= row["auc"]["mean"] <= row["auc"]["max"] <= 1
    # of the model with these very labels: the loss of an example whose label is flipped is that of the other class
    assert found["loss", None]["auc"]["mean"] == pytest.approx(found["margin", None]["auc"]["mean"])
    with pytest.raises(ConfigurationError, match="between 0 and 1"):
        validate_mislabel(bank, compared, [1.5], 1, 1)


def test_models_with_the_same_wrong_labels_are_averaged(bank):
    rows = validate_mislabel(bank, settings(["identity"]), [0.1], 1, 2)["rows"]
    found = {(row["evidence"], row["models"]): row["auc"] for row in rows}
    flips = flipped_labels(bank.retrainer.training_labels, len(bank.retrainer.label_names), 0.1, 0)
    models = [ExplainedModel(bank, number, flips) for number in range(2)]
    places = numpy.arange(len(bank.retrainer.examples))
    wrong = numpy.isin(places, list(flips))
    log_p = [model.training_set.log_probabilities().double().numpy() for model in models]
    own = [each[places, models[0].training_labels] for each in log_p]
    strengths = [model.self_influence({"type": "identity"}, [1.0])[0] for model in models]
    assert abs(own[0] - own[1]).max() > 0  # seeds differ
    for evidence, single, averaged in (
        ("loss", [-each for each in own], -numpy.exp(own).mean(0)),
        ("self-influence", strengths, strengths[0] * strengths[1]),
    ):
        each = [detection(suspicion, wrong).auc for suspicion in single]
        assert found[evidence, 1] == {"mean": numpy.mean(each), "min": min(each), "max": max(each)}
        assert found[evidence, 2]["mean"] == pytest.approx(detection(averaged, wrong).auc, abs=1e-3)
    assert ("chance", 2) not in found


def test_agreement_by_hand():
    predicted = numpy.array([[1.0, 2.0, 3.0], [0.0, 1.0, 5.0]])
    found = agreement(predicted, 2 * predicted)
    assert found == {"pearson": 1, "spearman": 1, "slope": 2, "largest": 10}
    losses = numpy.array([0.1, 0.9, 0.2, 0.3, 0.0, 0.8])
    chosen = choose_left_out(losses, 4)
    assert chosen[:2].tolist() == [1, 5] and len(set(chosen)) == 4
