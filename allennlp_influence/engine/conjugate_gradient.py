"""Conjugate gradient on the whole training set, a block of queries at a time."""

import copy
import inspect
from typing import Optional, Tuple

import torch
from allennlp.common.checks import ConfigurationError
from torch import Tensor

from allennlp_influence.engine import ranks
from allennlp_influence.engine.curvature import Curvature
from allennlp_influence.engine.inverse_curvature import (
    Diagnosis,
    InverseCurvature,
    NotSolvedError,
    Solution,
)
from allennlp_influence.engine.lissa import Lissa
from allennlp_influence.engine.rows import dots, squares


@InverseCurvature.register("conjugate-gradient")
class ConjugateGradient(InverseCurvature):
    """
    Solves (C + λI) x = v for every query by conjugate gradient (Hestenes & Stiefel 1952; for influence
    functions Koh & Liang 2017, §3):

        α = ⟨r, r⟩ / ⟨p, (C + λI) p⟩,  x += α p,  r −= α (C + λI) p,  p ← r + (⟨r', r'⟩ / ⟨r, r⟩) p

    The queries are independent of each other; they share the passes over the data, and one that has converged
    takes no part in the next. The operator is deterministic (all examples, no dropout), so the
    residual is what is left of the error.

    With a preconditioner M ≈ C + λI, another solver that has an approximate inverse at once (Concus, Golub & O'Leary
    1976; Saad 2003, algorithm 9.1), z = M⁻¹ r takes the place of r:

        α = ⟨r, z⟩ / ⟨p, (C + λI) p⟩,  …,  p ← z + (⟨r', z'⟩ / ⟨r, z⟩) p

    The system, its solution and the residual at which it stops are the same; there are fewer steps to it, the fewer
    the closer M is: worth it where λ is far below the largest eigenvalues.

    Registered as an `InverseCurvature` with name "conjugate-gradient".

    # Parameters

    tolerance : `float`, optional (default = `1e-3`)
        Of the relative residual ‖(C + λI)x − v‖ / ‖v‖.
    max_iterations : `int`, optional (default = `50`)
    preconditioner : `InverseCurvature`, optional (default = `None`)
        E.g. `{"type": "spectral", "rank": 20}` or `{"type": "ek-fac"}`. Its damping is λ, so leave it out there. Its
        curvature is its own, but for `gauss-newton` where that of the system is; its examples are those of the system
        unless it has `num_examples` of its own, of which a few may do.
    damping, curvature, num_examples, seed
        See `InverseCurvature`.

    # Raises

    `ConfigurationError` if the preconditioner has another damping, or is a solver whose M is not one fixed symmetric
    matrix.
    """

    vectors_per_query = 5  # v, x, r, p and the product

    def __init__(
        self,
        damping: float = 30.0,
        curvature: str = "hessian",
        num_examples: Optional[int] = None,
        seed: int = 0,
        tolerance: float = 1e-3,
        max_iterations: int = 50,
        preconditioner: Optional[InverseCurvature] = None,
    ) -> None:
        super().__init__(damping, curvature, num_examples, seed)
        self.tolerance = tolerance
        self.max_iterations = max_iterations
        self.preconditioner: Optional[InverseCurvature] = None
        self._approximated: Optional[Tuple[Curvature, Curvature]] = None
        if preconditioner is not None:
            self.preconditioner = self._fitted(preconditioner)
            self.vectors_per_query += self.preconditioner.vectors_per_query

    def solve(self, curvature: Curvature, vectors: Tensor) -> Solution:
        """
        # Raises

        `NotSolvedError` if the curvature along a search direction is below −λ, so that the system is
        not positive definite, if the preconditioner is not, or if a product is not finite.
        """
        x = torch.zeros_like(vectors)
        r = vectors.clone()
        p = torch.zeros_like(vectors)
        norms = squares(vectors).clamp_min(torch.finfo(vectors.dtype).tiny)
        rr = squares(r)
        rz = torch.full_like(rr, torch.inf)  # before the first step: it takes nothing over
        steps = torch.zeros(len(vectors), dtype=torch.long)
        highest = torch.full((len(vectors),), -torch.inf, dtype=torch.float64)
        lowest = -highest
        for _ in range(self.max_iterations):
            active = ranks.of_the_first(torch.nonzero(rr > self.tolerance**2 * norms).flatten())
            if len(active) == 0:
                break
            left = r[active]
            z = self._preconditioned(curvature, left)
            new = dots(left, z)
            self._check_preconditioner(new)
            direction = z + (new / rz[active]).to(vectors.dtype)[:, None] * p[active]
            product = curvature.product(direction)
            quotients = (dots(direction, product) / squares(direction)).cpu()
            check_positive_definite(curvature, self.damping, quotients)
            highest[active.cpu()] = torch.maximum(highest[active.cpu()], quotients)
            lowest[active.cpu()] = torch.minimum(lowest[active.cpu()], quotients)
            product.add_(direction, alpha=self.damping)
            alpha = (new / dots(direction, product)).to(vectors.dtype)[:, None]
            x[active] += alpha * direction
            r[active] -= alpha * product
            p[active] = direction
            rz[active] = new
            rr[active] = squares(r[active])
            steps[active.cpu()] += 1
        residuals = (rr / norms).sqrt()
        diagnoses = [
            Diagnosis(
                converged=bool(residual <= self.tolerance),
                steps=int(count),
                residual=float(residual),
                lambda_max=float(high) if count else None,
                lambda_min=float(low) if count else None,
            )
            for residual, count, high, low in zip(residuals, steps, highest, lowest)
        ]
        return Solution(x, diagnoses)

    def expected_preparation_seconds(self, curvature: Curvature) -> float:
        if self.preconditioner is None:
            return 0.0
        approximated = self._curvature_of_preconditioner(curvature)
        return self.preconditioner.expected_preparation_seconds(approximated)

    def expected_passes(self, num_examples: int) -> float:
        return 4.0  # seen at the default damping and tolerance; more where curvature outweighs it

    def _fitted(self, preconditioner: InverseCurvature) -> InverseCurvature:
        """The preconditioner for this system; the caller's is left as it is."""
        name = type(preconditioner).__name__
        if isinstance(preconditioner, (ConjugateGradient, Lissa)):
            raise ConfigurationError(
                f"{name} can't be a preconditioner of conjugate-gradient: it is not one symmetric matrix for every "
                "vector; take spectral or ek-fac"
            )
        parameters = inspect.signature(type(preconditioner)).parameters
        left_out = parameters["damping"].default if "damping" in parameters else None
        if preconditioner.damping not in (self.damping, left_out):
            raise ConfigurationError(
                f"the preconditioner {name} has damping {preconditioner.damping:g} and the system {self.damping:g}; leave "
                "the preconditioner's out: it takes the system's"
            )
        fitted = copy.copy(preconditioner)
        fitted.damping = self.damping
        if self.kind == "gauss-newton":
            fitted.kind = self.kind
        return fitted

    def _preconditioned(self, curvature: Curvature, vectors: Tensor) -> Tensor:
        """z = M⁻¹ r."""
        if self.preconditioner is None:
            return vectors
        return self.preconditioner.apply(self._curvature_of_preconditioner(curvature), vectors)

    def _curvature_of_preconditioner(self, curvature: Curvature) -> Curvature:
        own = self.preconditioner
        if own.num_examples is None and own.kind == curvature.kind:
            return curvature
        if self._approximated is None or self._approximated[0] is not curvature:
            training_set = curvature.training_set
            if own.num_examples is None:
                approximated = Curvature(training_set, own.kind, self.num_examples, self.seed)
            else:
                approximated = own.curvature_of(training_set)
            self._approximated = (curvature, approximated)
        return self._approximated[1]

    def _check_preconditioner(self, rz: Tensor) -> None:
        if self.preconditioner is None or bool((rz > 0).all()):
            return
        raise NotSolvedError(
            f"the preconditioner {type(self.preconditioner).__name__} is not positive definite (⟨r, M⁻¹r⟩ = "
            f"{rz.min().item():.3g}); leave it out, or set its curvature to gauss-newton"
        )


def check_finite(values: Tensor) -> None:
    """
    # Raises

    `NotSolvedError` if a value that came from a curvature product is not finite.
    """
    if not torch.isfinite(values).all():
        raise NotSolvedError(
            "a curvature product is not finite: the model's loss or its derivatives overflow on some "
            "training example"
        )


def check_positive_definite(curvature: Curvature, damping: float, quotients: Tensor) -> None:
    """
    # Raises

    `NotSolvedError` if C + λI is not positive definite by one of the Rayleigh quotients of C, or one is not finite.
    """
    check_finite(quotients)
    worst = quotients.min().item()
    if worst <= -damping:
        raise NotSolvedError(
            f"the {curvature.kind} has curvature {worst:.3g} along a search direction, so with damping "
            f"{damping:g} the system is not positive definite and its solution is not a prediction "
            f"of anything; set damping above {-worst:.3g}"
            + (", or curvature to gauss-newton" if curvature.kind == "hessian" else "")
        )
