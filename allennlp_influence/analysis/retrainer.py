"""Training a classifier again, with other training examples: what influence scores are measured against."""

from typing import List, Mapping, Optional, Sequence

import numpy
from allennlp.common import Registrable
from allennlp.common.checks import ConfigurationError

from allennlp_influence.data.example import Example


class Retrainer(Registrable):
    """
    Trains the classifier of an archive, or of a training configuration, without some of its training examples.

    # Parameters

    Every implementation's constructor takes these, beside options of its own:

    archive_file : `str`
        An archive, or a training configuration (.json, .jsonnet).
    input_file : `str`
        The queries.
    train_data : `str`, optional (default = `None`)
        The training file, if it is not where the configuration says.
    overrides : `str`, optional (default = `""`)
        AllenNLP's, of the configuration.
    """

    default_implementation = "allennlp"

    examples: List[Example]
    """The training examples, in training order: what `leave_out` counts."""
    queries: List[Example]
    """The queries, in the order of the file."""
    label_names: List[str]
    """The names of the classes in the order of the model's outputs."""
    fingerprint: str
    """
    Hex digest of all that log probabilities depend on but for the device: configuration, data, queries, the way of training.
    """
    device: str = "cpu"
    """What it trains on: `cpu`, or the name of a GPU, on which dropout and rounding give another model."""

    def log_probabilities(
        self,
        leave_out: Sequence[int],
        seed: int,
        labels: Optional[Mapping[int, int]] = None,
    ) -> numpy.ndarray:
        """
        Of the queries' classes, in eval mode, under a model that is trained anew.

        # Parameters

        leave_out : `Sequence[int]`
            The training examples that training does not see: places in training order, from 0.
        seed : `int`
            Of python, numpy and torch, in place of the configuration's.
        labels : `Mapping[int, int]`, optional (default = `None`)
            Class indices that take the place of the own labels of the training examples at these places.

        # Returns

        `numpy.ndarray`
            `(num_queries, num_classes)`, float64, in nats; on a device, a function of the arguments alone.

        # Raises

        `ConfigurationError` if there is no such place or class, or nothing is left to train on.
        """
        raise NotImplementedError

    def check_arguments(
        self, leave_out: Sequence[int], labels: Optional[Mapping[int, int]] = None
    ) -> None:
        """
        # Raises

        `ConfigurationError` as `log_probabilities`.
        """
        number = len(self.examples)
        wrong = [place for place in (*leave_out, *(labels or ())) if not 0 <= place < number]
        if wrong:
            raise ConfigurationError(
                f"there is no training example at place {wrong[0]}: there are {number:,}, from 0"
            )
        if len(set(leave_out)) == number:
            raise ConfigurationError(f"nothing is left to train on without all {number:,} examples")
        for place, label in (labels or {}).items():
            if not 0 <= label < len(self.label_names):
                raise ConfigurationError(
                    f"training example at place {place}: there is no class {label}; the classes are "
                    + ", ".join(f"{i} {name}" for i, name in enumerate(self.label_names))
                )
