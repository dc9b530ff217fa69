"""Products, gradients and scores equal what is written out in full."""

import pytest
import torch

from allennlp_influence.engine import Curvature, Objective, TrainingSet, influence_scores
from tests.engine.conftest import TinyClassifier, make_texts, trained_names


@pytest.fixture(scope="module")
def vectors(objective):
    return torch.randn(
        5, objective.space.size, dtype=torch.float64, generator=torch.Generator().manual_seed(3)
    )


@pytest.fixture(scope="module")
def gradients(model, objective, texts):
    """Every training gradient by itself, by autograd on the untouched model, (N, P)."""
    model.eval()
    names = list(objective.parameters)
    parameters = dict(model.named_parameters())
    rows = []
    for i in range(len(texts.ids)):
        batch = texts.collate([i])
        loss = torch.nn.functional.cross_entropy(model(**batch.inputs)["logits"], batch.labels)
        row = torch.autograd.grad(loss, [parameters[name] for name in names])
        rows.append(objective.space.flatten(dict(zip(names, row))))
    return torch.stack(rows)


@pytest.mark.parametrize("kind", ["hessian", "gauss-newton"])
def test_curvature_product_is_the_explicit_matrix(kind, training_set, vectors, request):
    matrix = request.getfixturevalue(kind.replace("-", "_"))
    product = Curvature(training_set, kind, vectors_at_once=2).product(vectors)
    torch.testing.assert_close(product, vectors @ matrix, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("kind", ["hessian", "gauss-newton"])
def test_slower_ways_give_the_same_product(kind, training_set, vectors, monkeypatch):
    fast = Curvature(training_set, kind)
    slow = Curvature(training_set, kind)
    slow._batched = False
    expected = fast.product(vectors)
    monkeypatch.setattr(training_set.gradients, "by_module", False)
    torch.testing.assert_close(slow.product(vectors), expected, rtol=1e-8, atol=1e-9)


def test_gauss_newton_is_not_the_hessian(hessian, gauss_newton):
    assert torch.linalg.eigvalsh(gauss_newton).min() > -1e-9
    assert torch.linalg.eigvalsh(hessian).min() < -1e-3


def test_gradients_by_module_equal_forward_mode_equal_autograd(
    training_set, vectors, gradients, monkeypatch
):
    expected = vectors @ gradients.T / len(gradients)
    assert training_set.gradients.by_module and training_set.objective.forward_mode
    for by_module, forward_mode in ((True, True), (False, True), (False, False)):
        monkeypatch.setattr(training_set.gradients, "by_module", by_module)
        monkeypatch.setattr(training_set.objective, "forward_mode", forward_mode)
        found = influence_scores(training_set, vectors)
        torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-10)


def test_double_backward_gives_the_same_inner_products(objective, training_set, vectors, gradients):
    """⟨∇L_i, v⟩ = ∂/∂w_i ⟨∇ Σ w_i L_i, v⟩: no hook and no forward mode in it."""
    for positions, batch in training_set.buckets:
        theta = objective.leaves()
        weights = torch.ones(len(positions), dtype=torch.float64, requires_grad=True)
        with objective.differentiable_twice():
            loss = (weights * objective.losses(theta, batch)).sum()
            gradient = torch.autograd.grad(loss, list(theta.values()), create_graph=True)
            flat = objective.space.flatten(dict(zip(theta, gradient)))
            (inner,) = torch.autograd.grad(flat @ vectors[0], weights)
        torch.testing.assert_close(inner, gradients[positions] @ vectors[0])


def test_cutting_the_frozen_layers_changes_nothing(model, objective, texts, training_set):
    assert objective.prefix.num_frozen == 1 and objective.first_position_only
    batch = texts.collate(range(len(texts.ids)))
    expected = model.eval()(**batch.inputs)["logits"]
    found = objective.logits(objective.parameters, objective.prepare(batch))
    torch.testing.assert_close(found, expected)
    again = objective.logits(
        objective.parameters, training_set.batch(range(len(texts.ids)))
    )  # stored at the lengths of other batches
    torch.testing.assert_close(again, expected)


def test_pooling_over_all_positions_keeps_the_last_layer_whole(texts):
    class MeanPooled(TinyClassifier):
        def forward(self, input_ids, attention_mask):
            hidden = self.bert(input_ids=input_ids, attention_mask=attention_mask)[0]
            mask = attention_mask[:, :, None]
            return {"logits": self.head((hidden * mask).sum(1) / mask.sum(1))}

    model = MeanPooled().double().eval()
    objective = Objective(model, trained_names(model), texts.collate(range(4)))
    assert objective.prefix is not None and not objective.first_position_only
    batch = texts.collate(range(6))
    found = objective.logits(objective.parameters, objective.prepare(batch))
    torch.testing.assert_close(found, model(**batch.inputs)["logits"])


def test_hidden_states_of_frozen_layers_that_are_read_forbid_the_cut(texts):
    class Mixed(TinyClassifier):
        def forward(self, input_ids, attention_mask):
            states = self.bert(
                input_ids=input_ids, attention_mask=attention_mask, output_hidden_states=True
            ).hidden_states
            return {"logits": self.head(sum(state[:, 0] for state in states))}

    model = Mixed().double()
    objective = Objective(model, trained_names(model), texts.collate(range(4)))
    assert objective.prefix is None and "every visit" in objective.notes[0]


def test_everything_trained_is_exact_too(texts, monkeypatch):
    """Embeddings included: no prefix to cut, position embeddings that hooks can't separate."""
    model = TinyClassifier().double()
    names = [name for name, _ in model.named_parameters()]
    objective = Objective(model, names, texts.collate(range(4)))
    training_set = TrainingSet(objective, [len(i) for i in texts.ids], texts.collate)
    assert "unused.weight" not in objective.parameters and objective.prefix is None
    assert not training_set.gradients.by_module and objective.forward_mode
    vectors = torch.randn(2, objective.space.size, dtype=torch.float64)
    forward = influence_scores(training_set, vectors)
    monkeypatch.setattr(objective, "forward_mode", False)
    torch.testing.assert_close(
        influence_scores(training_set, vectors), forward, rtol=1e-8, atol=1e-10
    )


def test_trained_word_embeddings_have_a_rule(texts, monkeypatch):
    class Bag(torch.nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.embedding = torch.nn.Embedding(30, 4, padding_idx=0)
            self.norm = torch.nn.LayerNorm(4)
            self.head = torch.nn.Linear(4, 3)

        def forward(self, input_ids, attention_mask):
            embedded = self.norm(self.embedding(input_ids)).tanh() * attention_mask[:, :, None]
            return {"logits": self.head(embedded.sum(1))}

    model = Bag().double()
    objective = Objective(model, trained_names(model, ["none"]), texts.collate(range(4)))
    training_set = TrainingSet(objective, [len(i) for i in texts.ids], texts.collate)
    assert training_set.gradients.by_module
    vectors = torch.randn(2, objective.space.size, dtype=torch.float64)
    by_module = influence_scores(training_set, vectors)
    monkeypatch.setattr(training_set.gradients, "by_module", False)
    torch.testing.assert_close(influence_scores(training_set, vectors), by_module)


def test_the_callers_model_and_random_state_are_untouched(texts):
    model = TinyClassifier().double().train()
    next(model.parameters()).requires_grad_(False)
    before = {name: (p.requires_grad, p.clone(), p.grad) for name, p in model.named_parameters()}
    modules = [(type(m), m.training, len(m._forward_hooks)) for m in model.modules()]
    random_state = torch.get_rng_state()

    objective = Objective(model, trained_names(model), texts.collate(range(4)))
    training_set = TrainingSet(objective, [len(i) for i in texts.ids], texts.collate)
    vectors = torch.ones(2, objective.space.size, dtype=torch.float64)
    Curvature(training_set).product(vectors)
    influence_scores(training_set, vectors)

    assert torch.equal(random_state, torch.get_rng_state())
    assert modules == [(type(m), m.training, len(m._forward_hooks)) for m in model.modules()]
    for name, parameter in model.named_parameters():
        flag, value, grad = before[name]
        assert parameter.requires_grad == flag and parameter.grad is grad
        assert torch.equal(parameter, value)


def test_scores_do_not_depend_on_batches_padding_queries_or_order(model, objective, vectors):
    texts = make_texts(count=14, seed=1)
    lengths = [len(i) for i in texts.ids]
    reference = influence_scores(TrainingSet(objective, lengths, texts.collate, 30), vectors)
    assert reference.std() > 1e-3

    for budget in (1, 9, 10_000):  # one by one … all in one, padded to the longest
        training_set = TrainingSet(objective, lengths, texts.collate, budget)
        torch.testing.assert_close(influence_scores(training_set, vectors), reference)
        parts = torch.cat(
            [influence_scores(training_set, part) for part in vectors.split([1, 3, 1])]
        )
        torch.testing.assert_close(parts, reference)

    order = torch.randperm(14, generator=torch.Generator().manual_seed(0))
    shuffled = type(texts)(
        [texts.ids[i] for i in order], [texts.labels[i] for i in order.tolist()]
    )
    training_set = TrainingSet(objective, [lengths[i] for i in order], shuffled.collate, 30)
    torch.testing.assert_close(influence_scores(training_set, vectors), reference[:, order])
