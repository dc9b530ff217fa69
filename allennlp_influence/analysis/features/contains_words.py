"""Whether a text has one of some words."""

from typing import List, Optional

from allennlp.common.checks import ConfigurationError
from allennlp.data.tokenizers import Tokenizer

from allennlp_influence.analysis.features.artifact_feature import ArtifactFeature
from allennlp_influence.analysis.features.texts import text_of, words_of
from allennlp_influence.data.example import Example
from allennlp_influence.data.words import WordTokenizer


@ArtifactFeature.register("contains-words")
class ContainsWords(ArtifactFeature):
    """
    1 if a text has at least one of the words, 0 otherwise.

    Registered as an `ArtifactFeature` with name "contains-words".

    # Parameters

    words : `List[str]`
        Words, or phrases of several that must follow one another; in any case.
    where : `str`, optional (default = `"last"`)
        In which text: `last` is the hypothesis of a pair, or the sentence; `any` is one of the texts at
        least; `xor` is one of the two texts of a pair, but not both; else the name of a text (`premise`).
    tokenizer : `Tokenizer`, optional (default = `WordTokenizer()`)
        What words are; they are lower-cased.
    """

    def __init__(
        self, words: List[str], where: str = "last", tokenizer: Optional[Tokenizer] = None
    ) -> None:
        self.tokenizer = tokenizer or WordTokenizer()
        self.where = where
        self.phrases = [words_of(phrase, self.tokenizer) for phrase in words]
        if not all(self.phrases) or not self.phrases:
            raise ConfigurationError(f"'words' is {words}; expected words, none of them empty")

    def value(self, example: Example) -> float:
        if self.where in ("last", "any", "xor"):
            found = [self._has_one(text) for text in example.text.values()]
            return float({"last": found[-1], "any": any(found), "xor": sum(found) == 1}[self.where])
        return float(self._has_one(text_of(example, self.where)))

    def _has_one(self, text: str) -> bool:
        words = words_of(text, self.tokenizer)
        return any(
            phrase == words[start : start + len(phrase)]
            for phrase in self.phrases
            for start in range(len(words) - len(phrase) + 1)
        )
