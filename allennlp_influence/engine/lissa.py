"""LiSSA: the stochastic recursion of the paper."""

from typing import Iterator, List, Optional

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
from allennlp_influence.engine.progress import progress
from allennlp_influence.engine.rows import dots, squares

_CHECK_EVERY = 10


@InverseCurvature.register("lissa")
class Lissa(InverseCurvature):
    """
    The recursion of Agarwal et al. (2017) as Koh & Liang (2017, §3) and Han et al. (2020, §3) run it:

        c_0 = v,   c_{j+1} = v + (1 − d)·c_j − (1/s)·C_B·c_j,   x = c_J / s

    with a fresh minibatch B at every step, averaged over `repeats`. Its fixed point is
    x = (C + d·s·I)⁻¹ v, so the paper's d = 3e-3 and s = 1e4 are a damping λ = d·s = 30. Here `damping` is
    λ, as for every solver, and d = λ/s follows from it: another scale solves the same system.

    After J steps (1 − d − h/s)^(J+1) of the solution is missing in a direction of curvature h, on top of
    the noise of the minibatches. All queries of a block, and all blocks, see the same minibatches: a
    query's solution does not depend on the queries beside it.

    Registered as an `InverseCurvature` with name "lissa".

    # Parameters

    damping : `float`, optional (default = `30.0`)
        λ = d·s.
    scale : `float`, optional (default = `1e4`)
        s, above half the largest eigenvalue of any minibatch's curvature.
    depth : `int`, optional (default = `2500`)
        J, the number of steps.
    batch_size : `int`, optional (default = `8`)
        A last, shorter batch of an epoch is left out.
    repeats : `int`, optional (default = `1`)
    tolerance : `float`, optional (default = `0.25`)
        Relative residual on all examples up to which a query counts as converged; the minibatches' noise
        keeps it far above that of a deterministic solver.
    curvature, num_examples, seed
        See `InverseCurvature`; `seed` orders the minibatches too.
    """

    vectors_per_query = 4  # v, c, the product and the sum

    def __init__(
        self,
        damping: float = 30.0,
        scale: float = 1e4,
        depth: int = 2500,
        batch_size: int = 8,
        repeats: int = 1,
        tolerance: float = 0.25,
        curvature: str = "hessian",
        num_examples: Optional[int] = None,
        seed: int = 0,
    ) -> None:
        super().__init__(damping, curvature, num_examples, seed)
        for name, value in (("scale", scale), ("depth", depth), ("repeats", repeats)):
            if not value > 0:
                raise ConfigurationError(f"{name} of lissa must be positive, not {value}")
        d = damping / scale
        if not d < 1:
            raise ConfigurationError(
                f"damping {damping:g} needs a scale above it, not {scale:g}: d = damping / scale < 1"
            )
        missing = (1 - d) ** (depth + 1)
        if missing > 0.1:
            raise ConfigurationError(
                f"with damping {damping:g}, scale {scale:g} and {depth} steps, {missing:.0%} of the solution "
                f"would be missing where the curvature is flat. damping is λ, in units of the curvature (the "
                f"paper's 3e-3 at scale 1e4 is damping 30); lower scale, raise depth above "
                f"{round(3 * scale / damping)} or raise damping above {3 * scale / depth:.2g}"
            )
        self.scale, self.depth, self.batch_size = scale, depth, batch_size
        self.repeats, self.tolerance = repeats, tolerance

    def at(self, damping: float) -> "Lissa":
        """
        # Raises

        `ConfigurationError` if it needs another scale or depth.
        """
        return Lissa(
            damping,
            self.scale,
            self.depth,
            self.batch_size,
            self.repeats,
            self.tolerance,
            self.kind,
            self.num_examples,
            self.seed,
        )

    def solve(self, curvature: Curvature, vectors: Tensor) -> Solution:
        """
        # Raises

        `NotSolvedError` if the recursion diverges.
        """
        mean = torch.zeros_like(vectors)
        for repeat in range(self.repeats):
            mean.add_(self._recursion(curvature, vectors, self.seed + repeat))
        mean.div_(self.repeats * self.scale)
        product = curvature.product(mean)
        quotients = dots(mean, product) / squares(mean).clamp_min(1e-300)
        residuals = squares(product.add_(mean, alpha=self.damping).sub_(vectors)).sqrt()
        residuals /= squares(vectors).sqrt().clamp_min(1e-300)
        return Solution(
            mean,
            [
                Diagnosis(
                    converged=bool(residual <= self.tolerance),
                    steps=self.depth * self.repeats,
                    residual=float(residual),
                    lambda_max=float(quotient),
                    lambda_min=float(quotient),
                )
                for residual, quotient in zip(residuals, quotients)
            ],
        )

    def expected_passes(self, num_examples: int) -> float:
        return self.repeats * self.depth * self.batch_size / num_examples + 1  # 1 for the residual

    def _recursion(self, curvature: Curvature, vectors: Tensor, seed: int) -> Tensor:
        """c_J, `(num_queries, space.size)`."""
        current = vectors.clone()
        product = torch.empty_like(vectors)
        keep = 1 - self.damping / self.scale
        minibatches = self._minibatches(curvature, seed)
        for step in progress(range(self.depth), "lissa"):
            positions = next(minibatches)
            product.zero_()
            own = ranks.share(positions)
            if own:
                batch = curvature.training_set.batch(own)
                curvature.add_product(batch, current, product, 1 / len(positions))
            ranks.add_up(product)
            if step % _CHECK_EVERY == 0:
                self._check(step, vectors, current, product)
            current.mul_(keep).add_(vectors).sub_(product, alpha=1 / self.scale)
        self._check(self.depth, vectors, current, product)
        return current

    def _minibatches(self, curvature: Curvature, seed: int) -> Iterator[List[int]]:
        positions = torch.tensor(curvature.positions)
        size = min(self.batch_size, len(positions))
        generator = torch.Generator().manual_seed(seed)
        while True:
            order = positions[torch.randperm(len(positions), generator=generator)]
            for start in range(0, len(order) - size + 1, size):
                yield order[start : start + size].tolist()

    def _check(self, step: int, vectors: Tensor, current: Tensor, product: Tensor) -> None:
        """‖c‖ stays below ‖v‖/d where the recursion contracts; ten times that is divergence."""
        limit = 10 * self.scale / self.damping * squares(vectors).sqrt()
        norms = squares(current).sqrt()
        if bool((norms <= limit).all()):
            return
        row = int(torch.where(norms <= limit, 0, 1).argmax())
        quotient = float(dots(current, product)[row] / squares(current)[row])
        if quotient < 0:
            remedy = (
                f"the minibatches' curvature is about {quotient:.3g} there; set damping above "
                f"{-2 * quotient:.2g} or curvature to gauss-newton"
            )
        elif quotient > 0:
            remedy = (
                f"the minibatches' curvature is about {quotient:.3g} there; set scale above "
                f"{2 * quotient:.2g} (the damping stays {self.damping:g})"
            )
        else:
            remedy = f"it overflowed; set scale above {1000 * self.scale:.2g}"
        raise NotSolvedError(f"LiSSA diverged within {step} steps at scale {self.scale:g}: {remedy}")
