"""Which label an example has."""

from typing import Optional, Sequence

import numpy
from allennlp.common.checks import ConfigurationError

from allennlp_influence.analysis.features.artifact_feature import ArtifactFeature
from allennlp_influence.data.example import Example


@ArtifactFeature.register("label")
class Label(ArtifactFeature):
    """
    1 for training examples with the label, 0 for others.

    Registered as an `ArtifactFeature` with name "label".

    # Parameters

    label : `str`
    """

    def __init__(self, label: Optional[str] = None) -> None:
        self.label = label

    def values(self, examples: Sequence[Example]) -> numpy.ndarray:
        known = {str(example.label) for example in examples}
        if self.label not in known:
            raise ConfigurationError(
                f"the feature's label is {self.label!r}; expected one of {', '.join(sorted(known))}, as in "
                f'{{"type": "label", "label": "{min(known)}"}}'
            )
        return super().values(examples)

    def value(self, example: Example) -> float:
        return float(example.label == self.label)
