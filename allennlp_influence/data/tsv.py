"""Unquoted tab-separated files, with errors that name the line."""

from typing import Dict, Iterator, List, NamedTuple, NoReturn, Optional

from allennlp.common.checks import ConfigurationError
from allennlp.common.file_utils import cached_path, open_compressed


class Row(NamedTuple):
    """
    A row of a file: its number without the header (from 1), the line in the file (from 1), its columns, and
    the line in which their names stand.
    """

    number: int
    line: int
    columns: Dict[str, str]
    header: int = 1


def read_lines(path: str) -> Iterator[str]:
    """
    Lines without their ends: a line feed, or a carriage return and a line feed. Every other character, U+2028
    too, is text. A byte order mark is not.

    # Raises

    `ConfigurationError` if the file is missing, empty or not UTF-8.
    """
    number = 0
    try:
        with open_compressed(cached_path(path, extract_archive=True), "rb", encoding=None) as file:
            for number, line in enumerate(file, start=1):
                line = line.removesuffix(b"\n").removesuffix(b"\r")
                yield line.decode("utf-8-sig" if number == 1 else "utf-8")
    except FileNotFoundError as error:
        raise ConfigurationError(f"the data file {path} does not exist") from error
    except UnicodeDecodeError as error:
        fail(
            path,
            number,
            f"not UTF-8 (byte {error.start + 1}: {error.reason}); save the file as UTF-8",
        )
    except (OSError, EOFError) as error:
        raise ConfigurationError(f"the data file {path} cannot be read: {error}") from error
    if number == 0:
        fail(path, 1, "the file is empty; expected examples, one a line")


def read_tsv(path: str) -> Iterator[Row]:
    """
    Rows of a file that is split on TAB and on nothing else: quotation marks are text.

    # Raises

    `ConfigurationError` naming file and line if a row has not as many columns as the header, or there is none.
    """
    lines = read_lines(path)
    header: List[str] = next(lines).split("\t")
    if len(set(header)) < len(header):
        fail(path, 1, f"a column name occurs twice in {header}; expected different names")
    number = 0
    for number, line in enumerate(lines, start=1):
        values = line.split("\t")
        if len(values) != len(header):
            fail(
                path,
                number + 1,
                f"{len(values)} columns, but the header has {len(header)} ({', '.join(header)}); columns are "
                "separated by one TAB each",
            )
        yield Row(number, number + 1, dict(zip(header, values)))
    if number == 0:
        fail(path, 2, f"expected a row after the header ({', '.join(header)}), but the file ends")


def fail(path: str, line: int, what: str) -> NoReturn:
    """Raise a `ConfigurationError` about a line of a file."""
    raise ConfigurationError(f"{path}, line {line}: {what}")


def column_of(path: str, row: Row, *names: str) -> Optional[str]:
    """Which of the names the row has as a column; two of them are an error."""
    found = [name for name in names if name in row.columns]
    if len(found) > 1:
        fail(path, row.header, f"columns {' and '.join(map(repr, found))}; expected one of them")
    return found[0] if found else None


def text_of(path: str, row: Row, *names: str) -> str:
    """The text in the column that has one of the names, as it is; an empty one is an error."""
    name = column_of(path, row, *names)
    if name is None:
        expected, found = " or ".join(map(repr, names)), ", ".join(row.columns)
        fail(path, row.header, f"expected a column {expected}; there are: {found}")
    text = row.columns[name]
    if not text.strip():
        fail(path, row.line, f"{name!r} is empty; expected a text")
    return text
