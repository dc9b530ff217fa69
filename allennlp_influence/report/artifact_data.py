"""Curves of artifacts on influence, as the page draws them."""

from typing import Any, List

import numpy
from allennlp.common.util import JsonDict

from allennlp_influence.analysis.artifacts import ArtifactAnalysis, FeatureFits
from allennlp_influence.analysis.scales import Z
from allennlp_influence.influence.results import Results
from allennlp_influence.report.histogram import Bins
from allennlp_influence.report.texts import visible

_LEVELS = 24
_NUM_QUERIES = 100  # with more the page would grow too large; all fits are in fits.csv


def artifact_data(results: Results, analysis: ArtifactAnalysis) -> List[JsonDict]:
    """
    Of every feature, on the scale of z-scores: its `name`, its `lowest` and `highest` value, between which there are
    `levels`, and for each of the first queries the fit: `a`, `b`, `c`, the interval of c, and `cells`, three numbers for
    each place with training examples: bin of the query's histogram, level, and how many.
    """
    bins = [Bins.of(row) for row in results.scores[:_NUM_QUERIES]]
    return [
        _feature(name, of_scales[Z], bins) for name, of_scales in analysis.fits.items()
    ]


def _feature(name: str, fits: FeatureFits, bins: List[Bins]) -> JsonDict:
    lowest, highest = float(fits.values.min()), float(fits.values.max())
    distinct = len(numpy.unique(fits.values))
    levels = min(distinct, _LEVELS)
    share = (fits.values - lowest) / (highest - lowest)  # a feature is not constant
    rows = numpy.minimum((share * levels).astype(int), levels - 1)
    fitted = numpy.column_stack([fits.coefficients, fits.intervals])
    return {
        "name": visible(name),
        "lowest": lowest,
        "highest": highest,
        "levels": levels,
        "fits": [_fit(*row, own.counts(rows, levels)) for row, own in zip(fitted.tolist(), bins)],
    }


def _fit(a: float, b: float, c: float, low: float, high: float, counts: numpy.ndarray) -> Any:
    if not numpy.isfinite([a, b, c, low, high]).all():
        return None
    level, place = numpy.nonzero(counts)
    cells = numpy.column_stack([place, level, counts[level, place]])
    return {"a": a, "b": b, "c": c, "low": low, "high": high, "cells": cells.ravel().tolist()}
