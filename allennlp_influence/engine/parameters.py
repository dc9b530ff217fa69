"""The trained parameters as one vector space."""

from typing import Dict, Mapping

import torch
from torch import Tensor


class ParameterSpace:
    """
    The trained parameters θ, laid end to end: vectors of the engine are rows of length `size`, in
    the order of `shapes`.

    # Parameters

    parameters : `Mapping[str, Tensor]`, required
        The trained parameters by name.
    """

    def __init__(self, parameters: Mapping[str, Tensor]) -> None:
        self.shapes = {name: parameter.shape for name, parameter in parameters.items()}
        self.size = sum(shape.numel() for shape in self.shapes.values())

    def flatten(self, tree: Mapping[str, Tensor], batch_dims: int = 0) -> Tensor:
        """
        Tensors of shape `(*batch, *shape)` by name, as one tensor `(*batch, size)`.
        """
        return torch.cat(
            [tree[name].reshape(*tree[name].shape[:batch_dims], -1) for name in self.shapes], dim=-1
        )

    def unflatten(self, vectors: Tensor) -> Dict[str, Tensor]:
        """
        Views of `vectors` `(*batch, size)` as tensors `(*batch, *shape)` by name; nothing is copied.
        """
        tree, start = {}, 0
        for name, shape in self.shapes.items():
            end = start + shape.numel()
            tree[name] = vectors[..., start:end].unflatten(-1, shape or (1,))
            if not shape:
                tree[name] = tree[name].squeeze(-1)
            start = end
        return tree
