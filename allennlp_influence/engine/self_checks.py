"""Checks that every run makes of itself, on a few examples: cheap beside what they vouch for."""

import copy
from typing import List, NamedTuple, Sequence, Tuple

import torch
from scipy.stats import spearmanr
from torch import Tensor

from allennlp_influence.engine.batch import Batch
from allennlp_influence.engine.curvature import Curvature
from allennlp_influence.engine.inverse_curvature import InverseCurvature, NotSolvedError
from allennlp_influence.engine.matmul_precision import FULL, matmul_precision
from allennlp_influence.engine.rows import dots, squares
from allennlp_influence.engine.scoring import inner_products_with_losses
from allennlp_influence.engine.store import Store
from allennlp_influence.engine.training_set import TrainingSet

_NUM_EXAMPLES = 4
_NUM_RANKED = 1000  # by which a Spearman correlation is known to some 0.01
_NUM_IN_SMALL_CURVATURE = 64


class SelfChecks(NamedTuple):
    """
    `asymmetry` is |⟨u, Cv⟩ − ⟨v, Cu⟩| / (‖u‖‖Cv‖) for random u and v: rounding, unless the curvature products are
    wrong. `derivative_error` is the largest difference of ⟨∇L_i, v⟩ from the central difference of L_i along v, against
    the largest of them: about 1e-3 in float32, most of it the difference's own.
    """

    asymmetry: float
    derivative_error: float


def self_checks(curvature: Curvature, seed: int = 0) -> SelfChecks:
    """
    Checks curvature products and per-example derivatives on four training examples of unequal length.

    # Parameters

    curvature : `Curvature`, required
    seed : `int`, optional (default = `0`)
        Of the random directions.
    """
    training_set, objective = curvature.training_set, curvature.objective
    by_length = sorted(range(len(training_set)), key=training_set.lengths.__getitem__)
    spread = {by_length[i * (len(by_length) - 1) // 3] for i in range(_NUM_EXAMPLES)}
    batch = training_set.batch(sorted(spread))

    generator = torch.Generator().manual_seed(seed)
    some = next(iter(objective.parameters.values()))
    pair = torch.randn(2, objective.space.size, generator=generator).to(some)
    products = torch.zeros_like(pair)
    curvature.add_product(batch, pair, products, 1 / len(batch.labels))
    crossed = dots(pair, products.flip(0))
    size = (squares(pair[:1]) * squares(products[1:])).sqrt()
    asymmetry = (crossed[0] - crossed[1]).abs() / size.clamp_min(1e-300)

    inner = inner_products_with_losses(training_set, batch, pair)
    differences = torch.stack([_central_difference(objective, batch, v) for v in pair], dim=1)
    error = (inner - differences).abs().max() / differences.abs().max().clamp_min(1e-30)
    return SelfChecks(float(asymmetry), float(error))


def rank_agreement(
    training_set: TrainingSet, vectors: Tensor, scores: Tensor, seed: int = 0
) -> List[float]:
    """
    Spearman correlation of ⟨∇L_i, x_q⟩ with the scores of a query, over up to 1,000 training examples drawn at random.

    # Parameters

    training_set : `TrainingSet`, required
    vectors : `Tensor`, required
        x, `(num_queries, space.size)`.
    scores : `Tensor`, required
        `(num_queries, N)`.
    seed : `int`, optional (default = `0`)
    """
    drawn, others = _products_with_some(training_set, vectors, seed)
    return _correlations(others, scores[:, drawn].cpu())


def precision_agreement(
    training_set: TrainingSet, solver: InverseCurvature, batches: Sequence[Batch], seed: int = 0
) -> List[float]:
    """
    Spearman correlation of queries' scores with those in full float32 precision, see `matmul_precision`. Both are by the
    curvature of 64 examples, or the check would cost more than it is to save; none if the system has no solution there.

    # Parameters

    training_set : `TrainingSet`, required
    solver : `InverseCurvature`, required
        As configured; it is copied.
    batches : `Sequence[Batch]`, required
        The queries, one in each.
    seed : `int`, optional (default = `0`)
    """
    apart = copy.copy(training_set)
    apart.store = Store()  # nothing of this is kept
    solver = copy.deepcopy(solver)
    solver.num_examples = min(_NUM_IN_SMALL_CURVATURE, len(training_set))

    def products() -> Tensor:
        own = copy.deepcopy(solver)
        gradients = torch.stack([training_set.objective.gradient(batch) for batch in batches])
        vectors = own.apply(own.curvature_of(apart), gradients)
        return _products_with_some(training_set, vectors, seed)[1]

    try:
        found = products()
        with matmul_precision(FULL):
            return _correlations(found, products())
    except NotSolvedError:
        return []


def _products_with_some(
    training_set: TrainingSet, vectors: Tensor, seed: int
) -> Tuple[Tensor, Tensor]:
    """Positions of training examples drawn at random, and ⟨∇L_i, x_q⟩ `(num_queries, number drawn)`."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randperm(len(training_set), generator=generator)[:_NUM_RANKED].sort().values
    products = torch.zeros(len(vectors), len(training_set))
    for positions, batch in training_set.buckets_of(drawn.tolist()):
        found = inner_products_with_losses(training_set, batch, vectors)
        products[:, positions] = found.T.float().cpu()
    return drawn, products[:, drawn]


def _correlations(some: Tensor, others: Tensor) -> List[float]:
    return [float(spearmanr(x, y)[0]) for x, y in zip(some, others)]


def _central_difference(objective, batch, vector: Tensor) -> Tensor:
    """(L_i(θ + hv) − L_i(θ − hv)) / 2h `(batch_size,)`, h a thousandth of ‖θ‖ / ‖v‖."""
    theta = objective.space.flatten(objective.parameters)
    h = float(1e-3 * theta.norm() / vector.norm())
    with torch.no_grad():
        above, below = (
            objective.losses(objective.space.unflatten(theta + step * vector), batch)
            for step in (h, -h)
        )
    return (above - below) / (2 * h)
