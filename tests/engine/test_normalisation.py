"""Normalised scores are what their formulas say, and the rows' energies are the solvers'."""

import pytest
import torch
from allennlp.common.checks import ConfigurationError

from allennlp_influence.engine import (
    ConjugateGradient,
    Curvature,
    EkFac,
    GaussNewton,
    Identity,
    Spectral,
    check_normalisation,
    normalised,
)

SOLVERS = {
    "gauss-newton": GaussNewton(0.5),
    "gauss-newton of a subset": GaussNewton(0.5, num_examples=9),
    "ek-fac": EkFac(0.5),
    "spectral": Spectral(0.5, curvature="gauss-newton", rank=12),
    "identity": Identity(0.5),
}


@pytest.fixture(scope="module")
def training_gradients(objective, texts):
    return torch.stack(
        [objective.gradient(objective.prepare(texts.collate([i]))) for i in range(len(texts.ids))]
    )


@pytest.mark.parametrize("name", SOLVERS)
def test_normalised_by_what_the_solver_says_of_itself(
    name, training_set, queries, training_gradients
):
    solver = SOLVERS[name]
    curvature = solver.curvature_of(training_set)
    scores, diagnoses = solver.influence(curvature, queries)
    energies = [diagnosis.energy for diagnosis in diagnoses]
    solved = solver.solve(curvature, queries).vectors
    torch.testing.assert_close(
        torch.tensor(energies, dtype=torch.float64), (solved * queries).sum(1)
    )
    if name == "gauss-newton of a subset":
        return  # has no self-influence
    self_influence = solver.self_influence(curvature)
    inner = solved @ training_gradients.T
    own = solver.solve(curvature, training_gradients).vectors
    norms = (own * training_gradients).sum(1).sqrt()
    relatif = normalised("relatif", scores, self_influence, energies)
    torch.testing.assert_close(relatif, inner / norms, rtol=1e-5, atol=1e-8)
    cosine = normalised("cosine", scores, self_influence, energies)
    expected = inner / norms / (solved * queries).sum(1).sqrt()[:, None]
    torch.testing.assert_close(cosine, expected, rtol=1e-5, atol=1e-8)
    assert cosine.abs().max() <= 1 + 1e-6 and cosine.abs().max() > 0.1


def test_a_training_example_has_cosine_one_with_itself(training_set, training_gradients):
    solver = GaussNewton(0.5)
    curvature = solver.curvature_of(training_set)
    scores, diagnoses = solver.influence(curvature, training_gradients)
    energies = [diagnosis.energy for diagnosis in diagnoses]
    cosine = normalised("cosine", scores, solver.self_influence(curvature), energies)
    torch.testing.assert_close(cosine.diagonal(), torch.ones(len(scores)).double(), rtol=1e-5, atol=0)


def test_what_cant_be_had_is_refused_with_a_remedy(training_set):
    with pytest.raises(ConfigurationError, match="choose the solver gauss-newton, ek-fac"):
        ConjugateGradient().self_influence(Curvature(training_set))
    with pytest.raises(ConfigurationError, match="'z' is none of relatif, cosine"):
        check_normalisation("z")
    check_normalisation(None)
