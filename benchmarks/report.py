"""Results of the benchmark, for eyes."""

from typing import Any, Dict, List, Optional

from rich.console import Console
from rich.table import Table

KEYS = [
    "speedup_vs_paper",
    "speedup_vs_allennlp",
    "speedup_vs_kronfluence",
    "spearman_vs_exact",
    "gflops_fraction",
]


def closing_line(summary: Dict[str, Any]) -> str:
    """The five figures that a run is summed up in."""
    return " ".join(f"{key}={_figure(summary[key])}" for key in KEYS)


def print_report(results: Dict[str, Any]) -> None:
    """A table of everything that was run, where the chosen solver's time goes, and the comparisons."""
    console = Console(width=150)
    machine, sizes, summary = results["machine"], results["sizes"], results["summary"]
    rows: List[Dict[str, Any]] = results["rows"]
    threads = sorted({row["threads"] for row in rows if "threads" in row})
    console.print(
        f"{machine['cpu']}, {machine['cores']} cores, threads {threads}, load before {machine['load_before']:.1f}; "
        f"torch {machine['torch']}; N = {sizes['num_examples']:,}, Q = {sizes['num_queries']}",
        highlight=False,
    )
    table = Table()
    for name in ("", "N", "Q", "seconds", "s per query", "peak GB", "Spearman, lowest", "how"):
        left = name in ("", "how")  # in full; the others in one line
        table.add_column(name, justify="left" if left else "right", no_wrap=not left)
    for row in rows:
        table.add_row(*_cells(row))
    console.print(table)
    for row in rows:
        if row["name"] == summary["chosen"] and row["queries"] == sizes["num_queries"]:
            console.print(f"Where the time of {row['name']} goes:", highlight=False)
            for stage, seconds in row["stages"].items():
                share = seconds / row["seconds"]
                console.print(f"  {seconds:8.1f} s {share:5.0%}  {stage}", highlight=False)
    for key, value in summary.items():
        console.print(f"{key:45} {_figure(value)}", highlight=False)


def _cells(row: Dict[str, Any]) -> List[str]:
    if "error" in row:
        return (
            [row["name"], f"{row['examples']:,}", str(row["queries"])] + [""] * 4 + [row["error"]]
        )
    number = row.get("num_exact", row["queries"])
    memory = f"{row['peak_memory_gb']:.2f}"
    how = row["how"]
    if how.startswith("scaled"):
        how += ", memory as run"
    if "scaled_memory_gb" in row:
        how += f" (scaled: {row['scaled_memory_gb']:,.0f} GB)"
    return [
        row["name"],
        f"{row['examples']:,}",
        str(number),
        f"{row['seconds']:,.1f}",
        f"{row['seconds'] / number:,.2f}",
        memory,
        _figure(row["lowest_spearman"]) if "lowest_spearman" in row else "",
        how,
    ]


def _figure(value: Optional[Any]) -> str:
    if value is None:
        return "none"
    if isinstance(value, dict):
        return ", ".join(f"{_figure(v)} at λ = {k}" for k, v in value.items())
    if isinstance(value, (str, bool)):
        return str(value)
    return f"{value:.0f}" if value >= 100 else f"{value:.4g}"
