"""
The frozen layers at the bottom of an encoder: run once, replayed afterwards.

Layers below the first trained one give the same output at every visit (dropout is off), so their
output can stand for them: 8 of the 12 layers in the paper's models. And where the classifier reads
the first position only, the last layer need not compute the others. Both are exact; the caller of
`cut` checks that on real inputs and keeps the whole model where it does not hold.
"""

from typing import Any, Collection, NamedTuple, Optional, Tuple

import torch
from torch import Tensor, nn

from allennlp_influence.engine.batch import Batch


class FrozenPrefix(NamedTuple):
    """
    Where a Hugging Face encoder with `embeddings` and a list of `layer`s stands in a model, and how
    many of its layers are frozen, the embeddings being frozen too.
    """

    encoder: str
    layers: str
    num_frozen: int

    @classmethod
    def find(cls, model: nn.Module, trained: Collection[str]) -> Optional["FrozenPrefix"]:
        """
        The first encoder in `model` whose embeddings hold no parameter of `trained`; `None` if there
        is none.
        """
        for name, module in model.named_modules():
            for stack in ("encoder", "transformer"):  # BERT, RoBERTa, ELECTRA; DistilBERT
                layers = getattr(getattr(module, stack, None), "layer", None)
                if hasattr(module, "embeddings") and isinstance(layers, nn.ModuleList):
                    path = f"{name}.{stack}.layer" if name else f"{stack}.layer"
                    below = [f"{name}.embeddings".lstrip(".") + "."]
                    below.append(f"{name}.embeddings_project".lstrip(".") + ".")
                    num_frozen = _num_frozen(path, len(layers), trained)
                    below += [f"{path}.{i}." for i in range(num_frozen)]
                    if any(parameter.startswith(tuple(below)) for parameter in trained):
                        return None
                    return cls(name, path, num_frozen)
        return None

    @property
    def constant(self) -> str:
        """The name under which the outputs go into `Batch.constants`."""
        return f"{self.encoder}.embeddings.hidden_states".lstrip(".")

    def outputs(self, model: nn.Module, batch: Batch) -> Tensor:
        """
        The hidden states that leave the last frozen layer of the uncut `model`, `(batch_size, length, dim)`.
        """
        if self.num_frozen > 0:
            last = model.get_submodule(f"{self.layers}.{self.num_frozen - 1}")
        else:
            encoder = model.get_submodule(self.encoder)
            last = getattr(encoder, "embeddings_project", encoder.embeddings)

        def capture(module: nn.Module, args: Any, output: Any) -> None:
            raise _Captured(output[0] if isinstance(output, tuple) else output)

        handle = last.register_forward_hook(capture)
        try:
            with torch.no_grad():
                model(**batch.inputs)
        except _Captured as captured:
            return captured.args[0]
        finally:
            handle.remove()
        raise RuntimeError(f"the model does not run its encoder {self.encoder!r}")

    def cut(self, model: nn.Module, first_position_only: bool) -> None:
        """
        Make `model` start from the hidden states in `Batch.constants`; it is changed in place.
        """
        encoder = model.get_submodule(self.encoder)
        encoder.embeddings = _Replay()
        if hasattr(encoder, "embeddings_project"):
            encoder.embeddings_project = nn.Identity()
        layers = model.get_submodule(self.layers)
        for i in range(self.num_frozen):
            layers[i] = _Skip()
        if first_position_only and self.num_frozen < len(layers):
            layers[-1] = _FirstPosition(layers[-1])


def _num_frozen(path: str, num_layers: int, trained: Collection[str]) -> int:
    for i in range(num_layers):
        if any(name.startswith(f"{path}.{i}.") for name in trained):
            return i
    return num_layers


class _Captured(Exception):
    """Leaves the model's forward pass with the hidden states."""


class _Replay(nn.Module):
    """Stands for the embeddings: gives the stored hidden states at the length of the input."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("hidden_states", torch.empty(0))

    def forward(self, input_ids: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        length = input_ids.shape[1]
        missing = length - self.hidden_states.shape[1]
        if missing > 0:  # stored in a shorter batch; what stands at padding is never read
            return nn.functional.pad(self.hidden_states, (0, 0, 0, missing))
        return self.hidden_states[:, :length]


class _Skip(nn.Module):
    """Stands for a frozen layer."""

    def forward(self, hidden_states: Optional[Tensor] = None, *args: Any, **kwargs: Any) -> Tuple:
        return (kwargs["x"] if hidden_states is None else hidden_states,)  # DistilBERT calls it x


class _FirstPosition(nn.Module):
    """
    A BERT layer that computes position 0 only; keys and values still come from every position, by the
    layer's own cross-attention path.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.attention, self.intermediate, self.output = (
            layer.attention,
            layer.intermediate,
            layer.output,
        )

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Optional[Tensor] = None,
        head_mask: Optional[Tensor] = None,
        *args: Any,
        **kwargs: Any,
    ) -> Tuple[Tensor]:
        if attention_mask is not None:
            attention_mask = attention_mask[:, :, :1]  # (batch_size, 1, 1, length)
        attended = self.attention(
            hidden_states[:, :1],
            head_mask=head_mask,
            encoder_hidden_states=hidden_states,
            encoder_attention_mask=attention_mask,
        )[0]
        return (self.output(self.intermediate(attended), attended),)
