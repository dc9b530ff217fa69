"""The validation of influence scores, in the terminal."""

from typing import Callable, Dict, List, Mapping, Optional

from allennlp.common.util import JsonDict
from rich.console import Console
from rich.table import Table

from allennlp_influence.report.estimates import number


def print_validation(result: JsonDict, console: Console) -> None:
    """The table of a method, and what it is to be read by."""
    _PRINTED[result["method"]](result, console)
    for choice in result.get("chosen", []):
        console.print(
            f"chosen for --damping auto: λ = {choice['damping']:g} for {choice['system']} (by {choice['solver']})",
            highlight=False,
            soft_wrap=True,
        )


def with_interval(estimate: Optional[Mapping[str, float]]) -> str:
    """The mean and both ends of its interval, or a dash."""
    if estimate is None:
        return "–"
    low, high = number(estimate["low"]), number(estimate["high"])
    return f"{number(estimate['mean'])} ({low} … {high})"


def _print_lds(result: JsonDict, console: Console) -> None:
    table = _table(
        f"Spearman correlation of predicted and measured {result['measure']}s, over {result['subsets']} groups left "
        f"out, {result['queries']} inputs; of single models (mean of {result['explained']}) and of averaged scores",
        ["solver", "λ", "single", "below the best", "averaged", "residual", "seconds"],
    )
    errors = []
    for row in result["rows"]:
        residual = "–" if row["residual"] is None else f"{row['residual']:.1g}"
        table.add_row(
            row["name"],
            f"{row['damping']:g}",
            with_interval(row["lds"]),
            with_interval(row.get("below_best")),
            with_interval(row["lds_of_averaged"]),
            residual,
            f"{row['seconds']:.1f}",
        )
        if row["error"]:
            errors.append(f"{row['name']} at λ = {row['damping']:g}: {row['error']}")
    console.print(table)
    ceiling = result["ceiling"]
    if ceiling is None:
        console.print("One seed says nothing of the ceiling: take --seeds 2 or more.")
    else:
        console.print(
            f"Two halves of the {result['seeds']} seeds agree to {with_interval(ceiling['agreement_of_halves'])}; not even "
            f"the expected outcome would correlate above {number(ceiling['ceiling'])} with the measured one.",
            highlight=False,
            soft_wrap=True,
        )
    for error in errors:
        console.print(error, highlight=False, soft_wrap=True)


def _print_left_out(result: JsonDict, console: Console) -> None:
    table = _table(
        "Predicted and measured rises of the inputs' losses, when single training examples are left out",
        ["solver", "λ", "Pearson", "Spearman", "slope", "largest rise"],
    )
    for row in result["rows"]:
        cells = [row["name"], f"{row['damping']:g}"]
        if "error" in row:
            table.add_row(*cells, row["error"])
            continue
        largest = f"{row['largest']:.2g}"
        table.add_row(*cells, *(number(row[n]) for n in ("pearson", "spearman", "slope")), largest)
    console.print(table)
    left = [row["gradient_left"] for row in result["rows"] if "gradient_left" in row]
    if left:
        console.print(
            f"The responses were found up to a gradient of {max(left):.1g} of the first.", highlight=False
        )


def _print_mislabel(result: JsonDict, console: Console) -> None:
    inspected: List[str] = list(result["rows"][0]["found"])
    table = _table(
        f"Wrong labels that were planted, and are found (means of {result['explained']} sets of them; of the AUC also the "
        "lowest and the highest), by how many models on average",
        ["wrong", "evidence", "λ", "models", "AUC"]
        + [f"found in {float(share):.0%}" for share in inspected],
    )
    for row in result["rows"]:
        table.add_row(
            f"{row['wrong']:.0%}",
            row["evidence"] + (f", {row['solver']}" if row["solver"] else ""),
            "–" if row["damping"] is None else f"{row['damping']:g}",
            str(row["models"]),
            _with_range(row["auc"]),
            *(f"{row['found'][share]['mean']:.0%}" for share in inspected),
        )
    console.print(table)


def _with_range(values: Mapping[str, float]) -> str:
    return f"{number(values['mean'])} ({number(values['min'])} … {number(values['max'])})"


def _table(title: str, columns: List[str]) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        if column in ("solver", "evidence"):
            table.add_column(column, min_width=len("gauss-newton"), overflow="fold")
        else:
            table.add_column(column, justify="right")
    return table


_PRINTED: Dict[str, Callable[[JsonDict, Console], None]] = {
    "lds": _print_lds,
    "leave-group-out": _print_lds,
    "leave-one-out": _print_left_out,
    "pbrf": _print_left_out,
    "mislabel": _print_mislabel,
}
