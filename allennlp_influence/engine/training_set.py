"""The training examples, in batches that cost only the trained layers."""

import copy
import functools
from typing import Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import torch
from torch import Tensor

from allennlp_influence.engine import ranks
from allennlp_influence.engine.batch import Batch
from allennlp_influence.engine.kept_gradients import KeptGradients
from allennlp_influence.engine.memory_budget import MemoryBudget
from allennlp_influence.engine.objective import Objective
from allennlp_influence.engine.per_example import PerExampleGradients
from allennlp_influence.engine.progress import progress
from allennlp_influence.engine.store import Store, Tensors


_KEPT_TOGETHER = 64  # batches; with 2,048 tokens of 768 numbers 400 MB


class Bucket(NamedTuple):
    """A batch and the positions of its examples in the training order, `(batch_size,)`."""

    positions: Tensor
    batch: Batch


class TrainingSet:
    """
    N examples in training order, in buckets of similar length under a token budget, with the outputs of
    the model's frozen layers computed once.

    # Parameters

    objective : `Objective`, required
    lengths : `Sequence[int]`, required
        Number of tokens of every example, by which they are put together.
    collate : `Callable[[Sequence[int]], Batch]`, required
        Makes a batch of the examples at the given positions.
    token_budget : `int`, optional (default = `2048`)
        Most tokens in a batch, padding included; a longer example is a batch by itself.
    store : `Store`, optional
        Keeps what is computed once for this model and these examples; by default in memory only.
    memory_budget : `MemoryBudget`, optional
        Of what is computed with them.
    """

    def __init__(
        self,
        objective: Objective,
        lengths: Sequence[int],
        collate: Callable[[Sequence[int]], Batch],
        token_budget: int = 2048,
        store: Optional[Store] = None,
        memory_budget: MemoryBudget = MemoryBudget(),
    ) -> None:
        self.store = store or Store()
        self.memory_budget = memory_budget
        self.objective = objective
        self.lengths = list(lengths)
        self.token_budget = token_budget
        self.kept_gradients: Optional[KeptGradients] = None
        self._collate = collate
        self._place: List[Tuple[int, int]] = [(0, 0)] * len(lengths)
        batches = []
        for positions in bucket(lengths, token_budget):
            for row, position in enumerate(positions):
                self._place[position] = (len(batches), row)
            batches.append((torch.tensor(positions), collate(positions)))

        constants: List[Dict[str, Tensor]] = [{} for _ in batches]
        for key, tensor in self._frozen_outputs([batch for _, batch in batches]):
            number, name = key.split("/", 1)
            constants[int(number)][name] = tensor.to(objective.device)
        self.buckets = [
            Bucket(positions, batch._replace(constants=own))
            for (positions, batch), own in zip(batches, constants)
        ]

    def __len__(self) -> int:
        return len(self.lengths)

    @functools.cached_property
    def gradients(self) -> PerExampleGradients:
        """The gradients of single examples."""
        order = sorted(range(len(self)), key=self.lengths.__getitem__)
        example = self._collate([*order[:2], *order[2:][-2:]])
        return PerExampleGradients(self.objective, self.objective.prepare(example))

    def keep_gradients(self, most_gigabytes: float) -> Optional[KeptGradients]:
        """
        Keeps the loss gradients of all examples as their factors, so that scores take no forward and backward passes any
        more; unless they take more than so many GB, or can't be read off the model's modules.
        """
        if self.kept_gradients is None and self.gradients.by_module:
            kept = KeptGradients(
                [batch for _, batch in self.buckets],
                lambda batch: [next(self.gradients.of_losses(batch))[1]],
                self.store.get,
                f"loss-gradients-{self.token_budget}",
            )
            if kept.gigabytes <= most_gigabytes:
                kept.compute()
                self.kept_gradients = kept
        return self.kept_gradients

    def at(self, parameters: Mapping[str, Tensor], store: Store) -> "TrainingSet":
        """The same examples at other values of the trained parameters; `store` is for what depends on these."""
        other = copy.copy(self)
        other.objective, other.store = self.objective.at(parameters), store
        other.kept_gradients = None
        vars(other).pop("gradients", None)
        return other

    def relabelled(self, labels: Sequence[int]) -> "TrainingSet":
        """The same texts with other class indices, `(N,)`."""
        other = copy.copy(self)

        def replaced(batch: Batch, positions: Sequence[int]) -> Batch:
            own = [labels[int(position)] for position in positions]
            return batch._replace(labels=torch.tensor(own, device=batch.labels.device))

        other.store, other.kept_gradients = Store(), None
        other._collate = lambda positions: replaced(self._collate(positions), positions)
        other.buckets = [
            Bucket(positions, replaced(batch, positions)) for positions, batch in self.buckets
        ]
        vars(other).pop("gradients", None)
        return other

    def batch(self, positions: Sequence[int]) -> Batch:
        """A batch of any examples, without running the frozen layers again."""
        batch = self._collate(positions)
        constants = {}
        places = [self.buckets[self._place[position][0]].batch for position in positions]
        for name in places[0].constants if all(place.constants for place in places) else ():
            rows = [self._row(name, position) for position in positions]
            constants[name] = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        return batch._replace(constants=constants)

    def buckets_of(self, positions: Sequence[int]) -> List[Bucket]:
        """The examples at `positions` in buckets of similar length; without a copy if they are all."""
        if len(positions) == len(self):
            return self.buckets
        lengths = [self.lengths[position] for position in positions]
        groups = ([positions[i] for i in group] for group in bucket(lengths, self.token_budget))
        return [Bucket(torch.tensor(group), self.batch(group)) for group in groups]

    def log_probabilities(self) -> Tensor:
        """Of the classes for every training example `(N, num_classes)`, in one pass."""
        result = torch.empty(len(self), self.objective.num_classes)
        with torch.no_grad():
            for positions, batch in self.buckets:
                logits = self.objective.logits(self.objective.parameters, batch)
                result[positions] = logits.log_softmax(-1).float().cpu()
        return result

    def _frozen_outputs(self, batches: List[Batch]) -> Iterator[Tuple[str, Tensor]]:
        """
        The outputs of the frozen layers by "number of the batch/name", kept some batches at a time: no more than those
        are in memory before they are on disk, and a run that was stopped goes on after them.
        """
        for first in range(0, len(batches), _KEPT_TOGETHER):
            some = range(len(batches))[first : first + _KEPT_TOGETHER]

            def compute() -> Tensors:
                kept = {}
                what = f"frozen layers, batches {first} to {some.stop} of {len(batches)}"
                for number in progress(ranks.share(some), what):
                    for name, tensor in self.objective.prepare(batches[number]).constants.items():
                        kept[f"{number}/{name}"] = tensor
                return ranks.merged(kept)

            yield from self.store.get(f"frozen-layers-{self.token_budget}-{first}", compute).items()

    def _row(self, name: str, position: int) -> Tensor:
        bucket_index, row = self._place[position]
        return self.buckets[bucket_index].batch.constants[name][row]


def bucket(lengths: Sequence[int], token_budget: int) -> Iterator[List[int]]:
    """
    Positions in groups of similar length: shortest first, as many as the budget allows once they are
    padded to the longest of the group.
    """
    group: List[int] = []
    for position in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        if group and lengths[position] * (len(group) + 1) > token_budget:
            yield group
            group = []
        group.append(position)
    if group:
        yield group
