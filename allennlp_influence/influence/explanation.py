"""What explaining a prediction by training examples gives."""

from typing import List, NamedTuple, Optional

import numpy
from allennlp.data import Instance

from allennlp_influence.engine import Diagnosis
from allennlp_influence.influence.token_attribution import TokenAttribution


class TrainingInfluence(NamedTuple):
    """
    The influence of one training example on one prediction; has the fields of AllenNLP's
    `InstanceInfluence` and more.
    """

    instance: Instance
    loss: float
    """Training loss of the example at its own label, in nats."""
    score: float
    """Predicted rise of the explained label's loss if this example is removed; positive: it supports."""
    z: float
    """`score` in standard deviations from the mean over the training set (population)."""
    id: int
    """The example's id: its row in the training file."""
    position: int
    """Its place in the training order, from 0: the column in `scores`."""
    token_attribution: Optional[TokenAttribution] = None
    """Which of its words made it influential, if that was asked for."""


class InfluenceExplanation(NamedTuple):
    """
    One explained prediction; has the fields of AllenNLP's `InterpretOutput` and more.
    """

    test_instance: Instance
    loss: float
    """Loss at the explained label, in nats."""
    top_k: List[TrainingInfluence]
    """Highest scores first: the training examples that support the explained label most."""
    bottom_k: List[TrainingInfluence]
    """Lowest scores first: those that oppose it most."""
    scores: numpy.ndarray
    """Score of every training example in training order, `(N,)`, float32."""
    labels: List[str]
    """Names of the classes."""
    probabilities: List[float]
    """Of the classes, in the order of `labels`."""
    explained: str
    """The label whose loss is explained."""
    predicted: str
    gold: Optional[str]
    diagnosis: Diagnosis
    """How well the query's system was solved."""

    @property
    def z_scores(self) -> numpy.ndarray:
        """`scores` in standard deviations from their mean (population; 0 if they are all equal)."""
        return z_scores(self.scores)


def z_scores(scores: numpy.ndarray) -> numpy.ndarray:
    """
    Scores `(N,)` in population standard deviations from their mean (Han et al. 2020, §3); zeros if they are
    all equal.
    """
    scores = numpy.asarray(scores, dtype=numpy.float64)
    deviation = scores.std()
    return (scores - scores.mean()) / deviation if deviation > 0 else numpy.zeros_like(scores)
