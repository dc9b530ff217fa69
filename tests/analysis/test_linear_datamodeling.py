"""The linear datamodeling score where it is known."""

import numpy
import pytest
from scipy.stats import spearmanr

from allennlp_influence.analysis.linear_datamodeling import (
    LinearDatamodelingScore,
    measured_outputs,
)
from allennlp_influence.analysis.model_bank import random_subsets, retrainings_without

N, QUERIES, SUBSETS, SEEDS = 60, 25, 40, 4


@pytest.fixture(scope="module")
def planted():
    """Outputs that are sums of planted scores over what is left out, and noise of each seed."""
    random = numpy.random.default_rng(0)
    scores = random.normal(size=(QUERIES, N))
    left_out = random_subsets(N, SUBSETS)
    exact = (scores @ left_out.T).T  # (subsets, queries)
    noise = exact.std(0) * random.normal(size=(SEEDS, SUBSETS, QUERIES))
    return scores, left_out, exact, exact + noise


def test_random_subsets_are_halves_and_grow():
    left_out = random_subsets(7, 50)
    assert (left_out.sum(1) == 3).all() and len(numpy.unique(left_out, axis=0)) > 20
    assert (random_subsets(7, 5) == left_out[:5]).all()
    assert (random_subsets(7, 5, 0.5, seed=1) != left_out[:5]).any()
    assert abs(random_subsets(10, 4000).mean(0) - 0.5).max() < 0.05
    pairs = retrainings_without(left_out[:2], [8, 9])
    assert [r.seed for r in pairs] == [8, 8, 9, 9] and pairs[0].leave_out == pairs[2].leave_out
    assert left_out[1, list(pairs[1].leave_out)].all() and len(pairs[1].leave_out) == 3


def test_the_exact_answer_scores_one_and_noise_nothing(planted):
    scores, left_out, exact, _ = planted
    lds = LinearDatamodelingScore(left_out, exact[None])
    assert lds.of_scores(scores).mean == pytest.approx(1)
    assert lds.of_scores(-3 * scores).mean == pytest.approx(-1)
    random = numpy.random.default_rng(1).normal(size=(20, QUERIES, N))
    noise = [lds.of_scores(own) for own in random]
    assert abs(numpy.mean([own.mean for own in noise])) < 0.02
    # 95 % intervals: of twenty about one misses; resampling both ways makes them rather too wide
    assert sum(own.low <= 0 <= own.high for own in noise) >= 18


def test_it_is_the_mean_spearman_correlation(planted):
    scores, left_out, _, measured = planted
    several = numpy.stack([scores, scores + numpy.random.default_rng(2).normal(size=scores.shape)])
    found = LinearDatamodelingScore(left_out, measured).of_scores(several)
    predicted, outputs = several @ left_out.T, measured.mean(0).T
    by_hand = [[spearmanr(p, m)[0] for p, m in zip(own, outputs)] for own in predicted]
    numpy.testing.assert_allclose(found.per_query, numpy.mean(by_hand, 0))
    assert found.mean == pytest.approx(numpy.mean(by_hand))
    assert found.low < found.mean < found.high
    assert abs(found.draws.mean() - found.mean) < 0.02
    # about as wide as the spread over subsets says, at least
    halves = [LinearDatamodelingScore(left_out[h], measured[:, h]) for h in (slice(20), slice(20, None))]
    difference = abs(halves[0].of_scores(several).mean - halves[1].of_scores(several).mean)
    assert 0.01 < found.high - found.low < 0.3 and difference < 2 * (found.high - found.low)


def test_differences_are_paired(planted):
    scores, left_out, _, measured = planted
    lds = LinearDatamodelingScore(left_out, measured[:1])
    worse = scores + 0.15 * numpy.random.default_rng(3).normal(size=scores.shape)
    a, b = lds.of_scores(scores), lds.of_scores(worse)
    low, high = numpy.percentile(a.draws - b.draws, [2.5, 97.5])
    assert high - low < (a.high - a.low) / 1.5


def test_the_ceiling_is_what_the_expected_output_reaches(planted):
    scores, left_out, exact, measured = planted
    lds = LinearDatamodelingScore(left_out, measured)
    halves, ceiling = lds.ceiling()
    # signal and noise of a seed have the same variance: the mean of two seeds has reliability 2/3, of four 4/5
    assert halves.mean == pytest.approx(2 / 3, abs=0.05)
    assert ceiling == pytest.approx(numpy.sqrt(4 / 5), abs=0.03)
    assert lds.of_scores(scores).mean == pytest.approx(ceiling, abs=0.03)
    assert halves.low < halves.mean < halves.high


def test_measured_outputs_by_hand():
    p = numpy.array([[0.7, 0.2, 0.1], [0.05, 0.05, 0.9]])
    labels = [0, 2]
    loss = measured_outputs(numpy.log(p)[None], labels, "loss")
    numpy.testing.assert_allclose(loss, [[-numpy.log(0.7), -numpy.log(0.9)]])
    margin = measured_outputs(numpy.log(p), labels, "margin")
    numpy.testing.assert_allclose(margin, [numpy.log(0.3 / 0.7), numpy.log(0.1 / 0.9)])
