"""Numbers in words that a person understands."""

from typing import Any, Mapping, Optional, Sequence

from allennlp.common.util import JsonDict


def number(value: float, digits: int = 2) -> str:
    """A number to so many digits: 1234.5 as 1,234, 0.0351 as 0.035, 0.00035 as 3.5e−4."""
    if 10**digits - 0.5 <= abs(value) < 1e6:
        return f"{value:,.0f}".replace("-", "−")
    if 0 < abs(value) < 1e-3:
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        return _exponent(f"{float(mantissa):g}e{exponent}")
    return _exponent(f"{value:.{digits}g}")


def signed(value: float) -> str:
    """A score with its sign: +1.23e−4."""
    return _exponent(f"{value:+.2e}") if value else "0"


def _exponent(text: str) -> str:
    """Python's 1.2e-05 without the padding, with a real minus sign."""
    mantissa, _, exponent = text.partition("e")
    return (mantissa + (f"e{int(exponent)}" if exponent else "")).replace("-", "−")


def z_value(value: float) -> str:
    """A z-score: +10.6."""
    return f"{value:+.1f}".replace("-", "−")


def percent(share: float) -> str:
    """A share: 31 %, and never a rounded 0 or 100."""
    if 0 < share < 0.01:
        return "< 1 %"
    if 0.99 < share < 1:
        return "> 99 %"
    return f"{share:.0%}".replace("%", " %")


def probability(value: float) -> str:
    """A probability: 0.97, and never a rounded 0 or 1."""
    if 0.999 < value < 1:
        return "> 0.999"
    if 0 < value < 0.001:
        return "< 0.001"
    return f"{value:.3f}" if value > 0.99 or 0 < value < 0.01 else f"{value:.2f}"


def plural(count: int, noun: str) -> str:
    """1 prediction, 2 predictions."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def is_right(line: JsonDict) -> Optional[bool]:
    """Whether a prediction agrees with the gold label; `None` without one."""
    return None if line["gold"] is None else line["gold"] == line["predicted"]


def outcome(line: JsonDict) -> str:
    """`right`, `wrong`, or `no gold label`."""
    return {True: "right", False: "wrong", None: "no gold label"}[is_right(line)]


def verdict(lines: Sequence[JsonDict]) -> str:
    """What the predictions are worth, and what the scores are."""
    known = [right for right in map(is_right, lines) if right is not None]
    sentences = (
        [f"{sum(known):,} of {len(known):,} predictions are right."]
        if known
        else ["No gold labels are given."]
    )
    diagnoses = [line["diagnosis"] for line in lines]
    unsolved = sum(not diagnosis["converged"] for diagnosis in diagnoses)
    residuals = [d["residual"] for d in diagnoses if d["residual"] is not None]
    worst = f" (largest residual {number(max(residuals))})" if residuals else ""
    if unsolved:
        sentences.append(
            f"Not solved to tolerance: {unsolved:,} of {len(lines):,} linear systems{worst}; do not rely on "
            "their scores."
        )
    else:
        sentences.append(f"Every linear system is solved{worst}.")
    return " ".join(sentences)


def diagnosis_in_words(diagnosis: Mapping[str, Any], damping: float, solver: str) -> str:
    """How well the system of one query was solved, and whether the curvature mattered."""
    residual, steps = diagnosis["residual"], diagnosis["steps"]
    if solver == "identity":
        return (
            "No system was solved: the scores are plain gradient dot products, divided by the damping "
            f"λ = {number(damping, 3)}."
        )
    reached = "an unknown residual" if residual is None else f"a residual of {number(residual)}"
    state = "Solved to" if diagnosis["converged"] else "NOT solved to the tolerance: stopped at"
    way = f"in {plural(steps, 'step')}" if steps else "directly"
    sentences = [f"{state} {reached} {way}."]
    highest, lowest = diagnosis.get("lambda_max"), diagnosis.get("lambda_min")
    if highest is not None:
        met = f"up to {number(highest)}"
        if lowest is not None and lowest < 0:
            met = f"from {number(lowest)} (negative: training stopped at no minimum) {met}"
        sentences.append(f"Curvature met on the way: {met}, against damping λ = {number(damping, 3)}.")
        if highest < damping / 10:
            sentences.append("The damping outweighs it: the scores are nearly gradient dot products.")
    return " ".join(sentences)
