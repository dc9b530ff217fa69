"""The scores of all training examples for one query, as counts by class and bin, and how they concentrate."""

import math
from dataclasses import dataclass

import numpy
from allennlp.common.util import JsonDict

_BINS = 72
MASS_OF = 20  # the strongest scores, whose share of the whole is told


def histogram_by_class(scores: numpy.ndarray, classes: numpy.ndarray, num_classes: int) -> JsonDict:
    """
    # Parameters

    scores : `numpy.ndarray`
        Of all training examples, `(N,)`, finite.
    classes : `numpy.ndarray`
        Their labels' indices, `(N,)`.
    num_classes : `int`

    # Returns

    `JsonDict`
        `counts`, a list for each class of how many scores lie in each bin; bin b is from `(first + b) * width` to
        `(first + b + 1) * width` on a scale of asinh(score / `unit`), which is linear about zero, logarithmic far
        from it. An edge lies at zero, so that no bin has scores of both signs.
    """
    bins = Bins.of(scores)
    return {
        "unit": bins.unit,
        "first": bins.first,
        "width": bins.width,
        "counts": bins.counts(classes, num_classes).tolist(),
    }


@dataclass(frozen=True)
class Bins:
    """The bins of the scores of all training examples for one query, see `histogram_by_class`."""

    unit: float
    first: int
    width: float
    num: int
    index: numpy.ndarray
    """The bin of every score, `(N,)`."""

    @classmethod
    def of(cls, scores: numpy.ndarray) -> "Bins":
        scores = numpy.asarray(scores, dtype=numpy.float64)
        unit = float(scores.std() or numpy.abs(scores).max() or 1.0)
        places = numpy.arcsinh(scores / unit)
        low, high = min(places.min(), 0.0), max(places.max(), 0.0)
        width = float(high - low) / _BINS or 1.0
        first, last = min(math.floor(low / width), -1), max(math.ceil(high / width), 1)
        num = last - first
        index = numpy.clip(numpy.floor(places / width).astype(int) - first, 0, num - 1)
        return cls(unit, first, width, num, index)

    def counts(self, rows: numpy.ndarray, num_rows: int) -> numpy.ndarray:
        """How many scores lie in each bin `(num_rows, num)`, apart by the row `(N,)` that each belongs to."""
        counts = numpy.bincount(rows * self.num + self.index, minlength=num_rows * self.num)
        return counts.reshape(num_rows, self.num)


def mass_shares(scores: numpy.ndarray) -> JsonDict:
    """`mass_share` of the positive scores, and of the negative ones."""
    return {"positive": mass_share(scores), "negative": mass_share(-scores)}


def mass_share(scores: numpy.ndarray) -> float:
    """What part of the sum of all positive scores the largest `MASS_OF` carry; 0 if none is positive."""
    positive = numpy.clip(scores, 0, None).astype(numpy.float64)
    total = positive.sum()
    if not total > 0:
        return 0.0
    k = min(MASS_OF, len(positive))
    return min(1.0, float(numpy.partition(positive, -k)[-k:].sum() / total))
