"""What stands at the top of a ranking of training examples."""

from typing import List, Sequence

import numpy


def top_count(num_examples: int, share: float) -> int:
    """How many of the training examples the top `share` (0 to 1) is, rounded down."""
    return int(num_examples * share + 1e-9)  # 0.29 * 100 is 28.999…


def ranking(scores: numpy.ndarray) -> numpy.ndarray:
    """The places of the training examples `(N,)`, highest score first; of equal scores in training order."""
    return numpy.argsort(-numpy.asarray(scores), kind="stable")


def overlap(first: numpy.ndarray, second: numpy.ndarray, count: int) -> float:
    """
    The share of the first `count` training examples of one ranking that are among the first `count` of another
    (Han et al. 2020, tables 3 and 4).
    """
    return len(numpy.intersect1d(first[:count], second[:count])) / count


def values_at_the_top(
    values: numpy.ndarray, order: numpy.ndarray, chosen: numpy.ndarray, shares: Sequence[float]
) -> List[numpy.ndarray]:
    """
    For each share, the values of the chosen training examples that are in the top of all of them.

    # Parameters

    values : `numpy.ndarray`, required
        `(N,)`, in training order.
    order : `numpy.ndarray`, required
        A `ranking`, `(N,)`.
    chosen : `numpy.ndarray`, required
        `(N,)`, of booleans, in training order. What is not chosen keeps its rank.
    shares : `Sequence[float]`, required
    """
    tops = [order[: top_count(len(order), share)] for share in shares]
    return [values[top[chosen[top]]] for top in tops]
