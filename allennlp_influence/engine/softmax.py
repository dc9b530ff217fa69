"""The cross-entropy of a softmax as a function of its logits: gradient, and a square root of its curvature."""

from typing import Tuple

import torch
from torch import Tensor


def loss_gradient(logits: Tensor, labels: Tensor) -> Tensor:
    """∂L/∂z = p − y `(batch_size, num_classes)`."""
    gradient = logits.softmax(-1)
    gradient[torch.arange(len(labels)), labels] -= 1
    return gradient


def curvature_factor(logits: Tensor) -> Tensor:
    """
    S `(num_classes − 1, batch_size, num_classes)` with Σ_r S_r S_rᵀ = diag(p) − p pᵀ = ∂²L/∂z².

    The choice of a class as a sequence of yes-or-no questions: with σ_r the probability of r among r, r + 1, …, whose
    joint probability is P_r, and w_r the probabilities of the later ones among themselves,

        S_r = √(P_r σ_r (1 − σ_r)) (e_r − w_r).

    No difference of nearly equal numbers occurs in it. For two classes S = √(p₀p₁) (1, −1).
    """
    scales, directions = curvature_steps(logits)
    return scales[:, :, None] * directions


def curvature_steps(logits: Tensor) -> Tuple[Tensor, Tensor]:
    """The two factors of S: √(P_r σ_r (1 − σ_r)) `(num_classes − 1, batch_size)` and e_r − w_r, see above."""
    num_classes = logits.shape[-1]
    log_p = logits.log_softmax(-1)
    scales, directions = [], []
    for r in range(num_classes - 1):
        later = logits[:, r + 1 :]
        odds = logits[:, r] - later.logsumexp(-1)
        log_joint = log_p[:, r:].logsumexp(-1)
        log_variance = (
            log_joint
            + torch.nn.functional.logsigmoid(odds)
            + torch.nn.functional.logsigmoid(-odds)
        )
        scales.append((log_variance / 2).exp())
        direction = torch.zeros_like(logits)
        direction[:, r] = 1
        direction[:, r + 1 :] = -later.softmax(-1)
        directions.append(direction)
    return torch.stack(scales), torch.stack(directions)


def loss_in_curvature_rows(logits: Tensor, labels: Tensor) -> Tensor:
    """
    β `(num_classes − 1, batch_size)` with p − y = Σ_r β_r S_r: the gradient of a loss as a combination of the rows
    of its curvature. In float64, since S_r vanishes as the prediction becomes certain and β_r grows as it does.
    """
    logits = logits.double()
    scales, directions = curvature_steps(logits)
    left = loss_gradient(logits, labels)
    beta = torch.empty_like(scales)
    for r in range(len(scales)):  # unit lower triangular in the classes
        beta[r] = left[:, r]
        left = left - beta[r][:, None] * directions[r]
    return beta / scales
