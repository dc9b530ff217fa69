"""Inputs without one of their tokens."""

from typing import Sequence

from allennlp.common.checks import ConfigurationError
from allennlp.data import Instance
from allennlp.data.fields import TextField
from allennlp.data.token_indexers import PretrainedTransformerIndexer

from allennlp_influence.data.masked_text_field import MaskedTextField


def masked(instance: Instance, tokens: Sequence[str], positions: Sequence[int]) -> Instance:
    """
    A copy of an instance in which the model does not see the tokens at some positions. A transformer's attention
    leaves them out, as in the code of Han et al. (2020): that is what they call removing a token. Of models without
    one the tokens are taken away, and those that follow move up.

    # Parameters

    instance : `Instance`, required
    tokens : `Sequence[str]`, required
        As the model saw them, those of several text fields one after the other.
    positions : `Sequence[int]`, required
        Places among `tokens`, from 0.

    # Raises

    `ConfigurationError` if the tokens are not those of the instance, as where a word's vector is made of those of
    its pieces; or if nothing would be left.
    """
    fields = {n: f for n, f in instance.fields.items() if isinstance(f, TextField)}
    if list(tokens) != [str(token) for field in fields.values() for token in field.tokens]:
        raise ConfigurationError(
            f"a token of the text {' '.join(tokens)!r} can't be masked: the model sees other tokens than the fields "
            f"{', '.join(fields)} have"
        )
    copy = Instance(dict(instance.fields))
    begin = 0
    for name, field in fields.items():
        end = begin + len(field)
        own = [position - begin for position in positions if begin <= position < end]
        if own:
            copy.fields[name] = _masked_field(field, own)
        begin = end
    return copy


def _masked_field(field: TextField, positions: Sequence[int]) -> TextField:
    attended = [
        isinstance(indexer, PretrainedTransformerIndexer)
        for indexer in field.token_indexers.values()
    ]
    if all(attended):
        return MaskedTextField(field, positions)
    if any(attended):
        raise ConfigurationError(
            f"tokens can't be masked where only some of the token indexers ({', '.join(field.token_indexers)}) are a "
            "transformer's"
        )
    left = [token for i, token in enumerate(field.tokens) if i not in positions]
    if not left:
        raise ConfigurationError(f"nothing is left of the text {' '.join(map(str, field.tokens))!r} without its token")
    return TextField(left, field.token_indexers)
