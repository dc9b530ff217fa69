"""What is wrong, said in one line."""

import sys
from contextlib import contextmanager
from typing import Iterator

from allennlp.common.checks import ConfigurationError

from allennlp_influence.influence.reading import one_line


@contextmanager
def one_line_errors(command: str) -> Iterator[None]:
    """In it, and in functions that it decorates, a `ConfigurationError` ends the program with a line, not a traceback."""
    try:
        yield
    except ConfigurationError as error:
        sys.exit(f"{command}: {one_line(error)}")
