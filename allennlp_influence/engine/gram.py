"""The Gram matrix of the rows of Gauss-Newton's square root."""

from typing import Iterator, List, NamedTuple, Tuple

import torch
from torch import Tensor

from allennlp_influence.engine import ranks
from allennlp_influence.engine.batch import Batch
from allennlp_influence.engine.curvature import Curvature
from allennlp_influence.engine.per_example import GradientsByName
from allennlp_influence.engine.progress import progress


class _Piece(NamedTuple):
    """The rows b_ir of the examples `begin` to `end`, as factors, one dictionary for each r."""

    begin: int
    end: int
    rows: List[GradientsByName]

    @property
    def nbytes(self) -> int:
        return sum(own.nbytes for gradients in self.rows for own in gradients.values())


def gram_matrix(curvature: Curvature) -> Tensor:
    """
    K `(n, num_rows, n, num_rows)` with K[i, r, j, s] = ⟨b_ir, b_js⟩, see `PerExampleGradients.of_curvature`, in the
    order of `curvature.buckets`.

    Inner products are taken parameter by parameter from the factors of the gradients. These are held for a panel of
    examples at a time, as many as the memory budget allows, and made again for every example that comes after it: beside K
    itself memory does not grow with n. Each panel's strip of the upper triangle is kept when it is done, so that a
    run that was stopped goes on there.
    """
    panels = _panels(curvature)
    begin, strips = 0, []
    for first, last in panels:
        strip = curvature.kept(
            f"gram-{first}-{last}", lambda: {"strip": _strip(curvature, first, last)}
        )["strip"]
        strips.append((begin, strip))
        begin += len(strip)
    num_rows = strips[0][1].shape[1]
    result = strips[0][1].new_empty(begin, num_rows, begin, num_rows)
    for begin, strip in strips:
        end = begin + len(strip)
        result[begin:end, :, begin:] = strip
        result[end:, :, begin:end] = strip[:, :, end - begin :].permute(2, 3, 0, 1)
    return result


def products_with_losses(curvature: Curvature) -> Tensor:
    """
    ⟨b_ir, ∇L_j⟩ `(n·num_rows, N)` of the rows of the curvature's n examples, as those of `gram_matrix`, with the loss
    gradients of all training examples, in training order; by panels like it, each a pass over the training examples.
    """
    strips = [
        curvature.kept(
            f"losses-{first}-{last}", lambda: {"strip": _strip_of_losses(curvature, first, last)}
        )["strip"]
        for first, last in _panels(curvature)
    ]
    return torch.cat(strips)


def seconds_of_gram_matrix(curvature: Curvature) -> float:
    """About how long `gram_matrix` takes, from one batch of middling length, measured."""
    _, batch = curvature.buckets[len(curvature.buckets) // 2]
    (piece, *_) = _pieces(curvature, batch, 0)
    start = curvature.objective.clock()
    _block(piece, piece)
    pairs = (len(curvature.positions) / (piece.end - piece.begin)) ** 2 / 2
    return (curvature.objective.clock() - start) * pairs


def _panels(curvature: Curvature) -> List[Tuple[int, int]]:
    """First and last (one past) bucket of each panel."""
    widest = curvature.buckets[-1].batch
    nbytes = sum(piece.nbytes for piece in _pieces(curvature, widest, 0))
    budget = curvature.training_set.memory_budget.factors * 1e9
    at_once = max(1, int(budget / nbytes))  # the longest texts have the largest factors
    number = len(curvature.buckets)
    return [(first, min(first + at_once, number)) for first in range(0, number, at_once)]


def _strip(curvature: Curvature, first: int, last: int) -> Tensor:
    """K between a panel and the examples from its first one on."""
    buckets = curvature.buckets
    sizes = [len(positions) for positions, _ in buckets[first:]]
    height, width = sum(sizes[: last - first]), sum(sizes)
    held: List[_Piece] = []
    end = 0
    num_rows = curvature.objective.num_classes - 1
    like = next(iter(curvature.objective.parameters.values()))
    strip = like.new_zeros(height, num_rows, width, num_rows)
    numbers = range(first, len(buckets))
    own = set(ranks.share(numbers))
    description = f"Gram matrix, buckets {first} to {last}"
    for number in progress(numbers, description):
        positions, batch = buckets[number]
        if number >= last and number not in own:
            end += len(positions)
            continue
        pieces = list(_pieces(curvature, batch, end))
        end += len(positions)
        if number < last:
            held += pieces
        for right in pieces if number in own else ():
            for left in held:
                if left.begin > right.begin:
                    continue
                block = _block(left, right)
                strip[left.begin : left.end, :, right.begin : right.end] = block
                if right.end <= height:
                    strip[right.begin : right.end, :, left.begin : left.end] = block.permute(
                        2, 3, 0, 1
                    )
    return ranks.add_up(strip)


def _strip_of_losses(curvature: Curvature, first: int, last: int) -> Tensor:
    training_set = curvature.training_set
    held: List[_Piece] = []
    height = 0
    for positions, batch in curvature.buckets[first:last]:
        held += _pieces(curvature, batch, height)
        height += len(positions)
    num_rows = curvature.objective.num_classes - 1
    like = next(iter(curvature.objective.parameters.values()))
    strip = like.new_zeros(height, num_rows, len(training_set)).cpu()
    buckets = ranks.share(training_set.buckets)
    description = f"products with training gradients, buckets {first} to {last}"
    for positions, batch in progress(buckets, description):
        for part, own in training_set.gradients.of_losses(batch):
            for piece in held:
                block = torch.stack([_inner(row, own) for row in piece.rows], 1)
                strip[piece.begin : piece.end, :, positions[part]] = block.cpu()
    return ranks.add_up(strip.flatten(0, 1))


def _pieces(curvature: Curvature, batch: Batch, begin: int) -> Iterator[_Piece]:
    size = len(batch.labels)
    for part, rows in curvature.training_set.gradients.of_curvature(batch):
        start, stop, _ = part.indices(size)
        yield _Piece(begin + start, begin + stop, rows)


def _block(left: _Piece, right: _Piece) -> Tensor:
    """⟨b_ir, b_js⟩ `(examples, num_rows, examples', num_rows)`."""
    return torch.stack(
        [torch.stack([_inner(a, b) for b in right.rows], -1) for a in left.rows], 1
    )


def _inner(left: GradientsByName, right: GradientsByName) -> Tensor:
    return torch.stack([own.gram(right[name]) for name, own in left.items()]).sum(0)
