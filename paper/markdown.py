"""Numbers and tables in Markdown."""

from typing import Any, Iterable, Mapping, Optional, Sequence

from allennlp.common.util import JsonDict

MILLI = 1e3  # coefficients are shown in thousandths


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """In Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def number(value: Optional[float], digits: int = 3) -> str:
    """With a real minus sign."""
    return "–" if value is None else f"{value:.{digits}f}".replace("-", "−")


def interval(row: Mapping[str, Any], digits: int = 3, scale: float = 1.0) -> str:
    """A value with its 95 % interval."""
    value, low, high = (
        None if x is None else scale * x for x in (row["value"], row["low"], row["high"])
    )
    if low is None:
        return number(value, digits)
    return f"{number(value, digits)} [{number(low, digits)}, {number(high, digits)}]"


def row_of(rows: Sequence[JsonDict], **values: Any) -> Optional[JsonDict]:
    """The first row that has these values; `None` if there is none."""
    return next((row for row in rows if all(row[k] == v for k, v in values.items())), None)
