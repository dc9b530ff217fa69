"""Whether a text is negated."""

from typing import Optional, Sequence

from allennlp.data.tokenizers import Tokenizer

from allennlp_influence.analysis.features.artifact_feature import ArtifactFeature
from allennlp_influence.analysis.features.contains_words import ContainsWords

NEGATIONS = (
    "not n't no never none nobody nothing nowhere neither nor cannot".split()
)  # the paper names no list


@ArtifactFeature.register("negation")
class Negation(ContainsWords):
    """
    1 if the hypothesis of a pair, or the sentence, has a negation word, 0 otherwise (Han et al. 2020, §5.1).

    Registered as an `ArtifactFeature` with name "negation".

    # Parameters

    words : `List[str]`, optional (default = `NEGATIONS`)
        Gururangan et al. (2018) count no, nobody, never and nothing.
    where, tokenizer
        See `ContainsWords`.
    """

    def __init__(
        self,
        words: Sequence[str] = NEGATIONS,
        where: str = "last",
        tokenizer: Optional[Tokenizer] = None,
    ) -> None:
        super().__init__(list(words), where, tokenizer)
