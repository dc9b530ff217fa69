"""Errors of readers and archives that others wrote, as one line that says what was being done."""

from contextlib import contextmanager
from typing import Any, Iterator

from allennlp.common.checks import ConfigurationError
from allennlp.data import DatasetReader


@contextmanager
def readable(path: Any, reader: DatasetReader) -> Iterator[None]:
    """
    # Raises

    `ConfigurationError` for what a reader raises on a file that is not of its kind.
    """
    try:
        yield
    except ConfigurationError:
        raise
    except Exception as error:
        raise ConfigurationError(
            f"{path} can't be read by the model's {type(reader).__name__}: {named(error)}"
        ) from error


def one_line(error: BaseException) -> str:
    """The message of an error, without line breaks."""
    message = error.message if isinstance(error, ConfigurationError) else str(error)
    return " ".join(message.split())


def named(error: BaseException) -> str:
    """The message of an error with its kind."""
    return f"{type(error).__name__} {one_line(error)}"
