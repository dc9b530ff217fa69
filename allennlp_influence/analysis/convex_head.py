"""The last linear layer by itself, whose training is convex: leaving one example out has one right answer."""

from typing import List, NamedTuple

import numpy
import torch
from allennlp.common.checks import ConfigurationError
from scipy.special import log_softmax, softmax
from torch import Tensor, nn

from allennlp_influence.engine import Batch, Objective, TrainingSet

_STEPS, _TOLERANCE = 50, 1e-12


class ConvexHead(NamedTuple):
    """
    The linear layer that gives a model's logits: what enters it `(N, dim)`, for examples with class indices `labels`
    `(N,)`, with a 1 at the end if it has a bias. All in float64.
    """

    features: numpy.ndarray
    labels: numpy.ndarray
    num_classes: int

    def fit(self, l2: float, weights: numpy.ndarray, start: numpy.ndarray) -> numpy.ndarray:
        """
        argmin (1/N) Σ_i w_i L_i(θ) + (l2/2) ‖θ‖², `(num_classes, dim)`, by Newton's method to a gradient of 1e-12.

        # Raises

        `ConfigurationError` if it does not get there.
        """
        theta = start.copy()
        shares = weights[:, None] / len(self.labels)
        truth = numpy.eye(self.num_classes)[self.labels]
        for _ in range(_STEPS):
            p = softmax(self.features @ theta.T, axis=1)
            gradient = ((p - truth) * shares).T @ self.features + l2 * theta
            if abs(gradient).max() < _TOLERANCE:
                return theta
            step = numpy.linalg.solve(self._hessian(p, shares, l2), gradient.ravel())
            theta -= step.reshape(theta.shape)
        raise ConfigurationError(
            f"the last layer can't be trained to its optimum with damping {l2:g}; take a larger one"
        )

    def losses(self, theta: numpy.ndarray) -> numpy.ndarray:
        """`(N,)`, in nats."""
        log_p = log_softmax(self.features @ theta.T, axis=1)
        return -log_p[numpy.arange(len(self.labels)), self.labels]

    def training_set(self, theta: numpy.ndarray) -> TrainingSet:
        """The same for the solvers: a linear layer with the weight θ, in the engine's terms."""

        def collate(positions: List[int]) -> Batch:
            own = torch.from_numpy(self.features[positions])
            return Batch({"features": own}, torch.from_numpy(self.labels[positions]))

        objective = Objective(_Linear(torch.from_numpy(theta)), ["linear.weight"], collate([0, 1]))
        return TrainingSet(objective, [1] * len(self.labels), collate)

    def _hessian(self, p: numpy.ndarray, shares: numpy.ndarray, l2: float) -> numpy.ndarray:
        dim = self.features.shape[1]
        hessian = numpy.empty((self.num_classes, dim, self.num_classes, dim))
        for a in range(self.num_classes):
            for b in range(self.num_classes):
                own = p[:, a] * ((a == b) - p[:, b]) * shares[:, 0]
                hessian[a, :, b] = (self.features * own[:, None]).T @ self.features
        flat = hessian.reshape(self.num_classes * dim, -1)
        flat[numpy.diag_indices_from(flat)] += l2
        return flat


def head_of(examples: TrainingSet, labels: numpy.ndarray) -> ConvexHead:
    """
    The head of the model that the examples are kept for, with other labels `(N,)`.

    # Raises

    `ConfigurationError` if no linear layer gives the model's logits.
    """
    objective = examples.objective
    caught: List[Tensor] = []
    rows, num_classes = [], objective.num_classes

    def catch(module: nn.Linear, inputs: Tensor, output: Tensor) -> None:
        if module.out_features == num_classes:
            ones = [inputs[0].new_ones(len(inputs[0]), 1)] if module.bias is not None else []
            caught[:] = [torch.cat([inputs[0], *ones], -1), output]

    modules = [m for m in objective.model.modules() if isinstance(m, nn.Linear)]
    handles = [module.register_forward_hook(catch) for module in modules]
    try:
        with torch.no_grad():
            for positions, batch in examples.buckets:
                logits = objective.logits(objective.parameters, batch)
                if not caught or not torch.allclose(
                    caught[1].log_softmax(-1), logits.log_softmax(-1), atol=1e-4
                ):
                    raise ConfigurationError(
                        "no linear layer gives the model's logits: there is no convex part of it to leave examples out "
                        "of; use leave-group-out"
                    )
                rows.append((positions, caught[0].double().cpu()))
    finally:
        for handle in handles:
            handle.remove()
    features = torch.empty(len(examples), rows[0][1].shape[-1], dtype=torch.float64)
    for positions, own in rows:
        features[positions] = own
    return ConvexHead(features.numpy(), numpy.asarray(labels), num_classes)


class _Linear(nn.Module):
    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False, dtype=weight.dtype)
        self.linear.weight.data.copy_(weight)

    def forward(self, features: Tensor) -> dict:
        return {"logits": self.linear(features)}
