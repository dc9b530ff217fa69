"""
The word-embedding table of a model, and what passes through it.

Gradient × input needs the *output of the word-embedding table only*: before position and segment
embeddings, LayerNorm and any projection (Han, Wallace, Tsvetkov, ACL 2020, section 2.2). AllenNLP's
`find_embedding_layer` knows a fixed list of classes and silently takes the transformer's output for
every other one (DistilBERT, ELECTRA, ...); here the table is asked from the transformer itself.
"""

import random
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Dict, Iterator, List, Optional, Tuple

import numpy
import torch
from allennlp.common.checks import ConfigurationError
from allennlp.modules import TextFieldEmbedder
from allennlp.modules.token_embedders import Embedding
from transformers import PreTrainedModel


def find_word_embeddings(model: torch.nn.Module) -> torch.nn.Module:
    """
    The one module of `model` that turns token ids into word vectors.

    # Parameters

    model : `torch.nn.Module`
        A transformer of Hugging Face anywhere inside it gives its own `get_input_embeddings()`;
        without one, the only `Embedding` inside the `TextFieldEmbedder` (or inside the model, when
        it has no such embedder) is taken.

    # Returns

    `torch.nn.Module`

    # Raises

    `ConfigurationError` if there is no such table or more than one: scores of several tables
    could not be told apart.
    """
    tables: Dict[int, torch.nn.Module] = {}
    inside_transformers = set()
    for module in model.modules():
        if isinstance(module, PreTrainedModel):
            inside_transformers.update(id(part) for part in module.modules())
            table = module.get_input_embeddings()
            tables[id(table)] = table

    embedders = [module for module in model.modules() if isinstance(module, TextFieldEmbedder)]
    for embedder in embedders or [model]:
        for module in embedder.modules():
            if isinstance(module, (torch.nn.Embedding, Embedding)):
                if id(module) not in inside_transformers:
                    tables[id(module)] = module

    if len(tables) != 1:
        names = [name for name, module in model.named_modules() if id(module) in tables]
        found = f"{len(names)} ({', '.join(names)})" if names else "none"
        raise ConfigurationError(
            f"Gradient × input needs a model with exactly one word-embedding table; found {found} "
            f"in {type(model).__name__}. Explain a model with one transformer, or one Embedding, "
            f"as its text field embedder."
        )
    return next(iter(tables.values()))


@dataclass(frozen=True)
class EmbeddedIds:
    """One call of the word-embedding table."""

    ids: torch.Tensor
    """Shape: (batch_size, num_tokens)."""
    vectors: torch.Tensor
    """What the table gave for `ids`, as a leaf of the graph. Shape: (*ids.shape, embedding_dim),
    possibly with the first dimensions folded into one."""


@contextmanager
def recorded_embeddings(table: torch.nn.Module) -> Iterator[List[EmbeddedIds]]:
    """
    Within this context every call of `table` is recorded, and its output is replaced by a leaf of
    the graph, so that gradients reach it whether or not the table itself is trained. Nothing is
    left on the module afterwards.
    """
    calls: List[EmbeddedIds] = []
    handles = []
    projection = getattr(table, "_projection", None)

    if projection is None:

        def record(module, args, kwargs, output):
            vectors = output.detach().requires_grad_()
            calls.append(EmbeddedIds(_first_argument(args, kwargs), vectors))
            return vectors

        handles.append(table.register_forward_hook(record, with_kwargs=True))
    else:
        # AllenNLP's `Embedding(projection_dim=...)` projects inside its own forward: the table's
        # output is what enters that projection.
        pending: List[torch.Tensor] = []

        def remember_ids(module, args, kwargs):
            pending.append(_first_argument(args, kwargs))

        def record_input(module, args):
            vectors = args[0].detach().requires_grad_()
            calls.append(EmbeddedIds(pending.pop(), vectors))
            return (vectors,) + args[1:]

        handles.append(table.register_forward_pre_hook(remember_ids, with_kwargs=True))
        handles.append(projection.register_forward_pre_hook(record_input))

    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def _first_argument(args: Tuple, kwargs: Dict) -> torch.Tensor:
    return args[0] if args else next(iter(kwargs.values()))


@contextmanager
def undisturbed(model: torch.nn.Module) -> Iterator[None]:
    """
    Within this context `model` is in eval mode and gradients are enabled; afterwards, also after
    an error, every module is in the mode it came in and the random number generators of Python,
    numpy and torch stand where they stood.
    """
    modes = [(module, module.training) for module in model.modules()]
    python_state, numpy_state = random.getstate(), numpy.random.get_state()
    device = device_of(model)
    with torch.random.fork_rng(devices=[] if device.type != "cuda" else [device]):
        try:
            model.eval()
            # cuDNN's recurrent layers have no backward pass in eval mode.
            with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
                yield
        finally:
            for module, training in modes:
                module.training = training
            random.setstate(python_state)
            numpy.random.set_state(numpy_state)


def device_of(model: torch.nn.Module) -> torch.device:
    """The device of the model's parameters."""
    parameter: Optional[torch.nn.Parameter] = next(model.parameters(), None)
    return torch.device("cpu") if parameter is None else parameter.device
