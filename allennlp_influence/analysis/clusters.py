"""Means of values that come in clusters, as all those of one input do, and how sure they are."""

from typing import Callable, NamedTuple, Optional, Sequence

import numpy
from allennlp.common.checks import ConfigurationError

Clusters = Sequence[Sequence[float]]
"""The values of each cluster; a cluster may have none."""

# of weights (..., num_clusters), how often each cluster counts, to (...)
_Statistic = Callable[[numpy.ndarray], numpy.ndarray]


class Estimate(NamedTuple):
    """A mean; `None` stands for what can't be had of so few values."""

    value: Optional[float]
    standard_error: Optional[float]
    """As if the values were independent, which those of a cluster are not."""
    low: Optional[float]
    """Lower end of the cluster bootstrap's interval."""
    high: Optional[float]
    n: int
    """Number of values."""
    clusters: int
    """Number of clusters that have one."""


class ClusterBootstrap:
    """
    Percentile intervals (Efron & Tibshirani 1993, §13) from resampling whole clusters with replacement: values of one
    cluster may depend on one another as they like. Every estimate uses the same resamples, so that differences of
    estimates over the same clusters are of pairs.

    # Parameters

    num_clusters : `int`, required
    resamples : `int`, optional (default = `10000`)
    level : `float`, optional (default = `0.95`)
    seed : `int`, optional (default = `0`)
    """

    def __init__(
        self, num_clusters: int, resamples: int = 10_000, level: float = 0.95, seed: int = 0
    ) -> None:
        if resamples < 1 or not 0 < level < 1:
            raise ConfigurationError(
                f"a bootstrap needs at least one resample and a level between 0 and 1, not {resamples} and {level}"
            )
        self.num_clusters, self.resamples, self.level, self.seed = num_clusters, resamples, level, seed
        rng = numpy.random.default_rng(seed)
        self._weights = (  # (resamples, num_clusters)
            rng.multinomial(num_clusters, [1 / num_clusters] * num_clusters, resamples)
            if num_clusters
            else numpy.zeros((resamples, 0))
        )

    def pooled_mean(self, clusters: Clusters) -> Estimate:
        """Of all values: a cluster with more of them weighs more."""
        return self._estimate(clusters, _pooled_mean(clusters), numpy.concatenate([*clusters, []]))

    def mean_of_means(self, clusters: Clusters) -> Estimate:
        """Of the means of the clusters that have a value: each weighs the same."""
        means = [numpy.mean(values) for values in clusters if len(values)]
        return self._estimate(clusters, _mean_of_means(clusters), numpy.array(means))

    def difference_of_pooled_means(self, first: Clusters, second: Clusters) -> Estimate:
        """`pooled_mean` of `first` minus that of `second`, of the same clusters; counts those that have both."""
        return self._difference(first, second, _pooled_mean)

    def difference_of_means_of_means(self, first: Clusters, second: Clusters) -> Estimate:
        """`mean_of_means` of `first` minus that of `second`, of the same clusters; counts those that have both."""
        return self._difference(first, second, _mean_of_means)

    def _difference(
        self, first: Clusters, second: Clusters, statistic: Callable[[Clusters], _Statistic]
    ) -> Estimate:
        both = [[*a, *b] if len(a) and len(b) else [] for a, b in zip(first, second)]
        of_first, of_second = statistic(first), statistic(second)
        return self._estimate(both, lambda weights: of_first(weights) - of_second(weights))

    def _estimate(
        self,
        clusters: Clusters,
        statistic: _Statistic,
        independent: numpy.ndarray = numpy.array([]),
    ) -> Estimate:
        if len(clusters) != self.num_clusters:
            raise ValueError(f"{len(clusters)} clusters instead of {self.num_clusters}")
        with numpy.errstate(invalid="ignore"):  # 0 / 0 where nothing was drawn
            value = statistic(numpy.ones(self.num_clusters))
            replicates = statistic(self._weights)
        present = sum(len(values) > 0 for values in clusters)
        low = high = None
        if present > 1 and numpy.isfinite(value):
            tail = 50 * (1 - self.level)
            low, high = numpy.nanpercentile(replicates, [tail, 100 - tail]).tolist()
        error = None
        if len(independent) > 1:
            error = float(independent.std(ddof=1) / numpy.sqrt(len(independent)))
        return Estimate(
            value=float(value) if numpy.isfinite(value) else None,
            standard_error=error,
            low=low,
            high=high,
            n=sum(map(len, clusters)),
            clusters=present,
        )


def _pooled_mean(clusters: Clusters) -> _Statistic:
    sums = numpy.array([numpy.sum(values) for values in clusters], dtype=float)
    sizes = numpy.array([len(values) for values in clusters], dtype=float)
    return lambda weights: numpy.divide(weights @ sums, weights @ sizes)


def _mean_of_means(clusters: Clusters) -> _Statistic:
    means = numpy.array([numpy.mean(values) if len(values) else 0.0 for values in clusters])
    present = numpy.array([len(values) > 0 for values in clusters], dtype=float)
    return lambda weights: numpy.divide(weights @ means, weights @ present)
