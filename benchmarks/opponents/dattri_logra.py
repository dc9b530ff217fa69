"""
LoGra (Choe et al. 2024) by dattri (github.com/TRAIS-Lab/dattri): gradients of linear layers, projected on both sides at
random, with the inverse of the empirical Fisher matrix of each layer.

On the same layers, cached outputs of the frozen ones and batches as kronfluence is given; 32 × 32 dimensions for a
layer (its default, 64 × 64, is more than there are examples). Its damping is in units of the mean eigenvalue of a
layer. Its influence functions, TRAK and TracIn call `torch.func.vmap`, which neither AllenNLP's embedder nor
transformers' attention masks take.
"""

import tempfile
import time
from types import SimpleNamespace
from typing import Dict, Optional, Sequence, Tuple

import torch
from dattri.algorithm import LoGraAttributor
from dattri.task import AttributionTask
from torch import Tensor, nn
from torch.utils.data import DataLoader

from allennlp_influence.engine import TrainingSet
from opponents.trained_layers import Examples, TrainedLayers, training_batches, training_order

BATCH_SIZE = 32
DIMENSIONS = 1024


def logra(
    training_set: TrainingSet, queries: Examples, dampings: Sequence[Optional[float]]
) -> Tuple[float, Tensor]:
    """
    Seconds, and the scores for every damping `(dampings, queries, examples)`, in training order. `None` is its own
    default, 1e-5.
    """
    model = _WithLoss(training_set.objective).eval()
    train = _loader(training_batches(training_set, BATCH_SIZE))
    test = _loader([queries])
    order = training_order(training_set)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        attributor = LoGraAttributor(
            AttributionTask(
                lambda model, batch, device: model(**batch).loss,
                model,
                {},
                checkpoints_load_func=lambda model, _: model,
            ),
            layer_names=[f"layers.{name}" for name in model.layers.linear_layers],
            proj_dim=DIMENSIONS,
            cache_dir=folder,
        )
        attributor.cache(train)
        scores = []
        for damping in dampings:
            attributor.compute_preconditioners(damping)
            attributor.compute_ifvp()
            found = attributor.attribute(train, test).T
            scores.append(torch.empty_like(found))
            scores[-1][:, order] = found
    return time.perf_counter() - start, torch.stack(scores)


class _WithLoss(nn.Module):
    """The layers as dattri expects them: the summed loss is an attribute of what they return."""

    def __init__(self, objective) -> None:
        super().__init__()
        self.layers = TrainedLayers(objective)

    def forward(self, labels: Tensor, **arguments: Tensor) -> SimpleNamespace:
        logits = self.layers(**arguments)
        return SimpleNamespace(loss=nn.functional.cross_entropy(logits, labels, reduction="sum"))


def _loader(batches: Sequence[Examples]) -> DataLoader:
    """Batches that are made already, all but the last of the same size."""
    size = len(batches[0].labels)

    def batch(places: Sequence[int]) -> Dict[str, Tensor]:
        own = batches[places[0] // size]
        names = ("hidden_states", "token_ids", "mask", "type_ids")
        return {**dict(zip(names, own.arguments)), "labels": own.labels}

    number = sum(len(own.labels) for own in batches)
    return DataLoader(range(number), batch_size=size, collate_fn=batch)
