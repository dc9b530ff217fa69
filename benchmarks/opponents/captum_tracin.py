"""
captum's TracInCP (github.com/pytorch/captum) at one checkpoint: gradient dot products, as our `identity`.

On the same layers, cached outputs of the frozen ones and batches as kronfluence is given. Its per-example gradients
are those of linear layers, written out for a batch at a time.
"""

import time
from typing import Any, Dict, Sequence, Tuple

import numpy
import torch
from captum.influence import TracInCP
from torch import Tensor, nn
from torch.utils.data import DataLoader

from allennlp_influence.engine import TrainingSet
from opponents.trained_layers import (
    Examples,
    TrainedLayers,
    query_batch,
    training_batches,
    training_order,
)
from subject import Subject

BATCH_SIZE = 32


def measure(subject: Sequence[Any], run_examples: int, scores_file: str) -> Dict[str, Any]:
    """
    Seconds for N training examples, in proportion to a run on `run_examples` of them. The scores `(queries,
    examples)` of the run, in the order of the training file, go into `scores_file`.
    """
    of = Subject(*subject)
    few = of._replace(num_examples=min(run_examples, of.num_examples))
    interpreter = few.interpreter("influence-functions")
    instances = few.test_instances(few.archive())
    queries = query_batch([interpreter.prepared_query(x).batch for x in instances])
    seconds, scores = tracin(interpreter.training_set, queries)
    numpy.save(scores_file, scores.numpy())
    return {
        "seconds": seconds * of.num_examples / few.num_examples,
        "how": f"scaled from {few.num_examples} training examples",
        "seconds_as_run": seconds,
        "examples_as_run": few.num_examples,
        "stages": {},
    }


def tracin(training_set: TrainingSet, queries: Examples) -> Tuple[float, Tensor]:
    """Seconds, and the scores `(queries, examples)`, in training order."""
    batches = [(*own.arguments, own.labels) for own in training_batches(training_set, BATCH_SIZE)]
    model = TrainedLayers(training_set.objective).eval()
    start = time.perf_counter()
    tracin = TracInCP(
        model,
        DataLoader(batches, batch_size=None),
        checkpoints=["the model as it is"],
        checkpoints_load_func=lambda model, _: 1.0,
        layers=model.linear_layers,
        loss_fn=nn.CrossEntropyLoss(reduction="sum"),
        sample_wise_grads_per_batch=True,
    )
    found = tracin.influence((*queries.arguments, queries.labels))
    seconds = time.perf_counter() - start
    scores = torch.empty_like(found)
    scores[:, training_order(training_set)] = found
    return seconds, scores.detach()
