"""Matrices of few dimensions as products of two thin ones."""

from typing import Dict, NamedTuple, Optional, Union

import torch
from torch import Tensor

_LEAST, _MOST = 16, 128  # ranks that are tried
_SLACK = 8  # columns beyond the rank, see Halko et al. 2011, §4.2


class LowRank(NamedTuple):
    """
    V = L R, a matrix for each vector: `left` `(num_vectors, out, rank)` and `right` `(num_vectors, rank, in)`; and V
    itself, `matrices` `(num_vectors, out, in)`, for where products with it are cheaper.
    """

    left: Tensor
    right: Tensor
    matrices: Tensor


Views = Dict[str, Union[Tensor, LowRank]]


def low_rank(vectors: Dict[str, Tensor]) -> Views:
    """
    Of vectors by parameter, `(num_vectors, *shape)`, those matrices as products whose rank is small enough for it to pay:
    of many vectors at once, whose products with a gradient share the work of writing it out, only a small one. The
    gradient of a linear layer's weight for a text has the rank of its number of tokens, or less; products with it then
    cost rank · (in + out) operations a token, not in · out.

    Exact but for rounding: a randomised range finder (Halko et al. 2011, algorithm 4.1), whose result is checked for every
    vector.
    """
    return {name: _of_matrices(matrices) for name, matrices in vectors.items()}


def _of_matrices(matrices: Tensor) -> Union[Tensor, LowRank]:
    if matrices.dim() != 3:
        return matrices
    out, into = matrices.shape[1:]
    rank, most = _LEAST, max(_LEAST, _MOST // len(matrices))
    while rank <= most and rank * (out + into) < out * into / 2:
        # one shows what is of full rank, at a fraction of the cost
        if _factors(matrices[:1], rank) and (found := _factors(matrices, rank)):
            return found
        rank *= 2
    return matrices


def _factors(matrices: Tensor, rank: int) -> Optional[LowRank]:
    """`None` if one of them has a higher rank."""
    generator = torch.Generator().manual_seed(rank)
    probe = torch.randn(matrices.shape[2], rank + _SLACK, generator=generator).to(matrices)
    left = torch.linalg.qr(matrices @ probe)[0]  # (num_vectors, out, rank + slack)
    right = left.transpose(1, 2) @ matrices
    left_out, norms = (m.flatten(1).norm(dim=1) for m in (left @ right - matrices, matrices))
    fits = left_out <= 16 * torch.finfo(matrices.dtype).eps * norms
    return LowRank(left, right, matrices) if fits.all() else None
