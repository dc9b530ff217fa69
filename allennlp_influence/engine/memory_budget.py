"""How much memory a run takes beside the model and a batch of training examples."""

from typing import NamedTuple


class MemoryBudget(NamedTuple):
    """
    In GB: `vectors` for the queries' vectors that share a pass over the training examples, `factors` for gradients of
    training examples, as factors, that are held while others pass by, `matrix` for one as large as the curvature's
    training set. What is too large for it is done in more parts, or refused.
    """

    vectors: float = 2.0
    factors: float = 2.0
    matrix: float = 4.0

    @classmethod
    def of(cls, gigabytes: float) -> "MemoryBudget":
        """So many GB in all."""
        return cls(gigabytes / 4, gigabytes / 4, gigabytes / 2)
