"""What an artifact is: one number per training example."""

from typing import Sequence

import numpy
from allennlp.common import Registrable

from allennlp_influence.data.example import Example


class ArtifactFeature(Registrable):
    """
    A property that examples have more or less of, and that a classifier should perhaps not lean on
    (Han et al. 2020, §5). Implementations give `value`, or `values` if an example's depends on the others.
    """

    def value(self, example: Example) -> float:
        """
        How much of it one example has.

        # Raises

        `ConfigurationError` if the feature does not apply to such examples.
        """
        raise NotImplementedError

    def values(self, examples: Sequence[Example]) -> numpy.ndarray:
        """Of all training examples, `(N,)`, float64."""
        return numpy.array([self.value(example) for example in examples], dtype=numpy.float64)
