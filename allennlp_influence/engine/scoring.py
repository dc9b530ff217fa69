"""Scores of all training examples for a block of solved queries."""

import torch
from allennlp.common import Tqdm
from torch import Tensor
from torch.func import jvp

from allennlp_influence.engine.batch import Batch
from allennlp_influence.engine.per_example import PerExampleGradients
from allennlp_influence.engine.training_set import TrainingSet


class Scorer:
    """
    `score[q, i] = ⟨∇L_i(y_i), x_q⟩ / N` for every training example i, where x_q = (C + λI)⁻¹ ∇L_q.

    It is the first-order prediction of how much the loss of query q rises when training example i is
    removed (Koh & Liang 2017, eq. 2 with −1/N for ε; Han et al. 2020, eq. 1): positive means that the
    example supports what is explained.

    One query is a forward-mode derivative of all losses along x_q; several are products with per-example
    gradients, module by module. A model that neither reaches is scored by one backward pass an example,
    exactly and slowly.

    # Parameters

    training_set : `TrainingSet`, required
    """

    def __init__(self, training_set: TrainingSet) -> None:
        self._training_set = training_set
        self._objective = training_set.objective
        self._per_example = PerExampleGradients(self._objective)
        self._check()

    def scores(self, solved: Tensor) -> Tensor:
        """
        # Parameters

        solved : `Tensor`, required
            x_q, `(num_queries, space.size)`.

        # Returns

        `Tensor`
            `(num_queries, N)`, in nats.
        """
        size = len(self._training_set)
        scores = torch.empty(len(solved), size, dtype=solved.dtype)
        method = self._method(len(solved))
        for positions, batch in Tqdm.tqdm(self._training_set.buckets, desc="scores", leave=False):
            scores[:, positions] = method(batch, solved).T.cpu() / size
        return scores

    def _method(self, num_queries: int):
        if self._objective.forward_mode and (num_queries == 1 or not self._per_example_works):
            return self._forward_mode
        return self._per_example.inner_products if self._per_example_works else self._one_by_one

    def _forward_mode(self, batch: Batch, vectors: Tensor) -> Tensor:
        """Directional derivatives of the losses, `(batch_size, num_vectors)`."""
        objective = self._objective
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

    def _one_by_one(self, batch: Batch, vectors: Tensor) -> Tensor:
        """One backward pass an example; works for whatever can be trained."""
        objective = self._objective
        parameters = objective.leaves()
        losses = objective.losses(parameters, batch)
        rows = []
        for loss in losses:
            gradients = torch.autograd.grad(loss, list(parameters.values()), retain_graph=True)
            flat = objective.space.flatten(dict(zip(parameters, gradients)))
            rows.append(vectors @ flat)
        return torch.stack(rows)

    def _check(self) -> None:
        """
        Per-example gradients are read off modules; find out on a few examples whether that sees all of
        them (a weight used other than by calling its module would be missed).
        """
        self._per_example_works = False
        if self._per_example.missing:
            self._note(f"it trains a {', '.join(self._per_example.missing)}")
            return
        batch = self._training_set.batch(range(min(4, len(self._training_set))))
        generator = torch.Generator().manual_seed(0)
        probe = torch.stack(
            [torch.randn(self._objective.space.size, generator=generator) for _ in range(2)]
        ).to(next(iter(self._objective.parameters.values())))
        expected = self._one_by_one(batch, probe)
        try:
            found = self._per_example.inner_products(batch, probe)
        except RuntimeError as error:
            self._note(str(error).splitlines()[0])
            return
        if torch.allclose(found, expected, rtol=1e-3, atol=1e-3 * expected.abs().max().item()):
            self._per_example_works = True
        else:
            self._note("it uses a weight otherwise than by calling its module")

    def _note(self, reason: str) -> None:
        way = "one forward-mode pass a query" if self._objective.forward_mode else (
            "one backward pass an example"
        )
        self._objective.notes.append(f"training examples are scored by {way}: {reason}")
