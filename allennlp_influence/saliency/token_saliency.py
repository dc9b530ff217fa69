"""
Signed gradient × input of every token, for a batch of inputs at once
(Han, Wallace, Tsvetkov, ACL 2020, section 2.2; after Simonyan et al. 2014 and Wallace et al. 2019).
"""

import inspect
from math import fsum, isfinite
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Sequence, Tuple

import torch
from allennlp.common.checks import ConfigurationError
from allennlp.common.util import lazy_groups_of
from allennlp.data import Batch, Instance
from allennlp.data.fields import LabelField, TextField
from allennlp.models import Model
from allennlp.nn.util import get_text_field_mask, move_to_device
from torch import Tensor

from allennlp_influence.data.example import example_of
from allennlp_influence.engine.objective import read_logits
from allennlp_influence.saliency.embeddings import (
    EmbeddedIds,
    device_of,
    find_word_embeddings,
    recorded_embeddings,
    undisturbed,
)
from allennlp_influence.saliency.token_scores import FieldTokens, TokenScores, token_scores


@dataclass(frozen=True)
class Saliency(TokenScores):
    """
    How much each token of one input speaks for the explained label. Positive: the token supports it. The absolute
    values of all tokens sum to 1, or are all zero (see `norm`). Text fields are in the order in which the model
    embedded them.

    # Parameters

    tokens, scores, fields, words
        See `TokenScores`.
    label : `str`
        The explained label.
    predicted : `str`
    labels, probabilities : `Tuple[str, ...]`, `Tuple[float, ...]`
        All labels and their probabilities, aligned.
    loss : `float`
        Cross-entropy at `label`.
    norm : `float`
        Σ|∂L/∂e · e|, by which the scores were divided. It is tiny where the model is certain: the
        scores then share out next to nothing. Where it is exactly 0 all scores are 0.
    """

    label: str
    predicted: str
    labels: Tuple[str, ...]
    probabilities: Tuple[float, ...]
    loss: float
    norm: float

    @property
    def probability(self) -> float:
        """The probability of the explained label."""
        return self.probabilities[self.labels.index(self.label)]


def token_saliency(
    model: Model,
    instances: Sequence[Instance],
    labels: Optional[Sequence[Optional[str]]] = None,
    batch_size: int = 32,
) -> List[Saliency]:
    """
    With e_p the output of the word-embedding table at position p and L the cross-entropy at the
    explained label,

        s_p = −( ∂L/∂e_p · e_p ) / Σ_q | ∂L/∂e_q · e_q |

    where q runs over all real tokens of the input, `[CLS]` and `[SEP]` included. To first order
    −∂L/∂e_p · e_p is what the log-probability of the label would lose if e_p were set to zero.

    The model is in eval mode for it and is left as it came: modes, `requires_grad`, gradients,
    hooks and random number generators; the table may be frozen. An input's scores do not depend on
    its batch.

    # Parameters

    model : `Model`
        A classifier whose output has `logits` or `probs` of shape (batch_size, num_labels).
    instances : `Sequence[Instance]`
        With token indexers applied, as a reader's `read` yields them.
    labels : `Sequence[Optional[str]]`, optional (default = `None`)
        The label to explain for each instance; `None` is the predicted one.
    batch_size : `int`, optional (default = `32`)

    # Returns

    `List[Saliency]`, one per instance.

    # Raises

    `ConfigurationError` for a label the model does not have, for a model that is no classifier
    over the tokens of text fields, and for numbers that are not finite.
    """
    labels = [None] * len(instances) if labels is None else labels
    if len(labels) != len(instances):
        raise ConfigurationError(f"{len(labels)} labels were given for {len(instances)} instances.")
    table = find_word_embeddings(model)
    saliencies: List[Saliency] = []
    with undisturbed(model), recorded_embeddings(table) as calls:
        for group in lazy_groups_of(zip(instances, labels), batch_size):
            calls.clear()
            group_instances, group_labels = zip(*group)
            saliencies += _saliency_of_batch(model, group_instances, group_labels, calls)
    return saliencies


@dataclass
class _EmbeddedField:
    """A text field of a batch, and what gradient × input makes of its tokens."""

    name: str
    indexer: str
    mask: Tensor  # Shape: (batch_size, num_tokens)
    products: Tensor  # Shape: (batch_size, num_tokens)


def _saliency_of_batch(
    model: Model,
    instances: Sequence[Instance],
    labels: Sequence[Optional[str]],
    calls: List[EmbeddedIds],
) -> List[Saliency]:
    batch = Batch([_without_label(model, instance) for instance in instances])
    batch.index_instances(model.vocab)
    tensors = move_to_device(batch.as_tensor_dict(), device_of(model))
    logits = read_logits(model(**tensors))
    names = _label_names(model, instances, logits.size(-1))
    log_probabilities = logits.log_softmax(-1)  # Shape: (batch_size, num_labels)
    predicted = logits.argmax(-1).tolist()
    explained = [
        prediction if label is None else _index_of_label(label, names)
        for label, prediction in zip(labels, predicted)
    ]
    losses = -log_probabilities[range(len(instances)), explained]  # Shape: (batch_size,)
    if not calls or not losses.requires_grad:
        raise ConfigurationError(
            f"The logits of {type(model).__name__} do not depend on its word-embedding table: "
            f"there is no gradient to explain them by."
        )
    # Inputs of a batch do not touch each other: the gradient of the sum is each one's own.
    gradients = torch.autograd.grad(losses.sum(), [call.vectors for call in calls])
    fields = _embedded_fields(batch, tensors, calls, gradients)

    saliencies = []
    for row, instance in enumerate(instances):
        loss = losses[row].item()
        norm = fsum(field.products[row][field.mask[row]].abs().sum().item() for field in fields)
        if not (isfinite(norm) and isfinite(loss)):
            raise ConfigurationError(
                f"{type(model).__name__} gives a loss or gradient that is not finite for the input "
                f"{example_of(instance, row).text}."
            )
        scores = token_scores([_explain_field(instance, row, field, norm) for field in fields])
        saliencies.append(
            Saliency(
                **vars(scores),
                label=names[explained[row]],
                predicted=names[predicted[row]],
                labels=tuple(names),
                probabilities=tuple(log_probabilities[row].exp().tolist()),
                loss=loss,
                norm=norm,
            )
        )
    return saliencies


def _embedded_fields(
    batch: Batch, tensors: Dict[str, Any], calls: List[EmbeddedIds], gradients: Sequence[Tensor]
) -> List[_EmbeddedField]:
    """
    Finds the text field whose ids each call of the table embedded; a field that was embedded twice
    counts with both.
    """
    candidates = [
        (name, indexer, indexed)
        for name, field in batch.instances[0].fields.items()
        if isinstance(field, TextField)
        for indexer, indexed in tensors[name].items()
    ]
    found: Dict[str, _EmbeddedField] = {}
    for call, gradient in zip(calls, gradients):
        # Two fields with the same text: a field that was not seen yet comes first.
        for name, indexer, indexed in sorted(candidates, key=lambda c: c[0] in found):
            if any(_same_ids(call.ids, indexed.get(key)) for key in ("token_ids", "tokens")):
                break
        else:
            raise ConfigurationError(
                f"The word-embedding table was given ids of shape {tuple(call.ids.shape)} that "
                f"are those of no text field of the input. Texts longer than the embedder's "
                f"`max_length`, which AllenNLP folds into several segments, and lists of texts "
                f"are not supported: let the tokenizer cut texts to `max_length`."
            )
        # e·∂L/∂e, in double precision so that small terms are not lost in the sums.
        products = (call.vectors.detach().double() * gradient.double()).sum(-1).view_as(call.ids)
        if name in found:
            found[name].products += products
        else:
            mask = indexed.get("wordpiece_mask", indexed.get("mask"))
            if mask is None:
                mask = get_text_field_mask({indexer: indexed})
            found[name] = _EmbeddedField(name, indexer, mask, products)
    return list(found.values())


def _same_ids(ids: Tensor, indexed: Optional[Tensor]) -> bool:
    return indexed is not None and indexed.shape == ids.shape and torch.equal(indexed, ids)


def _explain_field(
    instance: Instance, row: int, field: _EmbeddedField, norm: float
) -> Tuple[FieldTokens, List[float]]:
    products = field.products[row][field.mask[row]].tolist()
    # "+ 0.0" makes of -0.0 a plain zero.
    scores = [-product / norm + 0.0 if norm > 0 else 0.0 for product in products]
    return FieldTokens(instance, field.name, field.indexer), scores


def _label_names(model: Model, instances: Sequence[Instance], num_labels: int) -> List[str]:
    """
    The labels of a classifier, in the order of its logits; a number where its vocabulary has no
    name.
    """
    fields = [field for instance in instances for field in instance.fields.values()]
    namespaces = [field._label_namespace for field in fields if isinstance(field, LabelField)]
    namespace = getattr(model, "_label_namespace", None) or (namespaces + ["labels"])[0]
    vocabulary = model.vocab.get_index_to_token_vocabulary(namespace)
    return [vocabulary.get(index, str(index)) for index in range(num_labels)]


def _index_of_label(label: str, names: List[str]) -> int:
    if label not in names:
        raise ConfigurationError(
            f'The model has no label "{label}". Its labels: {", ".join(names)}.'
        )
    return names.index(label)


def _without_label(model: Model, instance: Instance) -> Instance:
    """
    The instance without the labels that the model does not need: with them it would count a
    prediction towards its metrics, and an unlabelled input could not share a batch with a labelled
    one.
    """
    arguments = inspect.signature(model.forward).parameters
    return Instance(
        {
            name: field
            for name, field in instance.fields.items()
            if not isinstance(field, LabelField)
            or (name in arguments and arguments[name].default is inspect.Parameter.empty)
        }
    )
