"""
What if a group of training examples were not there? Predicted by the scores, predicted by the linearised model, and found
by training again.
"""

from typing import Iterable, List, Mapping, NamedTuple, Sequence

import numpy
import torch
from allennlp.common.checks import ConfigurationError
from allennlp.data import Instance
from scipy.special import expit, log_softmax

from allennlp_influence.analysis.retrainings import Retraining
from allennlp_influence.engine import GaussNewton
from allennlp_influence.influence.influence_functions import InfluenceFunctions
from allennlp_influence.influence.results import Results


class Change(NamedTuple):
    """Of the explained label of one query."""

    loss: float
    """In nats; positive: the label becomes less likely."""
    confidence: float
    """Of its probability."""


def positions_of(results: Results, ids: Iterable[int]) -> List[int]:
    """
    Places in training order of the training examples with these ids, each once.

    # Raises

    `ConfigurationError` if there are no ids, or there is no such example.
    """
    places = {id: place for place, id in enumerate(results.train_ids)}
    ids = list(dict.fromkeys(ids))
    unknown = [id for id in ids if id not in places]
    if unknown or not ids:
        raise ConfigurationError(
            f"{results.directory} has no training example {unknown[0]}; ids are rows of the training file, from "
            f"{min(places)} to {max(places)}"
            if unknown
            else "no training example is named"
        )
    return [places[id] for id in ids]


def by_scores(results: Results, positions: Sequence[int]) -> List[Change]:
    """
    To first order: the loss changes by the sum of the scores. The confidence p follows its margin m = log p − log(1 − p),
    of which a change ΔL of the loss is one of −ΔL / (1 − p); unlike p − pΔL that never leaves [0, 1].

    # Raises

    `ConfigurationError` if the scores are not in nats.
    """
    normalisation = results.provenance["inputs"]["normalisation"]
    if normalisation is not None:
        raise ConfigurationError(
            f"{results.directory} has scores by {normalisation}, which do not add up: make it without --normalisation"
        )
    sums = numpy.asarray(results.scores[:, list(positions)], dtype=float).sum(1)
    return [
        Change(float(total), confidence_after(line["loss"], total) - numpy.exp(-line["loss"]))
        for total, line in zip(sums, results.explanations)
    ]


def confidence_after(loss: float, change: float) -> float:
    """The probability of a label with this loss, after this change of it; see `by_scores`."""
    doubt = -numpy.expm1(-loss)  # 1 − p, exact also where p is nearly 1
    return float(expit(-loss - numpy.log(doubt) - change / doubt)) if doubt > 0 else 1.0


def by_linearised_model(
    interpreter: InfluenceFunctions,
    instances: Sequence[Instance],
    positions: Sequence[int],
    labels: Sequence[str],
) -> List[Change]:
    """
    Exactly, for the model that is linear in its parameters with its training loss to second order and the interpreter's
    damping: the curvature of the removed examples is removed as well, see `GaussNewton.change_without`. Logits are linear
    in the parameters, probabilities are their softmax.

    # Parameters

    interpreter : `InfluenceFunctions`
        Whatever its solver, only its damping counts here.
    instances : `Sequence[Instance]`
        The queries.
    positions : `Sequence[int]`
        What is removed, in training order from 0.
    labels : `Sequence[str]`
        The explained label of each query.

    # Raises

    `ConfigurationError` if the interpreter's scores are averages over checkpoints, or the Gram matrix of its training
    examples would be too large.
    """
    if interpreter.weights:
        raise ConfigurationError(
            "scores that are averages over checkpoints are of several models; the linearised one is of the archive's"
        )
    solver = GaussNewton(interpreter.solver.damping)
    training_set = interpreter.training_set
    curvature = solver.curvature_of(training_set)
    queries = [
        interpreter.prepared_query(instance, label=label) for instance, label in zip(instances, labels)
    ]
    num_classes = len(interpreter.label_names)
    at_once = max(1, interpreter.queries_at_once // num_classes)
    changes = []
    for begin in range(0, len(queries), at_once):
        block = queries[begin : begin + at_once]
        gradients = [training_set.objective.logit_gradients(query.batch) for query in block]
        moved = solver.change_without(curvature, torch.cat(gradients), positions)
        for query, shift in zip(block, moved.numpy().reshape(len(block), num_classes)):
            before = numpy.array(query.log_probabilities)
            changes.append(change_between(before, log_softmax(before + shift), query.explained))
    return changes


def by_training_again(
    trained: Mapping[Retraining, numpy.ndarray],
    positions: Sequence[int],
    seeds: Sequence[int],
    labels: Sequence[int],
) -> List[List[Change]]:
    """
    Of models of the same seed, trained with and without the examples at `positions`.

    # Parameters

    trained : `Mapping[Retraining, numpy.ndarray]`
        Log probabilities, as a `Journal` has them.
    positions : `Sequence[int]`
    seeds : `Sequence[int]`
    labels : `Sequence[int]`
        The class index that is explained for each query.

    # Returns

    `List[List[Change]]`
        For every query one of each seed.
    """
    pairs = [(trained[Retraining(s)], trained[Retraining(s, tuple(positions))]) for s in seeds]
    return [
        [change_between(before[query], after[query], label) for before, after in pairs]
        for query, label in enumerate(labels)
    ]


def change_between(before: numpy.ndarray, after: numpy.ndarray, label: int) -> Change:
    """Of a class, from log probabilities `(num_classes,)`."""
    return Change(
        loss=float(before[label] - after[label]),
        confidence=float(numpy.exp(after[label]) - numpy.exp(before[label])),
    )
