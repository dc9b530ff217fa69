"""Estimates in the terminal."""

from typing import Optional

from allennlp_influence.analysis.clusters import Estimate


def number(value: Optional[float], digits: int = 3) -> str:
    """With a real minus sign; a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}f}".replace("-", "−")


def with_error(estimate: Estimate, digits: int = 3) -> str:
    """The value ± its standard error."""
    if estimate.standard_error is None:
        return number(estimate.value, digits)
    return f"{number(estimate.value, digits)} ± {number(estimate.standard_error, digits)}"


def interval(estimate: Estimate, digits: int = 3) -> str:
    """Both ends of the bootstrap's interval."""
    if estimate.low is None:
        return "–"
    return f"{number(estimate.low, digits)} … {number(estimate.high, digits)}"
