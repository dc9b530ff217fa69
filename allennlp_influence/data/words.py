"""Words of a text, as the analyses count them."""

import functools
from typing import List, Tuple

import spacy
from allennlp.data.tokenizers import Token, Tokenizer
from spacy.tokenizer import Tokenizer as SpacyTokenizer

_MOST_TEXTS_KEPT = 1 << 17


@Tokenizer.register("words")
class WordTokenizer(Tokenizer):
    """
    Lower-cased words by spaCy's rules for English, which need no model. Contractions are two words ("don't" is
    `do`, `n't`), and so is "cannot"; "n’t" and "nt" are `n't`. An unpaired surrogate
    counts as U+FFFD.

    Registered as a `Tokenizer` with name "words".

    # Parameters

    punctuation : `bool`, optional (default = `False`)
        Whether punctuation marks are tokens too.
    """

    def __init__(self, punctuation: bool = False) -> None:
        self.punctuation = punctuation

    def tokenize(self, text: str) -> List[Token]:
        return [Token(word) for word in _words(text, self.punctuation)]


@functools.lru_cache(_MOST_TEXTS_KEPT)  # several features look at the same texts
def _words(text: str, punctuation: bool) -> Tuple[str, ...]:
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # spaCy takes no half character
    return tuple(
        "n't" if token.norm_ == "not" != token.text else token.text
        for token in _english()(text.lower())  # the rules do not know DON'T
        if not token.is_space and (punctuation or not token.is_punct)
    )


@functools.cache
def _english() -> SpacyTokenizer:
    return spacy.blank("en").tokenizer
