"""The corpora that come with the package."""

from pathlib import Path

import allennlp_influence
from allennlp.common.checks import ConfigurationError


def demo_data(name: str) -> Path:
    """
    The folder of a corpus written for this package: in an installed package `demo_data/` beside the code, in a
    checkout `fixtures/demo/`.

    # Parameters

    name : `str`
        `sentiment` or `nli`.

    # Raises

    `ConfigurationError` if there is none of that name.
    """
    package = Path(allennlp_influence.__file__).parent
    places = (package / "demo_data", package.parent / "fixtures" / "demo")
    for place in places:
        if (place / name).is_dir():
            return place / name
    raise ConfigurationError(f"there is no demo data {name!r} in {places[0]} or {places[1]}")
