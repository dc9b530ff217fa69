"""What results that are kept on disk depend on."""

import hashlib
from typing import Iterable, Mapping, Sequence

import torch
from allennlp.data import Instance
from allennlp.data.fields import TextField
from torch import Tensor, nn

import allennlp_influence


def fingerprint(
    model: nn.Module,
    parameters: Mapping[str, Tensor],
    instances: Iterable[Instance],
    labels: Sequence[int],
) -> str:
    """
    Hex digest of a model with its weights, of its trained parameters, by name, which take the place of its own, of the
    tokens and labels of its training examples in their order, and of the versions of torch and this package.
    """
    digest = hashlib.sha256()

    def add(text: str) -> None:
        digest.update(text.encode())
        digest.update(b"\0")

    add(f"{allennlp_influence.__version__} {torch.__version__} {model}")
    for name, tensor in {**model.state_dict(), **parameters}.items():
        add(f"{name} {tensor.dtype} {tuple(tensor.shape)}")
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    for name in parameters:
        add(name)
    for instance, label in zip(instances, labels):
        for name, field in instance.fields.items():
            if isinstance(field, TextField):
                add(name)
                for token in field.tokens:
                    add(f"{token.text} {token.text_id} {token.type_id}")
        add(str(label))
    return digest.hexdigest()[:32]
