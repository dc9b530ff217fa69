"""Gauss-Newton, exactly, by way of a matrix as large as the training set."""

from typing import Iterator, List, Optional, Sequence, Tuple

import scipy.sparse.linalg
import torch
from allennlp.common.checks import ConfigurationError
from torch import Tensor

from allennlp_influence.engine import ranks
from allennlp_influence.engine.curvature import Curvature
from allennlp_influence.engine.gram import (
    gram_matrix,
    products_with_losses,
    seconds_of_gram_matrix,
)
from allennlp_influence.engine.inverse_curvature import (
    Diagnosis,
    InverseCurvature,
    NotSolvedError,
    Solution,
)
from allennlp_influence.engine.low_rank import low_rank
from allennlp_influence.engine.per_example import add_weighted_sums, inner_products
from allennlp_influence.engine.progress import progress
from allennlp_influence.engine.rows import squares
from allennlp_influence.engine.scoring import of_training_gradients, squared_norms
from allennlp_influence.engine.softmax import loss_in_curvature_rows

_BYTES_PER_ENTRY = 16  # of the Gram matrix in float32, its factor in float64, and what is made of them for a moment
_COLUMNS = 1024  # that are in float64 at once beside the factor


@InverseCurvature.register("gauss-newton")
class GaussNewton(InverseCurvature):
    """
    Applies (G + λI)⁻¹ exactly. G = BᵀB/n has no more than n·(C − 1) directions, with the rows b_ir of its square root
    for n examples and C classes; so by Woodbury's identity the inverse is one in n·(C − 1) dimensions:

        x = (v − Bᵀu) / λ,    u = (K + nλI)⁻¹ B v,    K = B Bᵀ.

    K costs about n² / 2 inner products of gradients, once; then every query costs a pass over the training examples
    and every λ a Cholesky factorisation. The gradient of a training loss is a combination ∇L_i = Σ_r β_ir b_ir of the
    example's own rows, so where G is over all examples, scores don't need x at all:

        score[q, i] = Σ_r β_ir u_ir.

    The Jacobian-based, "dual" form of a generalised Gauss-Newton inverse (cf. Ren & Goldfarb 2019, §4). Products in
    the model's precision, the system in float64.

    Registered as an `InverseCurvature` with name "gauss-newton".

    # Parameters

    damping : `float`, optional (default = `0.1`)
        λ; about what predicts retraining best (docs/validation.md).
    num_examples, seed
        See `InverseCurvature`. The training set's memory budget limits n·(C − 1): to 15,811 for 8 GB.
    """

    vectors_per_query = 2  # v and x

    def __init__(
        self,
        damping: float = 0.1,
        num_examples: Optional[int] = None,
        seed: int = 0,
    ) -> None:
        super().__init__(damping, "gauss-newton", num_examples, seed)
        # the curvature, λ, K and the Cholesky factor
        self._factor: Optional[Tuple[Curvature, float, Tensor, Tensor]] = None

    def prepare(self, curvature: Curvature, most_gigabytes: float) -> None:
        self._factorised(curvature)
        self._lambda_max(curvature)
        most_gigabytes -= curvature.keep_rows(most_gigabytes)
        if len(curvature.positions) < len(curvature.training_set):  # else scores need no x
            super().prepare(curvature, most_gigabytes)

    def solve(self, curvature: Curvature, vectors: Tensor) -> Solution:
        """
        # Raises

        `ConfigurationError` if the Gram matrix would be too large, `NotSolvedError` if λ is lost in its rounding.
        """
        u, diagnoses = self._dual(curvature, vectors)
        x = torch.zeros_like(vectors)
        views = curvature.objective.space.unflatten(x)
        weights = u.to(x.dtype).neg()  # (rows, n, queries)
        for begin, gradients, r in self._rows(curvature, "sums of gradients"):
            size = len(next(iter(gradients.values())))
            add_weighted_sums(gradients, weights[r, begin : begin + size].to(x.device), views)
        return Solution(ranks.add_up(x).add_(vectors).div_(self.damping), diagnoses)

    def influence(
        self, curvature: Curvature, vectors: Tensor
    ) -> Tuple[Tensor, List[Diagnosis]]:
        return next(self.influence_at(curvature, vectors, [self.damping]))

    def influence_at(
        self, curvature: Curvature, vectors: Tensor, dampings: Sequence[float]
    ) -> Iterator[Tuple[Tensor, List[Diagnosis]]]:
        """One Gram matrix and one pass over the training examples for all λ, if the curvature is of all of them."""
        if len(curvature.positions) < len(curvature.training_set):
            for damping in dampings:
                yield super(GaussNewton, self.at(damping)).influence(curvature, vectors)
            return
        order = torch.cat([positions for positions, _ in curvature.buckets])
        beta = self._loss_rows(curvature)
        projected = self._projected(curvature, vectors)
        for damping in dampings:
            solver = self if damping == self.damping else self.at(damping)
            u, diagnoses = solver._dual(curvature, vectors, projected)
            scores = torch.empty(len(vectors), len(order), dtype=vectors.dtype)
            scores[:, order] = (beta[:, :, None] * u).sum(0).T.to(vectors.dtype)
            yield scores, diagnoses

    def self_influence(self, curvature: Curvature) -> Tensor:
        """
        β_iᵀ [(K + nλI)⁻¹ K]_ii β_i = ‖β_i‖² − nλ ‖L⁻¹ β_i‖², with L Lᵀ = K + nλI, without another pass over the data;
        where the curvature is of a subset, by Woodbury's identity [‖∇L_i‖² − (B∇L_i)ᵀ (K + nλI)⁻¹ B∇L_i] / (λN), which
        takes the products of all training gradients with the rows of the subset. That is a difference, whose rounding is
        that of ‖∇L_i‖² / (λN).
        """
        size = len(curvature.positions)
        if size < len(curvature.training_set):
            return self._self_influence_by_subset(curvature)
        _, factor = self._factorised(curvature)
        beta = self._loss_rows(curvature)
        values = beta.square().sum(0)
        for begin in range(0, size, _COLUMNS):
            own = beta[:, begin : begin + _COLUMNS].T  # the rows of an example together, as in K
            first = begin * len(beta)  # above it L⁻¹ β is zero
            columns = torch.block_diag(*own[:, :, None])
            right = factor.new_zeros(len(factor) - first, len(own))
            right[: len(columns)] = columns
            solved = torch.linalg.solve_triangular(factor[first:, first:], right, upper=False)
            values[begin : begin + len(own)] -= size * self.damping * solved.square_().sum(0)
        order = torch.cat([positions for positions, _ in curvature.buckets])
        result = torch.empty(size)
        result[order] = values.float()
        return result

    def change_without(
        self, curvature: Curvature, vectors: Tensor, positions: Sequence[int]
    ) -> Tensor:
        """
        ⟨v_q, δ⟩ `(num_queries,)`, in float64, where δ is how θ moves when the training examples S at `positions` are
        removed, exactly for the model that is linear in θ with its loss to second order: their curvature goes too,

            δ = (G − G_S/n + λI)⁻¹ Σ_S ∇L_i / n.

        Sums of scores leave G as it is. By Woodbury's identity on the rows of S, with u of v_q and β of the losses,

            ⟨v_q, δ⟩ = u_Sᵀ ([(K + nλI)⁻¹]_SS)⁻¹ β_S / (nλ),

        which for a single example is the leave-one-out formula of ridge regression, score / (1 − leverage).

        # Parameters

        curvature : `Curvature`, required
            Over all training examples.
        vectors : `Tensor`, required
            v_q `(num_queries, space.size)`, such as gradients of logits.
        positions : `Sequence[int]`, required
            In training order, from 0.

        # Raises

        `ConfigurationError` if the curvature is over a subset of the training examples.
        """
        size = len(curvature.positions)
        if size < len(curvature.training_set):
            raise ConfigurationError(
                "what removing training examples changes takes the curvature over all of them: leave out num_examples"
            )
        order = torch.cat([positions for positions, _ in curvature.buckets])
        removed = torch.isin(order, torch.tensor(list(positions)))
        u, _ = self._dual(curvature, vectors)
        u = u.transpose(0, 1)[removed].flatten(0, 1)  # the rows of an example together, as in K
        beta = self._loss_rows(curvature).T[removed].flatten()
        _, factor = self._factorised(curvature)
        columns = removed.repeat_interleave(len(factor) // size).nonzero().T
        unit = torch.zeros(len(factor), columns.shape[1], dtype=factor.dtype).scatter_(0, columns, 1)
        left = torch.linalg.solve_triangular(factor, unit, upper=False)
        block = torch.linalg.cholesky(left.T @ left)  # of [(K + nλI)⁻¹]_SS
        return u.T @ torch.cholesky_solve(beta[:, None], block)[:, 0] / (size * self.damping)

    def _self_influence_by_subset(self, curvature: Curvature) -> Tensor:
        training_set = curvature.training_set
        _, factor = self._factorised(curvature)
        values = of_training_gradients(training_set, squared_norms)
        products = products_with_losses(curvature)
        for begin in range(0, len(training_set), _COLUMNS):
            some = slice(begin, begin + _COLUMNS)
            solved = torch.linalg.solve_triangular(factor, products[:, some].double(), upper=False)
            values[some] -= solved.square_().sum(0)
        return (values.clamp_min_(0) / (self.damping * len(training_set))).to(products.dtype)

    def no_self_influence(self, curvature: Curvature) -> Optional[str]:
        if len(curvature.positions) == len(curvature.training_set):
            return None
        return (
            "self-influence by the curvature of a subset would take the products of all training gradients with it; "
            "leave out num_examples of gauss-newton, or choose ek-fac"
        )

    def expected_preparation_seconds(self, curvature: Curvature) -> float:
        return seconds_of_gram_matrix(curvature)

    def expected_passes(self, num_examples: int) -> float:
        return 1.0  # beside the Gram matrix

    def _projected(self, curvature: Curvature, vectors: Tensor) -> Tensor:
        """B v `(n·rows, num_queries)`, in float64 and the order of the buckets."""
        size, num_rows = _checked_size(curvature), curvature.objective.num_classes - 1
        projected = torch.zeros(size, num_rows, len(vectors), dtype=torch.float64)
        views = low_rank(curvature.objective.space.unflatten(vectors))
        for begin, gradients, r in self._rows(curvature, "products with the queries"):
            inner = inner_products(gradients, views)
            projected[begin : begin + len(inner), r] = inner.double().cpu()
        return ranks.add_up(projected).flatten(0, 1)

    def _dual(
        self, curvature: Curvature, vectors: Tensor, projected: Optional[Tensor] = None
    ) -> Tuple[Tensor, List[Diagnosis]]:
        """
        u `(rows, n, num_queries)`, in float64 and the order of the buckets. The residual (G + λI)x − v is
        Bᵀρ / (nλ) with ρ that of the system for u.
        """
        if projected is None:
            projected = self._projected(curvature, vectors)
        gram, factor = self._factorised(curvature)
        size = len(curvature.positions)
        num_rows = len(factor) // size
        u = torch.cholesky_solve(projected, factor)
        rho = _times(gram, u) + size * self.damping * u - projected
        left = (rho * _times(gram, rho)).sum(0).clamp_min(0)
        energies = (squares(vectors).cpu() - (projected * u).sum(0)) / self.damping
        norms = squares(vectors).sqrt().cpu().clamp_min(torch.finfo(torch.float64).tiny)
        lambda_max = self._lambda_max(curvature)
        diagnoses = [
            Diagnosis(
                converged=True,
                steps=0,
                residual=float(residual),
                lambda_max=lambda_max,
                lambda_min=0.0,
                energy=float(energy),
            )
            for residual, energy in zip(left.sqrt() / (size * self.damping) / norms, energies)
        ]
        return u.unflatten(0, (size, num_rows)).transpose(0, 1), diagnoses

    def _factorised(self, curvature: Curvature) -> Tuple[Tensor, Tensor]:
        """K and the Cholesky factor of K + nλI, `(n·rows, n·rows)`."""
        if self._factor is None or self._factor[:2] != (curvature, self.damping):
            size = _checked_size(curvature)
            if self._factor is not None and self._factor[0] is curvature:
                gram = self._factor[2]
            else:
                gram = gram_matrix(curvature).flatten(2, 3).flatten(0, 1).cpu()
            damped = gram.to(torch.float64, copy=True)
            damped.diagonal().add_(size * self.damping)
            failed = torch.zeros((), dtype=torch.int32)
            torch.linalg.cholesky_ex(damped, out=(damped, failed))  # in place
            if failed:
                raise NotSolvedError(
                    f"gauss-newton: the damping {self.damping:g} is lost in the rounding of the Gram matrix, whose largest "
                    f"entry is {float(gram.abs().max()):.3g}: take a larger one"
                )
            self._factor = (curvature, self.damping, gram, damped)
        return self._factor[2:]

    def _lambda_max(self, curvature: Curvature) -> float:
        """The largest eigenvalue of G, that of K / n."""
        gram, _ = self._factorised(curvature)

        def compute() -> dict:
            start = torch.ones(len(gram)).numpy()
            value = scipy.sparse.linalg.eigsh(
                gram.numpy(), k=1, v0=start, tol=1e-4, return_eigenvectors=False
            )
            return {"value": torch.tensor(value, dtype=torch.float64)}

        if len(gram) < 3:  # too small for Lanczos
            return float(torch.linalg.eigvalsh(gram.double())[-1]) / len(curvature.positions)
        return float(curvature.kept("gram-largest", compute)["value"]) / len(curvature.positions)

    def _loss_rows(self, curvature: Curvature) -> Tensor:
        """β `(rows, n)` in the order of the buckets, float64."""
        objective = curvature.objective

        def compute() -> dict:
            with torch.no_grad():
                parts = [
                    loss_in_curvature_rows(objective.logits(objective.parameters, batch), batch.labels)
                    for batch in curvature.batches
                ]
            return {"beta": torch.cat(parts, dim=1).cpu()}

        return curvature.kept("loss-rows", compute)["beta"]

    def _rows(self, curvature: Curvature, stage: str):
        """The rows b_ir of this process's share of the examples: where a part begins, its gradients, and r."""
        begins = [0]
        for batch in curvature.batches:
            begins.append(begins[-1] + len(batch.labels))
        for number in progress(ranks.share(range(len(curvature.batches))), stage):
            for part, rows in curvature.rows(number):
                start = part.indices(len(curvature.batches[number].labels))[0]
                for r, gradients in enumerate(rows):
                    yield begins[number] + start, gradients, r


def _checked_size(curvature: Curvature) -> int:
    size, num_rows = len(curvature.positions), curvature.objective.num_classes - 1
    needed = (size * num_rows) ** 2 * _BYTES_PER_ENTRY
    budget = curvature.training_set.memory_budget.matrix * 1e9
    if needed > budget:
        most = int((budget / _BYTES_PER_ENTRY) ** 0.5) // num_rows
        raise ConfigurationError(
            f"gauss-newton over {size:,} examples of {num_rows + 1} classes needs a matrix of {size * num_rows:,} rows, "
            f"{needed / 1e9:.3g} GB, above half of the memory budget: set num_examples to {most:,} or less, raise "
            "--memory-budget (memory_budget), or take the solver ek-fac"
        )
    return size


def _times(gram: Tensor, vectors: Tensor) -> Tensor:
    """K u, in float64, without a copy of all K in it."""
    return torch.cat([rows.double() @ vectors for rows in gram.split(_COLUMNS)])
