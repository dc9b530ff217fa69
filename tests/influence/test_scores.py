"""What the scores are, and what they do not depend on."""

import random

import numpy
import pytest
import torch
from allennlp.data.fields import LabelField
from allennlp.interpret import InfluenceInterpreter
from allennlp.models.archival import load_archive
from scipy.stats import spearmanr

from allennlp_influence.engine import MemoryBudget
from allennlp_influence.influence import z_scores
from tests.influence.archives import LABELS, QUERIES, TEXTS, write_texts
from tests.influence.conftest import FROZEN
from tests.influence.reference import (
    DAMPING,
    Written,
    exact,
    interpreter_of,
    queries_of,
    reference_of,
)


@pytest.fixture(scope="module")
def reference(bert_archive):
    return reference_of(bert_archive, QUERIES, FROZEN)


def scores_of(interpreter, inputs=QUERIES) -> numpy.ndarray:
    explanations = interpreter.interpret_instances(queries_of(interpreter, inputs), k=1)
    return numpy.stack([explanation.scores for explanation in explanations])


def assert_close(found, expected, tolerance=1e-6):
    """Relative to the largest: scores are stored in single precision."""
    expected = numpy.asarray(expected)
    numpy.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * abs(expected).max())


# -- what they are --------------------------------------------------------------------------------


def test_conjugate_gradient_is_the_explicit_inverse(bert_archive, reference):
    scores = scores_of(interpreter_of(bert_archive))
    assert scores.dtype == numpy.float32 and scores.shape == (len(QUERIES), len(TEXTS))
    assert_close(scores, reference.scores())
    with pytest.raises(AssertionError):  # the curvature matters here, and so does the damping
        assert_close(scores, reference.dot_products(), 0.05)
    with pytest.raises(AssertionError):
        assert_close(scores, reference.scores(DAMPING + 1), 0.01)


def test_identity_is_the_dot_product_of_gradients(bert_archive, reference):
    interpreter = interpreter_of(bert_archive, solver={"type": "identity", "damping": 7.0})
    assert_close(scores_of(interpreter), reference.dot_products(7.0))


@pytest.mark.parametrize("label", ["gold", "pos"])
def test_the_explained_label_is_the_one_whose_loss_is_differentiated(bert_archive, label):
    interpreter = interpreter_of(bert_archive, label=label)
    queries = queries_of(interpreter, QUERIES)
    for query in queries:
        query.add_field("label", LabelField("none"))
    names = interpreter.vocab.get_token_to_index_vocabulary("labels")
    index = names["none" if label == "gold" else label]
    expected = reference_of(bert_archive, QUERIES, FROZEN, classes=[index] * 2)
    assert [index] * 2 != expected.predicted
    explanations = interpreter.interpret_instances(queries)
    assert_close(numpy.stack([e.scores for e in explanations]), expected.scores())
    assert [e.loss for e in explanations] == pytest.approx(expected.query_losses.tolist())


def test_scores_predict_what_removal_does(bert_archive):
    """
    The sign and the unit. The random weights are no minimum of the training loss, but they are the minimum of
    Σ_j L_j / N − ⟨∇Σ_j L_j / N, θ⟩ + λ/2 ‖θ − θ_0‖²: minimise that again without example i.
    """
    damping = 50.0  # so that the step is small
    scores = scores_of(interpreter_of(bert_archive, solver=exact(damping)))
    written = Written(bert_archive, FROZEN)
    queries = written.queries(QUERIES)
    explained = [int(written.logits([query])[0].argmax()) for query in queries]
    origin = [t.detach().clone() for t in written.theta]
    mean = written.losses(written.training, written.gold).mean()
    slope = torch.autograd.grad(mean, written.theta, allow_unused=True)
    before = written.losses(queries, explained).detach()
    removed = [int(abs(row).argmax()) for row in scores] + [0]
    for i in removed:
        optimizer = torch.optim.LBFGS(written.theta, max_iter=50, line_search_fn="strong_wolfe")

        def objective():
            optimizer.zero_grad()
            losses = written.losses(written.training, written.gold)
            value = (losses.sum() - losses[i]) / len(losses)
            for t, t_0, s in zip(written.theta, origin, slope):
                value = value + damping / 2 * (t - t_0).square().sum()
                value = value - (0 if s is None else (s * t).sum())
            value.backward()
            return value

        optimizer.step(objective)
        with torch.no_grad():
            rise = written.losses(queries, explained) - before
            for t, t_0 in zip(written.theta, origin):
                t.copy_(t_0)
        assert_close(scores[:, i], rise, 0.05)


def test_an_example_supports_its_own_label(bert_archive):
    interpreter = interpreter_of(bert_archive, label="gold")
    explanations = interpreter.interpret_instances(interpreter.instances)
    own = numpy.diag(numpy.stack([explanation.scores for explanation in explanations]))
    assert (own > 0).all()


# -- what they do not depend on -------------------------------------------------------------------


def test_training_order_permutes_the_scores(bert_archive, reference, tmp_path):
    order = numpy.random.default_rng(0).permutation(len(TEXTS))
    path = write_texts(tmp_path / "p.jsonl", [TEXTS[i] for i in order], [LABELS[i] for i in order])
    interpreter = interpreter_of(bert_archive, train_data_path=str(path))
    assert_close(scores_of(interpreter), reference.scores()[:, order])


def test_duplicates_score_equally(bert_archive, tmp_path):
    texts, labels = TEXTS + [TEXTS[2], TEXTS[2]], LABELS + [LABELS[2], "neg"]
    path = write_texts(tmp_path / "twice.jsonl", texts, labels)
    scores = scores_of(interpreter_of(bert_archive, train_data_path=str(path)))
    assert_close(scores[:, 10], scores[:, 2])
    assert abs(scores[0, 11] - scores[0, 2]) > 0.01 * abs(scores).max()  # another label


def test_a_batch_of_inputs_is_one_by_one(bert_archive):
    inputs = (TEXTS + QUERIES) * 2  # of several lengths, and more than a block
    interpreter = interpreter_of(bert_archive)
    interpreter.memory_budget = MemoryBudget.of(8e-5)
    assert 1 < interpreter.queries_at_once < len(inputs)
    together = scores_of(interpreter, inputs)
    assert_close(together, numpy.concatenate([scores_of(interpreter, [x]) for x in inputs]))
    assert_close(together[12:], together[:12])
    narrow = interpreter_of(bert_archive, memory_budget=1e-9)
    assert narrow.queries_at_once == 1
    assert_close(scores_of(narrow, inputs), together)


@pytest.mark.parametrize("solver", ["conjugate-gradient", "lissa"])
def test_the_same_seed_gives_the_same_bits(bert_archive, solver):
    config = {"type": solver, "damping": 60.0, "num_examples": 7, "seed": 3}
    if solver == "lissa":
        config.update(scale=600.0, depth=60, batch_size=2)

    def bits(**changed):
        interpreter = InfluenceInterpreter.from_archive(
            load_archive(bert_archive),
            interpreter_name="influence-functions",
            solver={**config, **changed},
        )
        torch.manual_seed(random.randrange(1000))
        return scores_of(interpreter)

    assert (bits() == bits()).all()
    assert (bits() != bits(seed=4)).any()


# -- z-scores -------------------------------------------------------------------------------------


def test_z_scores_are_in_population_standard_deviations(bert_archive):
    interpreter = interpreter_of(bert_archive)
    explanation = interpreter.interpret(*queries_of(interpreter, QUERIES[:1]))
    z = explanation.z_scores
    assert z.mean() == pytest.approx(0, abs=1e-9) and (z**2).mean() == pytest.approx(1)
    assert numpy.corrcoef(z, explanation.scores)[0, 1] == pytest.approx(1)
    assert [i.z for i in explanation.top_k] == pytest.approx(
        [z[i.position] for i in explanation.top_k]
    )
    assert (z_scores(numpy.full(5, 0.1, dtype=numpy.float32)) == 0).all()


# -- the caller's model ---------------------------------------------------------------------------


@pytest.mark.parametrize("fails", [False, True])
def test_the_callers_model_and_generators_stay_as_they_came(bert_archive, fails):
    archive = load_archive(bert_archive)
    model = archive.model.train()
    model._text_field_embedder.eval()  # a mixture, which model.train(mode) would not restore
    for number, parameter in enumerate(model.parameters()):
        parameter.grad = torch.full_like(parameter, 7.0)
        parameter.requires_grad_(number % 3 != 0)
    model._accuracy(torch.eye(3), torch.tensor([0, 1, 0]))
    calls = []

    def fail_at_last(module, inputs, output):
        calls.append(torch.is_grad_enabled())
        if fails and len(calls) > 9:
            raise RuntimeError("out of memory")

    model._classification_layer.register_forward_hook(fail_at_last)
    before = state_of(model)
    interpreter = InfluenceInterpreter.from_archive(
        archive, interpreter_name="influence-functions", solver=exact(60.0), params_to_freeze=FROZEN
    )
    if fails:
        with pytest.raises(RuntimeError, match="out of memory"):
            scores_of(interpreter)
    else:
        first = scores_of(interpreter)  # dropout is off, though the model is in train mode
        assert (scores_of(interpreter) == first).all()
    assert len(calls) > 9
    assert state_of(model) == before


def state_of(model):
    return (
        [module.training for module in model.modules()],
        [
            (id(p), p.requires_grad, p.grad.sum().item(), p.detach().sum().item())
            for p in model.parameters()
        ],
        [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()],
        model.get_metrics(),
        random.getstate(),
        str(numpy.random.get_state()),
        torch.get_rng_state().tolist(),
    )


def test_what_is_kept_gives_the_same_bits(bert_archive, tmp_path, monkeypatch):
    def scores(**options):
        interpreter = interpreter_of(bert_archive, cache_dir=str(tmp_path), **options)
        found = interpreter.interpret_instances(queries_of(interpreter, QUERIES))
        return numpy.stack([explanation.scores for explanation in found])

    solvers = [{"type": name, "damping": 5.0} for name in ("gauss-newton", "ek-fac", "spectral")]
    first = [scores(solver=solver) for solver in solvers]
    (folder,) = tmp_path.iterdir()  # one model, one training set
    assert len(list(folder.iterdir())) >= 4  # frozen layers, Gram matrix, factors, spectrum
    monkeypatch.setattr("allennlp_influence.engine.store.save_file", None)  # nothing is made again
    for solver, expected in zip(solvers, first):
        assert numpy.array_equal(scores(solver=solver), expected)


def test_what_is_kept_is_of_this_model_and_these_examples(bert_archive, tmp_path):
    def folders(model=None, instances=None):
        interpreter = interpreter_of(bert_archive, cache_dir=str(tmp_path))
        if model is not None:
            with torch.no_grad():
                next(p for p in interpreter.model.parameters()).add_(model)
        if instances is not None:
            interpreter.training_labels[instances] = 1 - interpreter.training_labels[instances]
        interpreter.training_set
        return len(list(tmp_path.iterdir()))

    assert folders() == folders() == 1
    assert folders(model=1e-3) == 2
    assert folders(instances=0) == 3


def test_the_effect_of_a_subset_is_reported(bert_archive):
    def agreement(num_examples):
        solver = {"type": "gauss-newton", "damping": 0.1, "num_examples": num_examples}
        interpreter = interpreter_of(bert_archive, solver=solver)
        return scores_of(interpreter), interpreter.agreement_with_half

    scores, found = agreement(6)
    assert agreement(None)[1] == []
    for row, half, value in zip(scores, agreement(3)[0], found, strict=True):
        assert value == pytest.approx(spearmanr(row, half)[0])
        assert value < 1
