"""Which tokens of an input are masked and looked for among the training examples, by their saliency."""

from typing import AbstractSet, Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from allennlp.common.checks import ConfigurationError

from allennlp_influence.data.example import SPECIAL_TOKENS

CHOICES = ("positive", "median", "negative")
"""The paper's: the most positive, the median and the most negative token."""

_STARTS = "Ġ▁"  # what begins a word in byte-level BPE and in SentencePiece


class SalientToken(NamedTuple):
    """A token of an input, with the places of its pieces among the saliency's tokens."""

    text: str
    score: float
    positions: Tuple[int, ...]


def candidate_tokens(
    tokens: Sequence[str], whole_words: bool = False
) -> List[Tuple[str, Tuple[int, ...]]]:
    """
    The texts and places of tokens that can be chosen: first pieces of words, special tokens left out
    (Han et al. 2020, §4.2, as in their code: no token with `##`; stop words and punctuation count).

    # Parameters

    tokens : `Sequence[str]`, required
        As the model saw them.
    whole_words : `bool`, optional (default = `False`)
        Words with all their pieces instead, whose first pieces can stand for unrelated words ("ted" of "ted ##ious").
    """
    marked = any(token.startswith(tuple(_STARTS)) for token in tokens)
    words: List[List[int]] = []
    inside = False  # a text, and not between its special tokens
    for position, token in enumerate(tokens):
        if token in SPECIAL_TOKENS:
            inside = False
            continue
        begins = token.startswith(tuple(_STARTS)) if marked else not token.startswith("##")
        if begins or not inside:
            words.append([])
        words[-1].append(position)
        inside = True
    if not whole_words:
        words = [positions[:1] for positions in words if not tokens[positions[0]].startswith("##")]
    return [
        ("".join(_bare(tokens[position]) for position in positions), tuple(positions))
        for positions in words
    ]


def _bare(piece: str) -> str:
    return piece[2:] if piece.startswith("##") and len(piece) > 2 else piece.lstrip(_STARTS)


def token_types(tokens: Sequence[str], whole_words: bool = False) -> AbstractSet[str]:
    """The texts among which a chosen token is looked for, of a training example."""
    return {text for text, _ in candidate_tokens(tokens, whole_words)}


def salient_tokens(
    saliency: Optional[Mapping[str, Any]],
    choices: Sequence[str] = CHOICES,
    whole_words: bool = False,
) -> Dict[str, SalientToken]:
    """
    The chosen tokens of an input.

    # Parameters

    saliency : `Mapping[str, Any]`, required
        Of a line of explanations.jsonl: `tokens` and `scores`.
    choices : `Sequence[str]`, optional (default = `CHOICES`)
        `positive` and `negative`: the last and first of the candidates in the order of their signed scores; `median`:
        the one at m // 2 of m; `zero`: that with the smallest absolute score. Of equal ones, the first in the text.
    whole_words : `bool`, optional (default = `False`)
        See `candidate_tokens`; a word's score is the sum of its pieces'.

    # Returns

    `Dict[str, SalientToken]`
        By choice; empty if there are fewer than two candidates or the saliency is unknown: nothing to choose from.
    """
    if saliency is None:
        return {}
    scores = saliency["scores"]
    candidates = [
        SalientToken(text, sum(scores[position] for position in positions), positions)
        for text, positions in candidate_tokens(saliency["tokens"], whole_words)
    ]
    if len(candidates) < 2:
        return {}
    ascending = sorted(candidates, key=lambda token: token.score)
    ways = {
        "positive": ascending[-1],
        "median": ascending[len(ascending) // 2],
        "negative": ascending[0],
        "zero": min(candidates, key=lambda token: abs(token.score)),
    }
    unknown = [choice for choice in choices if choice not in ways]
    if unknown:
        raise ConfigurationError(f"choice {unknown[0]!r} is none of {', '.join(ways)}")
    return {choice: ways[choice] for choice in choices}
