"""Products of the training loss's curvature with blocks of vectors."""

from typing import Dict, List, Optional

import torch
from allennlp.common import Tqdm
from allennlp.common.checks import ConfigurationError
from torch import Tensor
from torch.func import jvp, vmap

from allennlp_influence.engine.batch import Batch
from allennlp_influence.engine.objective import Objective
from allennlp_influence.engine.training_set import TrainingSet

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
    vectors_at_once : `int`, optional (default = `16`)
        How many vectors share one forward and backward pass; a matter of speed and memory only.
    """

    def __init__(
        self,
        training_set: TrainingSet,
        kind: str = "hessian",
        num_examples: Optional[int] = None,
        seed: int = 0,
        vectors_at_once: int = 16,
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
        self.batches: List[Batch] = training_set.batches(self.positions)
        self._vectors_at_once = vectors_at_once
        self._batched: Optional[bool] = None

    def product(self, vectors: Tensor) -> Tensor:
        """C·v for every row of `vectors`, `(num_vectors, space.size)`, over all of the examples."""
        result = torch.zeros_like(vectors)
        for batch in Tqdm.tqdm(self.batches, desc=f"{self.kind} products", leave=False):
            self.add_product(batch, vectors, result, 1 / len(self.positions))
        return result

    def add_product(
        self, batch: Batch, vectors: Tensor, result: Tensor, weight: float
    ) -> None:
        """Add to `result` the sum of C_i·v over the examples of one batch, times `weight`."""
        multiply = self._hessian if self.kind == "hessian" else self._gauss_newton
        with self.objective.differentiable_twice():
            for block, into in zip(
                vectors.split(self._vectors_at_once), result.split(self._vectors_at_once)
            ):
                start = 0
                for product in multiply(batch, self.objective.space.unflatten(block)):
                    size = product[0].numel()
                    part = into[:, start : start + size]
                    part.add_(product.reshape(len(block), size), alpha=weight)
                    start += size

    def _hessian(self, batch: Batch, vectors: Dict[str, Tensor]) -> List[Tensor]:
        """∇⟨∇L, v⟩ by a second backward pass; the first is shared by the block."""
        parameters = self.objective.leaves()
        theta = list(parameters.values())
        loss = self.objective.losses(parameters, batch).sum()
        gradients = torch.autograd.grad(loss, theta, create_graph=True)
        return self._pull_back(gradients, theta, list(vectors.values()))

    def _gauss_newton(self, batch: Batch, vectors: Dict[str, Tensor]) -> List[Tensor]:
        """Jᵀ (diag(p) − p pᵀ) J v: forward through the tangents, backward through the logits."""
        parameters = self.objective.leaves()
        theta = list(parameters.values())
        logits = self.objective.logits(parameters, batch)
        tangents = self._tangents(batch, vectors, logits, theta)  # (vectors, batch, classes)
        p = logits.detach().softmax(dim=-1)
        weighted = p * tangents
        cotangents = weighted - p * weighted.sum(dim=-1, keepdim=True)
        return self._pull_back([logits], theta, [cotangents])

    def _tangents(
        self, batch: Batch, vectors: Dict[str, Tensor], logits: Tensor, theta: List[Tensor]
    ) -> Tensor:
        """J·v `(num_vectors, batch_size, num_classes)`."""
        if not self.objective.forward_mode:
            # Jᵀu is linear in u, so its derivative along v is J·v: two backward passes.
            dummy = torch.zeros_like(logits, requires_grad=True)
            pulled = torch.autograd.grad(logits, theta, dummy, create_graph=True)
            return self._pull_back(pulled, [dummy], list(vectors.values()))[0]

        def push(tangent: Dict[str, Tensor]) -> Tensor:
            primals = (self.objective.parameters,)
            return jvp(lambda p: self.objective.logits(p, batch), primals, (tangent,))[1]

        return self._over_vectors(lambda: vmap(push)(vectors), lambda: _stack(push, vectors))

    def _pull_back(
        self, outputs: List[Tensor], inputs: List[Tensor], cotangents: List[Tensor]
    ) -> List[Tensor]:
        """Vector-Jacobian products of a block of cotangents `(num_vectors, *output.shape)`."""

        def together() -> List[Tensor]:
            return list(
                torch.autograd.grad(
                    outputs, inputs, cotangents, is_grads_batched=True, retain_graph=True
                )
            )

        def one_by_one() -> List[Tensor]:
            rows = [
                torch.autograd.grad(outputs, inputs, list(row), retain_graph=True)
                for row in zip(*cotangents)
            ]
            return [torch.stack(column) for column in zip(*rows)]

        return self._over_vectors(together, one_by_one)

    def _over_vectors(self, together, one_by_one):
        """Batch over the vectors where the model's operations allow it; find out at the first call."""
        if self._batched is None:
            try:
                result = together()
                self._batched = True
                return result
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:
                self._batched = False
                self.objective.notes.append(
                    "curvature products take one vector at a time: "
                    f"{str(error).splitlines()[0]}"
                )
        return together() if self._batched else one_by_one()


def _stack(push, vectors: Dict[str, Tensor]) -> Tensor:
    count = len(next(iter(vectors.values())))
    return torch.stack([push({n: v[i] for n, v in vectors.items()}) for i in range(count)])
