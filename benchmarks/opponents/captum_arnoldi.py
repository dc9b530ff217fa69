"""
captum's Arnoldi influence function (github.com/pytorch/captum; Schioppa et al. 2022): the inverse of the Hessian in the
subspace of its largest eigenvalues, which Arnoldi iteration finds.

On the same layers, cached outputs of the frozen ones and batches as kronfluence is given. Of its defaults only what two
cores can't pay for is changed: a Krylov space of 50 dimensions instead of 200, 25 of them kept instead of 50, and the
Hessian of 256 examples, with attention that has second derivatives.
"""

import time
from typing import Tuple

import torch
from captum.influence._core.arnoldi_influence_function import ArnoldiInfluenceFunction
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.data import DataLoader

from allennlp_influence.engine import TrainingSet
from opponents.trained_layers import Examples, TrainedLayers, training_batches, training_order

BATCH_SIZE = 32
HESSIAN_BATCHES = 8


def arnoldi(training_set: TrainingSet, queries: Examples) -> Tuple[float, Tensor]:
    """Seconds, and the scores `(queries, examples)`, in training order."""
    batches = [(*own.arguments, own.labels) for own in training_batches(training_set, BATCH_SIZE)]
    few = batches[:: max(1, len(batches) // HESSIAN_BATCHES)][:HESSIAN_BATCHES]  # of all lengths
    model = TrainedLayers(training_set.objective).eval()
    start = time.perf_counter()
    with sdpa_kernel(SDPBackend.MATH):
        function = ArnoldiInfluenceFunction(
            model,
            DataLoader(batches, batch_size=None),
            checkpoint="the model as it is",
            checkpoints_load_func=lambda model, _: 1.0,
            layers=model.linear_layers,
            loss_fn=nn.CrossEntropyLoss(reduction="sum"),
            hessian_dataset=DataLoader(few, batch_size=None),
            sample_wise_grads_per_batch=True,
            projection_dim=25,
            arnoldi_dim=50,
        )
        found = function.influence((*queries.arguments, queries.labels))
    seconds = time.perf_counter() - start
    scores = torch.empty_like(found)
    scores[:, training_order(training_set)] = found
    return seconds, scores.detach()
