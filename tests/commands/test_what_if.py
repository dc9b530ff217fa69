"""`allennlp what-if`: predictions without some training examples, and what training again gives."""

import argparse
import csv
import json

import numpy
import pytest
import torch
from scipy.special import log_softmax

from allennlp_influence.analysis.allennlp_retrainer import AllenNLPRetrainer
from allennlp_influence.analysis.what_if import by_linearised_model, confidence_after
from allennlp_influence.commands.influence import explain_archive
from allennlp_influence.commands.reopening import Reopening
from allennlp_influence.commands.what_if import WhatIf, what_if
from allennlp_influence.influence.results import open_results
from tests.analysis.conftest import trained_bert  # noqa: F401

DAMPING = 0.1
REMOVED = [2, 5, 6]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("what_if")


@pytest.fixture(scope="module")
def results(trained_bert, folder) -> str:  # noqa: F811
    solver = {"type": "gauss-newton", "damping": DAMPING}
    return str(explain_archive(*trained_bert, str(folder / "results"), solver=solver))


def run(results, *arguments) -> None:
    parser = argparse.ArgumentParser()
    WhatIf().add_subparser(parser.add_subparsers())
    args = parser.parse_args(["what-if", results, *arguments])
    args.func(args)


def test_the_sum_of_scores_needs_no_archive(results, folder, capsys):
    opened = open_results(results)
    rows = what_if(Reopening(opened, archive_file="gone"), [*REMOVED, 5])
    for row, line, scores in zip(rows, opened.explanations, opened.scores):
        assert (row["id"], row["explained"]) == (line["id"], line["explained"])
        assert row["loss"] == line["loss"]
        assert row["scores_loss"] == pytest.approx(scores[[1, 4, 5]].sum(), rel=1e-6)
        after = confidence_after(row["loss"], row["scores_loss"])
        assert row["scores_confidence"] == pytest.approx(after - row["confidence"])
    run(results, "--remove", "2", "5", "--output-file", str(folder / "out.csv"))
    ids = folder / "training_ids.txt"
    ids.write_text("5\n2\n\n5\n")
    run(results, "--remove-file", str(ids), "--output-file", str(folder / "by_file.csv"))
    assert (folder / "out.csv").read_text() == (folder / "by_file.csv").read_text()
    assert "Without 2 training examples" in capsys.readouterr().out
    rows = list(csv.DictReader(open(folder / "out.csv")))
    expected = opened.scores[:, [1, 4]].sum(1)
    assert [float(row["scores_loss"]) for row in rows] == pytest.approx(expected.tolist(), rel=1e-5)


def test_confidence_follows_the_margin():
    loss = -numpy.log(0.8)
    assert confidence_after(loss, 0.0) == pytest.approx(0.8)
    small = confidence_after(loss, 1e-6) - 0.8
    assert small == pytest.approx(-0.8e-6, rel=1e-3)  # −p ΔL to first order
    margin = numpy.log(0.8 / 0.2) - 0.3 / 0.2
    assert confidence_after(loss, 0.3) == pytest.approx(1 / (1 + numpy.exp(-margin)))
    assert 0 < confidence_after(loss, 5.0) < 1e-6 and 1 - 1e-6 < confidence_after(loss, -5.0) < 1
    assert confidence_after(0.0, 1.0) == 1


def test_the_linearised_model(results):
    """Against matrices written out: Gauss-Newton without what is removed, from Jacobians of the logits."""
    reopening = Reopening(open_results(results))
    interpreter = reopening.interpreter
    objective, number = interpreter.objective, len(interpreter.instances)
    batches = [interpreter._collate([i]) for i in range(number)]
    jacobians = [objective.logit_gradients(objective.prepare(batch)).double() for batch in batches]
    positions = [1, 4, 5]
    curvature = DAMPING * torch.eye(objective.space.size, dtype=torch.float64)
    pull = torch.zeros(objective.space.size, dtype=torch.float64)
    for i, (jacobian, batch) in enumerate(zip(jacobians, batches)):
        with torch.no_grad():
            p = objective.logits(objective.parameters, objective.prepare(batch))[0].double().softmax(0)
        label = torch.nn.functional.one_hot(batch.labels[0], len(p))
        if i in positions:
            pull += jacobian.T @ (p - label) / number
        else:
            curvature += jacobian.T @ (torch.diag(p) - torch.outer(p, p)) @ jacobian / number
    delta = torch.linalg.solve(curvature, pull)
    instances = [instance for instance, _ in reopening.queries]
    labels = [line["explained"] for line in reopening.results.explanations]
    changes = by_linearised_model(interpreter, instances, positions, labels)
    for instance, label, change in zip(instances, labels, changes):
        query = interpreter.prepared_query(instance)
        shift = (objective.logit_gradients(query.batch).double() @ delta).numpy()
        index = interpreter.label_names.index(label)
        before = query.log_probabilities[index]
        after = log_softmax(query.log_probabilities + shift)[index]
        assert change.loss == pytest.approx(before - after, rel=1e-4, abs=1e-7)
        expected = numpy.exp(after) - numpy.exp(before)
        assert change.confidence == pytest.approx(expected, rel=1e-4, abs=1e-7)
    by_sum = what_if(reopening, REMOVED)
    assert any(abs(row["scores_loss"] - c.loss) > 1e-3 for row, c in zip(by_sum, changes))


def test_training_again(trained_bert, results, folder, capsys):  # noqa: F811
    output = folder / "again.jsonl"
    arguments = (
        *("--remove", *map(str, REMOVED), "--linearised", "--retrain", "--seeds", "1", "2"),
        *("--cache-dir", str(folder / "cache"), "--output-file", str(output)),
    )
    run(results, *arguments)
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    retrainer = AllenNLPRetrainer(*trained_bert)
    losses = []
    for seed in (1, 2):
        before = retrainer.log_probabilities([], seed)
        losses.append(before - retrainer.log_probabilities([1, 4, 5], seed))
    for row, first, second in zip(rows, *losses):
        label = retrainer.label_names.index(row["explained"])
        assert row["retrained_loss"] == pytest.approx((first[label] + second[label]) / 2)
        error = abs(first[label] - second[label]) / 2  # of the mean of two
        assert row["retrained_loss_standard_error"] == pytest.approx(error)
        assert {"scores_loss", "linearised_loss", "retrained_confidence"} <= row.keys()
    out = capsys.readouterr().out
    assert "trained again" in out and "Rank correlation over 4 inputs" in out
    (journal,) = (folder / "cache" / "retrainings").glob("*/retrainings.jsonl")
    before = journal.read_text()
    run(results, *arguments)  # nothing is trained twice
    assert journal.read_text() == before
    run(results, *arguments, "--remove", "1")
    assert len(journal.read_text().splitlines()) == 1 + 4 + 2  # the models of all examples are there


def refused(*arguments) -> str:
    with pytest.raises(SystemExit) as exit:
        run(*arguments)
    message = str(exit.value)
    assert message.startswith("allennlp what-if: ") and "\n" not in message
    return message


def test_what_is_refused(trained_bert, results, folder, tmp_path):  # noqa: F811
    assert "has no training example 11; ids are rows of the training file, from 1 to 10" in refused(
        results, "--remove", "3", "11"
    )
    assert "no training example is named" in refused(results)
    (tmp_path / "ids").write_text("3\nfour\n")
    message = refused(results, "--remove-file", str(tmp_path / "ids"))
    assert "ids, line 2: 'four' is not the id of a training example" in message
    assert "can't be read" in refused(results, "--remove-file", str(tmp_path / "nothing"))
    assert "must end in .csv or .jsonl" in refused(results, "--remove", "1", "--output-file", "a.txt")
    assert "--top-k must be at least 1, not 0" in refused(results, "--remove", "1", "--top-k", "0")
    assert "retrainer 'magic' is none of" in refused(results, "--remove", "1", "--retrain", "magic")
    message = refused(results, "--remove", "1", "--retrain", "--seeds", "2", "2")
    assert "--seeds takes different numbers" in message
    cosine = explain_archive(
        *trained_bert, str(tmp_path / "cosine"), solver="identity", normalisation="cosine"
    )
    assert "has scores by cosine, which do not add up" in refused(str(cosine), "--remove", "1")
    kept = trained_bert.archive.replace("/model.tar.gz", "")
    averaged = explain_archive(
        *trained_bert, str(tmp_path / "averaged"), solver="identity", checkpoints=[kept]
    )
    message = refused(str(averaged), "--remove", "1", "--linearised")
    assert "averages over checkpoints are of several models" in message
