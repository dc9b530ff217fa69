"""Numbers for the tokens of an input, laid out by words."""

from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Sequence, Tuple

from allennlp.common.checks import ConfigurationError
from allennlp.data import Instance

from allennlp_influence.data.example import example_of
from allennlp_influence.saliency.words import Piece, Word, pieces_of_field, words_of_pieces


@dataclass(frozen=True)
class TokenScores:
    """
    A number for each token of one input.

    # Parameters

    tokens : `Tuple[str, ...]`
        Every token that the model saw, `[CLS]` and `[SEP]` included, padding not, text field by text field.
    scores : `Tuple[float, ...]`
        Aligned with `tokens`.
    fields : `Tuple[str, ...]`
        Aligned with `tokens`: the name of the text field of each.
    words : `Tuple[Word, ...]`
        The pieces of each word summed; special tokens are no words.
    """

    tokens: Tuple[str, ...]
    scores: Tuple[float, ...]
    fields: Tuple[str, ...]
    words: Tuple[Word, ...]

    def to_json(self) -> Dict[str, Any]:
        """As in a line of explanations.jsonl: tokens, scores and words."""
        return {
            "tokens": list(self.tokens),
            "scores": list(self.scores),
            "words": [
                {"text": word.text, "score": word.score, "field": word.field} for word in self.words
            ],
        }


class FieldTokens:
    """
    The tokens of one text field of an input.

    # Parameters

    instance : `Instance`
        Indexed.
    name : `str`
        Of the text field.
    indexer : `str`
        The name of the token indexer whose tokens they are.
    """

    def __init__(self, instance: Instance, name: str, indexer: str) -> None:
        field = instance.fields[name]
        self.name = name
        self.indexer = field.token_indexers[indexer]
        self._texts = _original_texts(instance, name)
        indexed = field._indexed_tokens[indexer]
        self.pieces: List[Piece] = pieces_of_field(
            field, self.indexer, indexed, list(self._texts.values())
        )
        num_ids = len(indexed.get("token_ids", indexed.get("tokens", self.pieces)))
        if len(self.pieces) != num_ids:
            raise ConfigurationError(
                f'The text field "{name}" has {len(self.pieces)} tokens, but its token indexer '
                f'"{indexer}" makes {num_ids} ids of them: there is no saying which score '
                f"belongs to which token."
            )

    def words(self, scores: Sequence[float]) -> List[Word]:
        """The words of the field with these scores of its tokens."""
        return words_of_pieces(self.pieces, scores, self.name, self._texts, self.indexer)


def token_scores(parts: Sequence[Tuple[FieldTokens, Sequence[float]]]) -> TokenScores:
    """The scores of the tokens of the text fields of one input."""
    return TokenScores(
        tokens=tuple(piece.text for field, _ in parts for piece in field.pieces),
        scores=tuple(score for _, scores in parts for score in scores),
        fields=tuple(field.name for field, scores in parts for _ in scores),
        words=tuple(word for field, scores in parts for word in field.words(scores)),
    )


def _original_texts(instance: Instance, field: str) -> Mapping[str, str]:
    """
    The untouched texts of a text field by name, in their order; nothing where the reader did not
    keep them.
    """
    metadata = getattr(instance.fields.get("metadata"), "metadata", None)
    if not isinstance(metadata, dict) or "example" not in metadata:
        return {}
    texts = example_of(instance, 0).text
    return {field: texts[field]} if field in texts else texts
