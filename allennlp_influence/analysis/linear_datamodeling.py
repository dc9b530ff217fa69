"""The linear datamodeling score: whether summed scores rank what random subsets of the training data do to a model."""

import itertools
from typing import NamedTuple, Sequence, Tuple

import numpy
from scipy.stats import rankdata

MEASURES = ("margin", "loss")


class Agreement(NamedTuple):
    """
    Rank correlations, their mean, and the bounds of its interval from a bootstrap.

    `draws` `(resamples,)` are the means over the resamples. Agreements with the same measurements use the same
    resamples: the difference of two has an interval of its own, in which what they share is no noise.
    """

    per_query: numpy.ndarray
    mean: float
    low: float
    high: float
    draws: numpy.ndarray


class LinearDatamodelingScore:
    """
    The linear datamodeling score (Park et al. 2023, TRAK, def. 2.3): for every query the Spearman correlation, over
    random subsets of the training examples, of the measured output of models that were trained on them with the output
    that scores predict, which is linear: what a subset leaves out adds up.

    The interval resamples queries and subsets, both (Owen 2007, "the pigeonhole bootstrap"): queries share the subsets.
    Ranks are those of all subsets.

    # Parameters

    left_out : `numpy.ndarray`, required
        `(num_subsets, N)` of `bool`.
    measured : `numpy.ndarray`, required
        `(num_seeds, num_subsets, num_queries)`: what rises where the explained label loses, as `measured_outputs` gives
        it. Its mean over the seeds is compared.
    resamples : `int`, optional (default = `2000`)
    seed : `int`, optional (default = `0`)
    """

    def __init__(
        self,
        left_out: numpy.ndarray,
        measured: numpy.ndarray,
        resamples: int = 2000,
        seed: int = 0,
    ) -> None:
        self._left_out = left_out.astype(float)
        self.num_seeds = len(measured)
        self._measured = measured
        self._ranks = _standardised_ranks(measured.mean(0).T)
        num_queries, num_subsets = self._ranks.shape
        random = numpy.random.default_rng(seed)
        self._queries = random.multinomial(num_queries, [1 / num_queries] * num_queries, resamples)
        self._subsets = random.multinomial(num_subsets, [1 / num_subsets] * num_subsets, resamples)

    def of_scores(self, scores: numpy.ndarray) -> Agreement:
        """
        # Parameters

        scores : `numpy.ndarray`
            `(num_queries, N)`, or those of several explained models `(num_models, num_queries, N)`, whose correlations
            are averaged.
        """
        predicted = numpy.asarray(scores, dtype=float) @ self._left_out.T
        if predicted.ndim == 2:
            predicted = predicted[None]
        return self._agreement(predicted)

    def ceiling(self) -> Tuple[Agreement, float]:
        """
        How well outputs by half of the seeds agree with those by the other half, over all ways to halve them; and what
        even the expected output would reach, √r with r the reliability of the mean over all seeds by the formula of
        Spearman and Brown, from the mean correlation of two single seeds.
        """
        singles = [_standardised_ranks(one.T) for one in self._measured]
        pairs = itertools.combinations(singles, 2)
        single = float(numpy.mean([(a * b).mean() for a, b in pairs]))
        reliability = self.num_seeds * single / (1 + (self.num_seeds - 1) * single)
        halves = []
        for chosen in itertools.combinations(range(self.num_seeds), self.num_seeds // 2):
            rest = [s for s in range(self.num_seeds) if s not in chosen]
            halves.append([self._measured[list(own)].mean(0).T for own in (chosen, rest)])
        correlations = numpy.mean(
            [self._weighted(_standardised_ranks(a), _standardised_ranks(b)) for a, b in halves], 0
        )
        per_query = numpy.mean(
            [(_standardised_ranks(a) * _standardised_ranks(b)).mean(-1) for a, b in halves], 0
        )
        return self._summary(per_query, correlations), float(numpy.sqrt(max(reliability, 0.0)))

    def _agreement(self, predicted: numpy.ndarray) -> Agreement:
        ranks = _standardised_ranks(predicted)
        per_query = (ranks * self._ranks).mean(-1).mean(0)
        correlations = numpy.mean([self._weighted(own, self._ranks) for own in ranks], 0)
        return self._summary(per_query, correlations)

    def _weighted(self, a: numpy.ndarray, b: numpy.ndarray) -> numpy.ndarray:
        """Correlations `(num_queries, resamples)` of the ranks over the resampled subsets."""
        weights = self._subsets.T / self._subsets.shape[1]
        mean_a, mean_b = a @ weights, b @ weights
        covariance = (a * b) @ weights - mean_a * mean_b
        variances = ((a * a) @ weights - mean_a**2) * ((b * b) @ weights - mean_b**2)
        return covariance / numpy.sqrt(variances.clip(1e-12))

    def _summary(self, per_query: numpy.ndarray, correlations: numpy.ndarray) -> Agreement:
        draws = (correlations * self._queries.T).mean(0)
        low, high = numpy.percentile(draws, [2.5, 97.5])
        return Agreement(per_query, float(per_query.mean()), float(low), float(high), draws)


def measured_outputs(
    log_probabilities: numpy.ndarray, labels: Sequence[int], measure: str
) -> numpy.ndarray:
    """
    What is measured of models: the loss −log p of the label, or the negative margin −log(p / (1 − p)), as scores are
    signed: it rises where the label loses.

    # Parameters

    log_probabilities : `numpy.ndarray`, required
        `(..., num_queries, num_classes)`.
    labels : `Sequence[int]`, required
        The class of every query that is explained.
    measure : `str`, required
        `loss` or `margin`.

    # Returns

    `numpy.ndarray`
        `(..., num_queries)`.
    """
    queries = numpy.arange(len(labels))
    own = log_probabilities[..., queries, labels]
    if measure == "loss":
        return -own
    others = log_probabilities.copy()
    others[..., queries, labels] = -numpy.inf
    return numpy.logaddexp.reduce(others, -1) - own


def _standardised_ranks(values: numpy.ndarray) -> numpy.ndarray:
    """Ranks along the last axis, with mean 0 and mean square 1, or 0 where all are equal."""
    ranks = rankdata(values, axis=-1)
    ranks -= ranks.mean(-1, keepdims=True)
    return ranks / numpy.sqrt((ranks**2).mean(-1, keepdims=True)).clip(1e-12)
