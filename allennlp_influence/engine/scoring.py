"""Scores of all training examples for a block of solved queries."""

from typing import Callable, Iterator

import torch
from torch import Tensor
from torch.func import jvp

from allennlp_influence.engine import ranks
from allennlp_influence.engine.batch import Batch
from allennlp_influence.engine.low_rank import low_rank
from allennlp_influence.engine.per_example import GradientsByName, inner_products
from allennlp_influence.engine.progress import progress
from allennlp_influence.engine.training_set import TrainingSet


def influence_scores(training_set: TrainingSet, solved: Tensor) -> Tensor:
    """
    `score[q, i] = ⟨∇L_i(y_i), x_q⟩ / N` for every training example i, where x_q = (C + λI)⁻¹ ∇L_q.

    It is the first-order prediction of how much the loss of query q rises when training example i is
    removed (Koh & Liang 2017, eq. 2 with −1/N for ε; Han et al. 2020, eq. 1): positive means that the
    example supports what is explained.

    # Parameters

    training_set : `TrainingSet`, required
    solved : `Tensor`, required
        x_q, `(num_queries, space.size)`.

    # Returns

    `Tensor`
        `(num_queries, N)`, in nats.
    """
    size = len(training_set)
    result = torch.zeros(len(solved), size, dtype=solved.dtype)
    by_module = training_set.gradients.by_module
    views = low_rank(training_set.objective.space.unflatten(solved)) if by_module else {}
    buckets = ranks.share(list(enumerate(training_set.buckets)))
    for number, (positions, batch) in progress(buckets, "scores"):
        if by_module:
            products = torch.cat([inner_products(own, views) for own in _of_losses(training_set, number)])
        else:
            products = inner_products_with_losses(training_set, batch, solved)
        result[:, positions] = products.T.cpu() / size
    return ranks.add_up(result)


def _of_losses(training_set: TrainingSet, number: int) -> Iterator[GradientsByName]:
    """Of the examples of a bucket, some at a time: kept, or computed."""
    if training_set.kept_gradients is not None:
        yield training_set.kept_gradients[number][0]
        return
    for _, own in training_set.gradients.of_losses(training_set.buckets[number].batch):
        yield own


def inner_products_with_losses(training_set: TrainingSet, batch: Batch, vectors: Tensor) -> Tensor:
    """
    ⟨∇L_i, v_q⟩ `(batch_size, num_vectors)`: from per-example gradients, module by module; where the model has
    modules that those can't be read off, as derivatives of all losses along v_q, one forward-mode pass a vector.
    """
    objective, gradients = training_set.objective, training_set.gradients
    if gradients.by_module or not objective.forward_mode:
        views = objective.space.unflatten(vectors)
        return torch.cat([inner_products(own, views) for _, own in gradients.of_losses(batch)])
    with objective.differentiable_twice():
        columns = [
            jvp(
                lambda p: objective.losses(p, batch),
                (objective.parameters,),
                (objective.space.unflatten(vector),),
            )[1]
            for vector in vectors
        ]
    return torch.stack(columns, dim=1)


def of_training_gradients(
    training_set: TrainingSet, measure: Callable[[GradientsByName], Tensor]
) -> Tensor:
    """
    What `measure` says `(batch_size,)` of the loss gradients of some training examples, for all of them `(N,)`.
    """
    result = torch.zeros(len(training_set), dtype=torch.float64)
    buckets = ranks.share(training_set.buckets)
    for positions, batch in progress(buckets, "training gradients"):
        for rows, own in training_set.gradients.of_losses(batch):
            result[positions[rows]] = measure(own).double().cpu()
    return ranks.add_up(result)


def squared_norms(gradients: GradientsByName) -> Tensor:
    """‖∇_i‖² over all parameters `(batch_size,)`."""
    return torch.stack([own.squared_norms() for own in gradients.values()]).sum(0)
