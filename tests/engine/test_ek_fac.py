"""EK-FAC is what its definition says, written out; exact where it must be; and nearer to the inverse than nothing."""

import pytest
import torch
from allennlp.common.checks import ConfigurationError
from allennlp.common.params import Params
from scipy.stats import spearmanr

from allennlp_influence.engine import (
    Batch,
    Curvature,
    EkFac,
    InverseCurvature,
    NotSolvedError,
    Objective,
    TrainingSet,
    influence_scores,
)
from allennlp_influence.engine import ek_fac as module
from allennlp_influence.engine import gradients as gradients_module
from allennlp_influence.engine.gradients import TokenSums
from allennlp_influence.engine.store import Store
from tests.engine.conftest import TinyClassifier, make_texts, trained_names

DAMPING = 0.02  # the eigenvalues of the tiny transformer's curvature go up to 2


@pytest.fixture(scope="module")
def curvature(training_set):
    return EkFac(DAMPING).curvature_of(training_set)


@pytest.fixture(scope="module")
def definition(model, objective, texts):
    """(C + λI) of EK-FAC, from its definition."""
    return dense_definition(model, objective, texts)


def dense_definition(model, objective, texts, damping=DAMPING):
    """
    (C + λI) of EK-FAC `(P, P)` by loops over examples and labels: autograd on the untouched model, one unpadded text
    at a time, the rows √p_y ∇ log p(y) of Fisher's form of Gauss-Newton in the place of b_ir; Kronecker products and
    the curvature of every layer written out, and its diagonal taken in the basis of the former.
    """
    model.eval()
    linear = {n: m for n, m in model.named_modules() if isinstance(m, torch.nn.Linear)}
    parameters = dict(model.named_parameters())
    trained = [parameters[name] for name in objective.parameters]
    positions = objective.space.unflatten(torch.arange(objective.space.size))
    seen, rows = [], []
    handles = [
        m.register_forward_hook(lambda m, args, out, name=n: seen.append((name, args[0], out)))
        for n, m in linear.items()
    ]
    a_sums, s_sums = {}, {}
    for i in range(len(texts.labels)):
        seen.clear()
        logits = model(**texts.collate([i]).inputs)["logits"][0]
        tokens = [(name, a.detach().flatten(0, -2), []) for name, a, _ in seen]  # δ of every label
        for y, p in enumerate(logits.softmax(-1)):
            root = p.detach().sqrt() * logits.log_softmax(-1)[y]
            row = torch.autograd.grad(root, trained, retain_graph=True)
            rows.append(objective.space.flatten(dict(zip(objective.parameters, row))))
            outputs = [out for _, _, out in seen]
            deltas = torch.autograd.grad(root, outputs, retain_graph=True, allow_unused=True)
            for (_, _, of_labels), delta in zip(tokens, deltas):
                if delta is not None:
                    of_labels.append(delta.flatten(0, -2))
        for name, a, deltas in tokens:
            if f"{name}.bias" in positions:
                a = torch.cat([a, torch.ones(len(a), 1).double()], dim=1)
            for t, a_t in enumerate(a):
                if any(delta[t].any() for delta in deltas):
                    a_sums[name] = a_sums.get(name, 0) + torch.outer(a_t, a_t)
                for delta in deltas:
                    s_sums[name] = s_sums.get(name, 0) + torch.outer(delta[t], delta[t])
    for handle in handles:
        handle.remove()
    rows = torch.stack(rows)
    gauss_newton = rows.T @ rows / len(texts.labels)

    result = torch.zeros_like(gauss_newton)
    layers = {}
    for name in objective.parameters:
        layers.setdefault(name.rpartition(".")[0], []).append(name)
    for layer, names in layers.items():
        if layer in linear and f"{layer}.weight" in names:
            columns = [positions[f"{layer}.weight"]]
            if f"{layer}.bias" in names:
                columns.append(positions[f"{layer}.bias"][:, None])
            index = torch.cat(columns, dim=1).flatten()
            basis = torch.kron(
                torch.linalg.eigh(s_sums[layer])[1], torch.linalg.eigh(a_sums[layer])[1]
            )
            block = gauss_newton[index][:, index]
            block = basis @ torch.diag((basis.T @ block @ basis).diag()) @ basis.T
        else:
            index = torch.cat([positions[name].flatten() for name in names])
            block = gauss_newton[index][:, index]
            if layer and isinstance(model.get_submodule(layer), torch.nn.Embedding):
                block = torch.diag(block.diag())
        result[index[:, None], index] = block
    return result + damping * torch.eye(len(result)).double()


def relative_error(found, expected):
    return ((found - expected).norm(dim=1) / expected.norm(dim=1)).max().item()


def test_it_is_its_own_dense_definition(curvature, definition, queries):
    solution = EkFac(DAMPING).solve(curvature, queries)
    expected = torch.linalg.solve(definition, queries.T).T
    assert relative_error(solution.vectors, expected) < 1e-8
    assert relative_error(queries / DAMPING, expected) > 0.5  # curvature does matter here


def test_the_diagnosis_bounds_the_eigenvalues_of_gauss_newton(curvature, gauss_newton, queries):
    for diagnosis in EkFac(DAMPING).solve(curvature, queries).diagnoses:
        highest = torch.linalg.eigvalsh(gauss_newton)[-1].item()
        assert diagnosis.converged and diagnosis.steps == 0 and diagnosis.residual is None
        assert 0 <= diagnosis.lambda_min <= diagnosis.lambda_max <= highest
        assert diagnosis.lambda_max > highest / 3


@pytest.mark.parametrize(
    "only, least, without",  # rank correlations with the exact scores: at least, and without curvature at most
    [("bert.pooler", 0.95, 0.75), ("head", 0.98, 0.8), ("", 0.5, 0.5)],
    ids=["a layer", "another", "the whole model, curvature between layers being left out"],
)
def test_it_is_nearer_to_the_explicit_inverse_than_no_curvature(model, only, least, without):
    names = [name for name in trained_names(model) if name.startswith(only)]
    texts, others = make_texts(count=100, seed=1), make_texts(count=20, seed=2)
    objective = Objective(model, names, texts.collate(range(4)))
    training_set = TrainingSet(objective, [len(i) for i in texts.ids], texts.collate)
    train, queries = (
        torch.stack([objective.gradient(objective.prepare(t.collate([i]))) for i in range(size)])
        for t, size in ((texts, 100), (others, 20))
    )
    curvature = EkFac(DAMPING).curvature_of(training_set)
    identity = torch.eye(objective.space.size).double()
    matrix = torch.cat([curvature.product(part) for part in identity.split(256)])
    expected = torch.linalg.solve(matrix + DAMPING * identity, queries.T).T

    def correlation(solved):
        pairs = zip(solved @ train.T, expected @ train.T)
        return sum(spearmanr(one, other).statistic for one, other in pairs) / len(queries)

    found = EkFac(DAMPING).solve(curvature, queries).vectors
    assert correlation(found) > least > correlation(queries)
    assert correlation(queries) < without
    assert relative_error(found, expected) < relative_error(queries / DAMPING, expected) / 3


def logistic(examples, dim=4, zero=False):
    """A linear layer on one token, with its explicit Gauss-Newton (P, P) over [weight, bias] as they lie in θ."""

    class Logistic(torch.nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.linear = torch.nn.Linear(dim, 3).double()
            if zero:
                torch.nn.init.zeros_(self.linear.weight)

        def forward(self, features):
            return {"logits": self.linear(features)}

    generator = torch.Generator().manual_seed(1)
    features = torch.randn(examples, dim, generator=generator).double()
    model = Logistic()

    def collate(positions):
        index = torch.tensor(list(positions))
        return Batch({"features": features[index]}, index % 3)

    objective = Objective(model, ["linear.weight", "linear.bias"], collate([0]))
    curvature = EkFac().curvature_of(TrainingSet(objective, [1] * examples, collate))
    identity = torch.eye(objective.space.size).double()
    return curvature, curvature.product(identity)


@pytest.mark.parametrize("examples, zero", [(1, False), (30, True)])
def test_it_is_exact_where_the_curvature_is_a_kronecker_product(examples, zero):
    """C = S ⊗ A for one example with one token, and for any number whose predictions are the same."""
    curvature, matrix = logistic(examples, zero=zero)
    vectors = torch.randn(5, len(matrix), dtype=torch.float64)
    found = EkFac(0.1).solve(curvature, vectors).vectors
    expected = torch.linalg.solve(matrix + 0.1 * torch.eye(len(matrix)).double(), vectors.T).T
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    assert relative_error(vectors / 0.1, expected) > 0.1


def test_it_is_not_exact_elsewhere():
    curvature, matrix = logistic(30)
    vectors = torch.randn(5, len(matrix), dtype=torch.float64)
    expected = torch.linalg.solve(matrix + 0.1 * torch.eye(len(matrix)).double(), vectors.T).T
    assert relative_error(EkFac(0.1).solve(curvature, vectors).vectors, expected) > 1e-3


def part_of(objective, matrix, names):
    positions = objective.space.unflatten(torch.arange(objective.space.size))
    index = torch.cat([positions[name].flatten() for name in names])
    return index, matrix[index][:, index]


def test_the_block_of_a_layer_norm_is_exact(objective, curvature, gauss_newton, queries):
    layer = "bert.encoder.layer.1.output.LayerNorm"
    index, block = part_of(objective, gauss_newton, [f"{layer}.weight", f"{layer}.bias"])
    found = EkFac(DAMPING).solve(curvature, queries).vectors[:, index]
    damped = block + DAMPING * torch.eye(len(block)).double()
    expected = torch.linalg.solve(damped, queries[:, index].T).T
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-9)


def test_a_block_that_is_too_large_is_taken_for_its_diagonal(
    training_set, objective, gauss_newton, queries, monkeypatch
):
    monkeypatch.setattr(module, "_LARGEST_EXACT_BLOCK", 15)  # one less than a LayerNorm has
    curvature = EkFac(DAMPING, num_examples=13).curvature_of(training_set)  # not one that is kept
    found = EkFac(DAMPING).solve(curvature, queries).vectors
    name = "bert.encoder.layer.1.output.LayerNorm.weight"
    identity = torch.eye(objective.space.size).double()
    index, _ = part_of(objective, gauss_newton, [name])
    diagonal = curvature.product(identity[index])[:, index].diag()
    expected = queries[:, index] / (diagonal + DAMPING)
    torch.testing.assert_close(found[:, index], expected, rtol=1e-8, atol=1e-9)


class Bag(torch.nn.Module):
    """Words that occur twice, a layer that is called twice, and a weight without a bias."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embedding = torch.nn.Embedding(30, 4, padding_idx=0)
        self.norm = torch.nn.LayerNorm(4)
        self.twice = torch.nn.Linear(4, 4)
        self.head = torch.nn.Linear(4, 3, bias=False)

    def forward(self, input_ids, attention_mask):
        embedded = self.norm(self.embedding(input_ids)).tanh() * attention_mask[:, :, None]
        pooled = torch.cat([embedded, embedded[:, :1]], 1).sum(1)
        return {"logits": self.head(self.twice(self.twice(pooled).tanh()).tanh())}


@pytest.mark.parametrize("frozen", ["nothing", "twice.weight", "twice.bias", "norm.bias"])
def test_every_kind_of_parameter_has_its_block(frozen):
    model = Bag().double().eval()
    texts = make_texts(count=12, seed=3)
    objective = Objective(model, trained_names(model, [frozen]), texts.collate(range(4)))
    training_set = TrainingSet(objective, [len(i) for i in texts.ids], texts.collate, 30)
    assert any(len(set(i.tolist())) < len(i) for i in texts.ids)  # words that occur twice
    vectors = torch.randn(3, objective.space.size, dtype=torch.float64)
    solver = EkFac(DAMPING)
    found = solver.solve(solver.curvature_of(training_set), vectors).vectors
    expected = torch.linalg.solve(dense_definition(model, objective, texts), vectors.T).T
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)
    assert_is_diagonal_of_scores(solver, training_set, texts)


def test_biases_alone(model, texts):
    names = [name for name in trained_names(model) if name.endswith("bias")]
    objective = Objective(model, names, texts.collate(range(4)))
    training_set = TrainingSet(objective, [len(i) for i in texts.ids], texts.collate)
    vectors = torch.randn(3, objective.space.size, dtype=torch.float64)
    solver = EkFac(DAMPING)
    found = solver.solve(solver.curvature_of(training_set), vectors).vectors
    expected = torch.linalg.solve(dense_definition(model, objective, texts), vectors.T).T
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("most_floats", [1, 2**22])  # a row at a time, all at once
@pytest.mark.parametrize("tokens", [1, 2, 5])
def test_rotated_tokens_give_the_rotated_matrices(tokens, most_floats, monkeypatch):
    monkeypatch.setattr(gradients_module, "_MOST_FLOATS_IN_CACHE", most_floats)
    generator = torch.Generator().manual_seed(tokens)

    def random(*shape):
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    block = module._Kronecker("layer", "layer.weight", "layer.bias")
    rows = [
        {"layer.weight": TokenSums(a, random(7, tokens, 3))}
        for a in [random(7, tokens, 4)]
        for _ in range(2)
    ]
    factors = {
        "layer.Q_A": torch.linalg.qr(random(5, 5))[0],
        "layer.Q_S": torch.linalg.qr(random(3, 3))[0],
    }
    ((_, found),) = block.squares(factors, rows)
    rotated = []
    for row in rows:
        own = row["layer.weight"]
        a = torch.cat([own.a, torch.ones(7, tokens, 1).double()], dim=2)
        matrices = torch.einsum("ito,itk->iok", own.delta, a)
        rotated.append(factors["layer.Q_S"].T @ matrices @ factors["layer.Q_A"])
    torch.testing.assert_close(found, sum(r.square().sum(0) for r in rotated))
    weights = random(3, 5)
    forms = block.quadratic_forms({**factors, "layer.Lambda": weights}, rows[0])
    torch.testing.assert_close(forms, (rotated[0].square() * weights).sum((1, 2)))


def test_it_does_not_depend_on_batches_padding_or_queries(model, objective, curvature, queries):
    reference = EkFac(DAMPING).solve(curvature, queries).vectors
    texts = make_texts(count=14, seed=1)
    for budget in (1, 9, 10_000):  # one by one … all in one, padded to the longest
        training_set = TrainingSet(
            objective, [len(i) for i in texts.ids], texts.collate, token_budget=budget
        )
        own = EkFac(DAMPING).curvature_of(training_set)
        torch.testing.assert_close(
            EkFac(DAMPING).solve(own, queries).vectors, reference, rtol=1e-7, atol=1e-7
        )
    alone = torch.cat([EkFac(DAMPING).solve(curvature, query[None]).vectors for query in queries])
    torch.testing.assert_close(alone, reference)


def test_large_blocks_of_queries_are_solved_in_parts(curvature, queries, monkeypatch):
    reference = EkFac(DAMPING).solve(curvature, queries).vectors
    monkeypatch.setattr(module, "_MOST_FLOATS", 1)
    torch.testing.assert_close(EkFac(DAMPING).solve(curvature, queries).vectors, reference)


def assert_is_diagonal_of_scores(solver, training_set, texts):
    objective, curvature = training_set.objective, solver.curvature_of(training_set)
    gradients = torch.stack(
        [
            objective.gradient(objective.prepare(texts.collate([i])))
            for i in range(len(texts.labels))
        ]
    )
    scores = influence_scores(training_set, solver.solve(curvature, gradients).vectors)
    found = solver.self_influence(curvature)
    torch.testing.assert_close(found, scores.diag(), rtol=1e-8, atol=1e-10)
    assert (found > 0).all() and found.max() > 2 * found.min()


@pytest.mark.parametrize(
    "num_examples", [None, 5]
)  # the mean of C is over them, the scores are of all
def test_self_influence_is_the_diagonal_of_the_scores(training_set, texts, num_examples):
    assert_is_diagonal_of_scores(EkFac(DAMPING, num_examples), training_set, texts)


@pytest.mark.parametrize("kept", [0, 2])  # batches, of four
def test_what_is_not_kept_is_made_again(kept, curvature, monkeypatch):
    expected = module._compute(curvature)
    gradients = curvature.training_set.gradients
    of_curvature, passes = gradients.of_curvature, []
    nbytes = 1
    for batch in curvature.batches[:kept]:
        ((_, rows),) = of_curvature(batch)
        nbytes += sum(own.nbytes for row in rows for own in row.values())
    monkeypatch.setattr(
        gradients, "of_curvature", lambda batch: passes.append(batch) or of_curvature(batch)
    )
    monkeypatch.setattr(module, "_MOST_KEPT", nbytes)
    found = module._compute(curvature)
    assert len(curvature.batches) == 4 and len(passes) == 8 - kept
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor)


def test_the_factors_are_made_once_for_every_query_and_damping(
    objective, texts, queries, monkeypatch, tmp_path
):
    def make():
        lengths = [len(i) for i in texts.ids]
        return TrainingSet(objective, lengths, texts.collate, 30, Store(tmp_path / "kept"))

    passes = []

    def counted(training_set):
        of_curvature = training_set.gradients.of_curvature
        monkeypatch.setattr(
            training_set.gradients,
            "of_curvature",
            lambda batch: passes.append(batch) or of_curvature(batch),
        )
        return training_set

    training_set = counted(make())
    curvature = EkFac().curvature_of(training_set)
    first = EkFac(DAMPING).solve(curvature, queries).vectors
    assert len(passes) == len(curvature.batches) > 1  # the second pass is over what is kept of the first
    again = EkFac(DAMPING).solve(curvature, queries).vectors
    other = EkFac(5 * DAMPING).solve(curvature, queries).vectors
    EkFac(DAMPING).self_influence(curvature)
    assert len(passes) == len(curvature.batches)
    assert torch.equal(again, first) and not torch.allclose(other, first)

    from_disk = EkFac(DAMPING).solve(EkFac().curvature_of(counted(make())), queries).vectors
    assert len(passes) == len(curvature.batches)
    assert torch.equal(from_disk, first)

    subset = EkFac(DAMPING, num_examples=5)  # another curvature
    subset.solve(subset.curvature_of(training_set), queries)
    assert len(passes) > len(curvature.batches)


def test_the_cost_is_that_of_the_factors(curvature):
    assert EkFac().expected_passes(1000) == 0.0
    assert 0 < EkFac().expected_preparation_seconds(curvature) < 10


def test_factors_that_are_not_finite_are_refused():
    curvature, matrix = logistic(30)
    curvature.batches[0].inputs["features"][10] = torch.inf
    with pytest.raises(NotSolvedError, match="linear.A is not finite.*overflow"):
        EkFac(DAMPING).solve(curvature, matrix)


def test_a_hessian_is_refused(training_set, queries):
    with pytest.raises(ConfigurationError, match="no factors of a hessian.*gauss-newton"):
        EkFac(DAMPING).solve(Curvature(training_set), queries)


def test_a_model_that_can_not_be_read_by_module_is_refused(texts):
    model = TinyClassifier().double()
    names = [name for name, _ in model.named_parameters()]  # position embeddings among them
    objective = Objective(model, names, texts.collate(range(4)))
    training_set = TrainingSet(objective, [len(i) for i in texts.ids], texts.collate)
    curvature = EkFac(DAMPING).curvature_of(training_set)
    vectors = torch.ones(1, objective.space.size).double()
    solver = EkFac(DAMPING)
    for call in (
        lambda: solver.solve(curvature, vectors),
        lambda: solver.self_influence(curvature),
        lambda: solver.expected_preparation_seconds(curvature),
    ):
        with pytest.raises(ConfigurationError, match="conjugate-gradient or gauss-newton"):
            call()


def test_it_is_registered_and_has_no_choice_of_curvature():
    solver = InverseCurvature.from_params(
        Params({"type": "ek-fac", "damping": 0.5, "num_examples": 7, "seed": 3})
    )
    assert isinstance(solver, EkFac) and solver.kind == "gauss-newton"
    assert (solver.damping, solver.num_examples, solver.seed) == (0.5, 7, 3)
    with pytest.raises(ConfigurationError):
        InverseCurvature.from_params(Params({"type": "ek-fac", "curvature": "hessian"}))
    with pytest.raises(ConfigurationError, match="damping must be positive"):
        EkFac(damping=0.0)
