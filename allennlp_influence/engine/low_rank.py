"""Matrices of few dimensions as products of two thin ones."""

from typing import Dict, NamedTuple, Union

import torch
from torch import Tensor

_SLACK = 8  # columns beyond the rank, see Halko et al. 2011, §4.2


class LowRank(NamedTuple):
    """
    V = L R, a matrix for each vector: `left` `(num_vectors, out, rank)` and `right` `(num_vectors, rank, in)`.
    """

    left: Tensor
    right: Tensor


Views = Dict[str, Union[Tensor, LowRank]]


def low_rank(vectors: Dict[str, Tensor], most: int = 128) -> Views:
    """
    Of vectors by parameter, `(num_vectors, *shape)`, those matrices as products whose rank is small enough for it to pay,
    and no more than `most`. The gradient of a linear layer's weight for a text has the rank of its number of tokens, or
    less; products with it then cost rank · (in + out) operations a token, not in · out.

    Exact but for rounding: a randomised range finder (Halko et al. 2011, algorithm 4.1), whose result is checked.
    """
    return {name: _of_matrix(matrix, most) for name, matrix in vectors.items()}


def _of_matrix(matrix: Tensor, most: int) -> Union[Tensor, LowRank]:
    if matrix.dim() != 3:
        return matrix
    out, into = matrix.shape[1:]
    rank = 16
    while rank <= most and rank * (out + into) < out * into / 2:
        generator = torch.Generator().manual_seed(rank)
        probe = torch.randn(into, rank + _SLACK, generator=generator).to(matrix)
        basis = torch.linalg.qr(matrix @ probe)[0]  # (num_vectors, out, rank + slack)
        right = basis.transpose(1, 2) @ matrix
        left_out = torch.linalg.norm(basis @ right - matrix)
        if left_out <= 16 * torch.finfo(matrix.dtype).eps * torch.linalg.norm(matrix):
            return LowRank(basis, right)
        rank *= 2
    return matrix
