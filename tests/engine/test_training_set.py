"""The training examples with other labels."""

import torch

from allennlp_influence.engine import GaussNewton, TrainingSet


def test_other_labels_are_those_of_a_set_made_with_them(training_set, objective, texts, queries):
    labels = [(label + 1) % 3 if i < 5 else label for i, label in enumerate(texts.labels)]
    other = training_set.relabelled(labels)
    made = TrainingSet(
        objective,
        training_set.lengths,
        texts._replace(labels=labels).collate,
        token_budget=training_set.token_budget,
    )
    solver = GaussNewton(0.1)
    expected = solver.influence(solver.curvature_of(made), queries)[0]
    found = solver.influence(solver.curvature_of(other), queries)[0]
    torch.testing.assert_close(found, expected)
    before = GaussNewton(0.1).influence(solver.curvature_of(training_set), queries)[0]
    assert (found - before).abs().max() > 1e-4
    assert other.batch([7, 2]).labels.tolist() == [labels[7], labels[2]]
    assert training_set.batch([2]).labels.tolist() == [texts.labels[2]]  # left as it was
