"""Solvers tend to (C + λI)⁻¹, are deterministic, and say so when they can't be trusted."""

import pytest
import torch
from allennlp.common.checks import ConfigurationError
from allennlp.common.params import Params

from allennlp_influence.engine import (
    ConjugateGradient,
    Curvature,
    InverseCurvature,
    Lissa,
    NotSolvedError,
)



@pytest.fixture(scope="module")
def damping(hessian):
    """Above −λ_min of the Hessian, and of its size."""
    return -1.3 * torch.linalg.eigvalsh(hessian)[0].item()


def explicit(matrix, queries, damping):
    return torch.linalg.solve(matrix + damping * torch.eye(len(matrix)).double(), queries.T).T


def relative_error(found, expected):
    return ((found - expected).norm(dim=1) / expected.norm(dim=1)).max().item()


@pytest.mark.parametrize("kind", ["hessian", "gauss-newton"])
def test_conjugate_gradient_is_the_explicit_inverse(kind, training_set, queries, damping, request):
    matrix = request.getfixturevalue(kind.replace("-", "_"))
    damping = damping if kind == "hessian" else 0.1
    expected = explicit(matrix, queries, damping)
    curvature = Curvature(training_set, kind)
    solver = ConjugateGradient(damping, kind, tolerance=1e-10, max_iterations=200)
    solution = solver.solve(curvature, queries)
    assert relative_error(solution.vectors, expected) < 1e-8
    assert relative_error(queries / damping, expected) > 0.1  # curvature does matter here
    eigenvalues = torch.linalg.eigvalsh(matrix)
    for diagnosis in solution.diagnoses:
        assert diagnosis.converged and diagnosis.residual <= 1e-10
        assert eigenvalues[0] <= diagnosis.lambda_min <= diagnosis.lambda_max <= eigenvalues[-1]


def test_the_residual_is_the_residual(training_set, hessian, queries, damping):
    curvature = Curvature(training_set)
    solver = ConjugateGradient(damping, tolerance=1e-12, max_iterations=2)
    solution = solver.solve(curvature, queries)
    left = solution.vectors @ hessian + damping * solution.vectors - queries
    for i, diagnosis in enumerate(solution.diagnoses):
        assert not diagnosis.converged and diagnosis.steps == 2
        assert diagnosis.residual == pytest.approx(float(left[i].norm() / queries[i].norm()))


def test_lissa_tends_to_the_damping_d_times_s(training_set, hessian, queries, damping):
    """With the whole training set as its batch the recursion has no noise left."""
    d, s = 0.3, damping / 0.3
    lissa = Lissa(damping=d * s, scale=s, depth=300, batch_size=14)
    solution = lissa.solve(Curvature(training_set), queries)
    assert relative_error(solution.vectors, explicit(hessian, queries, d * s)) < 1e-8
    assert relative_error(solution.vectors, explicit(hessian, queries, 1.5 * d * s)) > 0.05
    assert all(diagnosis.residual < 1e-8 for diagnosis in solution.diagnoses)


def test_what_lissa_misses_after_a_finite_depth(training_set, queries, hessian, damping):
    """(I − A)^(J+1) of the solution, A = (C + λI)/s."""
    scale, depth = 10 * damping, 30
    lissa = Lissa(damping=damping, scale=scale, depth=depth, batch_size=14)
    solution = lissa.solve(Curvature(training_set), queries)
    expected = explicit(hessian, queries, damping)
    identity = torch.eye(len(hessian)).double()
    left = torch.linalg.matrix_power(identity - (hessian + damping * identity) / scale, depth + 1)
    torch.testing.assert_close(expected - solution.vectors, expected @ left)


def test_lissa_on_minibatches_averages_to_the_inverse(training_set, hessian, queries, damping):
    expected = explicit(hessian, queries, 2 * damping)
    curvature = Curvature(training_set)
    options = dict(damping=2 * damping, scale=50 * damping, depth=150, batch_size=4)
    once = Lissa(**options).solve(curvature, queries)
    often = Lissa(**options, repeats=8).solve(curvature, queries)
    assert relative_error(often.vectors, expected) < relative_error(once.vectors, expected) < 0.2
    assert relative_error(often.vectors, expected) < 0.03


@pytest.mark.parametrize(
    "solver", [ConjugateGradient(30.0), Lissa(30.0, scale=300.0, depth=60, batch_size=4)]
)
def test_same_seed_same_bits_and_queries_are_independent(solver, training_set, queries):
    curvature = Curvature(training_set)
    block = solver.solve(curvature, queries).vectors
    assert torch.equal(block, solver.solve(curvature, queries).vectors)
    alone = torch.cat([solver.solve(curvature, query[None]).vectors for query in queries])
    torch.testing.assert_close(alone, block, rtol=1e-9, atol=1e-12)


def test_another_seed_is_another_sample(training_set, queries):
    curvature = Curvature(training_set)
    options = dict(damping=30.0, scale=300.0, depth=60, batch_size=4)
    first = Lissa(**options, seed=0).solve(curvature, queries).vectors
    assert not torch.equal(first, Lissa(**options, seed=1).solve(curvature, queries).vectors)


def test_curvature_of_a_subset_is_the_mean_over_it(training_set, texts, queries):
    part = Curvature(training_set, num_examples=5, seed=3)
    assert len(set(part.positions)) == 5
    total = sum(
        Curvature(training_set, num_examples=1, seed=seed).product(queries)
        for seed in _seeds_of(part.positions, len(texts.ids))
    )
    torch.testing.assert_close(part.product(queries), total / 5)


def _seeds_of(positions, size):
    """For each position a seed whose one-example sample is that position."""
    found, seed = {}, 0
    while set(positions) - set(found):
        generator = torch.Generator().manual_seed(seed)
        found.setdefault(torch.randperm(size, generator=generator)[0].item(), seed)
        seed += 1
    return [found[position] for position in positions]


def test_negative_curvature_is_named_with_its_remedy(training_set, hessian, queries):
    lowest, vectors = torch.linalg.eigh(hessian)
    damping = -0.5 * lowest[0].item()
    assert damping > 0
    with pytest.raises(NotSolvedError, match="set damping above .* or curvature to gauss-newton"):
        ConjugateGradient(damping).solve(Curvature(training_set), vectors[:, :1].T.contiguous())


def test_diverging_lissa_names_a_scale_that_works(training_set, queries):
    curvature = Curvature(training_set, "gauss-newton")
    with pytest.raises(NotSolvedError, match="set scale above") as raised:
        Lissa(0.1, scale=0.2, depth=100).solve(curvature, queries)
    scale = float(str(raised.value).split("scale above ")[1].split()[0])
    solution = Lissa(0.1, scale=scale, depth=round(4 * scale / 0.1)).solve(curvature, queries)
    assert torch.isfinite(solution.vectors).all()


def test_the_papers_damping_taken_for_lambda_is_refused():
    with pytest.raises(ConfigurationError, match="3e-3 at scale 1e4 is damping 30"):
        Lissa(damping=3e-3, scale=1e4)
    assert Lissa().damping == 30.0


@pytest.mark.parametrize("name", ["lissa", "conjugate-gradient", "identity"])
def test_solvers_are_registered_and_refuse_a_damping_of_zero(name):
    solver = InverseCurvature.from_params(Params({"type": name, "damping": 10.0}))
    assert solver.damping == 10.0
    with pytest.raises(ConfigurationError, match="damping must be positive"):
        InverseCurvature.from_params(Params({"type": name, "damping": 0.0}))
