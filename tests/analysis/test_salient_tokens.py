"""Which tokens of an input are chosen."""

import pytest
from allennlp.common.checks import ConfigurationError

from allennlp_influence.analysis.salient_tokens import (
    candidate_tokens,
    salient_tokens,
    token_types,
)

# The input of the paper's figure 1, with the saliency that their notebook shows for it.
TOKENS = ["[CLS]", "a", "sometimes", "ted", "##ious", "film", ".", "[SEP]"]
SCORES = [0.0150, 0.0737, 0.1999, -0.4503, 0.0042, -0.0319, -0.0156, 0.2092]
SALIENCY = {"tokens": TOKENS, "scores": SCORES}


def test_the_papers_choice():
    """First pieces count, special tokens do not; of five candidates the third is the median."""
    chosen = salient_tokens(SALIENCY, ("positive", "median", "negative", "zero"))
    assert {choice: (token.text, token.positions) for choice, token in chosen.items()} == {
        "positive": ("sometimes", (2,)),
        "median": (".", (6,)),
        "negative": ("ted", (3,)),
        "zero": (".", (6,)),
    }
    assert chosen["negative"].score == -0.4503


def test_the_median_of_an_even_number_is_the_upper_one():
    tokens = {"tokens": ["a", "b", "c", "d"], "scores": [0.4, -0.1, 0.3, -0.2]}
    assert salient_tokens(tokens)["median"].text == "c"


def test_whole_words():
    chosen = salient_tokens(SALIENCY, whole_words=True)
    assert chosen["negative"].text == "tedious" and chosen["negative"].positions == (3, 4)
    assert chosen["negative"].score == pytest.approx(-0.4461)
    assert token_types(TOKENS, whole_words=True) == {"a", "sometimes", "tedious", "film", "."}
    assert "ted" in token_types(TOKENS)


@pytest.mark.parametrize(
    "tokens",
    [
        ["<s>", "a", "Ġsometimes", "Ġted", "ious", "Ġfilm", "</s>", "</s>", "it", "Ġis", "</s>"],
        ["[CLS]", "▁a", "▁sometimes", "▁ted", "ious", "▁film", "[SEP]", "▁it", "▁is", "[SEP]"],
    ],
    ids=["byte-level", "sentencepiece"],
)
def test_of_other_tokenizers(tokens):
    expected = ["a", "sometimes", "ted", "film", "it", "is"]
    assert [text for text, _ in candidate_tokens(tokens)] == expected
    expected[2] = "tedious"
    assert [text for text, _ in candidate_tokens(tokens, whole_words=True)] == expected
    for whole_words in (False, True):
        for text, positions in candidate_tokens(tokens, whole_words):
            assert text in "".join(tokens[position] for position in positions)


def test_nothing_to_choose_from():
    assert salient_tokens(None) == {}
    assert salient_tokens({"tokens": ["[CLS]", "bad", "[SEP]"], "scores": [0.5, 0.4, 0.1]}) == {}
    with pytest.raises(ConfigurationError, match="'best' is none of positive, median"):
        salient_tokens(SALIENCY, ("best",))
