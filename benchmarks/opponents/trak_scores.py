"""
TRAK (github.com/MadryLab/trak) on the layers that training updated: gradients of the margin, projected at random, with the
inverse of their Gram matrix.

On the same layers, cached outputs of the frozen ones and batches as kronfluence is given. Its gradients come one by one: its
vectorised way does not take this model; its projector is the one for CPUs, in float32, with 512 dimensions.
"""

import logging
import tempfile
import time
from typing import Tuple

import torch
from torch import Tensor, nn
from trak import TRAKer
from trak.gradient_computers import IterativeGradientComputer
from trak.modelout_functions import IterativeImageClassificationModelOutput
from trak.projectors import BasicProjector, ProjectionType

from allennlp_influence.engine import Objective, TrainingSet
from opponents.trained_layers import Examples, TrainedLayers, training_batches, training_order

BATCH_SIZE = 256  # the random matrix is drawn anew for every batch
DIMENSIONS = 512


def trak(training_set: TrainingSet, queries: Examples) -> Tuple[float, Tensor]:
    """Seconds, and the scores `(queries, examples)`, in training order: positive where an example supports the label."""
    model = _TrainedParameters(training_set.objective)
    order = torch.tensor(training_order(training_set))
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        traker = _traker(model, len(order), folder)
        done = 0
        for batch in training_batches(training_set, BATCH_SIZE):
            size = len(batch.labels)
            traker.featurize((*batch.arguments, batch.labels), inds=order[done : done + size].numpy())
            done += size
        traker.finalize_features()
        traker = _traker(model, len(order), folder)  # the first one's projector is spent
        number = len(queries.labels)
        traker.start_scoring_checkpoint("queries", {}, 0, num_targets=number)
        traker.score((*queries.arguments, queries.labels), num_samples=number)
        scores = torch.tensor(traker.finalize_scores("queries"))
    return time.perf_counter() - start, scores.T.contiguous()


def _traker(model: nn.Module, size: int, folder: str) -> TRAKer:
    traker = TRAKer(
        model,
        _Margin(),
        size,
        save_dir=folder,
        device="cpu",
        gradient_computer=IterativeGradientComputer,
        projector=BasicProjector(
            sum(p.numel() for p in model.parameters()),
            DIMENSIONS,
            seed=0,
            proj_type=ProjectionType.rademacher,
            device="cpu",
            block_size=128,
        ),
        proj_dim=DIMENSIONS,
        logging_level=logging.WARNING,
        use_half_precision=False,
    )
    traker.load_checkpoint({}, model_id=0)
    return traker


class _TrainedParameters(nn.Module):
    """The layers with no other parameters than those that are trained: TRAK takes all that a module has."""

    def __init__(self, objective: Objective) -> None:
        super().__init__()
        self.__dict__["layers"] = TrainedLayers(objective)  # not a submodule
        own = dict(objective.model.named_parameters())
        self.trained = nn.ParameterList([own[name] for name in objective.parameters])

    def forward(self, *arguments: Tensor) -> Tensor:
        return self.__dict__["layers"](*arguments)

    def load_state_dict(self, *_, **__) -> None:
        """The weights are those that it has."""


class _Margin(IterativeImageClassificationModelOutput):
    """The margin of a text's label."""

    @staticmethod
    def get_output(model, weights, buffers, *batch: Tensor) -> Tensor:
        *arguments, labels = batch
        logits = model(*arguments)
        others = logits.scatter(1, labels[:, None], -torch.inf)
        return logits.gather(1, labels[:, None])[:, 0] - others.logsumexp(-1)

    def get_out_to_loss_grad(self, model, weights, buffers, batch) -> Tensor:
        *arguments, labels = batch
        with torch.no_grad():
            p = model(*arguments).softmax(-1).gather(1, labels[:, None])
        return (1 - p).clone()
