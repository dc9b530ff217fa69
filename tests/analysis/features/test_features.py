"""Features against values counted by hand, and their errors."""

import math
import textwrap

import pytest
from allennlp.common import Params
from allennlp.common.checks import ConfigurationError

from allennlp_influence.analysis.features import ArtifactFeature
from allennlp_influence.data.example import Example

# premise, hypothesis, label
PAIRS = [
    ("The dog that barked ran .", "The Dog ran, the cat did not .", "non-entailment"),
    ("It wasn't raining .", "It was not raining .", "entailment"),
    ("Nobody knew .", "...", "non-entailment"),
    ("A man sleeps on a Tuesday .", "On a Tuesday a man sleeps !", "entailment"),
    ("No rain .", "It is dry .", "entailment"),
]
EXAMPLES = [
    Example(i, {"premise": premise, "hypothesis": hypothesis}, label, {"year": str(1990 + i)})
    for i, (premise, hypothesis, label) in enumerate(PAIRS, start=1)
]
SENTENCES = [Example(7, {"sentence": "Don’t go, dont !"}, "1")]


def values(feature, examples=EXAMPLES):
    config = {"type": feature} if isinstance(feature, str) else dict(feature)
    return list(ArtifactFeature.from_params(Params(config)).values(examples))


# -- values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, expected",
    [
        # the dog ran the | cat did not;  it (was) raining: not and n't differ;  no word;  all;  none
        ({}, [4 / 7, 3 / 4, 0, 1, 0]),
        ({"distinct": True}, [3 / 6, 3 / 4, 0, 1, 0]),
        # the dog [ran,] the [cat did not] .;  it [was not] raining .;  [...];  all but !;  [it is dry] .
        ({"tokenizer": "whitespace"}, [4 / 8, 3 / 5, 0, 6 / 7, 1 / 4]),
        # the . counts: 5 of 8 words and the comma;  4 of 5;  "...";  6 of 7;  1 of 4
        ({"tokenizer": {"type": "words", "punctuation": True}}, [5 / 9, 4 / 5, 0, 6 / 7, 1 / 4]),
    ],
)
def test_lexical_overlap(options, expected):
    assert values({"type": "lexical-overlap", **options}) == pytest.approx(expected)


def test_lexical_overlap_of_wordpieces():
    example = Example(1, {"premise": "unfathomable", "hypothesis": "unfathomably so"})
    feature = {"type": "lexical-overlap", "tokenizer": {"type": "wordpieces", "encoder": "minilm"}}
    (overlap,) = values(feature, [example])
    assert 0 < overlap < 1  # no word, but some pieces
    assert values("lexical-overlap", [example]) == [0]


@pytest.mark.parametrize(
    "options, expected",
    [
        ({}, [1, 1, 0, 0, 0]),
        ({"where": "premise"}, [0, 1, 1, 0, 1]),
        ({"where": "any"}, [1, 1, 1, 0, 1]),
        ({"where": "xor"}, [1, 0, 1, 0, 1]),
        ({"words": ["no", "nobody", "never", "nothing"], "where": "any"}, [0, 0, 1, 0, 1]),
    ],
)
def test_negation(options, expected):
    assert values({"type": "negation", **options}) == expected


def test_contractions_however_they_are_spelt():
    for text in ("Don't go", "Don’t go", "dont go", "He cannot go", "DON'T GO"):
        assert values("negation", [Example(1, {"sentence": text})]) == [1], text
    assert values("negation", [Example(1, {"sentence": "notable knots, another node"})]) == [0]


@pytest.mark.parametrize(
    "words, where, expected",
    [
        (["on a tuesday"], "last", [0, 0, 0, 1, 0]),
        (["on Tuesday", "a on"], "any", [0, 0, 0, 0, 0]),  # not in this order
        (["cat", "DRY"], "hypothesis", [1, 0, 0, 0, 1]),
        (["n't"], "premise", [0, 1, 0, 0, 0]),
    ],
)
def test_contains_words(words, where, expected):
    assert values({"type": "contains-words", "words": words, "where": where}) == expected


def test_length():
    assert values("length") == [5 + 7, 4 + 4, 2, 6 + 6, 2 + 3]
    assert values({"type": "length", "field": "hypothesis"}) == [7, 4, 0, 6, 3]
    assert values("length", SENTENCES) == [5]
    assert values("length", [Example(1, {"sentence": "half a \ud83d character"}, "1")]) == [4]


def test_label():
    assert values({"type": "label", "label": "entailment"}) == [0, 1, 0, 1, 1]


def test_hypothesis_only_word_is_pointwise_mutual_information():
    texts = [("good film", "1"), ("good good", "1"), ("good plot", "0"), ("film", "0"), ("!", "0")]
    examples = [Example(i, {"sentence": text}, label) for i, (text, label) in enumerate(texts)]
    # counts + 1 (label 0, label 1): film 2 2, good 2 3, plot 2 1: together 6 6
    film, good_1, good_0, plot_0 = (
        math.log(2 / 12 / (4 / 12 * 6 / 12)),
        math.log(3 / 12 / (5 / 12 * 6 / 12)),
        math.log(2 / 12 / (5 / 12 * 6 / 12)),
        math.log(2 / 12 / (3 / 12 * 6 / 12)),
    )
    own = values({"type": "hypothesis-only-word", "smoothing": 1}, examples)
    assert own == pytest.approx([max(film, good_1), good_1, max(good_0, plot_0), film, 0])
    one = values({"type": "hypothesis-only-word", "smoothing": 1, "label": "1"}, examples)
    assert one[2] == pytest.approx(good_1) and one[4] == 0


def test_columns_of_the_training_file():
    assert values({"type": "column", "name": "year"}) == [1991, 1992, 1993, 1994, 1995]
    assert values({"type": "column", "name": "year", "equals": "1992"}) == [0, 1, 0, 0, 0]


def test_columns_of_another_file(tmp_path):
    file = tmp_path / "mine.tsv"
    hypotheses = [hypothesis for _, hypothesis, _ in PAIRS]
    write(file, ["hypothesis\tgrade", *(f"{h}\t{i / 2}" for i, h in enumerate(hypotheses))])
    feature = {"type": "column", "name": "grade", "file": str(file)}
    assert values(feature) == [0, 0.5, 1, 1.5, 2]
    # ids are rows: those that the reader has left out do not matter
    assert values(feature, [EXAMPLES[3], EXAMPLES[1]]) == [1.5, 0.5]


def test_functions(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = """
        def commas(example):
            return example.text["hypothesis"].count(",")

        def broken(example):
            return example.columns["no"]
    """
    (tmp_path / "my_artifacts.py").write_text(textwrap.dedent(source))
    assert values({"type": "function", "function": "my_artifacts:commas"}) == [1, 0, 0, 0, 0]
    with pytest.raises(ConfigurationError, match="training example 1: KeyError: 'no'"):
        values({"type": "function", "function": "my_artifacts:broken"})
    with pytest.raises(ConfigurationError, match="no attribute 'nothing'"):
        values({"type": "function", "function": "my_artifacts:nothing"})


# -- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "feature, examples, message",
    [
        ("lexical-overlap", SENTENCES, "training example 7 has only: sentence"),
        ({"type": "length", "field": "premise"}, SENTENCES, "no text 'premise'; there is: sentence"),
        ({"type": "contains-words", "words": ["a", "!"]}, EXAMPLES, "none of them empty"),
        ({"type": "contains-words", "words": []}, EXAMPLES, "expected words"),
        ("label", EXAMPLES, '"label": "entailment"'),
        ({"type": "label", "label": "neutral"}, EXAMPLES, "one of entailment, non-entailment"),
        ({"type": "hypothesis-only-word", "label": "x"}, EXAMPLES, "one of entailment"),
        ({"type": "hypothesis-only-word", "smoothing": 0}, EXAMPLES, "positive"),
        ({"type": "column", "name": "yaer"}, EXAMPLES, "further columns of the training file: year"),
        ({"type": "column", "name": "year"}, SENTENCES, "training file: none"),
        ({"type": "function", "function": "nothing"}, EXAMPLES, "expected module:name"),
        ({"type": "function", "function": "no_such_module:x"}, EXAMPLES, "no_such_module"),
    ],
)
def test_what_does_not_apply_is_said(feature, examples, message):
    with pytest.raises(ConfigurationError, match=message):
        values(feature, examples)


@pytest.mark.parametrize(
    "lines, message",
    [
        (["grade", *"1234"], "has no row 5, .* another training file"),
        (["premise\tgrade", *(f"{premise}\t1" for premise, _, _ in PAIRS[::-1])], "line 2: the premise"),
        (["other", *"12345"], "line 1: no column 'grade'; there is: other"),
        (["grade", *"12x45"], "'x' for training example 3, no number"),
    ],
)
def test_files_of_other_training_data_are_refused(tmp_path, lines, message):
    write(tmp_path / "mine.tsv", lines)
    with pytest.raises(ConfigurationError, match=message):
        values({"type": "column", "name": "grade", "file": str(tmp_path / "mine.tsv")})


def write(path, lines):
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
