"""What training examples that are removed change, in the terminal."""

from typing import Any, Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text
from scipy.stats import spearmanr

from allennlp_influence.report import wording
from allennlp_influence.report.texts import visible

WAYS = {"scores": "scores", "linearised": "linearised", "retrained": "trained again"}


def print_what_if(
    rows: Sequence[Mapping[str, Any]], title: str, top_k: int, console: Console
) -> None:
    """
    The queries whose confidence changes most, by the last of the ways; and how well the predictions rank the losses
    that training again changes.
    """
    ways = [way for way in WAYS if f"{way}_loss" in rows[0]]
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for heading in ("id", "explained", "before", *(WAYS[way] for way in ways)):
        table.add_column(heading, justify="left" if heading == "explained" else "right")
    table.add_column("text", no_wrap=True, overflow="ellipsis", ratio=1)
    for row in sorted(rows, key=lambda row: -abs(row[f"{ways[-1]}_confidence"]))[:top_k]:
        table.add_row(
            str(row["id"]),
            Text(visible(row["explained"])),
            wording.probability(row["confidence"]),
            *(_points(row, way) for way in ways),
            Text(visible(" ‖ ".join(row["text"].values()))),
        )
    console.print(table)
    console.print("Changes of the confidence in the explained label, in percentage points.")
    if "retrained" in ways and len(rows) > 2:
        found = [row["retrained_loss"] for row in rows]
        for way in ways[:-1]:
            predicted = [row[f"{way}_loss"] for row in rows]
            console.print(
                f"Rank correlation over {len(rows)} inputs of the loss's change, trained again and by {WAYS[way]}: "
                f"{wording.number(spearmanr(predicted, found).statistic)}",
                highlight=False,
            )


def _points(row: Mapping[str, Any], way: str) -> str:
    text = f"{100 * row[f'{way}_confidence']:+.2f}"
    error = row.get(f"{way}_confidence_standard_error")
    return (text + ("" if error is None else f" ± {100 * error:.2f}")).replace("-", "−")
