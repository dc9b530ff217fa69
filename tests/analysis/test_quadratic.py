"""Quadratics against what NumPy fits, one at a time."""

import numpy
import pytest

from allennlp_influence.analysis.quadratic import fit_quadratics, r_squared, resamples


@pytest.fixture(scope="module")
def points():
    generator = numpy.random.default_rng(0)
    z = generator.standard_t(2.5, size=(3, 400))
    y = numpy.stack([generator.random(400), generator.random(400) < 0.1, z[0] ** 2 - z[0]])
    return z, y


def test_every_fit_is_the_least_squares_fit(points):
    z, y = points
    found = fit_quadratics(z, y)
    assert found.shape == (1, 3, 3, 3)
    for q in range(3):
        for f in range(3):
            expected = numpy.polyfit(z[q], y[f], 2)[::-1]
            assert found[0, q, f] == pytest.approx(expected, abs=1e-10)
    assert found[0, 0, 2] == pytest.approx([0, -1, 1])


def test_weights_are_repetitions(points):
    z, y = points
    weights = resamples(400, 5, numpy.random.default_rng(1))
    assert (weights.sum(1) == 400).all() and weights.max() > 1
    found = fit_quadratics(z, y, weights)
    for b, row in enumerate(weights):
        again = numpy.repeat(numpy.arange(400), row.astype(int))
        expected = numpy.polyfit(z[1, again], y[0, again], 2)[::-1]
        assert found[b, 1, 0] == pytest.approx(expected, abs=1e-10)


def test_r_squared_is_the_squared_correlation_with_the_curve(points):
    z, y = points
    coefficients = fit_quadratics(z, y)[0]
    found = r_squared(coefficients, z, y)
    curve = coefficients[1, 0] @ [numpy.ones(400), z[1], z[1] ** 2]
    assert found[1, 0] == pytest.approx(numpy.corrcoef(curve, y[0])[0, 1] ** 2)
    assert found[0, 2] == pytest.approx(1)


@pytest.mark.parametrize("z", [[0, 0, 0, 0, 0], [1, 1, -1, -1, 1], [0, 0, 0, 0, 1e-30]])
def test_no_curve_goes_through_two_values(z):
    assert numpy.isnan(fit_quadratics(numpy.array([z], dtype=float), numpy.eye(5))).all()
