"""The texts of an example and their words."""

from typing import Optional, Tuple

from allennlp.common.checks import ConfigurationError
from allennlp.data.tokenizers import Tokenizer

from allennlp_influence.data.example import Example


def text_of(example: Example, field: Optional[str] = None) -> str:
    """
    One of the texts; by default the last, which is the hypothesis of a pair, or the sentence.

    # Raises

    `ConfigurationError` naming the texts that there are.
    """
    if field is None:
        field = list(example.text)[-1]
    if field not in example.text:
        raise ConfigurationError(
            f"training example {example.id} has no text {field!r}; there is: {', '.join(example.text)}"
        )
    return example.text[field]


def words_of(text: str, tokenizer: Tokenizer) -> Tuple[str, ...]:
    """Lower-cased, in order."""
    return tuple(str(token).lower() for token in tokenizer.tokenize(text))
