"""What a request asks for, as far as that is to be believed."""

import json

from allennlp.common.checks import ConfigurationError
from allennlp.common.util import JsonDict

MOST_BYTES = 2**17  # of a body
MOST_CHARACTERS = 10_000  # of a text


def inputs_of(body: bytes) -> JsonDict:
    """
    The predictor's inputs in the body of a request, whatever its Content-Type: AllenNLP's demo sends none.

    # Raises

    `json.JSONDecodeError` if it is not JSON; `ConfigurationError` if it is no object of texts, or one of them is too
    long.
    """
    try:
        inputs = json.loads(body)
    except json.JSONDecodeError:
        raise
    except UnicodeDecodeError as error:
        raise ConfigurationError("the body is not UTF-8; send JSON in UTF-8") from error
    except (RecursionError, ValueError) as error:  # nested too deeply; a number of too many digits
        raise ConfigurationError(
            'the body can\'t be read; send a plain JSON object, like {"sentence": "a fine film"}'
        ) from error
    if not isinstance(inputs, dict):
        raise ConfigurationError(
            f"the body is a JSON {type(inputs).__name__}; send an object, like "
            '{"sentence": "a fine film"}'
        )
    for key, value in inputs.items():
        if isinstance(value, str):
            _check_text(key, value)
    return inputs


def _check_text(key: str, text: str) -> None:
    if len(text) > MOST_CHARACTERS:
        raise ConfigurationError(
            f"{key!r} has {len(text):,} characters; shorten it to {MOST_CHARACTERS:,}"
        )
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ConfigurationError(f"{key!r} holds half a character (a lone surrogate); remove it")


