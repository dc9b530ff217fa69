"""In the convex case a score is what removing the example and training again gives: unit 1/N and sign."""

import numpy
import pytest
import torch
from scipy.optimize import minimize
from scipy.stats import linregress

from allennlp_influence.engine import (
    Batch,
    ConjugateGradient,
    Curvature,
    GaussNewton,
    Lissa,
    Objective,
    TrainingSet,
    influence_scores,
)

N, DIM, CLASSES, L2 = 400, 5, 3, 0.02


class Logistic(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(DIM, CLASSES)

    def forward(self, features):
        return {"logits": self.linear(features)}


@pytest.fixture(scope="module")
def data():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(N + 10, DIM, generator=generator).double()
    truth = torch.randn(DIM, CLASSES, generator=generator).double()
    noise = torch.randn(N + 10, CLASSES, generator=generator).double()
    return features, (features @ truth + noise).argmax(1)


def fit(features, labels, start=None):
    """argmin (1/N) Σ L_i + (λ/2) ‖θ‖², to gradient 1e-10; N stays when examples are left out."""

    def objective(theta):
        theta = torch.tensor(theta, requires_grad=True)
        weight, bias = theta[: DIM * CLASSES].view(CLASSES, DIM), theta[DIM * CLASSES :]
        loss = torch.nn.functional.cross_entropy(
            features @ weight.T + bias, labels, reduction="sum"
        )
        total = loss / N + L2 / 2 * theta @ theta
        total.backward()
        return total.item(), theta.grad.numpy()

    start = numpy.zeros(CLASSES * (DIM + 1)) if start is None else start
    options = dict(gtol=1e-11, ftol=1e-16, maxiter=2000)
    return minimize(objective, start, jac=True, method="L-BFGS-B", options=options).x


@pytest.fixture(scope="module")
def fitted(data):
    features, labels = data
    theta = fit(features[:N], labels[:N])
    model = Logistic().double()
    with torch.no_grad():
        model.linear.weight.copy_(torch.tensor(theta[: DIM * CLASSES]).view(CLASSES, DIM))
        model.linear.bias.copy_(torch.tensor(theta[DIM * CLASSES :]))
    return model, theta


@pytest.fixture(scope="module")
def retrained(data, fitted):
    """Measured rise of every query's loss when example i is left out, (queries, N)."""
    features, labels = data
    _, start = fitted

    def query_losses(theta):
        weight, bias = theta[: DIM * CLASSES].reshape(CLASSES, DIM), theta[DIM * CLASSES :]
        logits = features[N:] @ torch.tensor(weight).T + torch.tensor(bias)
        return torch.nn.functional.cross_entropy(logits, labels[N:], reduction="none").numpy()

    columns = []
    for i in range(N):
        keep = torch.arange(N) != i
        theta = fit(features[:N][keep], labels[:N][keep], start)
        columns.append(query_losses(theta) - query_losses(start))
    return numpy.stack(columns, axis=1)


def training_set_of(data, fitted):
    features, labels = data

    def collate(positions):
        index = torch.tensor(list(positions))
        return Batch({"features": features[index]}, labels[index])

    objective = Objective(fitted[0], ["linear.weight", "linear.bias"], collate(range(4)))
    return TrainingSet(objective, [1] * N, collate), collate


def scores_of(solver, data, fitted):
    training_set, collate = training_set_of(data, fitted)
    queries = torch.stack([training_set.objective.gradient(collate([N + q])) for q in range(10)])
    solution = solver.solve(Curvature(training_set), queries)
    return influence_scores(training_set, solution.vectors).numpy()


@pytest.mark.parametrize(
    "solver",
    [
        ConjugateGradient(damping=L2, tolerance=1e-8),
        Lissa(damping=L2, scale=2.0, depth=1500, batch_size=100, repeats=4),
    ],
    ids=["conjugate-gradient", "lissa"],
)
def test_scores_are_leave_one_out_changes(solver, data, fitted, retrained):
    scores = scores_of(solver, data, fitted)
    assert retrained.min() < -1e-3 and retrained.max() > 1e-3  # both signs occur
    for predicted, measured in zip(scores, retrained):
        regression = linregress(predicted, measured)
        assert regression.rvalue > 0.99
        assert abs(regression.slope - 1) < 0.1


def test_duplicates_score_equally(data, fitted):
    features, labels = data
    features, labels = features.clone(), labels.clone()
    features[7], labels[7] = features[3], labels[3]
    scores = scores_of(ConjugateGradient(damping=L2), (features, labels), fitted)
    numpy.testing.assert_allclose(scores[:, 3], scores[:, 7], rtol=1e-12)


def test_removing_a_group_moves_logits_as_predicted_with_its_curvature(data, fitted):
    """Beyond the sum of scores: retraining without a third of the examples, those that score highest for a query."""
    features, labels = data
    training_set, collate = training_set_of(data, fitted)
    solver = GaussNewton(damping=L2)
    curvature = Curvature(training_set, "gauss-newton")
    for query in range(N, N + 4):
        gradients = training_set.objective.logit_gradients(collate([query]))
        loss = training_set.objective.gradient(collate([query]))
        removed = solver.influence(curvature, loss[None])[0][0].argsort()[-N // 3 :]
        keep = torch.ones(N, dtype=bool).index_fill(0, removed, False)
        theta = torch.tensor(fit(features[:N][keep], labels[:N][keep], fitted[1]))
        weight, bias = theta[: DIM * CLASSES].view(CLASSES, DIM), theta[DIM * CLASSES :]
        with torch.no_grad():
            measured = weight @ features[query] + bias - fitted[0].linear(features[query])
        exact = solver.change_without(curvature, gradients, removed.tolist())
        summed = solver.influence(curvature, gradients)[0][:, removed].sum(1)
        assert (exact - measured).norm() < 0.5 * (summed - measured).norm()
        assert (exact - measured).norm() < 0.5 * measured.norm()
