"""How long an example is."""

from typing import Optional

from allennlp.data.tokenizers import Tokenizer

from allennlp_influence.analysis.features.artifact_feature import ArtifactFeature
from allennlp_influence.analysis.features.texts import text_of, words_of
from allennlp_influence.data.example import Example
from allennlp_influence.data.words import WordTokenizer


@ArtifactFeature.register("length")
class Length(ArtifactFeature):
    """
    The number of words.

    Registered as an `ArtifactFeature` with name "length".

    # Parameters

    field : `str`, optional (default = `None`)
        Of which text, as `hypothesis`; by default of all texts of the example.
    tokenizer : `Tokenizer`, optional (default = `WordTokenizer()`)
        What words are.
    """

    def __init__(self, field: Optional[str] = None, tokenizer: Optional[Tokenizer] = None) -> None:
        self.field = field
        self.tokenizer = tokenizer or WordTokenizer()

    def value(self, example: Example) -> float:
        fields = example.text if self.field is None else [self.field]
        return sum(len(words_of(text_of(example, field), self.tokenizer)) for field in fields)
