"""Inner products of per-example gradients with vectors, without storing a gradient."""

from typing import Any, Callable, Dict, Iterator, List, Tuple, Type

import torch
from torch import Tensor, nn

from allennlp_influence.engine.batch import Batch
from allennlp_influence.engine.objective import Objective

# One parameter of a module, and what multiplies its per-example gradients with a block of vectors.
Term = Tuple[str, Callable[[Tensor], Tensor]]
# A rule gives the terms from the module's input a and the loss gradient δ at its output.
Rule = Callable[[nn.Module, Tensor, Tensor], Iterator[Term]]


class PerExampleGradients:
    """
    ⟨∇L_i, v_q⟩ for the examples i of a batch and a block of vectors q, module by module.

    A module's gradient is made of its input and the loss gradient at its output, which hooks catch in one
    forward and one backward pass over the activations. It lives only until it has been multiplied, as one
    matrix, with the block: 3 forward passes and 2·P·Q operations an example.

    # Parameters

    objective : `Objective`, required
    """

    def __init__(self, objective: Objective) -> None:
        self._objective = objective
        self._modules: Dict[str, nn.Module] = {}
        for name, module in objective.model.named_modules():
            own = [f"{name}.{p}".lstrip(".") for p, _ in module.named_parameters(recurse=False)]
            if any(parameter in objective.parameters for parameter in own):
                self._modules[name] = module
        self.missing = sorted(
            {type(m).__name__ for m in self._modules.values() if type(m) not in RULES}
        )

    def inner_products(self, batch: Batch, vectors: Tensor) -> Tensor:
        """
        `(batch_size, num_vectors)` for `vectors` `(num_vectors, space.size)`.
        """
        views = self._objective.space.unflatten(vectors)
        batch_size = len(batch.labels)
        result = vectors.new_zeros(batch_size, len(vectors))
        calls: List[Tuple[str, Tensor, Tensor]] = []

        def hook(name: str) -> Callable:
            def catch(module: nn.Module, inputs: Tuple[Any, ...], output: Tensor) -> None:
                calls.append((name, inputs[0].detach(), output))

            return catch

        handles = [m.register_forward_hook(hook(n)) for n, m in self._modules.items()]
        try:
            with self._objective.differentiable_twice():
                losses = self._objective.losses({}, batch)
        finally:
            for handle in handles:
                handle.remove()
        outputs = [output for _, _, output in calls]
        deltas = torch.autograd.grad(losses.sum(), outputs, allow_unused=True)
        for (name, inputs, _), delta in zip(calls, deltas):
            if delta is None:
                continue
            if len(inputs) != batch_size or len(delta) != batch_size:
                raise RuntimeError(f"{name} does not keep the examples of a batch apart")
            module = self._modules[name]
            for own_name, multiply in RULES[type(module)](module, inputs, delta):
                view = views.get(f"{name}.{own_name}".lstrip("."))
                if view is not None:
                    result += multiply(view)
        return result


def _dot(gradients: Tensor) -> Callable[[Tensor], Tensor]:
    """Inner products `(batch, vectors)` of `gradients` `(batch, *shape)` with `(vectors, *shape)`."""
    return lambda vectors: gradients.flatten(1) @ vectors.flatten(1).T


def _linear(module: nn.Linear, a: Tensor, delta: Tensor) -> Iterator[Term]:
    a = a.reshape(len(a), -1, a.shape[-1])  # (batch, tokens, in)
    delta = delta.reshape(len(delta), -1, delta.shape[-1])  # (batch, tokens, out)
    yield "weight", _dot(delta.transpose(1, 2) @ a)
    yield "bias", _dot(delta.sum(1))


def _layer_norm(module: nn.LayerNorm, a: Tensor, delta: Tensor) -> Iterator[Term]:
    normalised = nn.functional.layer_norm(a, module.normalized_shape, eps=module.eps)
    shape = (len(a), -1, *module.normalized_shape)
    yield "weight", _dot((delta * normalised).reshape(shape).sum(1))
    yield "bias", _dot(delta.reshape(shape).sum(1))


def _embedding(module: nn.Embedding, ids: Tensor, delta: Tensor) -> Iterator[Term]:
    if module.padding_idx is not None:
        delta = delta * (ids != module.padding_idx).unsqueeze(-1)

    def rows(vectors: Tensor) -> Tensor:  # only the rows that are read have a gradient
        return torch.stack([(v[ids] * delta).flatten(1).sum(1) for v in vectors], dim=1)

    yield "weight", rows


RULES: Dict[Type[nn.Module], Rule] = {
    nn.Linear: _linear,
    nn.LayerNorm: _layer_norm,
    nn.Embedding: _embedding,
}
