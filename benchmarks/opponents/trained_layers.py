"""The trained layers as a module of their own, for opponents that are given our cached outputs of the frozen ones."""

from typing import List, NamedTuple, Sequence

import torch
from torch import Tensor, nn

from allennlp_influence.engine import Batch, TrainingSet
from allennlp_influence.engine.objective import Objective, read_logits


class TrainedLayers(nn.Module):
    """
    The logits from what the frozen layers put out: the very module that our engine works on, which computes only the
    first position in the last layer.
    """

    def __init__(self, objective: Objective) -> None:
        super().__init__()
        self.model = objective.model
        path, _, self.buffer = objective.prefix.constant.rpartition(".")
        self.replay = self.model.get_submodule(path)
        self.linear_layers: List[str] = [
            f"model.{name}"
            for name, module in self.model.named_modules()
            if isinstance(module, nn.Linear) and f"{name}.weight" in objective.parameters
        ]

    def forward(
        self, hidden_states: Tensor, token_ids: Tensor, mask: Tensor, type_ids: Tensor
    ) -> Tensor:
        setattr(self.replay, self.buffer, hidden_states)
        tokens = {"token_ids": token_ids, "mask": mask, "type_ids": type_ids}
        return read_logits(self.model(tokens={"tokens": tokens}))


class Examples(NamedTuple):
    """Arguments of `TrainedLayers`, padded to the longest of them, and the labels that the loss is taken at."""

    arguments: List[Tensor]
    labels: Tensor

    @classmethod
    def of(cls, batch: Batch) -> "Examples":
        (hidden,) = batch.constants.values()
        tokens = batch.inputs["tokens"]["tokens"]
        arguments = [hidden, tokens["token_ids"], tokens["mask"], tokens["type_ids"]]
        return cls(arguments, batch.labels)


def training_batches(training_set: TrainingSet, batch_size: int) -> List[Examples]:
    """All training examples, shortest first."""
    lengths = training_set.lengths
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    groups = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    return [Examples.of(training_set.batch(group)) for group in groups]


def training_order(training_set: TrainingSet) -> List[int]:
    """Where the examples of `training_batches` stand in the training file."""
    lengths = training_set.lengths
    return sorted(range(len(lengths)), key=lengths.__getitem__)


def query_batch(queries: Sequence[Batch]) -> Examples:
    """The inputs to explain, each with its explained label, as one batch."""
    parts = [Examples.of(batch) for batch in queries]
    columns = [
        nn.utils.rnn.pad_sequence([own[0] for own in column], batch_first=True)
        for column in zip(*(part.arguments for part in parts))
    ]
    return Examples(columns, torch.cat([part.labels for part in parts]))
