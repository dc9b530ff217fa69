"""The gradients of single examples, as the factors that they are made of, kept for many visits."""

import functools
from typing import Callable, Dict, Iterator, List, Sequence, Set, Tuple

from torch import Tensor

from allennlp_influence.engine.batch import Batch
from allennlp_influence.engine.gradients import EmbeddingRows, TokenSums, Vectors
from allennlp_influence.engine.per_example import GradientsByName
from allennlp_influence.engine.progress import progress
from allennlp_influence.engine.store import Tensors

# By name what a function computes, unless it is kept already; see `Store.get`.
Keep = Callable[[str, Callable[[], Tensors]], Tensors]
# What `PerExampleGradients.of_losses` and `of_curvature` give of a batch, all examples at once: one or several rows.
Rows = Callable[[Batch], List[GradientsByName]]


class KeptGradients:
    """
    Gradients of the examples of batches, batch by batch: a forward and a backward pass each the first time, read from
    disk (or memory, see `Store`) after that.

    # Parameters

    batches : `Sequence[Batch]`, required
    rows : `Rows`, required
    keep : `Keep`, required
    name : `str`, required
        Under which they are kept.
    """

    def __init__(self, batches: Sequence[Batch], rows: Rows, keep: Keep, name: str) -> None:
        self._batches, self._rows, self._keep, self._name = batches, rows, keep, name

    @functools.cached_property
    def gigabytes(self) -> float:
        """About what they take, if all batches have as many tokens as the one in the middle."""
        middle = packed(self._rows(self._batches[len(self._batches) // 2]))
        return sum(tensor.nbytes for tensor in middle.values()) * len(self._batches) / 1e9

    def compute(self) -> None:
        """All of them now, for the first visit not to wait."""
        for number in progress(range(len(self._batches)), "keeping gradients"):
            self[number]

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, number: int) -> List[GradientsByName]:
        batch = self._batches[number]
        tensors = self._keep(f"{self._name}-{number}", lambda: packed(self._rows(batch)))
        return unpacked({key: tensor.to(batch.labels.device) for key, tensor in tensors.items()})


def packed(rows: Sequence[GradientsByName]) -> Tensors:
    """
    Tensors by the kind of what they hold, the number of the row and the names of the parameters that it belongs to: what
    enters a layer is there once, however many layers it enters and rows there are.
    """
    inputs: Dict[Tuple[int, ...], Tuple[Tensor, List[str]]] = {}
    tensors: Tensors = {}
    for row, gradients in enumerate(rows):
        for name, own in gradients.items():
            if isinstance(own, Vectors):
                tensors[f"values {row} {name}"] = own.values
                continue
            tensors[f"delta {row} {name}"] = own.delta
            entering = own.a if isinstance(own, TokenSums) else own.ids
            place = (entering.data_ptr(), *entering.shape, *entering.stride())
            names = inputs.setdefault(place, (entering, []))[1]
            if name not in names:
                names.append(name)
    for entering, names in inputs.values():
        kind = "a" if entering.is_floating_point() else "ids"
        tensors[f"{kind} 0 {' '.join(names)}"] = entering
    return _apart(tensors)


def _apart(tensors: Tensors) -> Tensors:
    """The same with a copy of each that shares its memory with another: a file can't hold such."""
    seen: Set[int] = set()
    for key, tensor in tensors.items():
        place = tensor.untyped_storage().data_ptr()
        if place in seen:
            tensors[key] = tensor.clone()
        seen.add(place)
    return tensors


def unpacked(tensors: Tensors) -> List[GradientsByName]:
    """What was `packed`."""
    inputs: Dict[str, Tensor] = {}
    others: List[Tuple[str, int, str, Tensor]] = []
    for kind, row, names, tensor in _entries(tensors):
        if kind in ("a", "ids"):
            inputs.update(dict.fromkeys(names.split(" "), tensor))
        else:
            others.append((kind, row, names, tensor))
    rows: List[GradientsByName] = [{} for _ in range(1 + max(row for _, row, _, _ in others))]
    for kind, row, name, tensor in others:
        if kind == "values":
            rows[row][name] = Vectors(tensor)
        elif inputs[name].is_floating_point():
            rows[row][name] = TokenSums(inputs[name], tensor)
        else:
            rows[row][name] = EmbeddingRows(inputs[name], tensor)
    return rows


def _entries(tensors: Tensors) -> Iterator[Tuple[str, int, str, Tensor]]:
    for key, tensor in tensors.items():
        kind, row, names = key.split(" ", 2)
        yield kind, int(row), names, tensor
