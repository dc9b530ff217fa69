"""What the engine is fed: a batch of examples."""

from typing import Any, Dict, NamedTuple

import torch
from torch import Tensor


class Batch(NamedTuple):
    """
    Some examples, padded to the longest of them.

    `inputs` are the model's keyword arguments without the label, `labels` the class indices
    `(batch_size,)`, and `constants` tensors of the model that differ from batch to batch: the outputs
    of its frozen layers, once they are known.
    """

    inputs: Dict[str, Any]
    labels: Tensor
    constants: Dict[str, Tensor] = {}

    def to(self, device: torch.device) -> "Batch":
        """The same batch on `device`."""
        return Batch(*(_to(part, device) for part in self))


def _to(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {key: _to(item, device) for key, item in value.items()}
    return value
