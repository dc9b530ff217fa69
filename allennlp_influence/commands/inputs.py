"""What the commands are given, and where they keep things."""

import os
from pathlib import Path
from typing import Any

from allennlp.common.checks import ConfigurationError
from allennlp.models.archival import Archive, load_archive

from allennlp_influence.influence.reading import named


def default_cache_dir() -> str:
    """A folder of this package in the user's cache."""
    folder = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return str(Path(folder) / "allennlp-influence")


def load_archive_or_fail(path: str, **kwargs: Any) -> Archive:
    """
    # Raises

    `ConfigurationError` if it is no archive, or can't be loaded with the overrides.
    """
    try:
        return load_archive(path, **kwargs)
    except ConfigurationError:
        raise
    except Exception as error:  # of whatever classes the archive is made of
        raise ConfigurationError(f"the archive {path} can't be loaded: {named(error)}") from error
