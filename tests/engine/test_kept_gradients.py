"""Kept gradients and low-rank views change what scores cost, not what they are."""

import pytest
import torch

from allennlp_influence.engine import Store, TrainingSet, influence_scores
from allennlp_influence.engine.conjugate_gradient import ConjugateGradient
from allennlp_influence.engine.ek_fac import EkFac
from allennlp_influence.engine.gauss_newton import GaussNewton
from allennlp_influence.engine.gradients import EmbeddingRows, TokenSums
from allennlp_influence.engine.identity import Identity
from allennlp_influence.engine.kept_gradients import packed, unpacked
from allennlp_influence.engine.low_rank import LowRank, low_rank
from allennlp_influence.engine.per_example import PerExampleGradients
from allennlp_influence.engine.spectral import Spectral


def made(objective, texts, store=None) -> TrainingSet:
    lengths = [len(i) for i in texts.ids]
    return TrainingSet(objective, lengths, texts.collate, token_budget=30, store=store)


@pytest.mark.parametrize("on_disk", [True, False])
def test_scores_are_the_same_without_another_pass(
    objective, texts, queries, tmp_path, monkeypatch, on_disk
):
    store = Store(tmp_path / "store") if on_disk else None
    training_set = made(objective, texts, store)
    expected = influence_scores(training_set, queries)
    assert training_set.keep_gradients(1.0) is not None
    passes = []
    monkeypatch.setattr(PerExampleGradients, "_of_logits", lambda *args: passes.append(args))
    found = influence_scores(training_set, queries)
    assert torch.allclose(found, expected, rtol=1e-10, atol=1e-14) and not passes
    monkeypatch.undo()
    if on_disk:  # another process begins with what is there
        again = made(objective, texts, Store(tmp_path / "store"))
        of_losses = PerExampleGradients.of_losses
        monkeypatch.setattr(
            PerExampleGradients, "of_losses", lambda *args: passes.append(args) or of_losses(*args)
        )
        again.keep_gradients(1.0)
        assert torch.equal(influence_scores(again, queries), found)
        assert len(passes) == 1  # to see what they would take


def test_what_takes_more_than_is_allowed_is_not_kept(objective, texts, queries):
    training_set = made(objective, texts)
    assert training_set.keep_gradients(1e-9) is None and training_set.kept_gradients is None
    assert training_set.at(objective.parameters, Store()).kept_gradients is None


def test_what_is_packed_is_unpacked_and_shares_inputs(training_set):
    batch = training_set.buckets[0].batch
    (_, rows) = next(training_set.gradients.of_curvature(batch))
    tensors = packed(rows)
    inputs = [key for key in tensors if key.startswith("a ")]
    weights = [name for name, own in rows[0].items() if hasattr(own, "a")]
    # query, key and value of a layer read the same; both rows of three classes do
    assert len(inputs) < len(weights) and sum(key.startswith("delta 1 ") for key in tensors)
    for row, back in zip(rows, unpacked(tensors)):
        assert row.keys() == back.keys()
        for name, own in row.items():
            assert torch.equal(own.gram(own), back[name].gram(back[name]))


SOLVERS = {
    "identity": lambda: Identity(),
    "gauss-newton": lambda: GaussNewton(0.1),
    "gauss-newton of some": lambda: GaussNewton(0.1, num_examples=6),
    "ek-fac": lambda: EkFac(0.1),
    "spectral of some": lambda: Spectral(
        0.1, "gauss-newton", num_examples=6, rank=4, block_size=2, steps=4, tolerance=1.0
    ),
    "spectral, hessian": lambda: Spectral(30.0, rank=4, block_size=2, steps=4, tolerance=1.0),
    "conjugate-gradient": lambda: ConjugateGradient(30.0, tolerance=1e-12),
}


@pytest.mark.parametrize("name", SOLVERS)
def test_a_solver_prepared_for_single_queries_gives_the_same(objective, texts, queries, name):
    solver, prepared = SOLVERS[name](), SOLVERS[name]()
    plain, kept = made(objective, texts), made(objective, texts)
    expected, diagnoses = solver.influence(solver.curvature_of(plain), queries)
    curvature = prepared.curvature_of(kept)
    prepared.prepare(curvature, 1.0)
    for i in range(len(queries)):
        found, (diagnosis,) = prepared.influence(curvature, queries[i : i + 1])
        tolerance = 1e-9 * expected[i].abs().max().item()
        assert torch.allclose(found[0], expected[i], rtol=1e-7, atol=tolerance)
        assert diagnosis.energy == pytest.approx(diagnoses[i].energy, rel=1e-7)
        residual = diagnoses[i].residual  # `None` where it is not measured
        assert diagnosis.residual == (residual and pytest.approx(residual, rel=1e-3, abs=1e-9))
    needs_losses = name != "gauss-newton"  # there scores need no more than the curvature's rows
    assert (kept.kept_gradients is not None) == needs_losses
    assert (curvature.kept_rows is not None) == ("gauss-newton" in name or "some" in name)


def test_a_matrix_is_low_rank_if_it_is():
    generator = torch.Generator().manual_seed(0)

    def random(*shape):
        return torch.randn(*shape, generator=generator)

    low, full, bias = random(2, 96, 5) @ random(2, 5, 400), random(2, 96, 400), random(2, 96)
    views = low_rank({"low": low, "full": full, "bias": bias})
    assert isinstance(views["low"], LowRank) and views["low"].left.shape[2] < 30
    assert torch.allclose(views["low"].left @ views["low"].right, low, atol=1e-4)
    assert views["full"] is full and views["bias"] is bias
    uneven = torch.cat([low[:1], 1e-6 * full[:1]])  # the second is small, and of full rank
    assert low_rank({"uneven": uneven})["uneven"] is uneven
    almost = low + 1e-3 * full
    assert low_rank({"almost": almost})["almost"] is almost
    assert low_rank({"zero": torch.zeros(1, 96, 400)})["zero"].left.abs().max() < 2


@pytest.mark.parametrize("pays", [True, False])
def test_products_with_a_low_rank_matrix_are_those_with_the_matrix(pays, monkeypatch):
    generator = torch.Generator().manual_seed(0)

    def random(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    gradients = TokenSums(random(4, 3, 50), random(4, 3, 60))
    left, right = random(2, 60, 7), random(2, 7, 50)
    view = LowRank(left, right, left @ right)
    expected = gradients.inner_products(view.matrices)
    monkeypatch.setattr(TokenSums, "_low_rank_pays", lambda *_: pays)
    assert torch.allclose(gradients.inner_products(view), expected, rtol=1e-10)
    monkeypatch.setattr("allennlp_influence.engine.gradients._MOST_FLOATS_IN_CACHE", 1)  # one at a time
    assert torch.allclose(gradients.inner_products(view), expected, rtol=1e-10)
    rows = EmbeddingRows(torch.randint(60, (4, 3), generator=generator), gradients.a)
    assert torch.equal(rows.inner_products(view), rows.inner_products(view.matrices))
