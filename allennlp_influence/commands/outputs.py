"""What the commands write."""

import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

from allennlp.common.checks import ConfigurationError


@contextmanager
def new_directory(name: str) -> Iterator[Path]:
    """
    A directory to write into, which gets its name when everything is in it; until then it is `name.part`.

    # Raises

    `ConfigurationError` if there is something of that name already, or it can't be written.
    """
    directory = Path(os.path.abspath(name))
    if directory.is_file() or (directory.is_dir() and any(directory.iterdir())):
        raise ConfigurationError(f"{name} exists already; choose another directory, or delete it")
    part = directory.with_name(directory.name + ".part")
    try:
        shutil.rmtree(part, ignore_errors=True)  # of a run that was stopped
        part.mkdir(parents=True)
        yield part
        os.replace(part, directory)
    except OSError as error:
        raise ConfigurationError(f"the directory {name} can't be written: {error}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
