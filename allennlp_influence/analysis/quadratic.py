"""Least-squares quadratics y ≈ a + b z + c z², for many z and many y at once."""

from typing import Optional

import numpy

NOTHING = 1e-9
"""The share of a variance below which it is rounding."""


def fit_quadratics(
    z: numpy.ndarray, y: numpy.ndarray, weights: Optional[numpy.ndarray] = None
) -> numpy.ndarray:
    """
    The coefficients of every y on every z.

    # Parameters

    z : `numpy.ndarray`
        `(Q, N)`
    y : `numpy.ndarray`
        `(F, N)`
    weights : `numpy.ndarray`, optional (default = `None`)
        `(B, N)`: how often each of the N points counts, for each of B fits. By default once, in one fit.

    # Returns

    `numpy.ndarray`
        a, b and c, `(B, Q, F, 3)`; not a number where z has no three values that count, or almost so.
    """
    weights = numpy.ones((1, z.shape[1])) if weights is None else weights
    n = weights.sum(1)[:, None]
    z2 = z * z
    mean_z, mean_z2 = weights @ z.T / n, weights @ z2.T / n  # (B, Q)
    mean_y = weights @ y.T / n  # (B, F)
    var_z = mean_z2 - mean_z**2
    cov_z_z2 = weights @ (z2 * z).T / n - mean_z * mean_z2
    var_z2 = weights @ (z2 * z2).T / n - mean_z2**2

    def covariances(x: numpy.ndarray, mean_x: numpy.ndarray) -> numpy.ndarray:
        products = (x[:, None] * y).reshape(-1, y.shape[1])  # (Q F, N)
        means = (weights @ products.T / n).reshape(len(weights), len(x), len(y))
        return means - mean_x[:, :, None] * mean_y[:, None]

    cov_z_y, cov_z2_y = covariances(z, mean_z), covariances(z2, mean_z2)  # (B, Q, F)
    var_z, cov_z_z2, var_z2 = (moment[:, :, None] for moment in (var_z, cov_z_z2, var_z2))
    # what of z² is no linear function of z
    determinant = var_z * var_z2 - cov_z_z2**2
    solvable = determinant > NOTHING * var_z * var_z2
    with numpy.errstate(invalid="ignore", divide="ignore"):
        c = numpy.where(solvable, (var_z * cov_z2_y - cov_z_z2 * cov_z_y) / determinant, numpy.nan)
        b = (cov_z_y - c * cov_z_z2) / var_z
    a = mean_y[:, None] - b * mean_z[:, :, None] - c * mean_z2[:, :, None]
    return numpy.stack([a, b, c], axis=-1)


def r_squared(coefficients: numpy.ndarray, z: numpy.ndarray, y: numpy.ndarray) -> numpy.ndarray:
    """The share of the variance of every y that its quadratic explains, `(Q, F)`, of coefficients `(Q, F, 3)`."""
    powers = numpy.stack([numpy.ones_like(z), z, z * z], axis=1)  # (Q, 3, N)
    residuals = y - coefficients @ powers  # (Q, F, N)
    return 1 - residuals.var(-1) / y.var(-1)


def resamples(
    num_points: int, num_resamples: int, generator: numpy.random.Generator
) -> numpy.ndarray:
    """How often each point is drawn when as many as there are are drawn with replacement, `(B, N)`, float64."""
    drawn = generator.integers(num_points, size=(num_resamples, num_points))
    drawn += numpy.arange(num_resamples)[:, None] * num_points
    counts = numpy.bincount(drawn.ravel(), minlength=drawn.size)
    return counts.reshape(num_resamples, num_points).astype(numpy.float64)
