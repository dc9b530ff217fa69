"""
Gradients of single examples with respect to one parameter, kept as the factors that they are made of.

A linear layer's gradient for one text is a sum over its tokens of outer products δ_t a_tᵀ, of what enters the layer
and of the loss gradient at what leaves it. That is far smaller than the gradient itself, and products with it can go
either way: token by token, or with the gradient written out for a moment. Each method counts the operations of both
and takes the cheaper; both are exact.
"""

import math
import threading
from abc import ABC, abstractmethod
from typing import Iterator, Optional, Union

import torch
from torch import Tensor

from allennlp_influence.engine.low_rank import LowRank

_MOST_FLOATS = 2**25  # of a temporary: 128 MB in float32
_MOST_FLOATS_IN_CACHE = 2**22  # of one that a CPU reads again at once


class Gradients(ABC):
    """
    G `(batch_size, *shape)`: for every example of a batch its gradient with respect to a parameter of `shape`.
    """

    @abstractmethod
    def __len__(self) -> int:
        """The number of examples."""

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """Memory of what is held."""

    @abstractmethod
    def inner_products(self, vectors: Tensor) -> Tensor:
        """
        ⟨G_i, v_q⟩ `(batch_size, num_vectors)` for `vectors` `(num_vectors, *shape)`; those of a weight may be `LowRank`.
        """

    @abstractmethod
    def add_weighted_sums(self, weights: Tensor, into: Tensor) -> None:
        """Add Σ_i w_iq G_i to `into` `(num_vectors, *shape)` for `weights` `(batch_size, num_vectors)`."""

    @abstractmethod
    def gram(self, other: "Gradients") -> Tensor:
        """⟨G_i, G'_j⟩ `(batch_size, other's batch_size)` with gradients of the same parameter."""

    @abstractmethod
    def squared_norms(self) -> Tensor:
        """‖G_i‖² `(batch_size,)`."""

    @abstractmethod
    def plus(self, other: "Gradients") -> "Gradients":
        """G + G', for a parameter that is used twice."""


class Vectors(Gradients):
    """Gradients written out, `(batch_size, *shape)`: those of biases and norms."""

    def __init__(self, values: Tensor) -> None:
        self.values = values

    def __len__(self) -> int:
        return len(self.values)

    @property
    def nbytes(self) -> int:
        return self.values.nbytes

    def inner_products(self, vectors: Tensor) -> Tensor:
        return self.values.flatten(1) @ vectors.flatten(1).T

    def add_weighted_sums(self, weights: Tensor, into: Tensor) -> None:
        into.flatten(1).addmm_(weights.T, self.values.flatten(1))

    def gram(self, other: "Vectors") -> Tensor:
        return self.values.flatten(1) @ other.values.flatten(1).T

    def squared_norms(self) -> Tensor:
        return self.values.flatten(1).square().sum(1)

    def plus(self, other: "Vectors") -> "Vectors":
        return Vectors(self.values + other.values)


class TokenSums(Gradients):
    """
    G_i = Σ_t δ_it a_itᵀ, the gradients of a linear layer's weight.

    # Parameters

    a : `Tensor`, required
        What enters the layer, `(batch_size, tokens, in)`.
    delta : `Tensor`, required
        The gradient at what leaves it, `(batch_size, tokens, out)`; zero at padding.
    """

    def __init__(self, a: Tensor, delta: Tensor) -> None:
        self.a, self.delta = a, delta
        self.tokens = a.shape[1]
        self.shape = (delta.shape[2], a.shape[2])
        self.size = self.shape[0] * self.shape[1]

    def __len__(self) -> int:
        return len(self.a)

    @property
    def nbytes(self) -> int:
        return self.a.nbytes + self.delta.nbytes

    def inner_products(self, vectors: Union[Tensor, LowRank]) -> Tensor:
        if isinstance(vectors, LowRank):
            if self._low_rank_pays(*vectors.left.shape[::2]):
                return self._low_rank_inner_products(vectors)
            vectors = vectors.matrices
        if self._token_by_token(len(vectors)):
            a, delta = self.a.flatten(0, 1), self.delta.flatten(0, 1)
            columns = []
            for part in vectors.split(max(1, _MOST_FLOATS // (len(a) * min(self.shape)))):
                if self.shape[0] <= self.shape[1]:
                    inner = ((a @ part.transpose(1, 2)) * delta).sum(-1)
                else:
                    inner = ((delta @ part) * a).sum(-1)
                columns.append(inner.unflatten(1, (-1, self.tokens)).sum(-1))  # (vectors, batch)
            return torch.cat(columns).T
        result = vectors.new_zeros(len(self), len(vectors))
        for rows in self.parts():
            result.addmm_(self.written_out(rows), vectors[:, rows].flatten(1).T)
        return result

    def _low_rank_inner_products(self, vectors: LowRank) -> Tensor:
        """Σ_t ⟨L_qᵀ δ_it, R_q a_it⟩."""
        a, delta = self.a.flatten(0, 1), self.delta.flatten(0, 1)
        rank = vectors.left.shape[2]
        at_once = max(1, self._most_floats // (len(a) * rank))
        columns = []
        for left, right in zip(vectors.left.split(at_once), vectors.right.split(at_once)):
            products = delta @ left.transpose(0, 1).flatten(1)  # (tokens, vectors · rank)
            products *= a @ right.flatten(0, 1).T
            columns.append(products.view(len(self), self.tokens, len(left), rank).sum((1, 3)))
        return torch.cat(columns, 1)

    def add_weighted_sums(self, weights: Tensor, into: Tensor) -> None:
        if self._token_by_token(weights.shape[1]):
            a, delta = self.a.flatten(0, 1), self.delta.flatten(0, 1)
            for column, row in zip(weights.T, into):
                row.addmm_((delta * column.repeat_interleave(self.tokens)[:, None]).T, a)
            return
        for rows in self.parts():
            into[:, rows].view(len(into), -1).addmm_(weights.T, self.written_out(rows))

    def gram(self, other: "TokenSums") -> Tensor:
        if self._gram_token_by_token(other):
            size = max(1, _MOST_FLOATS // (len(other) * other.tokens * self.tokens))
            blocks = [
                _pairs_of_examples(
                    (a.flatten(0, 1) @ other.a.flatten(0, 1).T).mul_(
                        delta.flatten(0, 1) @ other.delta.flatten(0, 1).T
                    ),
                    self.tokens,
                    other.tokens,
                )
                for a, delta in zip(self.a.split(size), self.delta.split(size))
            ]
            return torch.cat(blocks)
        result = self.a.new_zeros(len(self), len(other))
        for rows in self.parts(len(self) + len(other)):
            result.addmm_(self.written_out(rows), other.written_out(rows, slot=1).T)
        return result

    def squared_norms(self) -> Tensor:
        between_tokens = (self.a @ self.a.transpose(1, 2)) * (
            self.delta @ self.delta.transpose(1, 2)
        )
        return between_tokens.sum((1, 2))

    def plus(self, other: "TokenSums") -> "TokenSums":
        return TokenSums(torch.cat([self.a, other.a], 1), torch.cat([self.delta, other.delta], 1))

    def _token_by_token(self, num_vectors: int) -> bool:
        """T·Q products with a token against T to write a gradient out and Q products with it."""
        return self.tokens * num_vectors <= self.tokens + num_vectors

    def _low_rank_pays(self, num_vectors: int, rank: int) -> bool:
        """As above, with rank · (in + out) operations in place of in · out for a token's product."""
        written_out = min(self.tokens * num_vectors, self.tokens + num_vectors) * self.size
        return self.tokens * num_vectors * rank * sum(self.shape) <= written_out

    def _gram_token_by_token(self, other: "TokenSums") -> bool:
        tokens = len(self) * self.tokens, len(other) * other.tokens
        pairs = len(self) * len(other)
        # a pair's two inner products are written and read again, which takes as long as some 50 operations
        by_token = tokens[0] * tokens[1] * (sum(self.shape) + 50)
        written_out = self.size * (sum(tokens) + pairs)
        return by_token <= written_out

    @property
    def _most_floats(self) -> int:
        """Of a temporary that is read again at once."""
        return _MOST_FLOATS_IN_CACHE if self.a.device.type == "cpu" else _MOST_FLOATS

    def parts(self, num_examples: Optional[int] = None) -> Iterator[slice]:
        """
        Rows of the parameter, so many at a time that `written_out` of them, for `num_examples`, by default all, is
        still in a CPU's cache when it is read.
        """
        count = max(1, self._most_floats // ((num_examples or len(self)) * self.shape[1]))
        for start in range(0, self.shape[0], count):
            yield slice(start, min(start + count, self.shape[0]))

    def written_out(self, rows: slice, slot: int = 0) -> Tensor:
        """
        Rows of every G_i `(batch_size, rows · in)`; they lie where those lay that had the same slot before.
        """
        delta = self.delta[:, :, rows].transpose(1, 2)
        shape = (*delta.shape[:2], self.shape[1])
        dense = _scratch(slot, math.prod(shape), self.a).view(shape)
        return torch.bmm(delta, self.a, out=dense).flatten(1)


class EmbeddingRows(Gradients):
    """
    The gradients of an embedding's weight: δ_it in the row of token `ids[i, t]`, nothing elsewhere.

    # Parameters

    ids : `Tensor`, required
        `(batch_size, tokens)`.
    delta : `Tensor`, required
        `(batch_size, tokens, dim)`; zero at padding.
    """

    def __init__(self, ids: Tensor, delta: Tensor) -> None:
        self.ids, self.delta = ids, delta

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def nbytes(self) -> int:
        return self.ids.nbytes + self.delta.nbytes

    def inner_products(self, vectors: Union[Tensor, LowRank]) -> Tensor:
        matrices = vectors.matrices if isinstance(vectors, LowRank) else vectors
        return torch.stack([(v[self.ids] * self.delta).sum((1, 2)) for v in matrices], dim=1)

    def add_weighted_sums(self, weights: Tensor, into: Tensor) -> None:
        for column, row in zip(weights.T, into):
            weighted = self.delta * column[:, None, None]
            row.index_add_(0, self.ids.flatten(), weighted.flatten(0, 1))

    def gram(self, other: "EmbeddingRows") -> Tensor:
        same = self.ids.flatten()[:, None] == other.ids.flatten()
        inner = self.delta.flatten(0, 1) @ other.delta.flatten(0, 1).T
        return _pairs_of_examples(inner * same, self.ids.shape[1], other.ids.shape[1])

    def squared_norms(self) -> Tensor:
        same = self.ids[:, :, None] == self.ids[:, None, :]
        return ((self.delta @ self.delta.transpose(1, 2)) * same).sum((1, 2))

    def plus(self, other: "EmbeddingRows") -> "EmbeddingRows":
        return EmbeddingRows(
            torch.cat([self.ids, other.ids], 1), torch.cat([self.delta, other.delta], 1)
        )


_kept = threading.local()


def _scratch(slot: int, size: int, like: Tensor) -> Tensor:
    """
    Memory that is used again and again: the system clears large pieces of new memory first, which takes as long as
    what is computed there.
    """
    buffers = vars(_kept)
    key = f"{slot} {like.dtype} {like.device}"
    if key not in buffers or len(buffers[key]) < size:
        buffers[key] = like.new_empty(max(size, _MOST_FLOATS_IN_CACHE))
    return buffers[key][:size]


def _pairs_of_examples(pairs_of_tokens: Tensor, tokens: int, other_tokens: int) -> Tensor:
    """Sum over the tokens of each pair of examples: `(b·t, b'·t')` to `(b, b')`."""
    return pairs_of_tokens.unflatten(0, (-1, tokens)).unflatten(2, (-1, other_tokens)).sum((1, 3))
