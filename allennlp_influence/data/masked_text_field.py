"""A text some of whose tokens a transformer does not see."""

from typing import Dict, List, Sequence

import torch
from allennlp.data import TextFieldTensors
from allennlp.data.fields import TextField


class MaskedTextField(TextField):
    """
    A text field some of whose tokens a transformer does not attend to: their attention mask is 0. The other tokens
    keep their places.
    """

    def __init__(self, field: TextField, positions: Sequence[int]) -> None:
        super().__init__(field.tokens, field.token_indexers)
        self._positions = list(positions)

    def as_tensor(self, padding_lengths: Dict[str, int]) -> TextFieldTensors:
        tensors = super().as_tensor(padding_lengths)
        for indexed in tensors.values():
            for name in {"mask", "segment_concat_mask"} & indexed.keys():
                indexed[name] = _without(indexed[name], self._positions)
        return tensors


def _without(mask: torch.Tensor, positions: List[int]) -> torch.Tensor:
    mask = mask.clone()
    mask[positions] = False
    return mask
