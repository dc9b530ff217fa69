"""Predictions that are explained, and at which label."""

from typing import List, NamedTuple, Optional, Sequence

from allennlp.common.checks import ConfigurationError
from allennlp.data import Instance

from allennlp_influence.engine import Batch
from allennlp_influence.influence.classifier import Classifier


class Query(NamedTuple):
    """A prediction that is to be explained; `gold` is a name, which the model may not know."""

    instance: Instance
    batch: Batch
    names: List[str]
    log_probabilities: List[float]
    explained: int
    predicted: int
    gold: Optional[str]


def explained_class(
    classifier: Classifier,
    instance: Instance,
    label: str,
    predicted: int,
    names: Sequence[str],
    name: str,
) -> int:
    """
    The index of the class that is explained.

    # Parameters

    label : `str`
        `predicted`, `gold`, or one of `names`, which the classes have.
    predicted : `int`
        The index of the predicted class.
    name : `str`
        What the instance is called in errors.

    # Raises

    `ConfigurationError` if the instance has no such label, or the model.
    """
    if label == "predicted":
        return predicted
    if label == "gold":
        gold = gold_class(classifier, instance, name)
        if gold is None:
            raise ConfigurationError(
                f"the gold label is to be explained, but {name} has none; explain the predicted one"
            )
        return gold
    if label not in names:
        raise ConfigurationError(
            f"label {label!r} is none of the model's: {', '.join(names)} (or 'predicted', 'gold')"
        )
    return names.index(label)


def gold_class(classifier: Classifier, instance: Instance, name: str) -> Optional[int]:
    """As `Classifier.gold`, with the instance's `name` in the error."""
    try:
        return classifier.gold(instance)
    except ConfigurationError as error:
        raise ConfigurationError(f"{name}: {error.message}") from error
