"""From texts to the tokens of a model, the same for both readers."""

from typing import Dict, List, Optional

from allennlp.common import cached_transformers
from allennlp.common.checks import ConfigurationError
from allennlp.data.fields import TextField
from allennlp.data.token_indexers import PretrainedTransformerIndexer, TokenIndexer
from allennlp.data.tokenizers import PretrainedTransformerTokenizer, Token, Tokenizer

from allennlp_influence.data.encoder import resolve_encoder


class TextEncoding:
    """
    Makes the `tokens` field of a text or a pair.

    With `encoder`, tokens are what the Hugging Face tokenizer makes, special tokens and type ids included: a pair that
    is too long loses tokens of its longer side (`truncation=True`). Han et al. (2020) truncate so too, with one
    difference: where both sides are longer than half of an odd room (62 of the 125 tokens beside the special
    ones in 128), they leave the odd token to the premise, and Hugging Face's fast tokenizers to the side that
    was longer, or the hypothesis if they were equal. AllenNLP's own way to pairs gives the last `[SEP]` the
    wrong type id if its indexer has a `max_length`.

    # Parameters

    encoder : `str`, optional (default = `None`)
        See `resolve_encoder`.
    max_length : `int`, optional (default = `128`)
        Tokens with the special ones; goes with `encoder`.
    tokenizer, token_indexers : optional
        AllenNLP's, for models without a pretrained encoder; the two texts of a pair follow one another.
    """

    def __init__(
        self,
        encoder: Optional[str] = None,
        max_length: int = 128,
        tokenizer: Optional[Tokenizer] = None,
        token_indexers: Optional[Dict[str, TokenIndexer]] = None,
    ) -> None:
        if (encoder is None) == (tokenizer is None):
            raise ConfigurationError(
                "a reader takes either 'encoder' or 'tokenizer', and one of them"
            )
        if (tokenizer is None) != (token_indexers is None):
            raise ConfigurationError("'tokenizer' and 'token_indexers' of a reader go together")
        if isinstance(tokenizer, PretrainedTransformerTokenizer):
            raise ConfigurationError(
                "'tokenizer' of a reader is a pretrained transformer's, whose special tokens a pair would get "
                f"twice; give the reader encoder={tokenizer.tokenizer.name_or_path!r} instead"
            )
        self.tokenizer = tokenizer
        self.max_length = max_length
        if encoder is not None:
            folder = resolve_encoder(encoder)
            try:
                self._hugging_face = cached_transformers.get_tokenizer(folder)
            except (OSError, ValueError) as error:
                raise ConfigurationError(
                    f"encoder {encoder!r}: no tokenizer in {folder}, neither as a folder nor on the hub: {error}"
                ) from error
            # With less, Hugging Face truncates nothing.
            least = self._hugging_face.num_special_tokens_to_add(pair=True) + 2
            most = self._hugging_face.model_max_length
            if not least <= max_length <= most:
                expected = f"at least {least}" if max_length < least else f"at most {most}"
                raise ConfigurationError(
                    f"max_length is {max_length}; expected {expected} with encoder {encoder!r}"
                )
            token_indexers = {"tokens": PretrainedTransformerIndexer(folder, namespace="tags")}
        self.token_indexers: Dict[str, TokenIndexer] = token_indexers or {}

    def field(self, first: str, second: Optional[str] = None) -> TextField:
        """
        # Parameters

        first : `str`
            The sentence, or the premise.
        second : `str`, optional (default = `None`)
            The hypothesis.
        """
        if self.tokenizer is None:
            return TextField(self._encode(first, second))
        tokens = self.tokenizer.tokenize(first)
        if second is not None:
            tokens = self.tokenizer.add_special_tokens(tokens, self.tokenizer.tokenize(second))
        return TextField(tokens)

    def _encode(self, first: str, second: Optional[str]) -> List[Token]:
        encoded = self._hugging_face(first, second, truncation=True, max_length=self.max_length)
        ids = encoded["input_ids"]
        types = encoded.get("token_type_ids") or [0] * len(ids)
        pieces = self._hugging_face.convert_ids_to_tokens(ids)
        return [Token(text=p, text_id=i, type_id=t) for p, i, t in zip(pieces, ids, types)]
