"""The word pieces of an encoder."""

from typing import List

from allennlp.common import cached_transformers
from allennlp.data.tokenizers import Token, Tokenizer

from allennlp_influence.data.encoder import resolve_encoder


@Tokenizer.register("wordpieces")
class WordpieceTokenizer(Tokenizer):
    """
    Registered as a `Tokenizer` with name "wordpieces".

    # Parameters

    encoder : `str`
        See `resolve_encoder`.
    """

    def __init__(self, encoder: str) -> None:
        self._hugging_face = cached_transformers.get_tokenizer(resolve_encoder(encoder))

    def tokenize(self, text: str) -> List[Token]:
        return [Token(piece) for piece in self._hugging_face.tokenize(text)]
