"""Means of clusters and their bootstrap intervals."""

import itertools

import numpy
import pytest
from allennlp.common.checks import ConfigurationError

from allennlp_influence.analysis.clusters import ClusterBootstrap

CLUSTERS = [[1.0, 2.0, 6.0], [], [0.0], [4.0, 4.0], [-2.0]]


def test_means_and_standard_errors_by_hand():
    bootstrap = ClusterBootstrap(5)
    pooled = bootstrap.pooled_mean(CLUSTERS)
    assert pooled.value == pytest.approx(15 / 7)
    # Σx² = 77: variance (77 − 225/7) / 6
    assert pooled.standard_error == pytest.approx(numpy.sqrt((77 - 225 / 7) / 6 / 7))
    assert (pooled.n, pooled.clusters) == (7, 4)
    macro = bootstrap.mean_of_means(CLUSTERS)
    assert macro.value == pytest.approx((3 + 0 + 4 - 2) / 4)
    # of the four means: Σ(m − 1.25)² = 22.75
    assert macro.standard_error == pytest.approx(numpy.sqrt(22.75 / 3 / 4))
    assert (macro.n, macro.clusters) == (7, 4)


def test_the_interval_is_that_of_all_resamples():
    """With three clusters there are 27 resamples, all as likely: what many random ones come to."""
    clusters = [[1.0, 2.0, 6.0], [0.0], [4.0, 5.0]]
    replicates = sorted(
        numpy.mean([x for i in drawn for x in clusters[i]])
        for drawn in itertools.product(range(3), repeat=3)
    )
    estimate = ClusterBootstrap(3, resamples=100_000, level=0.8).pooled_mean(clusters)
    assert (estimate.low, estimate.high) == pytest.approx((replicates[2], replicates[24]))


def test_intervals_depend_on_the_seed_alone():
    one, same, other = (ClusterBootstrap(5, seed=seed).pooled_mean(CLUSTERS) for seed in (3, 3, 4))
    assert one == same and one.low != other.low
    assert one.low < one.value < one.high


def test_a_difference_is_of_pairs():
    """A constant added within clusters that vary has no uncertainty at all."""
    shifted = [[x + 0.5 for x in values] for values in CLUSTERS]
    bootstrap = ClusterBootstrap(5)
    for difference in (
        bootstrap.difference_of_pooled_means(shifted, CLUSTERS),
        bootstrap.difference_of_means_of_means(shifted, CLUSTERS),
    ):
        assert (difference.value, difference.low, difference.high) == pytest.approx([0.5] * 3)
        assert difference.clusters == 4


@pytest.mark.parametrize("clusters", [[], [[], []], [[1.0], []]])
def test_what_too_few_values_do_not_give_is_none(clusters):
    bootstrap = ClusterBootstrap(len(clusters))
    for estimate in (bootstrap.pooled_mean(clusters), bootstrap.mean_of_means(clusters)):
        assert estimate.value == (1.0 if any(clusters) else None)
        assert estimate.standard_error is estimate.low is estimate.high is None
        assert estimate.n == estimate.clusters == sum(map(len, clusters))


def test_intervals_cover_the_mean_where_values_of_a_cluster_are_alike():
    """The standard error of independent values would be several times too small here."""
    rng = numpy.random.default_rng(0)
    covered = naive = 0
    for trial in range(200):
        clusters = [rng.normal(size=40) * 0.1 + rng.normal() for _ in range(30)]
        estimate = ClusterBootstrap(30, resamples=400, seed=trial).pooled_mean(clusters)
        covered += estimate.low < 0 < estimate.high
        naive += abs(estimate.value) < 1.96 * estimate.standard_error
    assert 0.88 * 200 < covered < 0.98 * 200
    assert naive < 0.4 * 200


def test_nonsense_is_refused():
    with pytest.raises(ConfigurationError, match="not 0 and 0.95"):
        ClusterBootstrap(3, resamples=0)
    with pytest.raises(ConfigurationError, match="and 95"):
        ClusterBootstrap(3, level=95)
    with pytest.raises(ValueError, match="2 clusters instead of 3"):
        ClusterBootstrap(3).pooled_mean([[1.0], [2.0]])
