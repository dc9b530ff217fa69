"""Unquoted tab-separated files, with errors that name the line."""

from typing import Dict, Iterator, List, NamedTuple, NoReturn, TextIO

from allennlp.common.checks import ConfigurationError
from allennlp.common.file_utils import cached_path, open_compressed


class Row(NamedTuple):
    """
    A row of a file: its number without the header (from 1), the line in the file (from 1), its columns.
    """

    number: int
    line: int
    columns: Dict[str, str]


def read_lines(path: str) -> Iterator[str]:
    """
    Lines without their ends. A byte order mark and carriage returns before line feeds are not part of
    the text.

    # Raises

    `ConfigurationError` if the file is missing, empty or not UTF-8.
    """
    try:
        local = cached_path(path, extract_archive=True)
    except FileNotFoundError as error:
        raise ConfigurationError(f"the data file {path} does not exist") from error
    number = 0
    file: TextIO
    with open_compressed(local, encoding="utf-8-sig", newline="\n") as file:
        try:
            for number, line in enumerate(file, start=1):
                yield line.rstrip("\n").rstrip("\r")
        except UnicodeDecodeError as error:
            raise ConfigurationError(
                f"{path}, line {number + 1} or after: not UTF-8 ({error.reason}); save the file as UTF-8"
            ) from error
    if number == 0:
        raise ConfigurationError(f"the data file {path} is empty")


def read_tsv(path: str) -> Iterator[Row]:
    """
    Rows of a file that is split on TAB and on nothing else: quotation marks are text.

    # Raises

    `ConfigurationError` naming file and line if a row has not as many columns as the header.
    """
    lines = read_lines(path)
    header: List[str] = next(lines).split("\t")
    if len(set(header)) < len(header):
        fail(path, 1, f"a column name occurs twice in {header}")
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


def fail(path: str, line: int, what: str) -> NoReturn:
    """Raise a `ConfigurationError` about a line of a file."""
    raise ConfigurationError(f"{path}, line {line}: {what}")


def text_of(path: str, line: int, columns: Dict[str, str], name: str) -> str:
    """The text in a column, as it is; an empty one is an error."""
    if name not in columns:
        fail(path, line, f"no column {name!r} (there are: {', '.join(columns)})")
    if not columns[name].strip():
        fail(path, line, f"{name!r} is empty; a text was expected")
    return columns[name]
