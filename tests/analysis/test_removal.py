"""What is removed, what is measured, and the means: the paper's first research question."""

import numpy
import pytest
from allennlp.common.checks import ConfigurationError

from allennlp_influence.analysis.clusters import ClusterBootstrap
from allennlp_influence.analysis.removal import (
    CONTROLS,
    GROUPS,
    MEASURES,
    RANDOM_DRAWS,
    Change,
    Removal,
    changes_of,
    plan,
    retrainings_of,
    table,
)
from allennlp_influence.analysis.retrainings import Retraining
from tests.analysis.planted_retrainer import EFFECTS, LABELS, NUM_EXAMPLES, PlantedRetrainer

SCORES = EFFECTS  # of class b, to first order
CLASSES = [LABELS[i % 4 > 0] for i in range(NUM_EXAMPLES)]
SEEDS = [3, 4]


def removed(removals, query, seed, group):
    (found,) = [r for r in removals if (r.query, r.seed, r.group) == (query, seed, group)]
    return [list(retraining.leave_out) for retraining in found.retrainings]


def test_which_examples_are_removed():
    removals = list(plan(SCORES, CLASSES, SEEDS, fraction=0.2))
    assert len(removals) == len(GROUPS) * len(SCORES) * len(SEEDS)
    for query, scores in enumerate(SCORES):
        ranked = sorted(range(NUM_EXAMPLES), key=lambda i: -scores[i])
        for seed in SEEDS:
            (positive,) = removed(removals, query, seed, "positive")
            (negative,) = removed(removals, query, seed, "negative")
            (near_zero,) = removed(removals, query, seed, "near-zero")
            assert positive == ranked[:4] and negative == ranked[::-1][:4]
            rest = set(range(NUM_EXAMPLES)) - set(near_zero)
            assert abs(scores[near_zero]).max() <= abs(scores[list(rest)]).min()
            for group, like in (("positive-matched", positive), ("negative-matched", negative)):
                (drawn,) = removed(removals, query, seed, group)
                assert len(set(drawn)) == 4
                assert sorted(CLASSES[i] for i in drawn) == sorted(CLASSES[i] for i in like)
            draws = removed(removals, query, seed, "random")
            assert draws == removed(removals, 0, seed, "random")
            assert len({tuple(draw) for draw in draws}) == RANDOM_DRAWS
            assert all(len(set(draw)) == 4 for draw in draws)
    assert removed(removals, 0, 3, "random") != removed(removals, 0, 4, "random")
    assert removed(removals, 0, 3, "positive-matched") != removed(removals, 0, 4, "positive-matched")


def test_the_plan_changes_with_the_scores_alone():
    before = list(plan(SCORES, CLASSES, SEEDS))
    assert list(plan(3 * SCORES, CLASSES, SEEDS)) == before
    assert [r for r in plan(SCORES, CLASSES, [9, *SEEDS]) if r.seed != 9] == before
    opposite = list(plan(-SCORES, CLASSES, SEEDS))
    assert removed(opposite, 1, 3, "positive") == removed(before, 1, 3, "negative")
    assert removed(opposite, 1, 3, "near-zero") == removed(before, 1, 3, "near-zero")
    some = list(plan(SCORES, CLASSES, SEEDS, groups=["negative", "positive-matched"]))
    assert some == [r for r in before if r.group in ("negative", "positive-matched")]


def test_a_model_without_removal_is_trained_once_for_a_seed_and_first():
    removals = list(plan(SCORES, CLASSES, SEEDS))
    retrainings = retrainings_of(removals)
    assert len(set(retrainings)) == len(retrainings)
    assert [r for r in retrainings if not r.leave_out] == [Retraining(seed) for seed in SEEDS]
    per_seed = 1 + RANDOM_DRAWS + (len(GROUPS) - 1) * len(SCORES)
    assert [r.seed for r in retrainings] == [3] * per_seed + [4] * per_seed
    assert retrainings[0] == Retraining(3) and retrainings[per_seed] == Retraining(4)


def test_what_is_refused():
    for fraction in (0.0, 0.04, 1.0, 2.0, -0.1):
        with pytest.raises(ConfigurationError, match="nothing is removed, or nothing left"):
            list(plan(SCORES, CLASSES, SEEDS, fraction=fraction))
    with pytest.raises(ConfigurationError, match="groups are positive, .*; not best"):
        list(plan(SCORES, CLASSES, SEEDS, groups=["best", "random"]))


def test_changes_by_hand():
    """Two classes; the explained one is not the one that the model of the seed predicts."""

    def log(*probabilities):
        return numpy.log([probabilities])

    trained = {
        Retraining(0): log(0.4, 0.6),
        Retraining(0, (1,)): log(0.25, 0.75),
        Retraining(0, (2,)): log(0.5, 0.5),
        Retraining(0, (0,)): log(0.2, 0.8),
    }
    removals = [
        Removal(0, 0, "positive", (Retraining(0, (1,)),)),
        Removal(0, 0, "random", (Retraining(0, (2,)), Retraining(0, (0,)))),
        Removal(0, 0, "negative", (Retraining(0, (3,)),)),  # not trained yet
        Removal(0, 1, "positive", (Retraining(0, (1,)),)),  # nor its model without removal
    ]
    positive, random = changes_of(removals, trained, [0], numpy.array([[0.5, 0.7, -0.1, 0.0]]))
    assert positive[:4] == (0, 0, "positive", 1)
    assert positive.confidence == pytest.approx(-0.15)
    assert positive.decision_confidence == pytest.approx(0.15)
    assert positive.loss == pytest.approx(numpy.log(0.4 / 0.25))
    assert positive.margin == pytest.approx(numpy.log((0.25 / 0.75) / (0.4 / 0.6)))
    assert positive.predicted_loss == pytest.approx(0.7)
    assert random.confidence == pytest.approx((0.1 - 0.2) / 2)
    assert random.predicted_loss == pytest.approx((-0.1 + 0.5) / 2)


def test_the_margin_of_three_classes():
    trained = {
        Retraining(0): numpy.log([[0.2, 0.5, 0.3]]),
        Retraining(0, (0,)): numpy.log([[0.5, 0.25, 0.25]]),
    }
    removals = [Removal(0, 0, "positive", (Retraining(0, (0,)),))]
    (change,) = changes_of(removals, trained, [0])
    assert change.predicted_loss is None
    assert change.margin == pytest.approx(numpy.log((0.5 / 0.5) / (0.2 / 0.8)))


def test_means_by_hand():
    """Of two queries and two seeds, one pair is not trained yet."""
    changes = changes_with(
        {
            ("positive", 0, 1): -0.4,
            ("positive", 0, 2): -0.2,
            ("positive", 1, 1): -0.3,
            ("random", 0, 1): -0.1,
            ("random", 0, 2): 0.1,
            ("random", 1, 1): 0.0,
            ("random", 1, 2): 0.4,
        }
    )
    rows = by_group(changes, ClusterBootstrap(2))
    assert rows.keys() == {("positive", None), ("random", None), ("positive", "random")}
    positive, random = rows["positive", None], rows["random", None]
    assert positive.value == pytest.approx(-0.3) and random.value == pytest.approx(0.1)
    assert positive.standard_error == pytest.approx(0.1 / numpy.sqrt(3))  # as independent, ddof 1
    assert (positive.n, positive.clusters) == (3, 2) and (random.n, random.clusters) == (4, 2)
    assert (positive.low, positive.high) == pytest.approx((-0.3, -0.3))  # both queries have this mean
    assert (random.low, random.high) == pytest.approx((0.0, 0.2))
    difference = rows["positive", "random"]
    assert difference.value == pytest.approx((-0.3 - 0.3 - 0.3) / 3) and difference.n == 3


def test_intervals_come_from_queries_not_from_seeds():
    """Twice as many seeds that say the same make the standard error smaller, but not the interval."""
    values = {("positive", query, 0): value for query, value in enumerate([0.1, -0.2, 0.5, 0.3])}
    bootstrap = ClusterBootstrap(4)
    once = by_group(changes_with(values), bootstrap)["positive", None]
    again = {(group, query, 1): value for (group, query, _), value in values.items()}
    twice = by_group(changes_with({**values, **again}), bootstrap)["positive", None]
    assert once.value == pytest.approx(twice.value)
    assert (once.low, once.high) == pytest.approx((twice.low, twice.high))
    assert twice.standard_error < once.standard_error


def test_planted_influence_is_found():
    retrainer = PlantedRetrainer()
    removals = list(plan(SCORES, CLASSES, SEEDS, fraction=0.2))
    trained = {r: retrainer.log_probabilities(r.leave_out, r.seed) for r in retrainings_of(removals)}
    changes = changes_of(removals, trained, [1] * 3, SCORES)
    for change in changes:  # the planted model's logit is additive, so that this is exact
        assert change.margin == pytest.approx(-change.predicted_loss)
    rows = table(changes, ClusterBootstrap(3))
    found = {(row.group, row.versus, row.measure): row.estimate for row in rows}
    assert found["positive", None, "confidence"].high < 0 < found["negative", None, "confidence"].low
    assert found["positive", "random", "confidence"].high < 0
    assert found["positive", "positive-matched", "loss"].low > 0
    assert found["negative", "negative-matched", "loss"].high < 0
    largest = abs(found["positive", None, "margin"].value)
    assert abs(found["near-zero", None, "margin"].value) < largest / 10
    assert len(rows) == (len(GROUPS) + len(CONTROLS)) * len(MEASURES)
    # the same scores shuffled point nowhere
    shuffled = numpy.random.default_rng(0).permuted(SCORES, axis=1)
    removals = list(plan(shuffled, CLASSES, SEEDS, fraction=0.2))
    trained = {r: retrainer.log_probabilities(r.leave_out, r.seed) for r in retrainings_of(removals)}
    changes = changes_of(removals, trained, [1] * 3)
    found = by_group(changes, ClusterBootstrap(3), "margin")
    assert abs(found["positive", None].value) < largest / 2


def by_group(changes, bootstrap, measure="confidence"):
    rows = [row for row in table(changes, bootstrap) if row.measure == measure]
    return {(row.group, row.versus): row.estimate for row in rows}


def changes_with(values):
    """Changes whose every measure is the value."""
    return [
        Change(query, seed, group, 1, value, value, value, value, value)
        for (group, query, seed), value in values.items()
    ]
