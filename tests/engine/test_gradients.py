"""Factored gradients equal what they are factors of; the softmax's factor is a square root of its curvature."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from allennlp_influence.engine import gradients as module
from allennlp_influence.engine.gradients import EmbeddingRows, TokenSums, Vectors
from allennlp_influence.engine.softmax import (
    curvature_factor,
    loss_gradient,
    loss_in_curvature_rows,
)

small = st.integers(1, 4)


def token_sums(batch, tokens, shape, seed):
    generator = torch.Generator().manual_seed(seed)
    a, delta = (
        torch.randn(batch, tokens, size, dtype=torch.float64, generator=generator)
        for size in reversed(shape)
    )
    return TokenSums(a, delta), torch.einsum("bto,bti->boi", delta, a)


def embedding_rows(batch, tokens, shape, seed):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, shape[0], (batch, tokens), generator=generator)
    delta = torch.randn(batch, tokens, shape[1], dtype=torch.float64, generator=generator)
    dense = torch.zeros(batch, *shape, dtype=torch.float64)
    for i in range(batch):
        dense[i].index_add_(0, ids[i], delta[i])
    return EmbeddingRows(ids, delta), dense


def vectors(batch, tokens, shape, seed):
    values = torch.randn(
        batch, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )
    return Vectors(values), values


@pytest.mark.parametrize("make", [token_sums, embedding_rows, vectors])
@pytest.mark.parametrize("most_floats", [1, module._MOST_FLOATS])  # in many parts, in one
@settings(max_examples=25, deadline=None)
@given(
    sizes=st.tuples(small, small, small, small),
    shape=st.tuples(small, small),
    num_vectors=small,
    seed=st.integers(0, 99),
)
def test_products_equal_those_of_the_gradients_written_out(
    make, most_floats, sizes, shape, num_vectors, seed
):
    batch, other_batch, tokens, other_tokens = sizes
    left, dense = make(batch, tokens, shape, seed)
    right, other_dense = make(other_batch, other_tokens, shape, seed + 1)
    v = torch.randn(num_vectors, *shape, dtype=torch.float64)
    weights = torch.randn(batch, num_vectors, dtype=torch.float64)
    sums = torch.ones(num_vectors, 2 * shape[0] * shape[1], dtype=torch.float64)
    into = sums[:, : shape[0] * shape[1]].unflatten(1, shape)  # rows that do not follow each other
    before = module._MOST_FLOATS, module._MOST_FLOATS_IN_CACHE
    module._MOST_FLOATS = module._MOST_FLOATS_IN_CACHE = most_floats
    try:
        left.add_weighted_sums(weights, into)
        found = left.inner_products(v), left.gram(right), left.squared_norms()
        twice = left.plus(make(batch, tokens, shape, seed + 2)[0]).inner_products(v)
    finally:
        module._MOST_FLOATS, module._MOST_FLOATS_IN_CACHE = before
    expected = (
        torch.einsum("boi,qoi->bq", dense, v),
        torch.einsum("boi,coi->bc", dense, other_dense),
        dense.square().sum((1, 2)),
    )
    for one, other in zip(found, expected):
        torch.testing.assert_close(one, other)
    torch.testing.assert_close(into, 1 + torch.einsum("bq,boi->qoi", weights, dense))
    dense_twice = dense + make(batch, tokens, shape, seed + 2)[1]
    torch.testing.assert_close(twice, torch.einsum("boi,qoi->bq", dense_twice, v))


@settings(max_examples=50, deadline=None)
@given(
    num_classes=st.integers(2, 6),
    size=st.floats(0, 60),
    seed=st.integers(0, 999),
)
def test_the_factor_of_the_softmax_curvature(num_classes, size, seed):
    generator = torch.Generator().manual_seed(seed)
    logits = size * torch.randn(5, num_classes, dtype=torch.float64, generator=generator)
    labels = torch.randint(0, num_classes, (5,), generator=generator)
    factor = curvature_factor(logits)
    assert factor.shape == (num_classes - 1, 5, num_classes)
    p = logits.softmax(-1)
    curvature = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    torch.testing.assert_close(torch.einsum("rbc,rbd->bcd", factor, factor), curvature)
    combined = torch.einsum("rb,rbc->bc", loss_in_curvature_rows(logits, labels), factor)
    torch.testing.assert_close(combined, loss_gradient(logits, labels))


def test_a_certain_prediction_has_its_curvature_still():
    logits = torch.tensor([[40.0, 0.0]])
    factor = curvature_factor(logits)[0, 0]
    assert factor[0] == pytest.approx(2.0612e-9, rel=1e-4) and factor[1] == -factor[0]
