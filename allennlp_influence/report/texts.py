"""Texts of a data set on their way to a page or a terminal: nobody has checked what stands in them."""

import re
import unicodedata
from typing import Any, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from allennlp.common.util import JsonDict

_WORD = re.compile(r"\w+(?:['’]\w+)*")
_MARKS_OF_DIRECTION = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def visible(text: str) -> str:
    """
    `text` without what could act on the reader's screen: each control character, mark of writing direction
    and unpaired surrogate becomes U+FFFD, each kind of white space a space.
    """
    return "".join(map(_visible_character, text))


def _visible_character(character: str) -> str:
    if character.isspace():
        return " "
    if unicodedata.category(character) in ("Cc", "Cs") or character in _MARKS_OF_DIRECTION:
        return "\ufffd"
    return character


class ScoredText(NamedTuple):
    """One text of an input: its parts in order, each with its score or `None`, and what was not read."""

    field: str
    parts: List[Tuple[str, Optional[float]]]
    unread: str


def scored_texts(
    text: Mapping[str, str], words: Optional[Sequence[Mapping[str, Any]]]
) -> List[ScoredText]:
    """
    The words' scores laid over the original texts. Words that can't be found there in their order are
    shown without it, joined by spaces.

    # Parameters

    text : `Mapping[str, str]`
        Of the input, by field.
    words : `Sequence[Mapping[str, Any]]`, optional
        `text`, `score` and `field` of each word; `None` if the words were not scored.
    """
    if words is None:
        return [ScoredText(field, [(content, None)], "") for field, content in text.items()]
    fields = list(text)
    if not {word["field"] for word in words} <= text.keys():
        fields = list(dict.fromkeys(word["field"] for word in words))
    return [
        _scored_text(field, text.get(field), [word for word in words if word["field"] == field])
        for field in fields
    ]


def texts_in_json(
    text: Mapping[str, str], words: Optional[Sequence[Mapping[str, Any]]]
) -> List[JsonDict]:
    """`scored_texts`, made `visible`."""
    return [
        {
            "field": visible(scored.field),
            "parts": [[visible(part), score] for part, score in scored.parts],
            "unread": visible(scored.unread),
        }
        for scored in scored_texts(text, words)
    ]


def scored_spans(text: ScoredText) -> List[float]:
    """
    Beginning, end and score of each word, one after the other; places are counted in UTF-16 code units, as a browser
    counts them.
    """
    spans: List[float] = []
    end = 0
    for part, score in text.parts:
        start, end = end, end + len(part.encode("utf-16-le", errors="surrogatepass")) // 2
        if score is not None:
            spans += (start, end, score)
    return spans


def _scored_text(
    field: str, text: Optional[str], words: Sequence[Mapping[str, Any]]
) -> ScoredText:
    parts: List[Tuple[str, Optional[float]]] = []
    end = 0
    for word in words:
        start = -1 if text is None else text.find(word["text"], end)
        if start < 0 or _WORD.search(text[end:start]):
            joined = [part for word in words for part in ((word["text"], word["score"]), (" ", None))]
            return ScoredText(field, joined[:-1], "")
        if start > end:
            parts.append((text[end:start], None))
        end = start + len(word["text"])
        parts.append((word["text"], word["score"]))
    rest = text[end:] if text is not None else ""
    if _WORD.search(rest):
        return ScoredText(field, parts, rest)
    return ScoredText(field, parts + ([(rest, None)] if rest else []), "")
