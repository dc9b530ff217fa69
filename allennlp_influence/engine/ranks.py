"""
Several processes that share the work of one run, as `torchrun` starts them: each goes through its share of the
training examples, and what they found is added up. Without `torchrun` there is one, and all of this does nothing.
"""

import atexit
import functools
import os
from typing import Any, Dict, List, Sequence, TypeVar

import torch
import torch.distributed as dist
from allennlp.common.checks import ConfigurationError
from torch import Tensor
from tqdm import tqdm

T = TypeVar("T")


class RankLostError(ConfigurationError):
    """Another process of the run has ended before its time."""


def start() -> None:
    """Meet the other processes, if `torchrun` has started this one."""
    if "TORCHELASTIC_RUN_ID" in os.environ and not dist.is_initialized():
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
        # gloo's threads must not outlive the interpreter, which would abort the process after its work is done
        atexit.register(dist.destroy_process_group)
        if rank() > 0:  # one progress bar is enough
            tqdm.__init__ = functools.partialmethod(tqdm.__init__, disable=True)


def rank() -> int:
    """The number of this process, from 0: the one that writes and prints."""
    return dist.get_rank() if dist.is_initialized() else 0


def share(items: Sequence[T]) -> List[T]:
    """Every so-manieth of the items, this process's part of the work on them."""
    return list(items[rank() :: dist.get_world_size()] if dist.is_initialized() else items)


def add_up(tensor: Tensor) -> Tensor:
    """
    The sum of the processes' tensors, in place.

    # Raises

    `RankLostError` if a process has ended.
    """
    if dist.is_initialized():
        _together(lambda: dist.all_reduce(tensor))
    return tensor


def merged(parts: Dict[str, Tensor]) -> Dict[str, Tensor]:
    """The processes' entries together."""
    if not dist.is_initialized():
        return parts
    gathered: List[Any] = [None] * dist.get_world_size()
    _together(lambda: dist.all_gather_object(gathered, parts))
    return {name: tensor for own in gathered for name, tensor in own.items()}


def said_by_the_first(value: T) -> T:
    """What process 0 has for `value`."""
    if not dist.is_initialized():
        return value
    box = [value]
    _together(lambda: dist.broadcast_object_list(box))
    return box[0]


def of_the_first(tensor: Tensor) -> Tensor:
    """
    The tensor of process 0, its shape included. Rounding differs between processes (with where tensors lie in memory,
    already), and with it whatever hangs on a comparison, or on the sign of an eigenvector.
    """
    if not dist.is_initialized():
        return tensor
    shape = said_by_the_first(tensor.shape)
    received = tensor.contiguous() if rank() == 0 else tensor.new_empty(shape)
    _together(lambda: dist.broadcast(received, 0))
    return received


def all_agree(condition: bool) -> bool:
    """Whether the condition holds in every process."""
    return int(add_up(torch.tensor(int(not condition)))) == 0


def _together(collective) -> None:
    try:
        collective()
    except RuntimeError as error:
        raise RankLostError(
            "another process of this run has ended; start the run again with the same command, it goes on where it "
            f"was ({str(error).splitlines()[0]})"
        ) from error
