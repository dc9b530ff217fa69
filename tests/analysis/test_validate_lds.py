"""Scores of a convex model predict what training on subsets does to it, and what is measured is kept."""

import numpy
import pytest
from allennlp.common.checks import ConfigurationError

from allennlp_influence.analysis import TrainedLayersRetrainer
from allennlp_influence.analysis.explained_models import ExplainedModel
from allennlp_influence.analysis.model_bank import ModelBank, random_subsets, retrainings_without
from allennlp_influence.analysis.settings import DAMPINGS, settings
from allennlp_influence.analysis.validate_lds import Measurements, scores_of, validate_lds
from allennlp_influence.engine import MemoryBudget
from tests.analysis.conftest import L2

SUBSETS = 12
SETTINGS = settings(
    [
        "identity",
        {"type": "gauss-newton", "damping": [30, L2]},
        {"type": "conjugate-gradient", "damping": L2, "tolerance": 1e-6},
        {"type": "lissa", "damping": L2, "scale": 0.4, "depth": 100},
    ]
)


def config(trained) -> dict:
    return {"type": "trained-layers", "archive_file": trained.archive, "input_file": trained.queries}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("bank")


@pytest.fixture(scope="module")
def validated(trained_head, folder):
    with ModelBank(folder, config(trained_head)) as bank:
        measurements = Measurements(bank, SUBSETS, 2, 2, "loss", "gold")
        return bank, measurements, validate_lds(measurements, SETTINGS)


def test_exact_influence_of_a_convex_model_scores_high(validated):
    bank, measurements, found = validated
    rows = {(row["name"], row["damping"]): row for row in found["rows"]}
    exact = rows["gauss-newton", L2]
    assert exact["lds"]["mean"] > 0.93 and exact["lds"]["low"] > 0.85
    assert rows["identity", 30.0]["lds"]["mean"] < exact["lds"]["mean"] - 0.05
    # the Hessian of a linear layer is its Gauss-Newton matrix
    hessian = rows["conjugate-gradient tolerance=1e-06", L2]
    assert hessian["lds"]["mean"] == pytest.approx(exact["lds"]["mean"], abs=1e-3)
    assert rows["gauss-newton", 30.0]["lds"]["mean"] == pytest.approx(
        rows["identity", 30.0]["lds"]["mean"], abs=0.02
    )
    # training ends at the optimum whatever the seed, so that every model says the same
    assert found["ceiling"]["ceiling"] > 0.98
    assert exact["lds_of_averaged"]["mean"] == pytest.approx(exact["lds"]["mean"], abs=0.01)
    ranked = [row["lds"]["mean"] for row in found["rows"] if row["lds"]]
    assert ranked == sorted(ranked, reverse=True)
    assert found["rows"][0]["below_best"] == {"mean": 0, "low": 0, "high": 0}
    worst = found["rows"][len(ranked) - 1]["below_best"]
    assert worst["low"] <= worst["mean"] <= worst["high"] and worst["mean"] > 0


def test_what_can_not_be_solved_is_said(validated):
    row = validated[2]["rows"][-1]
    assert row["solver"]["type"] == "lissa" and row["lds"] is None and "diverge" in row["error"]


def test_nothing_is_made_twice(validated, trained_head, folder, monkeypatch):
    monkeypatch.setattr(TrainedLayersRetrainer, "_trained", None)
    monkeypatch.setattr(ExplainedModel, "_compute", None)
    with ModelBank(folder, config(trained_head)) as bank:
        again = validate_lds(Measurements(bank, SUBSETS, 2, 2, "loss", "gold"), SETTINGS)
        assert again == validated[2]
        fewer = validate_lds(Measurements(bank, 8, 1, 1, "margin", "gold"), SETTINGS[:1])
        assert fewer["ceiling"] is None and len(fewer["rows"]) == 1


def test_a_bank_that_was_stopped_goes_on_to_the_same(validated, trained_head, tmp_path):
    left_out = random_subsets(len(validated[0].retrainer.examples), 3)
    with ModelBank(tmp_path, config(trained_head)) as bank:
        bank.log_probabilities(retrainings_without(left_out[:1], [0]))
        with pytest.raises(ConfigurationError, match="another process"):
            ModelBank(tmp_path, config(trained_head))
    journal = bank.directory / "retrainings.jsonl"
    with open(journal, "a") as file:
        file.write('{"key": "being writ')
    with ModelBank(tmp_path, config(trained_head), processes=2) as bank:
        retrainings = retrainings_without(left_out, [0, 1])
        assert bank.missing(retrainings) == 5
        found = bank.log_probabilities(retrainings)
    with validated[0] as undisturbed:
        numpy.testing.assert_allclose(found, undisturbed.log_probabilities(retrainings), atol=1e-9)


def test_labels_that_are_replaced_are_trained_on_and_explained(validated):
    bank, _, _ = validated
    flipped = {3: 1 - bank.retrainer.training_labels[3]}
    model, other = ExplainedModel(bank, 0), ExplainedModel(bank, 0, flipped)
    assert [i for i in range(38) if model.training_labels[i] != other.training_labels[i]] == [3]
    before = model.training_set.log_probabilities()[3]
    after = other.training_set.log_probabilities()[3]
    assert after[flipped[3]] > before[flipped[3]]
    solver = SETTINGS[1].solver
    ours = other.scores(solver, [L2], [0] * 12)[L2].scores
    without = model.scores(solver, [L2], [0] * 12)[L2].scores
    # the gradient of a loss at the other of two labels points the other way
    clear = abs(ours[:, 3]) > 0.005
    assert clear.sum() > 5 and (numpy.sign(ours[clear, 3]) == -numpy.sign(without[clear, 3])).all()


def test_blocks_of_queries_make_no_difference(validated):
    bank, measurements, _ = validated
    large, small = ExplainedModel(bank, 0), ExplainedModel(bank, 0)
    small.training_set.memory_budget = MemoryBudget(vectors=1e-9)  # one at a time
    of_one = [
        dict(model._compute(SETTINGS[1].solver, [L2], measurements.labels))[L2].scores
        for model in (large, small)
    ]
    numpy.testing.assert_allclose(*of_one, rtol=1e-4, atol=1e-7)


def test_checkpoints_are_averaged_over_the_epochs(validated, monkeypatch):
    bank, measurements, _ = validated
    model, setting = measurements.models[0], SETTINGS[1]._replace(at_checkpoints=True)
    found = scores_of(model, setting, measurements.labels)
    at_each = [epoch.scores(setting.solver, [L2], measurements.labels)[L2] for epoch in model.by_epoch]
    assert len(at_each) == 24 and not numpy.allclose(at_each[0].scores, at_each[-1].scores, rtol=0.1)
    numpy.testing.assert_allclose(found[L2].scores, numpy.mean([own.scores for own in at_each], 0))
    assert found[L2].seconds == pytest.approx(sum(own.seconds for own in at_each))
    # without validation training ends with the last epoch, where nothing is computed again
    assert [epoch is model for epoch in model.by_epoch] == 23 * [False] + [True]
    last = bank.parameters_by_epoch(model.retraining)[23]
    again = model.at(last, "again").scores(setting.solver, [L2], measurements.labels)[L2]
    numpy.testing.assert_allclose(again.scores, at_each[-1].scores, rtol=1e-5, atol=1e-8)
    monkeypatch.setattr(TrainedLayersRetrainer, "_trained", None)  # all is kept
    monkeypatch.setattr(ExplainedModel, "_compute", None)
    rows = validate_lds(measurements, SETTINGS[1:2])["rows"]
    assert [row["at_checkpoints"] for row in rows] == [False, False]
    monkeypatch.undo()
    failed = scores_of(model, SETTINGS[3]._replace(at_checkpoints=True), measurements.labels)[L2]
    assert failed.scores is None and "diverge" in failed.error


def test_settings():
    (plain, special) = settings(["ek-fac", {"type": "gauss-newton", "num_examples": 5}])
    assert plain.dampings == DAMPINGS and "damping" not in plain.solver
    assert special.name == "gauss-newton num_examples=5"
    [nested] = settings([{"type": "conjugate-gradient", "preconditioner": {"type": "spectral"}}])
    assert nested.name == "conjugate-gradient preconditioner=spectral"
    assert plain._replace(at_checkpoints=True).name == "ek-fac, at checkpoints"
    for wrong, message in (
        ({"type": "lissa", "damping": 1e-3}, "would be missing"),
        ("newton", "none of"),
        ({"type": "ek-fac", "damping": ["x"]}, "no number"),
        ({"type": "ek-fac", "damping": 0}, "must be positive"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            settings([wrong])
