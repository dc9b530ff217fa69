"""Products of the training loss's curvature with blocks of vectors."""

import hashlib
import json
from typing import Callable, Iterable, Iterator, List, Optional, Sequence, Tuple

import torch
from allennlp.common.checks import ConfigurationError
from torch import Tensor

from allennlp_influence.engine import ranks
from allennlp_influence.engine.batch import Batch
from allennlp_influence.engine.kept_gradients import KeptGradients
from allennlp_influence.engine.objective import Objective
from allennlp_influence.engine.per_example import (
    GradientsByName,
    add_weighted_sums,
    inner_products,
)
from allennlp_influence.engine.progress import progress
from allennlp_influence.engine.store import Tensors
from allennlp_influence.engine.training_set import Bucket, TrainingSet

KINDS = ("hessian", "gauss-newton")


class Curvature:
    """
    The mean curvature C = (1/n) Σ_i C_i of the training loss at θ, as an operator.

    `hessian` is C_i = ∇²L_i, which can be indefinite; `gauss-newton` is C_i = J_iᵀ (diag(p_i) − p_i p_iᵀ) J_i
    with J_i the Jacobian of the logits and p_i the predicted probabilities: the Hessian without the term of
    the logits' own second derivative, and never negative.

    # Parameters

    training_set : `TrainingSet`, required
    kind : `str`, optional (default = `"hessian"`)
        `hessian` or `gauss-newton`.
    num_examples : `int`, optional (default = `None`)
        Take the mean over a random subset of this size; over all N by default.
    seed : `int`, optional (default = `0`)
        Of the subset.
    vectors_at_once : `int`, optional (default = `2`)
        How many Hessian products go through the second backward pass together; a matter of speed and memory only (on
        a CPU more of them leave its cache).
    """

    def __init__(
        self,
        training_set: TrainingSet,
        kind: str = "hessian",
        num_examples: Optional[int] = None,
        seed: int = 0,
        vectors_at_once: int = 2,
    ) -> None:
        if kind not in KINDS:
            raise ConfigurationError(f"curvature {kind!r} is not one of {', '.join(KINDS)}")
        if num_examples is not None and num_examples < 1:
            raise ConfigurationError(f"curvature over {num_examples} examples: take at least 1")
        self.training_set = training_set
        self.objective: Objective = training_set.objective
        self.kind = kind
        size = len(training_set)
        generator = torch.Generator().manual_seed(seed)
        self.positions: List[int] = (
            torch.randperm(size, generator=generator)[:num_examples].sort().values.tolist()
            if num_examples is not None and num_examples < size
            else list(range(size))
        )
        self.buckets: List[Bucket] = training_set.buckets_of(self.positions)
        self.batches: List[Batch] = [batch for _, batch in self.buckets]
        self.kept_rows: Optional[KeptGradients] = None
        self._vectors_at_once = vectors_at_once
        self._batched: Optional[bool] = None

    def kept(self, name: str, compute: Callable[[], Tensors]) -> Tensors:
        """Tensors that depend on this curvature and nothing else, computed once; see `Store`."""
        digest = hashlib.sha256(json.dumps(self.positions).encode()).hexdigest()[:16]
        return self.training_set.store.get(f"{self.kind}-{digest}-{name}", compute)

    def rows(self, number: int) -> Iterator[Tuple[slice, List[GradientsByName]]]:
        """`PerExampleGradients.of_curvature` of one of `batches`, kept or computed."""
        if self.kept_rows is None:
            yield from self.training_set.gradients.of_curvature(self.batches[number])
        else:
            yield slice(None), self.kept_rows[number]

    def keep_rows(self, most_gigabytes: float) -> float:
        """
        Keeps `rows` of all batches, unless they take more than so many GB, or can't be read off the model's modules; gives
        how much they take.
        """
        if self.kept_rows is None and self.training_set.gradients.by_module:
            of_curvature = self.training_set.gradients.of_curvature
            kept = KeptGradients(
                self.batches, lambda batch: next(of_curvature(batch))[1], self.kept, "rows"
            )
            if kept.gigabytes <= most_gigabytes:
                kept.compute()
                self.kept_rows = kept
        return self.kept_rows.gigabytes if self.kept_rows is not None else 0.0

    def product(self, vectors: Tensor) -> Tensor:
        """C·v for every row of `vectors`, `(num_vectors, space.size)`, over all of the examples."""
        result = torch.zeros_like(vectors)
        weight = 1 / len(self.positions)
        for number in progress(ranks.share(range(len(self.batches))), f"{self.kind} products"):
            if self.kind == "gauss-newton":
                self._add_gauss_newton(self.rows(number), vectors, result, weight)
            else:
                self._add_hessian(self.batches[number], vectors, result, weight)
        return ranks.add_up(result)

    def add_product(
        self, batch: Batch, vectors: Tensor, result: Tensor, weight: float
    ) -> None:
        """Add to `result` the sum of C_i·v over the examples of one batch, times `weight`."""
        if self.kind == "gauss-newton":
            rows = self.training_set.gradients.of_curvature(batch)
            self._add_gauss_newton(rows, vectors, result, weight)
        else:
            self._add_hessian(batch, vectors, result, weight)

    def seconds_per_product(self, num_vectors: int) -> float:
        """About how long a product with so many vectors takes, from one batch of middling length, measured."""
        _, batch = self.buckets[len(self.buckets) // 2]
        vectors = self.objective.gradient(batch).expand(num_vectors, -1).clone()
        result = torch.zeros_like(vectors)
        for _ in range(2):  # the first time is slower
            start = self.objective.clock()
            self.add_product(batch, vectors, result, 1.0)
        return (self.objective.clock() - start) * len(self.positions) / len(batch.labels)

    def _add_gauss_newton(
        self,
        parts: Iterable[Tuple[slice, List[GradientsByName]]],
        vectors: Tensor,
        result: Tensor,
        weight: float,
    ) -> None:
        """Σ_ir b_ir ⟨b_ir, v⟩ with the rows b of the square root, see `PerExampleGradients.of_curvature`."""
        unflatten = self.objective.space.unflatten
        for _, rows in parts:
            for gradients in rows:
                inner = inner_products(gradients, unflatten(vectors))
                add_weighted_sums(gradients, inner.mul_(weight), unflatten(result))

    def _add_hessian(
        self, batch: Batch, vectors: Tensor, result: Tensor, weight: float
    ) -> None:
        """∇⟨∇L, v⟩ by a second backward pass; the first is shared by a block."""
        parameters = self.objective.leaves()
        theta = list(parameters.values())
        with self.objective.differentiable_twice():
            loss = self.objective.losses(parameters, batch).sum()
            gradients = torch.autograd.grad(loss, theta, create_graph=True)
            for block, into in zip(
                vectors.split(self._vectors_at_once), result.split(self._vectors_at_once)
            ):
                views = self.objective.space.unflatten(block)
                products = self._pull_back(gradients, theta, list(views.values()))
                for name, part in zip(parameters, products):
                    self.objective.space.unflatten(into)[name].add_(part, alpha=weight)

    def _pull_back(
        self, outputs: Sequence[Tensor], inputs: List[Tensor], cotangents: List[Tensor]
    ) -> List[Tensor]:
        """
        Vector-Jacobian products of a block of cotangents `(num_vectors, *output.shape)`: all at once where the
        model's operations allow it, which is found out at the first call.
        """
        if self._batched is not False:
            try:
                products = torch.autograd.grad(
                    outputs, inputs, cotangents, is_grads_batched=True, retain_graph=True
                )
                self._batched = True
                return list(products)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:
                if self._batched:
                    raise
                self._batched = False
                self.objective.notes.append(
                    "curvature products take one vector at a time: "
                    f"{str(error).splitlines()[0]}"
                )
        rows = [
            torch.autograd.grad(outputs, inputs, list(row), retain_graph=True)
            for row in zip(*cotangents)
        ]
        return [torch.stack(column) for column in zip(*rows)]
