"""Influence on scales that are the same for all queries."""

from typing import Callable, Dict, Iterator, Tuple

import numpy
from scipy.stats import norm, rankdata

from allennlp_influence.influence.explanation import z_scores

_QUERIES_AT_ONCE = 16


def normal_scores(scores: numpy.ndarray) -> numpy.ndarray:
    """
    What normally distributed scores of the same order would be: Φ⁻¹(rank / (N + 1)) (van der Waerden 1952), in standard
    deviations, of scores `(N,)`. No example is far from the others.
    """
    return z_scores(norm.ppf(rankdata(scores) / (len(scores) + 1)))


Z, RANKS = "z", "ranks"
SCALES: Dict[str, Callable[[numpy.ndarray], numpy.ndarray]] = {Z: z_scores, RANKS: normal_scores}
"""The paper's, on which the fit may hang on the few strongest examples; and one on which it does not."""


def scaled(scores: numpy.ndarray, scale: str) -> Iterator[Tuple[slice, numpy.ndarray]]:
    """Some rows of scores `(Q, N)` at a time, which may be mapped, on a scale, float64."""
    for start in range(0, len(scores), _QUERIES_AT_ONCE):
        block = slice(start, start + _QUERIES_AT_ONCE)
        yield block, numpy.stack([SCALES[scale](row) for row in scores[block]])
