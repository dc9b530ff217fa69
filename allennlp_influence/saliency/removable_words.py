"""Texts without some of their words."""

from typing import Collection, Dict, List, Sequence, Tuple

from allennlp.data import Instance, Token, Vocabulary
from allennlp.data.fields import TextField
from allennlp.data.token_indexers import PretrainedTransformerIndexer
from allennlp.data.vocabulary import DEFAULT_OOV_TOKEN

from allennlp_influence.data.masked_text_field import MaskedTextField
from allennlp_influence.saliency.token_scores import FieldTokens, TokenScores, token_scores


class RemovableWords:
    """
    An input whose words can be taken away. A transformer's attention leaves them out, which is what Han et al. (2020)
    call removing a token: the others keep their places. From what other models read they are deleted; where no word is
    left, an unknown one stands in their place.

    # Parameters

    instance : `Instance`, required
        With token indexers applied.
    vocab : `Vocabulary`, required
        The model's.

    # Raises

    `ConfigurationError` if the model does not see a text as the tokens of its field.
    """

    def __init__(self, instance: Instance, vocab: Vocabulary) -> None:
        self._instance = instance
        texts = {n: field for n, field in instance.fields.items() if isinstance(field, TextField)}
        Instance(dict(texts)).index_fields(vocab)
        self._fields: Dict[str, FieldTokens] = {
            name: FieldTokens(instance, name, next(iter(field.token_indexers)))
            for name, field in texts.items()
        }
        self._words: List[Tuple[str, int]] = list(
            dict.fromkeys(
                (name, piece.word)
                for name, field in self._fields.items()
                for piece in field.pieces
                if piece.word is not None
            )
        )

    def __len__(self) -> int:
        """The number of words."""
        return len(self._words)

    def without(self, hidden: Collection[int]) -> Instance:
        """The input without the words of these numbers, which count through all its text fields."""
        copy = Instance(dict(self._instance.fields))
        chosen = {self._words[number] for number in hidden}
        for name in self._fields:
            copy.fields[name] = self._without(name, {word for own, word in chosen if own == name})
        return copy

    def scores(self, by_word: Sequence[float]) -> TokenScores:
        """A number for each word; the pieces of a word have equal shares of it, special tokens 0."""
        values = dict(zip(self._words, by_word))
        parts = []
        for name, field in self._fields.items():
            words = [piece.word for piece in field.pieces]
            shares = [
                0.0 if word is None else values[name, word] / words.count(word) for word in words
            ]
            parts.append((field, shares))
        return token_scores(parts)

    def _without(self, name: str, words: Collection[int]) -> TextField:
        field, tokens = self._instance.fields[name], self._fields[name]
        indexers = field.token_indexers.values()
        if isinstance(tokens.indexer, PretrainedTransformerIndexer):
            positions = [i for i, piece in enumerate(tokens.pieces) if piece.word in words]
        else:  # tokens are words
            positions = sorted(words)
        if all(isinstance(indexer, PretrainedTransformerIndexer) for indexer in indexers):
            return MaskedTextField(field, positions)
        left = [token for i, token in enumerate(field.tokens) if i not in positions]
        if not left:
            tokenizer = getattr(tokens.indexer, "_tokenizer", None)  # that of pieces below words
            left = [Token(getattr(tokenizer, "unk_token", None) or DEFAULT_OOV_TOKEN)]
        return TextField(left, field.token_indexers)
