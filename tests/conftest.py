"""Fixtures for all tests."""

from typing import Callable

import pytest

from scripts.make_tiny_transformer import make_tiny_transformer


@pytest.fixture(scope="session")
def tiny_transformer(tmp_path_factory) -> Callable[[str], str]:
    """Gives the folder of a tiny "bert", "roberta", "distilbert" or "electra"."""
    made = {}

    def folder_of(architecture: str) -> str:
        if architecture not in made:
            folder = tmp_path_factory.mktemp(architecture)
            make_tiny_transformer(architecture, folder)
            made[architecture] = str(folder)
        return made[architecture]

    return folder_of


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory) -> None:
    """The user's cache stays as it is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield
