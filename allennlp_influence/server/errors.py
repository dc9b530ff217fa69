"""What a client is told when something is wrong: JSON with a remedy."""

import json
import logging
from typing import Optional, Tuple

from allennlp.common.checks import ConfigurationError
from allennlp.common.util import JsonDict
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from allennlp_influence.influence.reading import one_line
from allennlp_influence.server.requests import MOST_BYTES
from allennlp_influence.server.worker import Busy, Stopped

logger = logging.getLogger(__name__)


class NotFoundError(RuntimeError):
    """As of AllenNLP's demo."""


def in_json(error: BaseException) -> Tuple[JsonDict, int, Optional[int]]:
    """The body of the answer, in the form of AllenNLP's demo, its status, and the seconds to wait before a retry."""
    if isinstance(error, json.JSONDecodeError):
        return _body(f'{error}; the body must be a JSON object, like {{"sentence": "a fine film"}}'), 400, None
    if isinstance(error, ConfigurationError):
        return _body(one_line(error)), 400, None
    if isinstance(error, NotFoundError):
        return _body(str(error)), 404, None
    if isinstance(error, Busy):
        return _body(str(error)), 503, error.seconds
    if isinstance(error, Stopped):
        return _body(f"{error}; ask again"), 503, 1
    if isinstance(error, RequestEntityTooLarge):
        return _body(f"the body is larger than {MOST_BYTES:,} bytes; send less"), 413, None
    if isinstance(error, HTTPException):
        return _body(error.description or error.name), error.code or 500, None
    logger.error("a request failed", exc_info=error)
    return (
        _body(f"the model fails on this input ({type(error).__name__}); the server's log has more"),
        500,
        None,
    )


def _body(message: str) -> JsonDict:
    return {"error": message}
