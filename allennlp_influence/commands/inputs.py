"""What the commands are given to explain."""

from typing import Any

from allennlp.common.checks import ConfigurationError
from allennlp.models.archival import Archive, load_archive

from allennlp_influence.influence.reading import named


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
