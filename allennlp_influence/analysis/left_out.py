"""Training examples that are left out one by one, and how well scores say what that does."""

from typing import Dict

import numpy
from allennlp.common.checks import ConfigurationError
from scipy.stats import linregress, spearmanr


def check_number_left_out(number: int, size: int) -> None:
    """
    # Raises

    `ConfigurationError` if so many of `size` examples can't be left out one by one and compared.
    """
    if not 3 <= number <= size:
        raise ConfigurationError(
            f"between 3 and all {size:,} training examples can be left out one by one, not {number}"
        )


def choose_left_out(losses: numpy.ndarray, number: int) -> numpy.ndarray:
    """Places of training examples: half of them those with the largest loss, the others at random."""
    order = numpy.argsort(-losses, kind="stable")
    largest, others = order[: number // 2], order[number // 2 :]
    random = numpy.random.default_rng(0).permutation(others)[: number - len(largest)]
    return numpy.concatenate([largest, random])


def agreement(predicted: numpy.ndarray, measured: numpy.ndarray) -> Dict[str, float]:
    """
    Between predicted and measured rises of the queries' losses `(num_queries, num_left_out)`, in nats: the correlations of
    Pearson and Spearman and the slope of the measured rises on the predicted, all means over the queries; and the
    largest rise or fall that was measured.
    """
    lines = [linregress(p, m) for p, m in zip(predicted, measured)]
    return {
        "pearson": float(numpy.mean([line.rvalue for line in lines])),
        "spearman": float(numpy.mean([spearmanr(p, m)[0] for p, m in zip(predicted, measured)])),
        "slope": float(numpy.mean([line.slope for line in lines])),
        "largest": float(abs(measured).max()),
    }
