"""Both experiments on five training examples and three inputs, against values computed by hand."""

import numpy
import pytest

from allennlp_influence.analysis.clusters import ClusterBootstrap
from allennlp_influence.analysis.consistency import (
    FLIPS,
    HELD,
    INFLUENCE,
    MACRO,
    OVERLAP,
    POOLED,
    PREDICTED,
    table,
    token_results,
)
from allennlp_influence.analysis.masked_queries import MaskedScores
from allennlp_influence.analysis.rankings import overlap, ranking, top_count
from allennlp_influence.analysis.salient_tokens import salient_tokens

TYPES = [{"good", "film"}, {"good"}, {"bad", "film"}, {"bad"}, {"film"}]
LABELS = ["1", "1", "0", "0", "1"]
# mean 0 and population variance 4, mean 1 and variance 2, and three ties
SCORES = numpy.array([[3.0, 1, -1, -3, 0], [-1.0, 0, 1, 2, 3], [0.0, 0, 0, 5, -5]])
LINES = [
    {"id": 7, "predicted": "1", "explained": "1"},
    {"id": 8, "predicted": "0", "explained": "0"},
    {"id": 9, "predicted": "1", "explained": "1"},
]
TOKENS = [
    salient_tokens({"tokens": ["good", "film", "bad"], "scores": [0.5, 0.1, -0.4]}),
    salient_tokens({"tokens": ["bad", "good", "film"], "scores": [0.5, 0.1, -0.4]}),
    {},  # an input without saliency
]
HALVES = (0.4, 1.0)


def without(predicted, **scores):
    of_labels = {name[1:]: numpy.array(own) for name, own in scores.items()}
    return MaskedScores(predicted, predicted, of_labels)


MASKED = {
    # the ranking of input 0 is 0 1 4 2 3, of input 1 it is 4 3 2 1 0
    (0, (0,)): without("0", _0=[0.0, 1, 2, 3, 4], _1=[3.0, -1, 2, 0, 0]),
    (0, (1,)): without("1", _1=[3.0, 1, -1, -3, 0]),
    (0, (2,)): without("1", _1=[1.0, 3, -1, -3, 0]),
    (1, (0,)): without("0", _0=[3.0, 1, -1, -3, 0]),
    (1, (1,)): without("0", _0=[-1.0, 0, 1, 2, 3]),
    (1, (2,)): without("0", _0=[0.0, 0, 0, 2, 0]),
}


@pytest.fixture(scope="module")
def results():
    return list(
        token_results(SCORES, LINES, TOKENS, TYPES, LABELS, MASKED, HALVES, overlap_shares=HALVES)
    )


def test_experiment_1(results):
    """z of the training examples with label and token, among the top two and among all."""
    found = {(r.row, r.choice): [v.tolist() for v in r.influence] for r in results}
    z = [numpy.array([3, 1, -1, -3, 0]) / 2, (numpy.array([-1, 0, 1, 2, 3]) - 1) / numpy.sqrt(2)]
    assert found == {
        (0, "positive"): [[z[0][0], z[0][1]], [z[0][0], z[0][1]]],  # good: examples 0, 1
        (0, "median"): [[z[0][0]], [z[0][0], z[0][4]]],  # film: 0, 4; 2 has the other label
        (0, "negative"): [[], []],  # bad: only under the other label
        (1, "positive"): [[z[1][3]], [z[1][3], z[1][2]]],  # bad: 3, 2; of the top two, 4 is another
        (1, "median"): [[], []],  # good
        (1, "negative"): [[], [z[1][2]]],  # film: 2, which is third
    }


def test_experiment_2(results):
    """Of the top two, and of all; under both labels where the prediction flips."""
    found = {(r.row, r.choice): (r.overlap[PREDICTED], r.overlap[HELD], r.flipped) for r in results}
    assert found == {
        (0, "positive"): ([0.0, 1.0], [0.5, 1.0], True),  # 0 1 against 4 3; against 0 2
        (0, "median"): ([1.0, 1.0], [1.0, 1.0], False),
        (0, "negative"): ([1.0, 1.0], [1.0, 1.0], False),  # the order does not matter
        (1, "positive"): ([0.0, 1.0], [0.0, 1.0], False),
        (1, "median"): ([1.0, 1.0], [1.0, 1.0], False),
        (1, "negative"): ([0.5, 1.0], [0.5, 1.0], False),  # 4 3 against 3 0: ties in training order
    }


def test_the_table(results):
    def tabled(seed):
        bootstrap = ClusterBootstrap(3, resamples=500, seed=seed)
        rows = table(results, bootstrap, HALVES, HALVES)
        assert len({row[:4] for row in rows}) == len(rows) == 6 * (2 * 2 + 2 * 2 + 1)
        return {row[:4]: row.estimate for row in rows}

    found = tabled(0)
    assert found == tabled(0)

    pooled = found[INFLUENCE, "positive", 1.0, POOLED]
    values = [1.5, 0.5, 1 / numpy.sqrt(2), 0]
    assert pooled.value == pytest.approx(numpy.mean(values))
    assert pooled.standard_error == pytest.approx(numpy.std(values, ddof=1) / 2)
    assert (pooled.n, pooled.clusters) == (4, 2)
    macro = found[INFLUENCE, "positive", 1.0, MACRO]
    assert macro.value == pytest.approx((1 + 1 / numpy.sqrt(8)) / 2)
    assert macro.n == 4 and macro.low < macro.value < macro.high

    none = found[INFLUENCE, "negative", 0.4, POOLED]
    assert none.value is none.standard_error is none.low is None and none.n == 0
    one = found[INFLUENCE, "median", 1.0, POOLED]
    assert one.value == 0.75 and one.low is None and (one.n, one.clusters) == (2, 1)

    free, held = (found[OVERLAP, "positive", 0.4, label] for label in (PREDICTED, HELD))
    assert (free.value, held.value, free.n, held.n) == (0.0, 0.25, 2, 2)
    assert found[OVERLAP, "positive − median", 0.4, PREDICTED].value == -1.0
    assert found[FLIPS, "positive", None, "share of inputs"].value == 0.5


def test_intervals_change_with_the_seed(results):
    ends = set()
    for seed in (0, 1):
        bootstrap = ClusterBootstrap(3, resamples=7, seed=seed)
        for row in table(results, bootstrap, HALVES, HALVES):
            if row[:4] == (INFLUENCE, "positive", 1.0, POOLED):
                ends.add((row.estimate.low, row.estimate.high))
    assert len(ends) == 2


def test_a_share_of_nobody_has_no_overlap():
    """0.1 % of five training examples."""
    results = list(token_results(SCORES, LINES, TOKENS, TYPES, LABELS, MASKED))
    assert {r.overlap[HELD][0] for r in results} == {None}
    rows = table(results, ClusterBootstrap(3))
    (row,) = (r for r in rows if r[:4] == (OVERLAP, "positive", 0.001, HELD))
    assert row.estimate.value is None and row.estimate.n == 0


def test_the_overlap_of_a_ranking_with_itself_is_1():
    scores = numpy.random.default_rng(0).normal(size=10_000).astype(numpy.float32)
    order = ranking(scores)
    assert [top_count(10_000, share) for share in (0.001, 0.002, 0.005, 0.01)] == [10, 20, 50, 100]
    for count in (1, 10, 100, 10_000):
        assert overlap(order, order, count) == 1
    assert overlap(order, ranking(-scores), 5_000) == 0
    assert scores[order[0]] == scores.max()
