"""Conjugate gradient on the whole training set, a block of queries at a time."""

from typing import Optional

import torch
from torch import Tensor

from allennlp_influence.engine.curvature import Curvature
from allennlp_influence.engine.inverse_curvature import (
    Diagnosis,
    InverseCurvature,
    NotSolvedError,
    Solution,
)
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

    Registered as an `InverseCurvature` with name "conjugate-gradient".

    # Parameters

    tolerance : `float`, optional (default = `1e-3`)
        Of the relative residual ‖(C + λI)x − v‖ / ‖v‖.
    max_iterations : `int`, optional (default = `50`)
    damping, curvature, num_examples, seed
        See `InverseCurvature`.
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
    ) -> None:
        super().__init__(damping, curvature, num_examples, seed)
        self.tolerance = tolerance
        self.max_iterations = max_iterations

    def solve(self, curvature: Curvature, vectors: Tensor) -> Solution:
        """
        # Raises

        `NotSolvedError` if the curvature along a search direction is below −λ, so that the system is
        not positive definite, or if a product is not finite.
        """
        x = torch.zeros_like(vectors)
        r = vectors.clone()
        p = vectors.clone()
        norms = squares(vectors).clamp_min(torch.finfo(vectors.dtype).tiny)
        rr = squares(r)
        steps = torch.zeros(len(vectors), dtype=torch.long)
        highest = torch.full((len(vectors),), -torch.inf, dtype=torch.float64)
        lowest = -highest
        for _ in range(self.max_iterations):
            active = torch.nonzero(rr > self.tolerance**2 * norms).flatten()
            if len(active) == 0:
                break
            direction = p[active]
            product = curvature.product(direction)
            quotients = (dots(direction, product) / squares(direction)).cpu()
            self._check(curvature, quotients)
            highest[active.cpu()] = torch.maximum(highest[active.cpu()], quotients)
            lowest[active.cpu()] = torch.minimum(lowest[active.cpu()], quotients)
            product.add_(direction, alpha=self.damping)
            alpha = (rr[active] / dots(direction, product)).to(vectors.dtype)[:, None]
            x[active] += alpha * direction
            r[active] -= alpha * product
            new = squares(r[active])
            p[active] = r[active] + (new / rr[active]).to(vectors.dtype)[:, None] * direction
            rr[active] = new
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

    def expected_passes(self, num_examples: int) -> float:
        return 4.0  # seen at the default damping and tolerance; more where curvature outweighs damping

    def _check(self, curvature: Curvature, quotients: Tensor) -> None:
        if not torch.isfinite(quotients).all():
            raise NotSolvedError(
                "a curvature product is not finite: the model's loss or its derivatives overflow on some "
                "training example"
            )
        worst = quotients.min().item()
        if worst <= -self.damping:
            raise NotSolvedError(
                f"the {curvature.kind} has curvature {worst:.3g} along a search direction, so with damping "
                f"{self.damping:g} the system is not positive definite and its solution is not a prediction "
                f"of anything; set damping above {-worst:.3g}"
                + (", or curvature to gauss-newton" if curvature.kind == "hessian" else "")
            )

