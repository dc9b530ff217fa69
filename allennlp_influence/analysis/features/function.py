"""A Python function of the user's own."""

import importlib

from allennlp.common.checks import ConfigurationError
from allennlp.common.util import push_python_path

from allennlp_influence.analysis.features.artifact_feature import ArtifactFeature
from allennlp_influence.data.example import Example


@ArtifactFeature.register("function")
class Function(ArtifactFeature):
    """
    What a function gives for each `Example` (its `text`, `label` and `columns`).

    Registered as an `ArtifactFeature` with name "function".

    # Parameters

    function : `str`
        `module:name`; the module is importable, or lies in the current directory.
    """

    def __init__(self, function: str) -> None:
        self.name = function
        module, colon, name = function.partition(":")
        if not colon:
            raise ConfigurationError(f"{function!r} is no function; expected module:name")
        try:
            with push_python_path("."):
                self.function = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            raise ConfigurationError(f"the function {function} is not found: {error}") from error

    def value(self, example: Example) -> float:
        try:
            return float(self.function(example))
        except Exception as error:  # of whatever the user wrote
            raise ConfigurationError(
                f"the function {self.name} fails on training example {example.id}: "
                f"{type(error).__name__}: {error}"
            ) from error
