"""The proximal Bregman response function: what influence functions of a deep network approximate."""

from typing import Tuple

import torch
from allennlp.common import Tqdm
from torch import Tensor

from allennlp_influence.engine import Curvature, GaussNewton, TrainingSet

_MOST_HALVINGS = 6  # of a step after which the gradient is larger than before


def response(
    training_set: TrainingSet,
    curvature: Curvature,
    solver: GaussNewton,
    place: int,
    max_steps: int = 10,
    tolerance: float = 1e-2,
) -> Tuple[Tensor, float]:
    """
    The parameters that leaving an example out leads to if the network stays near where it is and keeps its other
    predictions (Bae et al. 2022, eq. 6):

        θ* = argmin (1/N) Σ_j D(f_j(θ), f_j(θ_s)) − (1/N) L_i(θ) + (λ/2) ‖θ − θ_s‖²

    with the model's parameters θ_s, and D the Bregman divergence of the cross-entropy, KL(p_j(θ_s) ‖ p_j(θ)). The score
    by the exact Gauss-Newton is the first step of Newton's method towards it; the others take the same matrix. A step that
    goes too far is halved.

    # Parameters

    training_set : `TrainingSet`, required
        At θ_s.
    curvature : `Curvature`, required
        Gauss-Newton, of all training examples.
    solver : `GaussNewton`, required
        With λ.
    place : `int`, required
        i.
    max_steps : `int`, optional (default = `10`)
    tolerance : `float`, optional (default = `0.01`)
        Of the gradient, relative to the first.

    # Returns

    `Tuple[Tensor, float]`
        θ* − θ_s `(space.size,)` and the gradient that is left, relative to the first.
    """
    objective = training_set.objective
    start = objective.space.flatten(objective.parameters)
    shift = torch.zeros_like(start)
    example = training_set.batch([place])
    targets = []
    with torch.no_grad():
        for _, batch in training_set.buckets:
            targets.append(objective.logits(objective.parameters, batch).softmax(-1))
    gradient = _gradient(training_set, start, shift, targets, example, solver.damping)
    first = gradient.norm()
    for _ in range(max_steps):
        if gradient.norm() <= tolerance * first:
            break
        step = solver.solve(curvature, gradient[None]).vectors[0]
        for _ in range(_MOST_HALVINGS):
            after = _gradient(training_set, start, shift - step, targets, example, solver.damping)
            if after.norm() < gradient.norm():
                break
            step /= 2
        else:  # no shorter step helps: it stays where it is
            break
        shift, gradient = shift - step, after
    return shift, float(gradient.norm() / first)


def _gradient(training_set, start, shift, targets, example, damping) -> Tensor:
    objective = training_set.objective
    at = objective.at(objective.space.unflatten(start + shift))
    size = len(training_set)
    gradient = at.gradient(example).mul_(-1 / size).add_(shift, alpha=damping)
    for (_, batch), target in zip(
        Tqdm.tqdm(training_set.buckets, desc="proximal Bregman objective", leave=False), targets
    ):
        parameters = at.leaves()
        loss = -(target * at.logits(parameters, batch).log_softmax(-1)).sum() / size
        gradients = torch.autograd.grad(loss, list(parameters.values()))
        gradient += objective.space.flatten(dict(zip(parameters, gradients)))
    return gradient
