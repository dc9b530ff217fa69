"""The self-checks pass where all is well and show what is not."""

import pytest
import torch

from allennlp_influence.engine import ConjugateGradient, Curvature, matmul_precision
from allennlp_influence.engine.self_checks import precision_agreement, self_checks


@pytest.mark.parametrize("kind", ["hessian", "gauss-newton"])
def test_they_pass_where_all_is_well(training_set, kind):
    checks = self_checks(Curvature(training_set, kind))
    assert checks.asymmetry < 1e-12 and checks.derivative_error < 1e-3


def test_a_product_that_is_not_symmetric_shows(training_set, monkeypatch):
    curvature = Curvature(training_set)
    right = curvature.add_product

    def wrong(batch, vectors, result, weight):
        right(batch, vectors, result, weight)
        result += 1e-3 * vectors.roll(1, dims=1)

    monkeypatch.setattr(curvature, "add_product", wrong)
    assert self_checks(curvature).asymmetry > 1e-6


def test_a_derivative_that_is_wrong_shows(training_set, monkeypatch):
    monkeypatch.setattr(training_set.objective, "forward_mode", False)
    gradients = training_set.gradients
    right = gradients.of_losses

    def wrong(batch):
        for rows, by_name in right(batch):
            by_name.pop("head.weight")
            yield rows, by_name

    monkeypatch.setattr(gradients, "of_losses", wrong)
    assert self_checks(Curvature(training_set)).derivative_error > 0.01


def test_the_seed_fixes_the_bits(training_set):
    curvature = Curvature(training_set)
    before = torch.get_rng_state()
    assert self_checks(curvature) == self_checks(curvature)
    assert torch.equal(before, torch.get_rng_state())


def test_imprecise_products_show_in_the_agreement(training_set, texts, monkeypatch):
    """In float64, which no precision of products touches, there is no difference; another sign is one."""
    objective = training_set.objective
    queries = [objective.prepare(texts.collate([i])) for i in range(2)]
    with matmul_precision("medium"):
        agreement = precision_agreement(training_set, ConjugateGradient(), queries)
        assert agreement == pytest.approx([1.0, 1.0])
        right = objective.gradient

        def wrong(batch):
            sign = -1 if torch.get_float32_matmul_precision() == "medium" else 1
            return sign * right(batch)

        monkeypatch.setattr(objective, "gradient", wrong)
        agreement = precision_agreement(training_set, ConjugateGradient(), queries)
        assert agreement == pytest.approx([-1.0, -1.0])
    assert torch.get_float32_matmul_precision() == "highest"
