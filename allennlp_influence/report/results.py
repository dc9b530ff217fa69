"""A result directory opened for reading by people: complete, and of the expected form."""

import os
from typing import Union

import numpy
from allennlp.common.checks import ConfigurationError

from allennlp_influence.influence.results import (
    EXPLANATIONS,
    IDS,
    PROVENANCE,
    SCORES,
    TRAINING_EXAMPLES,
    Results,
    open_results,
)

PathLike = Union[str, os.PathLike]

_LINE = {
    "id",
    "text",
    "columns",
    "gold",
    "predicted",
    "explained",
    "labels",
    "probabilities",
    "loss",
    "saliency",
    "mean",
    "std",
    "supporters",
    "opponents",
    "diagnosis",
}
_INFLUENCE = {"rank", "id", "text", "label", "loss", "score", "z"}
_DIAGNOSIS = {"residual", "steps", "converged"}
_EXAMPLE = {"text", "label", "predicted", "probabilities", "loss", "self_influence"}
_PROVENANCE = {
    "archive",
    "train_data",
    "input",
    "solver",
    "damping",
    "damping_chosen_by",
    "stages",
    "warnings",
}


def checked_results(directory: PathLike) -> Results:
    """
    # Raises

    `ConfigurationError` naming the file that is missing, damaged, or not one of `allennlp influence`.
    """
    try:
        results = open_results(directory)
    except (KeyError, TypeError) as error:
        raise _foreign(directory, IDS, "it has no query_ids and train_ids") from error
    _check_keys(directory, PROVENANCE, results.provenance, _PROVENANCE)
    for name in ("archive", "train_data", "input"):
        _check_keys(directory, f"{PROVENANCE}, {name}", results.provenance[name], {"path"})
    if not results.explanations:
        raise _foreign(directory, EXPLANATIONS, "it explains nothing")
    for number, line in enumerate(results.explanations, start=1):
        where = f"{EXPLANATIONS}, line {number}"
        _check_keys(directory, where, line, _LINE)
        _check_keys(directory, f"{where}, diagnosis", line["diagnosis"], _DIAGNOSIS)
        for influence in (*line["supporters"], *line["opponents"]):
            _check_keys(directory, f"{where}, a training example", influence, _INFLUENCE)
    if [line["id"] for line in results.explanations] != results.query_ids:
        raise _foreign(directory, IDS, f"its query_ids are not those of {EXPLANATIONS}")
    for number, row in enumerate(results.scores, start=1):
        if not numpy.isfinite(row).all():
            raise _foreign(directory, SCORES, f"row {number} holds values that are not finite")
    return results


def checked_training_examples(results: Results) -> None:
    """
    # Raises

    `ConfigurationError` if the file that holds them is missing, damaged, or not one of `allennlp influence`.
    """
    for number, example in enumerate(results.training_examples, start=1):
        where = f"{TRAINING_EXAMPLES}, line {number}"
        _check_keys(results.directory, where, example, _EXAMPLE)


def _check_keys(directory: PathLike, where: str, content: object, keys: set) -> None:
    if not isinstance(content, dict):
        raise _foreign(directory, where, "it is not a JSON object")
    missing = sorted(keys - content.keys())
    if missing:
        raise _foreign(directory, where, f"it has no {', '.join(missing)}")


def _foreign(directory: PathLike, where: str, what: str) -> ConfigurationError:
    return ConfigurationError(
        f"{directory} is not a result directory of `allennlp influence`, or is damaged: {where}: {what}; "
        "make it again"
    )
