"""How much one word of the hypothesis gives away of the label."""

from typing import Optional, Sequence

import numpy
from allennlp.common.checks import ConfigurationError
from allennlp.data.tokenizers import Tokenizer
from sklearn.feature_extraction.text import CountVectorizer

from allennlp_influence.analysis.features.artifact_feature import ArtifactFeature
from allennlp_influence.analysis.features.texts import text_of, words_of
from allennlp_influence.data.example import Example
from allennlp_influence.data.words import WordTokenizer


@ArtifactFeature.register("hypothesis-only-word")
class HypothesisOnlyWord(ArtifactFeature):
    """
    The highest association with the label among the words of the hypothesis of a pair, or of the sentence; 0 if it
    has no word. The association is pointwise mutual information over the training examples, with smoothed counts
    (Gururangan et al. 2018, §4):

        PMI(word, label) = log p(word, label) / (p(word) p(label)),    p ∝ number of examples + smoothing

    in nats.

    Registered as an `ArtifactFeature` with name "hypothesis-only-word".

    # Parameters

    label : `str`, optional (default = `None`)
        With which label; by default with the example's own.
    smoothing : `float`, optional (default = `100`)
        Added to the number of examples that have a word and a label. Smaller for less data.
    field : `str`, optional (default = `None`)
        Another text than the hypothesis.
    tokenizer : `Tokenizer`, optional (default = `WordTokenizer()`)
        What words are; they are lower-cased.
    """

    def __init__(
        self,
        label: Optional[str] = None,
        smoothing: float = 100,
        field: Optional[str] = None,
        tokenizer: Optional[Tokenizer] = None,
    ) -> None:
        if smoothing <= 0:
            raise ConfigurationError(f"'smoothing' is {smoothing}; expected a positive number")
        self.label = label
        self.smoothing = smoothing
        self.field = field
        self.tokenizer = tokenizer or WordTokenizer()

    def values(self, examples: Sequence[Example]) -> numpy.ndarray:
        names, labels = numpy.unique([str(e.label) for e in examples], return_inverse=True)
        if self.label is not None:
            if self.label not in names:
                raise ConfigurationError(
                    f"the feature's label is {self.label!r}; expected one of {', '.join(names)}"
                )
            wanted = numpy.full(len(examples), list(names).index(self.label))
        else:
            wanted = labels
        vectorizer = CountVectorizer(
            analyzer=lambda example: words_of(text_of(example, self.field), self.tokenizer),
            binary=True,
        )
        has_word = vectorizer.fit_transform(examples)  # (N, V)
        has_label = numpy.eye(len(names))[labels]  # (N, C)
        joint = has_word.T @ has_label + self.smoothing  # (V, C)
        joint /= joint.sum()
        expected = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
        association = numpy.log(joint / expected)
        return numpy.array(
            [
                max(association[has_word[i].indices, wanted[i]], default=0.0)
                for i in range(len(examples))
            ]
        )
