"""A preconditioner changes how many steps conjugate gradient takes, and nothing else."""

import pytest
import torch
from allennlp.common.checks import ConfigurationError
from allennlp.common.params import Params

from allennlp_influence.engine import (
    ConjugateGradient,
    Curvature,
    GaussNewton,
    Identity,
    InverseCurvature,
    Lissa,
    NotSolvedError,
    Solution,
    Spectral,
)
from allennlp_influence.engine.ek_fac import EkFac


def explicit(matrix, vectors, damping):
    return torch.linalg.solve(matrix + damping * torch.eye(len(matrix)).double(), vectors.T).T


@pytest.fixture(scope="module")
def hessian_damping(hessian):
    return -1.05 * torch.linalg.eigvalsh(hessian)[0].item()


# kind of the system, preconditioner, and whether it is near enough to it to save steps: C + λI of 14 examples is λI but
# for 28 directions, which is as easy for conjugate gradient as it can be, and the Hessian of a model that has not been
# trained has little in common with Gauss-Newton
PRECONDITIONERS = {
    "spectral": ("gauss-newton", Spectral(rank=8, block_size=4, steps=4), True),
    "spectral of a few examples": (
        "gauss-newton",
        Spectral(rank=8, block_size=4, steps=4, num_examples=10),
        True,
    ),
    "ek-fac": ("gauss-newton", EkFac(), False),
    "spectral of the Hessian": ("hessian", Spectral(rank=8, block_size=4, steps=10), True),
    "gauss-newton of the Hessian": ("hessian", GaussNewton(), False),
}


@pytest.mark.parametrize("name", PRECONDITIONERS)
def test_same_solution_in_fewer_steps(name, training_set, queries, hessian_damping, request):
    kind, preconditioner, saves = PRECONDITIONERS[name]
    matrix = request.getfixturevalue(kind.replace("-", "_"))
    damping = hessian_damping if kind == "hessian" else 0.01
    curvature = Curvature(training_set, kind)
    options = dict(damping=damping, curvature=kind, tolerance=1e-9, max_iterations=300)
    plain = ConjugateGradient(**options).solve(curvature, queries)
    fast = ConjugateGradient(**options, preconditioner=preconditioner).solve(curvature, queries)
    expected = explicit(matrix, queries, damping)
    eigenvalues = torch.linalg.eigvalsh(matrix)
    for row in range(len(queries)):
        diagnosis = fast.diagnoses[row]
        # the residual at which it stops is that of the system, whatever the preconditioner
        left = fast.vectors[row] @ matrix + damping * fast.vectors[row] - queries[row]
        residual = float(left.norm() / queries[row].norm())
        assert residual == pytest.approx(diagnosis.residual, rel=0.1)
        assert diagnosis.converged and diagnosis.residual <= 1e-9
        assert diagnosis.steps < plain.diagnoses[row].steps or not saves
        assert eigenvalues[0] - 1e-9 <= diagnosis.lambda_min <= diagnosis.lambda_max
        assert diagnosis.lambda_max <= eigenvalues[-1] + 1e-9
    torch.testing.assert_close(fast.vectors, expected, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(fast.vectors, plain.vectors, rtol=1e-6, atol=1e-7)


class Explicit:
    """An ill-conditioned curvature written out: a few large eigenvalues above many small ones."""

    def __init__(self, lowest=0.0):
        generator = torch.Generator().manual_seed(0)
        basis = torch.linalg.qr(torch.randn(200, 200, generator=generator).double()).Q
        self.eigenvalues = torch.cat(
            [10 ** torch.linspace(4, 1, 20), torch.linspace(0.5, lowest, 180)]
        ).double()
        self.matrix = basis * self.eigenvalues @ basis.T
        self.kind = "hessian"
        self.basis = basis.T

    def product(self, vectors):
        return vectors @ self.matrix


class Approximate(InverseCurvature):
    """(C + λI)⁻¹ from the top 20 eigenpairs of `Explicit`."""

    def solve(self, curvature, vectors):
        top, values = curvature.basis[:20], curvature.eigenvalues[:20]
        on_top = vectors @ top.T
        inverse = on_top / (values + self.damping)
        return Solution(inverse @ top + (vectors - on_top @ top) / self.damping, [])


@pytest.mark.parametrize("tolerance", [1e-3, 1e-8])
def test_an_ill_conditioned_system_takes_a_fraction_of_the_steps(tolerance):
    curvature = Explicit()
    vectors = torch.randn(3, 200, generator=torch.Generator().manual_seed(1)).double()
    options = dict(damping=0.1, tolerance=tolerance, max_iterations=1000)
    plain = ConjugateGradient(**options).solve(curvature, vectors)
    fast = ConjugateGradient(**options, preconditioner=Approximate()).solve(curvature, vectors)
    expected = explicit(curvature.matrix, vectors, 0.1)
    for solution in (plain, fast):
        left = vectors - solution.vectors @ curvature.matrix - 0.1 * solution.vectors
        assert (left.norm(dim=1) <= 1.01 * tolerance * vectors.norm(dim=1)).all()
    assert (fast.vectors - expected).norm() <= 10 * tolerance * expected.norm()
    for row in range(3):
        assert 3 * fast.diagnoses[row].steps < plain.diagnoses[row].steps
        assert fast.diagnoses[row].lambda_max <= curvature.eigenvalues[0]


def test_with_identity_it_is_the_same_iteration(training_set, queries):
    curvature = Curvature(training_set, "gauss-newton")
    options = dict(damping=0.5, curvature="gauss-newton", tolerance=1e-12, max_iterations=5)
    plain = ConjugateGradient(**options).solve(curvature, queries)
    scaled = ConjugateGradient(**options, preconditioner=Identity()).solve(curvature, queries)
    torch.testing.assert_close(scaled.vectors, plain.vectors, rtol=1e-10, atol=1e-12)
    for one, other in zip(scaled.diagnoses, plain.diagnoses):
        assert (one.steps, one.converged) == (other.steps, other.converged) == (5, False)
        assert one.lambda_max == pytest.approx(other.lambda_max)
        assert one.lambda_min == pytest.approx(other.lambda_min)


def test_queries_are_independent_and_bits_repeat(training_set, queries):
    curvature = Curvature(training_set, "gauss-newton")
    preconditioner = Spectral(rank=4, block_size=2, steps=4)
    # few steps, because in many rounding errors grow to the size of the tolerance, as ever with this method
    solver = ConjugateGradient(0.3, "gauss-newton", preconditioner=preconditioner)
    block = solver.solve(curvature, queries)
    assert torch.equal(block.vectors, solver.solve(curvature, queries).vectors)
    alone = [solver.solve(curvature, query[None]) for query in queries]
    for row, solution in enumerate(alone):
        torch.testing.assert_close(solution.vectors[0], block.vectors[row], rtol=1e-8, atol=1e-10)
        assert solution.diagnoses[0].steps == block.diagnoses[row].steps
    assert len({diagnosis.steps for diagnosis in block.diagnoses}) > 1  # not all stop together
    zero = solver.solve(curvature, torch.cat([queries[:1], torch.zeros_like(queries[:1])]))
    assert zero.diagnoses[1].converged and zero.diagnoses[1].steps == 0


def test_negative_curvature_is_found_with_a_preconditioner_too():
    curvature = Explicit(lowest=-1.0)
    vectors = torch.randn(3, 200, generator=torch.Generator().manual_seed(1)).double()
    options = dict(damping=0.5, max_iterations=1000)
    with pytest.raises(NotSolvedError, match="set damping above .* or curvature to gauss-newton"):
        ConjugateGradient(**options, preconditioner=Approximate()).solve(curvature, vectors)


def test_a_preconditioner_that_is_not_positive_definite_is_named():
    class Negative(InverseCurvature):
        def solve(self, curvature, vectors):
            return Solution(-vectors, [])

    vectors = torch.randn(3, 200, generator=torch.Generator().manual_seed(1)).double()
    with pytest.raises(NotSolvedError, match="preconditioner Negative is not positive definite"):
        ConjugateGradient(preconditioner=Negative()).solve(Explicit(), vectors)


def test_the_preconditioner_takes_damping_and_curvature_of_the_system(training_set):
    own = Spectral()
    solver = ConjugateGradient(0.1, "gauss-newton", preconditioner=own)
    fitted = solver.preconditioner
    assert (fitted.damping, fitted.kind) == (0.1, "gauss-newton")
    assert (own.damping, own.kind) == (30.0, "hessian")  # the caller's stays
    assert solver.vectors_per_query == ConjugateGradient.vectors_per_query + own.vectors_per_query
    assert ConjugateGradient(0.1, preconditioner=own).preconditioner.kind == "hessian"
    other = Spectral(curvature="gauss-newton")
    assert ConjugateGradient(0.1, preconditioner=other).preconditioner.kind == "gauss-newton"
    assert ConjugateGradient(0.1, preconditioner=Spectral(0.1)).preconditioner.damping == 0.1


def test_the_preconditioners_examples(training_set, monkeypatch, queries):
    """Those of the system, unless it has a number of its own."""
    seen = []

    class Recording(Identity):
        def __init__(self, curvature="hessian", damping=30.0, num_examples=None, seed=0):
            super().__init__(damping, curvature, num_examples, seed)

        def solve(self, curvature, vectors):
            seen.append(curvature)
            return super().solve(curvature, vectors)

    part = Curvature(training_set, "hessian", num_examples=8, seed=3)
    options = dict(damping=30.0, num_examples=8, seed=3, tolerance=1e-8)
    ConjugateGradient(**options, preconditioner=Recording()).solve(part, queries)
    assert all(curvature is part for curvature in seen) and len(seen) > 1

    seen.clear()
    ConjugateGradient(**options, preconditioner=Recording("gauss-newton")).solve(part, queries)
    assert {(c.kind, tuple(c.positions)) for c in seen} == {("gauss-newton", tuple(part.positions))}
    assert len(set(map(id, seen))) == 1  # so that what it keeps for it is kept

    seen.clear()
    few = Recording(num_examples=4, seed=1)
    ConjugateGradient(**options, preconditioner=few).solve(part, queries)
    expected = Curvature(training_set, "hessian", num_examples=4, seed=1).positions
    assert {tuple(c.positions) for c in seen} == {tuple(expected)}


def test_the_preconditioners_preparation_counts(training_set, monkeypatch):
    monkeypatch.setattr(
        Curvature, "seconds_per_product", lambda self, num_vectors: len(self.positions)
    )
    curvature = Curvature(training_set)
    few = Spectral(block_size=8, steps=4, num_examples=3)
    assert ConjugateGradient().expected_preparation_seconds(curvature) == 0
    solver = ConjugateGradient(preconditioner=few)
    assert solver.expected_preparation_seconds(curvature) == 4 * 3


def test_it_is_made_from_a_configuration():
    solver = InverseCurvature.from_params(
        Params(
            {
                "type": "conjugate-gradient",
                "damping": 0.1,
                "curvature": "gauss-newton",
                "preconditioner": {"type": "spectral", "rank": 7, "num_examples": 100},
            }
        )
    )
    assert isinstance(solver.preconditioner, Spectral)
    assert (solver.preconditioner.rank, solver.preconditioner.num_examples) == (7, 100)
    with pytest.raises(ConfigurationError, match="leave the preconditioner's out"):
        ConjugateGradient(0.1, preconditioner=Spectral(damping=2.0))
    for wrong in (ConjugateGradient(), Lissa()):
        with pytest.raises(ConfigurationError, match="take spectral or ek-fac"):
            ConjugateGradient(preconditioner=wrong)
