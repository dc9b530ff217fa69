"""How precisely matrices of float32 are multiplied."""

from contextlib import contextmanager
from typing import Iterator

import torch

FULL = "highest"
PRECISIONS = (FULL, "high", "medium")


@contextmanager
def matmul_precision(precision: str) -> Iterator[None]:
    """
    Products of float32 matrices in it are taken as `torch.set_float32_matmul_precision` says: `highest`, in float32;
    `high`, in TF32 where the device has it; `medium`, in bfloat16 where it has that. Sums are in float32 in all of
    them. Systems, eigenproblems and damping are in float64, which this does not touch.
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
