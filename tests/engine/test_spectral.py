"""Spectral is the explicit inverse on the top of the explicit spectrum, and says what it leaves out."""

import pytest
import torch
from allennlp.common.checks import ConfigurationError
from allennlp.common.params import Params

from allennlp_influence.engine import (
    Curvature,
    Identity,
    InverseCurvature,
    NotSolvedError,
    Objective,
    Spectral,
    TrainingSet,
    influence_scores,
)
from allennlp_influence.engine import spectral
from allennlp_influence.engine.spectral import lanczos
from allennlp_influence.engine.store import Store

KINDS = ["hessian", "gauss-newton"]
RANK = 6


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def matrix(kind, request):
    return request.getfixturevalue(kind.replace("-", "_"))


@pytest.fixture(scope="module")
def curvatures(training_set):
    return {kind: Curvature(training_set, kind) for kind in KINDS}


@pytest.fixture
def curvature(curvatures, kind):
    return curvatures[kind]


@pytest.fixture
def damping(kind, hessian):
    """Above −λ_min of the Hessian; where it is not needed, so small that curvature rules."""
    return -1.3 * torch.linalg.eigvalsh(hessian)[0].item() if kind == "hessian" else 0.05


@pytest.fixture(scope="module")
def training_gradients(objective, texts):
    return torch.stack(
        [objective.gradient(objective.prepare(texts.collate([i]))) for i in range(len(texts.ids))]
    )


def eigenpairs(matrix, rank):
    values, vectors = torch.linalg.eigh(matrix)
    top = values.abs().argsort(descending=True)[:rank]
    return values[top], vectors[:, top].T


def low_rank_inverse(matrix, damping, rank):
    """Σ_k u_k u_kᵀ / (μ_k + λ) + (I − Σ_k u_k u_kᵀ) / λ, written out."""
    values, vectors = eigenpairs(matrix, rank)
    on_top = vectors.T @ (vectors / (values + damping)[:, None])
    return on_top + (torch.eye(len(matrix)).double() - vectors.T @ vectors) / damping


def solver_for(kind, damping, rank=RANK, **options):
    """With a Krylov space large enough for its eigenpairs to converge."""
    return Spectral(damping, kind, rank=rank, **{"block_size": 4, "steps": 30, **options})


def test_eigenpairs_are_those_of_the_explicit_matrix(kind, curvature, matrix):
    spectrum = solver_for(kind, 1.0).spectrum(curvature)
    values, vectors = eigenpairs(matrix, RANK)
    torch.testing.assert_close(spectrum.values, values, rtol=0, atol=1e-8)
    overlaps = (spectrum.vectors * vectors).sum(1).abs()
    torch.testing.assert_close(overlaps, torch.ones(RANK).double(), rtol=0, atol=1e-8)
    assert spectrum.residuals.max() < 1e-6
    assert (spectrum.values < -0.1).any() == (kind == "hessian")  # by magnitude, not by value


def test_solution_is_the_explicit_formula(kind, curvature, matrix, damping, queries):
    solution = solver_for(kind, damping).solve(curvature, queries)
    expected = queries @ low_rank_inverse(matrix, damping, RANK)
    torch.testing.assert_close(solution.vectors, expected, rtol=1e-8, atol=1e-9)
    other_rank = queries @ low_rank_inverse(matrix, damping, RANK - 1)
    assert (other_rank - expected).norm() > 1e-3 * expected.norm()


@pytest.mark.parametrize("block_size", [1, 16])
def test_with_the_whole_spectrum_it_is_the_inverse(
    kind, block_size, model, objective, texts, matrix, damping, queries
):
    """Of the pooler and the head: a principal minor of the explicit matrix."""
    names = [name for name in objective.space.shapes if "pooler" in name or "head" in name]
    places = objective.space.unflatten(torch.arange(objective.space.size))
    part = Objective(model, names, texts.collate(range(4)))
    index = part.space.flatten(places)
    minor, vectors = matrix[index][:, index], queries[:, index]
    size = len(minor)

    training_set = TrainingSet(part, [len(i) for i in texts.ids], texts.collate, token_budget=30)
    solver = Spectral(damping, kind, rank=size, block_size=block_size, steps=size)
    curvature = Curvature(training_set, kind)
    solution = solver.solve(curvature, vectors)
    expected = torch.linalg.solve(minor + damping * torch.eye(size).double(), vectors.T).T
    torch.testing.assert_close(solution.vectors, expected, rtol=1e-8, atol=1e-9)
    assert (vectors / damping - expected).norm() > 0.03 * expected.norm()
    for diagnosis in solution.diagnoses:
        assert diagnosis.converged and diagnosis.residual < 1e-8
    if kind == "gauss-newton":  # of rank N·(C − 1): the Krylov space ends there
        assert len(solver.spectrum(curvature).values) <= 28 + block_size < size


@pytest.mark.parametrize("rank, tolerance", [(1, 0.02), (RANK, 1.0)])
def test_the_diagnosis_is_measured(
    kind, curvature, matrix, damping, queries, rank, tolerance, monkeypatch
):
    notes = []
    monkeypatch.setattr(curvature.objective, "notes", notes)
    solution = solver_for(kind, damping, rank, tolerance=tolerance).solve(curvature, queries)
    left = solution.vectors @ matrix + damping * solution.vectors - queries
    eigenvalues = torch.linalg.eigvalsh(matrix)
    magnitudes = eigenvalues.abs().sort(descending=True).values
    for i, diagnosis in enumerate(solution.diagnoses):
        residual = float(left[i].norm() / queries[i].norm())
        assert diagnosis.residual == pytest.approx(residual)
        assert residual <= magnitudes[rank] / damping  # the bound of the docstring
        assert diagnosis.converged == (residual <= tolerance)
        assert diagnosis.lambda_max == pytest.approx(eigenvalues[-1].item())
        assert eigenvalues[0] - 1e-9 <= diagnosis.lambda_min <= 0.01
    if rank == 1:
        assert f"at damping {damping:g} leaves residuals above 0.02" in notes[0]
        assert f"reach about {magnitudes[1]:.2g}" in notes[0]
    else:
        assert notes == []


def test_the_residual_of_the_first_queries(kind, curvature, damping, queries):
    of_all = solver_for(kind, damping, 1, tolerance=0.02).solve(curvature, queries)
    of_some = solver_for(kind, damping, 1, tolerance=0.02, num_residuals=2).solve(curvature, queries)
    assert torch.equal(of_some.vectors, of_all.vectors) and len(queries) > 2
    residuals = [diagnosis.residual for diagnosis in of_some.diagnoses]
    assert residuals[:2] == [pytest.approx(d.residual) for d in of_all.diagnoses[:2]]
    assert residuals[2:] == [None] * (len(queries) - 2)
    assert {d.converged for d in of_some.diagnoses[2:]} == {max(residuals[:2]) <= 0.02}
    few = solver_for(kind, damping, 1, num_residuals=1000).solve(curvature, queries)
    assert all(diagnosis.residual is not None for diagnosis in few.diagnoses)


def test_unconverged_pairs_lower_the_error(kind, curvature, matrix):
    """‖C − Σ μ u uᵀ‖² = ‖C‖² − Σ μ² for Rayleigh quotients μ, and their residuals are what they say."""
    spectrum = Spectral(1.0, kind, rank=6, block_size=2, steps=4).spectrum(curvature)
    assert spectrum.residuals.max() > 0.01 and len(spectrum.left_out) == 2
    image = spectrum.vectors @ matrix - spectrum.values[:, None] * spectrum.vectors
    torch.testing.assert_close(spectrum.residuals, image.norm(dim=1), rtol=1e-6, atol=1e-10)
    taken = (spectrum.vectors.T * spectrum.values) @ spectrum.vectors
    expected = matrix.square().sum() - spectrum.values.square().sum()
    torch.testing.assert_close((matrix - taken).square().sum(), expected)


def test_block_size_and_seed_do_not_matter_once_converged(kind, training_set, damping, queries):
    solutions = [
        Spectral(damping, kind, seed=seed, rank=4, block_size=size, steps=steps)
        .solve(Curvature(training_set, kind), queries)
        .vectors
        for size, steps, seed in ((2, 30, 0), (5, 16, 0), (10, 9, 0), (10, 9, 1))
    ]
    for other in solutions[1:]:
        torch.testing.assert_close(other, solutions[0], rtol=1e-7, atol=1e-8)
        assert not torch.equal(other, solutions[0])


def test_same_seed_same_bits_and_queries_are_independent(kind, training_set, damping, queries):
    solver = Spectral(damping, kind, rank=4, block_size=2, steps=3)
    first, second = (
        solver.solve(Curvature(_fresh(training_set), kind), queries).vectors for _ in range(2)
    )
    assert torch.equal(first, second)
    curvature = Curvature(_fresh(training_set), kind)
    alone = torch.cat([solver.solve(curvature, query[None]).vectors for query in queries])
    torch.testing.assert_close(alone, first, rtol=1e-9, atol=1e-12)
    other = Spectral(damping, kind, seed=1, rank=4, block_size=2, steps=3)
    assert not torch.equal(other.solve(curvature, queries).vectors, first)


def test_many_queries_share_the_products_with_eigenvectors(kind, training_set, damping, queries):
    """More of them than eigenvectors: other products, the same scores."""
    solver = Spectral(damping, kind, rank=2, block_size=2, steps=3, tolerance=10)
    curvature = Curvature(_fresh(training_set), kind)
    x = solver.solve(curvature, queries).vectors
    expected = influence_scores(training_set, x)
    found, _ = solver.influence(curvature, queries)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-12)
    one, _ = solver.influence(curvature, queries[:1])
    torch.testing.assert_close(one, expected[:1], rtol=1e-8, atol=1e-12)


def _fresh(training_set, store=None):
    """The same training set with nothing kept."""
    fresh = TrainingSet.__new__(TrainingSet)
    fresh.__dict__.update(training_set.__dict__)
    fresh.store = store or Store()
    return fresh


def test_the_spectrum_is_computed_once(training_set, queries, monkeypatch, tmp_path):
    products = []
    product = Curvature.product
    monkeypatch.setattr(
        Curvature, "product", lambda self, v: products.append(len(v)) or product(self, v)
    )

    def count(solver, curvature):
        products.clear()
        solver.solve(curvature, queries)
        return list(products)

    options = dict(curvature="gauss-newton", rank=4, block_size=2, steps=5)
    curvature = Curvature(_fresh(training_set, Store(tmp_path)), "gauss-newton")
    residual = [len(queries)]
    assert count(Spectral(1.0, **options), curvature) == [2] * 5 + residual
    assert count(Spectral(1.0, **options), curvature) == residual  # a second block of queries
    assert count(Spectral(0.1, **options), curvature) == residual  # another λ
    products.clear()
    Spectral(0.1, **options).apply(curvature, queries)
    Spectral(0.1, **options).self_influence(curvature)
    assert products == []
    from_disk = Curvature(_fresh(training_set, Store(tmp_path)), "gauss-newton")
    assert count(Spectral(1.0, **options), from_disk) == residual
    passes = []
    monkeypatch.setattr(spectral, "of_training_gradients", lambda *_: passes.append(1) or torch.zeros(3))
    Spectral(0.1, **options).self_influence(from_disk)
    assert not passes
    Spectral(0.2, **options).self_influence(from_disk)
    assert passes
    # what it depends on
    for changed in (dict(rank=3), dict(block_size=3), dict(steps=4), dict(seed=1)):
        assert len(count(Spectral(1.0, **{**options, **changed}), curvature)) > 1
    part = Curvature(curvature.training_set, "gauss-newton", num_examples=5)
    assert len(count(Spectral(1.0, **options), part)) > 1


def test_self_influence_is_the_score_for_oneself(
    kind, curvature, training_set, damping, training_gradients, monkeypatch
):
    solver = solver_for(kind, damping)
    found = solver.self_influence(curvature)
    solved = solver.apply(curvature, training_gradients)
    expected = (solved * training_gradients).sum(1) / len(training_gradients)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-12)
    scores = influence_scores(training_set, solved)
    torch.testing.assert_close(scores.diagonal(), expected, rtol=1e-8, atol=1e-12)
    assert found.min() > 0
    assert (found * damping - _squares(training_gradients)).abs().max() > 1e-4

    monkeypatch.setattr(training_set.gradients, "by_module", False)
    one_by_one = solver_for(kind, damping, seed=1).self_influence(curvature)
    torch.testing.assert_close(one_by_one, expected, rtol=1e-8, atol=1e-12)
    assert not torch.equal(one_by_one, found)  # which is kept


def test_self_influence_of_identity_is_the_squared_norm(curvature, training_gradients):
    expected = _squares(training_gradients) / 30
    torch.testing.assert_close(Identity(30.0).self_influence(curvature), expected)
    solved = Identity(30.0).solve(curvature, training_gradients).vectors
    scores = influence_scores(curvature.training_set, solved)
    torch.testing.assert_close(scores.diagonal(), expected)


def _squares(training_gradients):
    return training_gradients.square().sum(1) / len(training_gradients)


def test_negative_curvature_is_named_with_its_remedy(curvatures, hessian, queries):
    lowest = torch.linalg.eigvalsh(hessian)[0].item()
    solver = solver_for("hessian", -0.5 * lowest)
    for call in (solver.solve, solver.apply, lambda c, _: solver.self_influence(c)):
        with pytest.raises(NotSolvedError, match="or curvature to gauss-newton") as raised:
            call(curvatures["hessian"], queries)
    damping = float(str(raised.value).split("set damping above ")[1].split(",")[0])
    assert damping == pytest.approx(-lowest, rel=1e-2)
    solver_for("hessian", 1.01 * damping).solve(curvatures["hessian"], queries)


def test_a_product_that_is_not_finite_is_an_error():
    with pytest.raises(NotSolvedError, match="not finite"):
        lanczos(lambda block: block * torch.nan, torch.randn(2, 9), steps=2, rank=2)


def test_an_exhausted_space_ends_early():
    """Identical start vectors, an operator of rank 3, and none at all."""
    generator = torch.Generator().manual_seed(0)
    factor = torch.randn(3, 40, generator=generator).double()
    factor = torch.linalg.qr(factor.T).Q.T * torch.tensor([3.0, 2.0, 1.0]).double()[:, None]
    products = []

    def product(block):
        products.append(len(block))
        return block @ factor.T @ factor

    start = torch.randn(2, 40, generator=generator).double()
    spectrum = lanczos(product, start, steps=20, rank=5)
    torch.testing.assert_close(
        spectrum.values[:3], torch.tensor([9.0, 4.0, 1.0]).double(), rtol=1e-10, atol=1e-10
    )
    assert spectrum.values[3:].abs().max() < 1e-10 and sum(products) <= 6
    products.clear()
    assert len(lanczos(product, start[:1].repeat(2, 1), steps=20, rank=5).values) <= 4
    spectrum = lanczos(lambda block: block * 0, start, steps=3, rank=5)
    assert spectrum.values.tolist() == [0.0, 0.0] and spectrum.residuals.tolist() == [0.0, 0.0]


def test_float32_agrees_with_float64():
    """Orthogonality does not decay with the steps."""
    generator = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(300, 300, generator=generator).double()).Q
    eigenvalues = 100 * 0.9 ** torch.arange(300).double()
    matrix = basis * eigenvalues @ basis.T
    start = torch.randn(4, 300, generator=generator)
    exact = lanczos(lambda block: block @ matrix, start.double(), steps=25, rank=20)
    single = lanczos(lambda block: block @ matrix.float(), start, steps=25, rank=20)
    torch.testing.assert_close(exact.values, eigenvalues[:20], rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(single.values, eigenvalues[:20], rtol=1e-5, atol=1e-4)
    vectors = single.vectors.double()
    torch.testing.assert_close(vectors @ vectors.T, torch.eye(20).double(), rtol=0, atol=1e-5)


def test_the_cost_is_said_beforehand(curvatures, monkeypatch):
    monkeypatch.setattr(Curvature, "seconds_per_product", lambda self, num_vectors: num_vectors)
    solver = Spectral(block_size=4, steps=7)
    assert solver.expected_preparation_seconds(curvatures["hessian"]) == 28
    assert solver.expected_passes(100) == 1


def test_it_is_made_from_a_configuration():
    solver = InverseCurvature.from_params(
        Params({"type": "spectral", "damping": 10.0, "curvature": "gauss-newton", "rank": 5})
    )
    assert isinstance(solver, Spectral) and (solver.damping, solver.rank) == (10.0, 5)
    with pytest.raises(ConfigurationError, match="set steps to 38"):
        Spectral(rank=100)
    for name in ("rank", "block_size", "steps", "num_residuals"):
        with pytest.raises(ConfigurationError, match=f"{name} of spectral must be positive"):
            Spectral(**{name: 0})
