"""The dual form is the explicit inverse, whatever it is computed from, and its shorter ways are the long ones."""

import pytest
import torch
from allennlp.common.checks import ConfigurationError

from allennlp_influence.engine import (
    Curvature,
    GaussNewton,
    MemoryBudget,
    NotSolvedError,
    TrainingSet,
    influence_scores,
)
from allennlp_influence.engine.gram import _strip, gram_matrix
from allennlp_influence.engine.store import Store
from tests.engine.conftest import Texts

DAMPING = 0.05


@pytest.fixture(scope="module")
def curvature(training_set):
    return Curvature(training_set, "gauss-newton")


@pytest.fixture(scope="module")
def training_gradients(objective, texts):
    return torch.stack(
        [objective.gradient(objective.prepare(texts.collate([i]))) for i in range(len(texts.ids))]
    )


def explicit(matrix, vectors, damping=DAMPING):
    return torch.linalg.solve(matrix + damping * torch.eye(len(matrix)).double(), vectors.T).T


def test_it_is_the_explicit_inverse(curvature, gauss_newton, queries):
    expected = explicit(gauss_newton, queries)
    solution = GaussNewton(DAMPING).solve(curvature, queries)
    torch.testing.assert_close(solution.vectors, expected, rtol=1e-8, atol=1e-10)
    assert (queries / DAMPING - expected).norm() > expected.norm()  # curvature does matter here
    largest = torch.linalg.eigvalsh(gauss_newton)[-1].item()
    for diagnosis in solution.diagnoses:
        assert diagnosis.residual < 1e-10 and diagnosis.lambda_max == pytest.approx(largest)


def test_a_subset_is_the_explicit_inverse_of_its_mean(training_set, queries):
    part = Curvature(training_set, "gauss-newton", num_examples=5, seed=1)
    matrix = part.product(torch.eye(queries.shape[1], dtype=torch.float64))
    solution = GaussNewton(DAMPING, num_examples=5, seed=1).solve(part, queries)
    torch.testing.assert_close(solution.vectors, explicit(matrix, queries), rtol=1e-8, atol=1e-10)


def test_scores_in_the_dual_are_those_by_x(curvature, training_set, gauss_newton, queries):
    found, diagnoses = GaussNewton(DAMPING).influence(curvature, queries)
    assert len(diagnoses) == len(queries)
    expected = influence_scores(training_set, explicit(gauss_newton, queries))
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-12)


def test_self_influence_is_the_score_for_oneself(curvature, gauss_newton, training_gradients):
    found = GaussNewton(DAMPING).self_influence(curvature)
    solved = explicit(gauss_newton, training_gradients)
    expected = (solved * training_gradients).sum(1) / len(training_gradients)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("removed", [[3], [2, 5, 7, 8], list(range(13))])
def test_removal_takes_the_curvature_with_it(
    removed, curvature, training_set, training_gradients, gauss_newton, queries
):
    number = len(training_gradients)
    eye = torch.eye(queries.shape[1], dtype=torch.float64)
    stays = Curvature(training_set, "gauss-newton")
    stays.positions = [i for i in range(number) if i not in removed]
    stays.batches = [batch for _, batch in training_set.buckets_of(stays.positions)]
    matrix = stays.product(eye) * len(stays.positions) / number  # with their weight of before, 1/n
    delta = explicit(matrix, training_gradients[removed].sum(0, keepdim=True) / number)[0]
    solver = GaussNewton(DAMPING)
    found = solver.change_without(curvature, queries, removed)
    torch.testing.assert_close(found, queries @ delta, rtol=1e-8, atol=1e-12)
    scores = solver.influence(curvature, queries)[0][:, removed].sum(1)
    assert ((found - scores).abs() > 0.01 * scores.abs()).all()  # not what the scores say


def test_removal_is_the_sum_of_scores_where_curvature_is_small(curvature, queries):
    solver = GaussNewton(1e4)
    scores = solver.influence(curvature, queries)[0][:, [2, 5]].sum(1)
    found = solver.change_without(curvature, queries, [2, 5])
    torch.testing.assert_close(found, scores, rtol=1e-3, atol=0)


def test_removal_takes_the_curvature_of_all(training_set, queries):
    part = Curvature(training_set, "gauss-newton", num_examples=5, seed=1)
    with pytest.raises(ConfigurationError, match="leave out num_examples"):
        GaussNewton(DAMPING, num_examples=5, seed=1).change_without(part, queries, [0])


@pytest.mark.parametrize("factors", [1e-9, 1.0])  # a bucket at a time, all
@pytest.mark.parametrize("by_module", [True, False])
def test_self_influence_by_the_curvature_of_a_subset(
    factors, by_module, training_set, training_gradients, monkeypatch
):
    monkeypatch.setattr(training_set.gradients, "by_module", by_module)
    part = Curvature(training_set, "gauss-newton", num_examples=5, seed=1)
    matrix = part.product(torch.eye(training_gradients.shape[1], dtype=torch.float64))
    expected = (explicit(matrix, training_gradients) * training_gradients).sum(1) / 14
    solver = GaussNewton(DAMPING, num_examples=5, seed=1)
    monkeypatch.setattr(training_set, "memory_budget", MemoryBudget(factors=factors))
    monkeypatch.setattr(training_set, "store", Store())
    monkeypatch.setattr("allennlp_influence.engine.gauss_newton._COLUMNS", 4)
    found = solver.self_influence(part)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-12)
    undamped = training_gradients.square().sum(1) / DAMPING / 14
    assert (undamped - expected).norm() > 0.5 * undamped.norm()  # the curvature of the five matters


def test_every_damping_comes_from_one_gram_matrix(objective, texts, gauss_newton, queries, monkeypatch):
    training_set = TrainingSet(objective, [len(i) for i in texts.ids], texts.collate, 30)
    curvature = Curvature(training_set, "gauss-newton")
    computed = []
    monkeypatch.setattr(
        "allennlp_influence.engine.gram._strip",
        lambda *args, _strip=_strip: computed.append(args) or _strip(*args),
    )
    for damping in (0.01, 1.0):
        solution = GaussNewton(damping).solve(curvature, queries)
        torch.testing.assert_close(solution.vectors, explicit(gauss_newton, queries, damping))
    assert len(computed) == 1


@pytest.mark.parametrize("factors", [1e-9, 2e-5, 1.0])  # a bucket at a time, some, all
@pytest.mark.parametrize("by_module", [True, False])
def test_the_gram_matrix_does_not_depend_on_panels(
    factors, by_module, objective, texts, curvature, tmp_path, monkeypatch
):
    expected = gram_matrix(curvature)
    lengths, budget = [len(i) for i in texts.ids], MemoryBudget(factors=factors)
    training_set = TrainingSet(objective, lengths, texts.collate, 30, Store(tmp_path), budget)
    monkeypatch.setattr(training_set.gradients, "by_module", by_module)
    found = gram_matrix(Curvature(training_set, "gauss-newton"))
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(found, found.permute(2, 3, 0, 1))
    if factors == 1e-9:  # a panel that was not done when the run stopped is done again
        strips = sorted(tmp_path.glob("*gram*"))
        assert len(strips) == len(training_set.buckets) > 2
        strips[1].unlink()
        strips[2].write_bytes(strips[2].read_bytes()[:-100])
        again = TrainingSet(objective, lengths, texts.collate, 30, Store(tmp_path), budget)
        torch.testing.assert_close(gram_matrix(Curvature(again, "gauss-newton")), expected)


def test_a_matrix_above_the_memory_budget_is_refused(training_set, curvature, queries, monkeypatch):
    monkeypatch.setattr(training_set, "memory_budget", MemoryBudget(matrix=20 * 20 * 16e-9))
    with pytest.raises(ConfigurationError, match="28 rows.* set num_examples to 10 or less"):
        GaussNewton().solve(curvature, queries)


def test_a_damping_that_rounding_swallows_is_refused(objective, texts, queries):
    """The Gram matrix of texts that are there three times is singular."""
    many = Texts(texts.ids * 3, texts.labels * 3)
    training_set = TrainingSet(objective, [len(i) for i in many.ids], many.collate, 30)
    with pytest.raises(NotSolvedError, match="take a larger one"):
        GaussNewton(1e-30).solve(Curvature(training_set, "gauss-newton"), queries)


def test_many_dampings_at_once_are_each_by_itself(curvature, queries, monkeypatch):
    dampings = [DAMPING, 30.0, 1e-3]
    expected = [GaussNewton(damping).influence(curvature, queries)[0] for damping in dampings]
    passes = []
    projected = GaussNewton._projected
    monkeypatch.setattr(
        GaussNewton, "_projected", lambda self, *args: passes.append(1) or projected(self, *args)
    )
    found = list(GaussNewton(DAMPING).influence_at(curvature, queries, dampings))
    for (scores, diagnoses), own in zip(found, expected):
        torch.testing.assert_close(scores, own)
        assert all(diagnosis.residual < 1e-10 for diagnosis in diagnoses)
    assert len(passes) == 1 and (found[0][0] - found[1][0]).abs().max() > 0
