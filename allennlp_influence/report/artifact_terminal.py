"""What an analysis of artifacts found, in the terminal."""

from typing import Dict, List, Optional, Sequence, Tuple

from allennlp.common.util import JsonDict
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from allennlp_influence.analysis.artifacts import group_name
from allennlp_influence.analysis.scales import SCALES, Z
from allennlp_influence.report import wording
from allennlp_influence.report.texts import visible

_MOST_QUERIES = 10
_MOST_WORDS = 20
_LEAST_ROOM = 12  # columns for a text
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
    cells = [
        [
            *(row["id"], row["predicted"], _c(row["c"]), _interval(row)),
            "" if row["r_squared"] is None else f"{row['r_squared']:.3f}",
            " ‖ ".join(row["text"].values()),
        ]
        for row in rows[:_MOST_QUERIES]
    ]
    title = f"{name}: c of each query, in thousandths"
    _print_table(title, ["query", "predicted", "c", "95 %", "R²", "text"], cells, -1, console)
    if len(rows) > _MOST_QUERIES:
        console.print(" …")


def _print_averages(rows: Sequence[JsonDict], console: Console) -> None:
    groups: Dict[Tuple[str, str], List[JsonDict]] = {}
    for row in rows:
        groups.setdefault((row["by"], row["group"]), []).append(row)
    cells = []
    for key, of_scales in groups.items():
        numbers = [cell for row in of_scales for cell in (_c(row["mean"]), _interval(row))]
        cells.append([group_name(*key), of_scales[0]["num_queries"], *numbers])
    headings = [heading for scale in SCALES for heading in (f"c ({scale})", "95 %")]
    _print_table(None, ["mean c over", "queries", *headings], cells, 0, console)


def _print_words(rows: Sequence[JsonDict], console: Console) -> None:
    significant = [row for row in rows if row["significant"]]
    title = (
        f"{len(significant):,} of {wording.plural(len(rows), 'word')} significant after correction: mean c (ranks), "
        "in thousandths"
    )
    means = [name for name in rows[0] if name.startswith("c, ")]
    headings = ["text", "word", "examples", *(n.removeprefix("c, ") for n in means), "adjusted p"]
    cells = [
        [
            *(row["text"], row["word"], f"{row['examples']:,}"),
            *(_c(row[name]) for name in means),
            wording.number(row["adjusted_p"]),
        ]
        for row in significant[:_MOST_WORDS]
    ]
    _print_table(title, headings, cells, 1, console)
    if len(significant) > _MOST_WORDS:
        console.print(" …")


def _print_table(
    title: Optional[str],
    headings: Sequence[str],
    rows: Sequence[Sequence[object]],
    shortened: int,
    console: Console,
) -> None:
    """The cells of one column, whose number is `shortened`, get the room that the others leave."""
    if title:
        console.print(Text(f"\n{visible(title)}", style="bold"))
    texts = [[visible(str(cell)) for cell in row] for row in rows]
    # headings are broken between words
    widths = [max(map(cell_len, [*h.split(), *c])) for h, *c in zip(headings, *texts)]
    room = console.width - sum(width + 2 for width in widths) + widths[shortened]
    widths[shortened] = max(_LEAST_ROOM, min(widths[shortened], room))
    table = Table(box=None)
    for heading, width in zip(headings, widths):
        left = heading in ("predicted", "mean c over", "text", "word")
        table.add_column(heading, width=width, justify="left" if left else "right")
    for row in texts:
        cells = list(map(Text, row))
        cells[shortened].truncate(widths[shortened], overflow="ellipsis")
        table.add_row(*cells)
    console.print(table)


def _c(value: Optional[float]) -> str:
    """In thousandths, to three digits."""
    if value is None:
        return "–"
    value *= _SCALE
    return (f"{value:+,.0f}" if abs(value) >= 1000 else f"{value:+.3g}").replace("-", "−")


def _interval(row: JsonDict) -> str:
    return "" if row["low"] is None else f"{_c(row['low'])} … {_c(row['high'])}"
