"""How much of everything is run."""

from dataclasses import dataclass
from typing import Any, Dict, Mapping, Tuple

# λ = 30 is what the paper's LiSSA solves; at 0.1 curvature matters, and scores predict best what retraining does. There
# the Hessian of a fine-tuned network is indefinite, so the curvature is Gauss-Newton's at both, and only λ differs: at 30 its
# scores are as near to those of the whole Hessian as those of a sample's Hessian, at a fraction of the price
# (docs/performance.md). It is of a sample: the agreement with half of it is among the figures.
_SOLVERS = {
    name: {"type": "gauss-newton", "damping": damping, "num_examples": 1000}
    for name, damping in (("30", 30), ("0.1", 0.1))
}
_TINY_SOLVERS = {
    name: {"type": "gauss-newton", "damping": solver["damping"], "num_examples": 16}
    for name, solver in _SOLVERS.items()
}


@dataclass(frozen=True)
class Size:
    """
    # Parameters

    solvers : `Mapping[str, Dict[str, Any]]`
        By λ.
    train_size : `int`
        The first so many rows of the training files.
    epochs : `int`
    sst2_queries, natural_queries : `int`
        The first so many rows of the dev files are explained; of HANS's small file all are.
    seeds : `Tuple[int, ...]`
        Of the retrainings.
    resamples : `int`
        Of the training examples and queries, for the intervals of the artifacts' coefficients.
    memory_budget : `float`
        GB; with more of it more inputs share a pass over the training data, which is most of the work.
    """

    solvers: Mapping[str, Dict[str, Any]]
    train_size: int = 10_000
    epochs: int = 3
    sst2_queries: int = 50
    natural_queries: int = 50
    seeds: Tuple[int, ...] = (2019, 2029, 2039, 2049, 2059)
    resamples: int = 1000
    memory_budget: float = 16.0


SIZES = {
    "full": Size(_SOLVERS),
    # the fixtures of the demo: minutes, to see that everything works; its figures mean nothing
    "tiny": Size(
        _TINY_SOLVERS,
        train_size=64,
        epochs=1,
        sst2_queries=3,
        natural_queries=3,
        seeds=(2019,),
        resamples=50,
    ),
}
