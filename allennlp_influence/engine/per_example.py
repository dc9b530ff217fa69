"""The gradients of single examples, read off the modules of the model."""

from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple, Type

import torch
from torch import Tensor, nn

from allennlp_influence.engine.batch import Batch
from allennlp_influence.engine.gradients import EmbeddingRows, Gradients, TokenSums, Vectors
from allennlp_influence.engine.low_rank import Views
from allennlp_influence.engine.objective import Objective
from allennlp_influence.engine.softmax import curvature_factor, loss_gradient

# For every parameter by name the gradients of some examples.
GradientsByName = Dict[str, Gradients]
# From a module, its input a and the gradient δ at its output, both (batch_size, ...): its parameters' gradients.
Rule = Callable[[nn.Module, Tensor, Tensor], Iterator[Tuple[str, Gradients]]]


class PerExampleGradients:
    """
    Gradients of the examples of a batch, one by one, without storing any: hooks catch what enters each module with
    trained parameters and the gradient at what leaves it, in one forward pass and one backward pass over the
    activations.

    Where a module has no rule (an LSTM), or a weight is used otherwise than by calling its module, each example
    has a backward pass of its own: exact and slow. `by_module` says which; it is found out on a few examples.

    # Parameters

    objective : `Objective`, required
    example : `Batch`, required
        A few prepared examples.
    """

    def __init__(self, objective: Objective, example: Batch) -> None:
        self._objective = objective
        self._modules: Dict[str, nn.Module] = {}
        for name, module in objective.model.named_modules():
            own = [f"{name}.{p}".lstrip(".") for p, _ in module.named_parameters(recurse=False)]
            if any(parameter in objective.parameters for parameter in own):
                self._modules[name] = module
        reason = self._not_by_module(example)
        self.by_module = reason is None
        if reason is not None:
            objective.notes.append(f"gradients of single examples take a backward pass each: {reason}")

    def of_losses(self, batch: Batch) -> Iterator[Tuple[slice, GradientsByName]]:
        """
        ∇L_i of the examples of a batch; the slices say which, and together are all of them.
        """
        for rows, (gradients,) in self._of_logits(batch, _loss_cotangents(batch)):
            yield rows, gradients

    def of_curvature(self, batch: Batch) -> Iterator[Tuple[slice, List[GradientsByName]]]:
        """
        The rows b_ir of Gauss-Newton's square root: J_iᵀ (diag(p_i) − p_i p_iᵀ) J_i = Σ_r b_ir b_irᵀ with r from 1
        to the number of classes less one.
        """
        yield from self._of_logits(batch, curvature_factor)

    def _of_logits(
        self, batch: Batch, cotangents: Callable[[Tensor], Tensor]
    ) -> Iterator[Tuple[slice, List[GradientsByName]]]:
        """J_iᵀ u_ir for cotangents u `(rows, batch_size, num_classes)`, given the logits."""
        if self.by_module and self._objective.has_constants(batch):
            yield slice(None), self._caught(batch, cotangents)
        else:
            yield from self._one_by_one(batch, cotangents)

    def _caught(
        self, batch: Batch, cotangents: Callable[[Tensor], Tensor]
    ) -> List[GradientsByName]:
        calls: List[Tuple[str, Tensor, Tensor]] = []

        def hook(name: str) -> Callable:
            def catch(module: nn.Module, inputs: Tuple[Any, ...], output: Tensor) -> None:
                calls.append((name, inputs[0].detach(), output))

            return catch

        handles = [m.register_forward_hook(hook(n)) for n, m in self._modules.items()]
        try:
            with self._objective.differentiable_twice():
                logits = self._objective.logits(self._objective.leaves(), batch)
        finally:
            for handle in handles:
                handle.remove()
        outputs = [output for _, _, output in calls]
        found = []
        for cotangent in cotangents(logits.detach()):
            deltas = torch.autograd.grad(
                logits, outputs, cotangent, allow_unused=True, retain_graph=True
            )
            gradients: GradientsByName = {}
            for (name, inputs, _), delta in zip(calls, deltas):
                if delta is None:
                    continue
                if len(inputs) != len(logits) or len(delta) != len(logits):
                    raise RuntimeError(f"{name} does not keep the examples of a batch apart")
                for own_name, own in RULES[type(self._modules[name])](
                    self._modules[name], inputs, delta
                ):
                    full_name = f"{name}.{own_name}".lstrip(".")
                    if full_name in gradients:
                        gradients[full_name] = gradients[full_name].plus(own)
                    elif full_name in self._objective.parameters:
                        gradients[full_name] = own
            found.append(gradients)
        return found

    def _one_by_one(
        self, batch: Batch, cotangents: Callable[[Tensor], Tensor]
    ) -> Iterator[Tuple[slice, List[GradientsByName]]]:
        parameters = self._objective.leaves()
        with self._objective.differentiable_twice():
            logits = self._objective.logits(parameters, batch)
        directions = cotangents(logits.detach())
        for i, row in enumerate(logits):
            found = []
            for direction in directions:
                gradients = torch.autograd.grad(
                    row, list(parameters.values()), direction[i], retain_graph=True
                )
                found.append({n: Vectors(g[None]) for n, g in zip(parameters, gradients)})
            yield slice(i, i + 1), found

    def _not_by_module(self, example: Batch) -> Optional[str]:
        """Why gradients can't be read off the modules; `None` if they can."""
        missing = sorted({type(m).__name__ for m in self._modules.values() if type(m) not in RULES})
        if missing:
            return f"the model trains a {', '.join(missing)}"
        if not self._objective.has_constants(example):
            return "the longest texts are folded into several rows each"
        space = self._objective.space
        generator = torch.Generator().manual_seed(0)
        probe = torch.randn(2, space.size, generator=generator)
        probe = probe.to(next(iter(self._objective.parameters.values())))
        cotangents = _loss_cotangents(example)
        expected = torch.cat(
            [inner_products(g, space.unflatten(probe)) for _, (g,) in self._one_by_one(example, cotangents)]
        )
        try:
            (gradients,) = self._caught(example, cotangents)
            found = inner_products(gradients, space.unflatten(probe))
        except RuntimeError as error:
            return str(error).splitlines()[0]
        if torch.allclose(found, expected, rtol=1e-3, atol=1e-3 * expected.abs().max().item()):
            return None
        return "it uses a weight otherwise than by calling its module"


def _loss_cotangents(batch: Batch) -> Callable[[Tensor], Tensor]:
    """∂L/∂z `(1, batch_size, num_classes)` as a function of the logits."""
    return lambda logits: loss_gradient(logits, batch.labels)[None]


def inner_products(gradients: GradientsByName, vectors: Views) -> Tensor:
    """
    ⟨∇_i, v_q⟩ over all parameters `(batch_size, num_vectors)`; `vectors` by name `(num_vectors, *shape)`, or `low_rank`
    views of them.
    """
    parts = [own.inner_products(vectors[name]) for name, own in gradients.items()]
    return torch.stack(parts).sum(0)


def add_weighted_sums(
    gradients: GradientsByName, weights: Tensor, into: Dict[str, Tensor]
) -> None:
    """Add Σ_i w_iq ∇_i to `into`, by name `(num_vectors, *shape)`, for `weights` `(batch_size, num_vectors)`."""
    for name, own in gradients.items():
        own.add_weighted_sums(weights, into[name])


def _linear(module: nn.Linear, a: Tensor, delta: Tensor) -> Iterator[Tuple[str, Gradients]]:
    a = a.reshape(len(a), -1, a.shape[-1])
    delta = delta.reshape(len(delta), -1, delta.shape[-1])
    yield "weight", TokenSums(a, delta)
    yield "bias", Vectors(delta.sum(1))


def _layer_norm(module: nn.LayerNorm, a: Tensor, delta: Tensor) -> Iterator[Tuple[str, Gradients]]:
    normalised = nn.functional.layer_norm(a, module.normalized_shape, eps=module.eps)
    shape = (len(a), -1, *module.normalized_shape)
    yield "weight", Vectors((delta * normalised).reshape(shape).sum(1))
    yield "bias", Vectors(delta.reshape(shape).sum(1))


def _embedding(module: nn.Embedding, ids: Tensor, delta: Tensor) -> Iterator[Tuple[str, Gradients]]:
    if module.padding_idx is not None:
        delta = delta * (ids != module.padding_idx).unsqueeze(-1)
    yield "weight", EmbeddingRows(ids.flatten(1), delta.reshape(len(ids), -1, delta.shape[-1]))


RULES: Dict[Type[nn.Module], Rule] = {
    nn.Linear: _linear,
    nn.LayerNorm: _layer_norm,
    nn.Embedding: _embedding,
}
