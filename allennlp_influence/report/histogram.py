"""The scores of all training examples for one query, drawn as a histogram."""

from dataclasses import dataclass
from typing import List, Sequence, Tuple

import numpy

_BINS = 72


@dataclass(frozen=True)
class Histogram:
    """
    A drawing `width` by `height` with its baseline at `base`; all places in its units.

    `supporting` and `opposing` are the paths of the bars on either side of score zero, whose place is
    `zero`; `ticks` are z-scores with their places; `marks` the places of the listed training examples, with
    their scores' signs.
    """

    supporting: str
    opposing: str
    zero: float
    ticks: List[Tuple[float, str]]
    marks: List[Tuple[float, bool]]
    width: int = 720
    height: int = 110
    base: int = 80


def histogram_of(scores: numpy.ndarray, listed: Sequence[float]) -> Histogram:
    """
    # Parameters

    scores : `numpy.ndarray`
        Of all training examples, `(N,)`, finite.
    listed : `Sequence[float]`
        The scores that are listed beside the drawing.
    """
    scores = numpy.asarray(scores, dtype=numpy.float64)
    mean, deviation = scores.mean(), scores.std()
    low, high = min(scores.min(), 0.0), max(scores.max(), 0.0)
    width = (high - low) / _BINS or 1.0
    # an edge of the bins lies at zero, so that none has scores of both signs
    first, last = int(numpy.floor(low / width)), int(numpy.ceil(high / width))
    first, last = min(first, -1), max(last, 1)
    counts, _ = numpy.histogram(scores / width, numpy.arange(first, last + 1))
    heights = numpy.log1p(counts) / numpy.log1p(counts.max()) * (Histogram.base - 6)
    step = Histogram.width / len(counts)

    def place(score: float) -> float:
        return round(float((score / width - first) * step), 1)

    def bars(positions: Sequence[int]) -> str:
        return "".join(
            f"M{i * step:.1f} {Histogram.base}v-{heights[i]:.2f}h{step * 0.86:.1f}v{heights[i]:.2f}z"
            for i in positions
            if counts[i]
        )

    ticks = []
    if deviation > 0:
        lowest, highest = (first * width - mean) / deviation, (last * width - mean) / deviation
        apart = _tick_distance(highest - lowest)
        for z in numpy.arange(numpy.ceil(lowest / apart), numpy.floor(highest / apart) + 1) * apart:
            ticks.append((place(mean + z * deviation), f"{z:+g}".replace("-", "−") if z else "0"))
    return Histogram(
        supporting=bars(range(-first, len(counts))),
        opposing=bars(range(-first)),
        zero=place(0.0),
        ticks=ticks,
        marks=[(place(score), score > 0) for score in listed],
    )


def _tick_distance(span: float) -> float:
    """A round number that goes into `span` about eight times."""
    power = 10.0 ** numpy.floor(numpy.log10(span / 8))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= span / 8)


def mass_share(scores: numpy.ndarray, listed: Sequence[float]) -> float:
    """
    What part of the sum of all scores of one sign the listed ones carry, 0 if there is none of that sign.

    # Parameters

    scores : `numpy.ndarray`
        Of all training examples, negated to ask for the opposing ones.
    listed : `Sequence[float]`
        Those listed, negated likewise.
    """
    total = numpy.clip(scores, 0, None).sum(dtype=numpy.float64)
    return min(1.0, float(numpy.clip(listed, 0, None).sum() / total)) if total > 0 else 0.0
