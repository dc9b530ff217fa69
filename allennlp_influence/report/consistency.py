"""The consistency of saliency and influence, in the terminal."""

from typing import Dict, Sequence

from rich.console import Console
from rich.table import Table

from allennlp_influence.analysis.clusters import Estimate
from allennlp_influence.analysis.consistency import (
    FLIPS,
    HELD,
    INFLUENCE,
    MACRO,
    OVERLAP,
    POOLED,
    PREDICTED,
    Row,
)
from allennlp_influence.report.estimates import interval, number, with_error


def print_consistency(rows: Sequence[Row], choices: Sequence[str], level: float, console: Console) -> None:
    """The tables of both experiments: means, standard errors, intervals, and of how many they are."""
    ends = f"{level:.0%} interval"
    first = _table(
        "Mean z-score of the training examples that have the explained label and the salient token",
        ["top", "token", "pooled ± s.e.", ends, "mean of inputs", ends, "examples", "inputs"],
    )
    for top, of_token in _grouped(rows, INFLUENCE, choices).items():
        for token, found in of_token.items():
            pooled, macro = found[POOLED], found[MACRO]
            first.add_row(
                f"{top:.0%}",
                token,
                with_error(pooled),
                interval(pooled),
                number(macro.value),
                interval(macro),
                f"{pooled.n:,}",
                str(pooled.clusters),
            )
        first.add_section()
    console.print(first)
    second = _table(
        "Overlap of the top training examples before and after the token is masked",
        ["top", "token", "as predicted ± s.e.", ends, "label held fixed", ends, "inputs"],
    )
    for top, of_token in _grouped(rows, OVERLAP, choices).items():
        for token, found in of_token.items():
            free, held = found[PREDICTED], found[HELD]
            second.add_row(
                f"{top:.1%}",
                token,
                with_error(free),
                interval(free),
                number(held.value),
                interval(held),
                str(free.n),
            )
        second.add_section()
    console.print(second)
    for row in rows:
        if row.experiment == FLIPS and row.token in choices:
            console.print(
                f"masking the {_named(row.token)} token changes {_percent(row.estimate)} of the predictions",
                highlight=False,
            )


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, justify="left" if column in ("top", "token") else "right")
    return table


def _grouped(
    rows: Sequence[Row], experiment: str, choices: Sequence[str]
) -> Dict[float, Dict[str, Dict[str, Estimate]]]:
    """Estimates by share, token and variant."""
    found: Dict[float, Dict[str, Dict[str, Estimate]]] = {}
    for row in rows:
        if row.experiment == experiment and row.token in choices:
            found.setdefault(row.top, {}).setdefault(row.token, {})[row.variant] = row.estimate
    return found


def _named(choice: str) -> str:
    return choice if choice in ("median", "zero") else f"most {choice}"


def _percent(estimate: Estimate) -> str:
    if estimate.value is None:
        return "none"
    text = f"{estimate.value:.0%}"
    if estimate.low is not None:
        text += f" ({estimate.low:.0%} … {estimate.high:.0%})"
    return text
