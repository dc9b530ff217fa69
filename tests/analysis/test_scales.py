"""Scales of influence."""

import numpy
import pytest

from allennlp_influence.analysis.scales import SCALES, normal_scores, scaled


def test_normal_scores_depend_on_the_order_alone():
    scores = numpy.array([0.1, -3.0, 1000.0, 0.2, 0.1])
    found = normal_scores(scores)
    assert found == pytest.approx(normal_scores(numpy.array([2.0, 1.0, 9.0, 3.0, 2.0])))
    assert found[0] == found[4] and list(numpy.argsort(found))[-2:] == [3, 2]
    assert found.mean() == pytest.approx(0) and found.std() == pytest.approx(1)
    assert (normal_scores(numpy.ones(4)) == 0).all()


def test_blocks_are_of_all_rows_in_order():
    scores = numpy.random.default_rng(0).standard_normal((37, 9)).astype(numpy.float32)
    for scale, function in SCALES.items():
        found = numpy.concatenate([z for _, z in scaled(scores, scale)])
        assert (found == numpy.stack([function(row) for row in scores])).all()
        assert numpy.concatenate([numpy.arange(37)[block] for block, _ in scaled(scores, scale)]).tolist() == list(range(37))
