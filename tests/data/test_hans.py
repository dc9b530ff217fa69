"""Negated HANS: the paper's fifteen hypotheses, and every verb that HANS's hypotheses have."""

import re
from pathlib import Path

import pytest
from allennlp.common.checks import ConfigurationError

from allennlp_influence.data.hans import negate, negate_file
from allennlp_influence.data.nli import NliReader

TINY = Path("fixtures/tiny/hans.txt")
HANS = Path("../shared/data/hans")
needs_hans = pytest.mark.skipif(not HANS.exists(), reason="needs HANS")


@pytest.mark.parametrize(
    "sentence, negated",
    [
        ("The lawyers saw the professor .", "The lawyers did not see the professor ."),
        ("The lawyer won .", "The lawyer did not win ."),
        ("The banker contacted the tourist .", "The banker did not contact the tourist ."),
        ("Athletes arrived .", "Athletes did not arrive ."),
        ("The judge stopped the actor .", "The judge did not stop the actor ."),
        ("The student studied .", "The student did not study ."),
        ("The author read the book .", "The author did not read the book ."),
    ],
)
def test_did_not_and_the_base_form(sentence, negated):
    assert negate(sentence) == negated


@pytest.mark.parametrize(
    "sentence, found",
    [
        ("The man sleeps .", "found none"),
        ("The actor who danced saw the judge .", "found danced and saw"),
        ("The lawyer did not win .", "found none"),
    ],
)
def test_what_is_not_a_simple_sentence_is_refused(sentence, found):
    with pytest.raises(ConfigurationError, match=found):
        negate(sentence)


@needs_hans
def test_the_papers_file_bit_for_bit(tmp_path):
    negated = tmp_path / "negated.txt"
    assert negate_file(HANS / "small_heuristics_evaluation_set.txt", negated) == 15
    expected = HANS / "negated_small_heuristics_evaluation_set.txt"
    assert negated.read_bytes() == expected.read_bytes()


@needs_hans
def test_every_hypothesis_of_hans_has_the_verb_that_its_parse_names():
    rows = (HANS / "heuristics_evaluation_set.sample3000.txt").read_text().splitlines()[1:]
    for row in rows:
        columns = row.split("\t")
        (verb,) = re.findall(r"\(VBD (\w+)\)", columns[4])
        before, after = columns[6].split(f" {verb} ")
        assert re.fullmatch(rf"{before} did not \w+ {re.escape(after)}", negate(columns[6]))


def test_a_file_keeps_its_columns_and_is_read_as_hans(tmp_path):
    source, target = tmp_path / "hans.txt", tmp_path / "negated.txt"
    source.write_text(TINY.read_text().replace("The man sleeps .", "The man slept ."))
    assert negate_file(source, target) == 1
    assert not target.with_name("negated.txt.part").exists()
    (instance,) = NliReader(encoder="minilm").read(str(target))
    example = instance["metadata"].metadata["example"]
    assert example["text"]["hypothesis"] == "The man did not sleep ."
    assert example["label"] == "non-entailment"
    assert example["columns"]["subcase"] == "se_tiny_clause"


@pytest.mark.parametrize(
    "content, message",
    [
        ("gold_label\tsentence2\nentailment\tThe man sleeps .\n", "line 2: 'The man sleeps .'"),
        ("gold_label\tsentence2\nneutral\tThe man slept .\n", "no pair with the label"),
        ("label\tsentence2\nentailment\tThe man slept .\n", "no 'gold_label'"),
    ],
)
def test_other_files_are_refused(tmp_path, content, message):
    source = tmp_path / "other.txt"
    source.write_text(content)
    with pytest.raises(ConfigurationError, match=message):
        negate_file(source, tmp_path / "negated.txt")
    assert list(tmp_path.iterdir()) == [source]
