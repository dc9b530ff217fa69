"""What removing training examples changed, in the terminal."""

from typing import Optional, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from allennlp_influence.analysis.clusters import Estimate
from allennlp_influence.analysis.removal import CONTROLS, GROUPS, Row
from allennlp_influence.report.estimates import interval, number, with_error


def print_removal(rows: Sequence[Row], share: str, level: float, console: Console) -> None:
    """A row for every group, and under it the differences from its controls."""
    found = {(row.group, row.versus, row.measure): row.estimate for row in rows}
    predicted = any(row.measure == "predicted_loss" for row in rows)
    measures = ["loss", *(["predicted_loss"] if predicted else []), "margin"]
    title = f"Change by removing {share} and training again"
    table = Table("removed", title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("confidence", f"{level:.0%} interval", *measures):
        table.add_column(column.replace("predicted_loss", "predicted"), justify="right")
    for group in GROUPS:
        for versus in (None, *(control for other, control in CONTROLS if other == group)):
            if (group, versus, "confidence") not in found:
                continue
            confidence = _in_points(found[group, versus, "confidence"])
            table.add_row(
                group if versus is None else f"  − {versus.removeprefix(f'{group}-')}",
                with_error(confidence, 2),
                interval(confidence, 2),
                *(number(found[group, versus, measure].value) for measure in measures),
                style="" if versus is None else "dim",
            )
    console.print(table)
    console.print(
        "Confidence in percentage points (± its standard error if all pairs were independent), loss and margin in nats"
        + ("; predicted: the sum of the scores of what is removed." if predicted else "."),
        highlight=False,
    )
    numbers = {row.estimate.n for row in rows}
    pairs = str(max(numbers)) if len(numbers) == 1 else f"{min(numbers)} to {max(numbers)}"
    queries = max(row.estimate.clusters for row in rows)
    console.print(f"Means of {pairs} pairs of {queries} queries and a seed.", highlight=False)


def _in_points(estimate: Estimate) -> Estimate:
    """A difference of probabilities in percentage points."""

    def scaled(value: Optional[float]) -> Optional[float]:
        return None if value is None else 100 * value

    names = ("value", "standard_error", "low", "high")
    return estimate._replace(**{name: scaled(getattr(estimate, name)) for name in names})
