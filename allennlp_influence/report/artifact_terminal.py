"""What an analysis of artifacts found, in the terminal."""

from typing import Dict, List, Optional, Sequence, Tuple

from allennlp.common.util import JsonDict
from rich.console import Console
from rich.table import Table
from rich.text import Text

from allennlp_influence.analysis.artifacts import group_name
from allennlp_influence.analysis.scales import SCALES, Z
from allennlp_influence.report import wording
from allennlp_influence.report.texts import visible

_MOST_QUERIES = 10
_MOST_WORDS = 20
_SCALE = 1e3  # the paper's numbers are thousandths


def print_artifacts(content: JsonDict, words: Optional[Sequence[JsonDict]], console: Console) -> None:
    """
    Shows the first queries' fits and the averages of each feature, and the words that are significant.

    # Parameters

    content : `JsonDict`
        See `artifact_content`.
    words : `Sequence[JsonDict]`, optional
        See `word_rows`; `None` if words were not searched.
    console : `Console`
    """
    for name in (feature["feature"] for feature in content["features"]):
        _print_fits(name, [row for row in content["fits"] if row["feature"] == name], console)
        _print_averages([row for row in content["averages"] if row["feature"] == name], console)
    if words is not None:
        _print_words(words, console)


def _print_fits(name: str, rows: Sequence[JsonDict], console: Console) -> None:
    rows = [row for row in rows if row["scale"] == Z]
    table = _table(f"{name}: c of each query, in thousandths", ["query", "predicted", "c", "95 %", "R²"])
    table.add_column("text", no_wrap=True, overflow="ellipsis", ratio=1)
    for row in rows[:_MOST_QUERIES]:
        explained = "" if row["r_squared"] is None else f"{row['r_squared']:.3f}"
        text = " ‖ ".join(row["text"].values())
        _add(table, row["id"], row["predicted"], _c(row["c"]), _interval(row), explained, text)
    if len(rows) > _MOST_QUERIES:
        _add(table, "…")
    console.print(table)


def _print_averages(rows: Sequence[JsonDict], console: Console) -> None:
    table = _table("", ["mean c over", "queries", *(h for s in SCALES for h in (f"c ({s})", "95 %"))])
    groups: Dict[Tuple[str, str], List[JsonDict]] = {}
    for row in rows:
        groups.setdefault((row["by"], row["group"]), []).append(row)
    for key, of_scales in groups.items():
        numbers = [cell for row in of_scales for cell in (_c(row["mean"]), _interval(row))]
        _add(table, group_name(*key), of_scales[0]["num_queries"], *numbers)
    console.print(table)


def _print_words(rows: Sequence[JsonDict], console: Console) -> None:
    significant = [row for row in rows if row["significant"]]
    title = (
        f"Of {wording.plural(len(rows), 'word')}, {len(significant):,} are significant after correction: mean c "
        "(ranks) over queries, in thousandths"
    )
    means = [name for name in rows[0] if name.startswith("c, ")]
    headings = [name.removeprefix("c, ") for name in means]
    table = _table(title, ["text", "word", "examples", *headings, "adjusted p"])
    for row in significant[:_MOST_WORDS]:
        numbers = [_c(row[name]) for name in means]
        count, p = f"{row['examples']:,}", wording.number(row["adjusted_p"])
        _add(table, row["text"], row["word"], count, *numbers, p)
    if len(significant) > _MOST_WORDS:
        _add(table, "…")
    console.print(table)


def _table(title: str, headings: Sequence[str]) -> Table:
    table = Table(title=Text(f"\n{title}"), title_justify="left", box=None, title_style="bold")
    for heading in headings:
        left = heading in ("predicted", "mean c over", "text", "word")
        table.add_column(heading, justify="left" if left else "right", no_wrap=True)
    return table


def _add(table: Table, *cells: object) -> None:
    table.add_row(*(Text(visible(str(cell))) for cell in cells))


def _c(value: Optional[float]) -> str:
    return "–" if value is None else f"{_SCALE * value:+.2f}".replace("-", "−")


def _interval(row: JsonDict) -> str:
    return "" if row["low"] is None else f"{_c(row['low'])} … {_c(row['high'])}"
