"""How many of the hypothesis's words the premise has."""

from typing import Optional

from allennlp.common.checks import ConfigurationError
from allennlp.data.tokenizers import Tokenizer

from allennlp_influence.analysis.features.artifact_feature import ArtifactFeature
from allennlp_influence.analysis.features.texts import words_of
from allennlp_influence.data.example import Example
from allennlp_influence.data.words import WordTokenizer


@ArtifactFeature.register("lexical-overlap")
class LexicalOverlap(ArtifactFeature):
    """
    The share of the hypothesis's words that occur in the premise, from 0 to 1; 0 if the hypothesis has none
    (Han et al. 2020, §5.1).

    Registered as an `ArtifactFeature` with name "lexical-overlap".

    # Parameters

    distinct : `bool`, optional (default = `False`)
        Whether a word that the hypothesis has twice counts once.
    tokenizer : `Tokenizer`, optional (default = `WordTokenizer()`)
        What words are; they are lower-cased.
    """

    def __init__(self, distinct: bool = False, tokenizer: Optional[Tokenizer] = None) -> None:
        self.distinct = distinct
        self.tokenizer = tokenizer or WordTokenizer()

    def value(self, example: Example) -> float:
        if len(example.text) != 2:
            raise ConfigurationError(
                f"lexical-overlap is of pairs, but training example {example.id} has only: "
                + ", ".join(example.text)
            )
        premise, hypothesis = (words_of(text, self.tokenizer) for text in example.text.values())
        counted = set(hypothesis) if self.distinct else hypothesis
        if not counted:
            return 0.0
        there = set(premise)
        return sum(word in there for word in counted) / len(counted)
