"""The top of the curvature's spectrum: exact on it, a plain division elsewhere."""

import logging
from typing import Callable, List, NamedTuple, Optional

import torch
from allennlp.common.checks import ConfigurationError
from torch import Tensor

from allennlp_influence.engine import ranks
from allennlp_influence.engine.conjugate_gradient import check_finite, check_positive_definite
from allennlp_influence.engine.curvature import Curvature
from allennlp_influence.engine.inverse_curvature import Diagnosis, InverseCurvature, Solution
from allennlp_influence.engine.per_example import GradientsByName, inner_products
from allennlp_influence.engine.progress import progress
from allennlp_influence.engine.rows import squares
from allennlp_influence.engine.scoring import (
    influence_scores,
    of_training_gradients,
    squared_norms,
)
from allennlp_influence.engine.store import Tensors

logger = logging.getLogger(__name__)

_COLUMNS = 2**16  # of θ-sized vectors that are in float64 at once


class Spectrum(NamedTuple):
    """
    Ritz pairs of C on a Krylov space, by decreasing |μ|: `values` μ_k `(rank,)` and `vectors` u_k `(rank, space.size)`,
    orthonormal, with `residuals` ‖C u_k − μ_k u_k‖, and `left_out`, the other Ritz values. All but the vectors in
    float64. A Ritz value is a Rayleigh quotient, and within its residual of an eigenvalue.
    """

    values: Tensor
    vectors: Tensor
    residuals: Tensor
    left_out: Tensor


@InverseCurvature.register("spectral")
class Spectral(InverseCurvature):
    """
    Takes C for Σ_k μ_k u_k u_kᵀ, its `rank` eigenpairs of largest magnitude, so that

        x = Σ_k u_k ⟨u_k, v⟩ / (μ_k + λ) + (v − Σ_k u_k ⟨u_k, v⟩) / λ :

    exact on these eigenvectors, v / λ on what is orthogonal to them. The eigenpairs come from block Lanczos with full
    reorthogonalisation (Golub & Underwood 1977; for influence functions Schioppa et al. 2022, who drop the second
    term): an orthonormal basis Q of the Krylov space of C from a random block of vectors, one product with a block a
    step, then the eigenpairs of QᵀCQ, in float64.

    What is left out is an error of at most max |μ_left| / λ, relative to v, where the kept pairs are eigenpairs. One
    that has not converged is kept too: C − Σ_k μ_k u_k u_kᵀ is smaller with it than without it, in the Frobenius norm
    by μ_k² under the root, whatever its residual. What all this amounts to is measured: `residual` is
    that of the system itself, and takes a product with the block of queries; with `gauss-newton` that is about as
    much as scoring them.

    The spectrum is computed once for a curvature, and serves every query and every λ. It takes
    `steps` products with blocks of `block_size` vectors, and memory for block_size · steps + rank vectors of θ's size.
    A wide block shares passes (with `gauss-newton` 16 vectors cost little more than 8), a narrow one gets further with
    as many vectors.

    Registered as an `InverseCurvature` with name "spectral".

    # Parameters

    rank : `int`, optional (default = `20`)
        How many eigenpairs are kept; fewer if the Krylov space is exhausted before.
    block_size : `int`, optional (default = `8`)
        Vectors that start the Krylov space. An eigenvalue of higher multiplicity is not seen whole.
    steps : `int`, optional (default = `8`)
    tolerance : `float`, optional (default = `0.1`)
        Relative residual ‖(C + λI)x − v‖ / ‖v‖ up to which a query counts as converged.
    num_residuals : `int`, optional (default = `None`)
        Of how many queries of a block the residual is measured, the first ones; the others count as converged if these
        are. By default of all; with `hessian` that takes longer than scoring them.
    damping, curvature, num_examples, seed
        See `InverseCurvature`; `seed` draws the first block too.
    """

    vectors_per_query = 3  # v, x and the product
    has_self_influence = True

    def __init__(
        self,
        damping: float = 30.0,
        curvature: str = "hessian",
        num_examples: Optional[int] = None,
        seed: int = 0,
        rank: int = 20,
        block_size: int = 8,
        steps: int = 8,
        tolerance: float = 0.1,
        num_residuals: Optional[int] = None,
    ) -> None:
        super().__init__(damping, curvature, num_examples, seed)
        numbers = {"rank": rank, "block_size": block_size, "steps": steps, "num_residuals": num_residuals}
        for name, value in numbers.items():
            if value is not None and not value > 0:
                raise ConfigurationError(f"{name} of spectral must be positive, not {value}")
        if rank > block_size * steps:
            raise ConfigurationError(
                f"rank {rank} of spectral is above the {block_size * steps} dimensions of its Krylov space, block_size "
                f"× steps: set steps to {-(-3 * rank // block_size)}, for eigenpairs that have converged"
            )
        self.rank, self.block_size, self.steps, self.tolerance = rank, block_size, steps, tolerance
        self.num_residuals = num_residuals
        self._prepared_for: Optional[Curvature] = None

    def spectrum(self, curvature: Curvature) -> Spectrum:
        """
        The top of the spectrum; computed once.

        # Raises

        `NotSolvedError` if a product is not finite.
        """

        def compute() -> Tensors:
            like = next(iter(curvature.objective.parameters.values()))
            generator = torch.Generator().manual_seed(self.seed)
            size = (self.block_size, curvature.objective.space.size)
            start = torch.randn(size, generator=generator).to(like)
            return lanczos(curvature.product, start, self.steps, self.rank)._asdict()

        return Spectrum(**curvature.kept(f"spectrum-{self._name}", compute))

    def prepare(self, curvature: Curvature, most_gigabytes: float) -> None:
        """
        The scores of the eigenvectors too, with which those of a query follow from those of its own gradient:

            score[q, i] = (⟨∇L_i, v_q⟩ / λ − Σ_k ⟨u_k, v_q⟩ μ_k / (λ (μ_k + λ)) ⟨∇L_i, u_k⟩) / N.
        """
        if curvature.kind == "gauss-newton":
            most_gigabytes -= curvature.keep_rows(most_gigabytes)
        self._checked(curvature)
        super().prepare(curvature, most_gigabytes)
        self._scores_of_top(curvature)
        self._prepared_for = curvature

    def _scores_of_top(self, curvature: Curvature) -> Tensor:
        """Of the eigenvectors, as if each were x, `(rank, N)`; computed once."""

        def compute() -> Tensors:
            vectors = self.spectrum(curvature).vectors.to(curvature.objective.device)
            return {"scores": influence_scores(curvature.training_set, vectors)}

        return curvature.kept(f"spectrum-{self._name}-scores", compute)["scores"]

    @property
    def _name(self) -> str:
        return f"{self.rank}-{self.block_size}-{self.steps}-{self.seed}"

    def apply(self, curvature: Curvature, vectors: Tensor) -> Tensor:
        """
        x by itself, without the product that its diagnosis takes.

        # Raises

        `NotSolvedError` if the curvature is below −λ in a direction.
        """
        return self._applied(self._checked(curvature), vectors)

    def solve(self, curvature: Curvature, vectors: Tensor) -> Solution:
        """
        # Raises

        `NotSolvedError` if the curvature is below −λ in a direction, or if a product is not finite.
        """
        spectrum = self._checked(curvature)
        x = self._applied(spectrum, vectors)
        some = slice(self.num_residuals)
        left = curvature.product(x[some]).add_(x[some], alpha=self.damping).sub_(vectors[some])
        residuals = squares(left).sqrt()
        residuals /= squares(vectors[some]).sqrt().clamp_min(torch.finfo(vectors.dtype).tiny)
        check_finite(residuals)
        largest = residuals.max().item()
        if largest > self.tolerance:
            self._note(curvature, spectrum)
        measured: List[Optional[float]] = residuals.tolist()
        measured += [None] * (len(x) - len(measured))
        ritz_values = torch.cat([spectrum.values, spectrum.left_out])
        diagnoses = [
            Diagnosis(
                converged=(largest if residual is None else residual) <= self.tolerance,
                steps=-(-len(ritz_values) // self.block_size),
                residual=residual,
                lambda_max=float(ritz_values.max()),
                lambda_min=float(ritz_values.min()),
            )
            for residual in measured
        ]
        return Solution(x, diagnoses)

    def self_influence(self, curvature: Curvature) -> Tensor:
        """
        [Σ_k ⟨u_k, ∇L_i⟩² / (μ_k + λ) + (‖∇L_i‖² − Σ_k ⟨u_k, ∇L_i⟩²) / λ] / N, one pass over the training examples, once.

        # Raises

        `NotSolvedError` as `solve`.
        """
        spectrum = self._checked(curvature)
        training_set = curvature.training_set
        like = next(iter(curvature.objective.parameters.values()))
        vectors = curvature.objective.space.unflatten(spectrum.vectors.to(like.device))
        inverses = (1 / (spectrum.values + self.damping)).to(like.device)

        def own(gradients: GradientsByName) -> Tensor:
            on_top = inner_products(gradients, vectors).double().square()
            elsewhere = squared_norms(gradients).double() - on_top.sum(1)
            return on_top @ inverses + elsewhere.clamp_min(0) / self.damping

        def compute() -> Tensors:
            return {"value": of_training_gradients(training_set, own) / len(training_set)}

        name = f"self-influence-{self._name}-{self.damping:g}"
        return curvature.kept(name, compute)["value"].to(like.dtype)

    def expected_preparation_seconds(self, curvature: Curvature) -> float:
        return self.steps * curvature.seconds_per_product(self.block_size)

    def expected_passes(self, num_examples: int) -> float:
        return 1.0  # for the residual

    def _checked(self, curvature: Curvature) -> Spectrum:
        spectrum = self.spectrum(curvature)
        ritz_values = torch.cat([spectrum.values, spectrum.left_out])
        check_positive_definite(curvature, self.damping, ritz_values)
        return spectrum

    def _applied(self, spectrum: Spectrum, vectors: Tensor) -> Tensor:
        """1/λ − 1/(μ + λ) = μ / (λ (μ + λ)) of the components on top is taken from v / λ."""
        top = spectrum.vectors.to(vectors.device)
        weights = self._weights(spectrum, vectors)
        return torch.addmm(vectors, weights, top, beta=1 / self.damping, alpha=-1)

    def _weights(self, spectrum: Spectrum, vectors: Tensor) -> Tensor:
        factors = spectrum.values / (self.damping * (spectrum.values + self.damping))
        inner = _inner(vectors, spectrum.vectors.to(vectors.device))
        return (inner * factors.to(vectors.device)).to(vectors.dtype)

    def _scores(self, curvature: Curvature, vectors: Tensor, solved: Tensor) -> Tensor:
        # as many products with eigenvectors as with x would cost more than those with gradients, of low rank, save
        if self._prepared_for is not curvature and len(vectors) <= self.rank:
            return super()._scores(curvature, vectors, solved)
        scores = influence_scores(curvature.training_set, vectors)
        weights = self._weights(self.spectrum(curvature), vectors).to(scores)
        return torch.addmm(scores, weights, self._scores_of_top(curvature), beta=1 / self.damping, alpha=-1)

    def _note(self, curvature: Curvature, spectrum: Spectrum) -> None:
        left = max(spectrum.left_out.abs().tolist(), default=0.0)
        note = (
            f"spectral at damping {self.damping:g} leaves residuals above {self.tolerance:g}: it is exact on "
            f"{len(spectrum.values)} eigenpairs of the {curvature.kind} (residuals up to {spectrum.residuals.max():.2g}); "
            f"eigenvalues left out reach about {left:.2g}, {left / self.damping:.2g} of the damping. Raise rank and "
            "steps, or take conjugate-gradient with spectral as its preconditioner"
        )
        if note not in curvature.objective.notes:
            logger.warning(note)
            curvature.objective.notes.append(note)


def lanczos(product: Callable[[Tensor], Tensor], start: Tensor, steps: int, rank: int) -> Spectrum:
    """
    The `rank` Ritz pairs of largest magnitude on the Krylov space of a symmetric operator, span {C^j start : j < steps}.

    # Parameters

    product : `Callable[[Tensor], Tensor]`, required
        C·v for every row v.
    start : `Tensor`, required
        `(block_size, size)`.
    steps : `int`, required
        How many products with a block; fewer if the space is exhausted before.
    rank : `int`, required
    """
    block_size, size = start.shape
    basis = start.new_empty(min(block_size * steps, size), size)
    reduced = torch.zeros(len(basis), len(basis), dtype=torch.float64)  # QᵀCQ
    block = _orthonormal(start, smallest=0.0)
    filled, left = 0, None
    for _ in progress(range(steps), "Lanczos steps"):
        block = ranks.of_the_first(block[: len(basis) - filled])
        if len(block) == 0:
            break
        new = slice(filled, filled + len(block))
        basis[new] = block
        filled = new.stop
        known = basis[:filled]
        image = product(block)
        scale = squares(image).max().sqrt().item()
        coefficients = _inner(known, image)
        check_finite(coefficients)
        reduced[:filled, new] = coefficients.cpu()
        reduced[new, :filled] = coefficients.T.cpu()
        image = _without(image, coefficients, known)
        left = _inner(image, image).cpu()
        # a direction as short as rounding makes them is no new one; the others are freed of what is left in them of
        # the old ones once their length is 1, since rounding counts relative to it
        block = _orthonormal(image, max(100 * torch.finfo(start.dtype).eps, 1e-7) * scale)
        block = _orthonormal(_without(block, _inner(known, block), known), smallest=0.5)
    reduced = reduced[:filled, :filled]
    values, turns = torch.linalg.eigh((reduced + reduced.T) / 2)
    order = values.abs().argsort(descending=True, stable=True)
    kept, others = order[:rank], order[rank:]
    # C Q = Q (QᵀCQ) but for the image of the last block
    last = turns[-len(left) :, kept]
    residuals = (last * (left @ last)).sum(0).clamp_min(0).sqrt()
    vectors = start.new_empty(len(kept), size)
    turns = turns[:, kept].T.to(start.device)
    for columns in _columns(size):
        vectors[:, columns] = (turns @ basis[:filled, columns].double()).to(start.dtype)
    return Spectrum(values[kept], vectors, residuals, values[others])


def _orthonormal(rows: Tensor, smallest: float) -> Tensor:
    """An orthonormal basis of the span of `rows`, but for directions in which they are no longer than `smallest`."""
    squared, turns = torch.linalg.eigh(_inner(rows, rows))
    kept = squared > smallest**2
    return (turns[:, kept] / squared[kept].sqrt()).T.to(rows.dtype) @ rows


def _without(rows: Tensor, coefficients: Tensor, basis: Tensor) -> Tensor:
    """`rows` less their components `coefficients` `(len(basis), len(rows))` along `basis`, in place."""
    return rows.addmm_(coefficients.T.to(rows.dtype), basis, alpha=-1)


def _inner(left: Tensor, right: Tensor) -> Tensor:
    """⟨left_i, right_j⟩ `(len(left), len(right))` in float64."""
    result = torch.zeros(len(left), len(right), dtype=torch.float64, device=left.device)
    for columns in _columns(left.shape[1]):
        result.addmm_(left[:, columns].double(), right[:, columns].double().T)
    return result


def _columns(size: int):
    return (slice(begin, begin + _COLUMNS) for begin in range(0, size, _COLUMNS))
