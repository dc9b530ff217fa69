"""Row-wise inner products of blocks of vectors, in float64."""

import torch
from torch import Tensor


def dots(a: Tensor, b: Tensor) -> Tensor:
    """⟨a_q, b_q⟩ of every row q, `(num_rows,)`, float64."""
    return torch.stack([torch.dot(x, y).double() for x, y in zip(a, b)])


def squares(a: Tensor) -> Tensor:
    """‖a_q‖² of every row q, `(num_rows,)`, float64."""
    return dots(a, a)
