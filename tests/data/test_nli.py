import bz2
import gzip
import json
import logging
from collections import Counter

import pytest
from allennlp.common.checks import ConfigurationError
from allennlp.data.tokenizers import WhitespaceTokenizer
from hypothesis import given, settings
from hypothesis import strategies as st

from allennlp_influence.data import NliReader
from tests.data.conftest import TINY, UNHURRIED

TEXTS = st.text(st.characters(exclude_categories=["Cs"])).filter(str.strip)
CELLS = TEXTS.filter(lambda text: not {"\t", "\n"} & set(text))
LABELS = ("entailment", "neutral", "contradiction", "non-entailment")


def pairs(examples):
    return [(e.text["premise"], e.text["hypothesis"], e.label) for e in examples]


GLUE = [
    ("the man sleeps .", "the man is good .", "neutral"),
    ('the film is "good and not bad .', "the film is good . ", "entailment"),
    ("A tedious film plays in the café .", "No café plays a film .", "contradiction"),
    ("a man , sometimes , sleeps .", "a man sleeps .", "entailment"),
]


@pytest.mark.parametrize("name, start", [("mnli_train.tsv", 0), ("mnli_dev_matched.tsv", 1)])
def test_reads_glue(readers, name, start):
    examples = readers.read("nli", TINY / name)
    assert pairs(examples) == GLUE[start:]
    assert [example.id for example in examples] == list(range(1, len(examples) + 1))
    others = {"index", "promptID", "pairID", "genre", "label1"}
    if name != "mnli_train.tsv":
        others |= {f"label{i}" for i in range(2, 6)}
        assert examples[0].columns["label2"] == "neutral"
    assert all(set(example.columns) == others for example in examples)


def test_reads_named_columns(readers):
    examples = readers.read("nli", TINY / "pairs.tsv")
    assert pairs(examples) == [
        ("the man don 't sleep", 'the man "sleeps', "contradiction"),
        ("a good film ", "a film", "entailment"),
        ("a film", "a good café film", "neutral"),
    ]
    assert [example.columns for example in examples] == [{"id": f"p{i}"} for i in (1, 2, 3)]


def test_reads_hans(readers):
    examples = readers.read("nli", TINY / "hans.txt")
    assert [example.label for example in examples] == [
        "non-entailment",
        "entailment",
        "non-entailment",
    ]
    assert examples[1].text["hypothesis"] == "The man sleeps ."
    assert examples[1].columns == {
        "pairID": "ex1",
        "heuristic": "subsequence",
        "subcase": "se_tiny_clause",
        "template": "temp9",
    }


def test_reads_json_lines_and_says_how_many_have_no_majority(readers, caplog):
    with caplog.at_level(logging.WARNING):
        examples = readers.read("nli", TINY / "multinli.jsonl")
    assert pairs(examples) == GLUE[:3]
    assert [example.id for example in examples] == [1, 3, 4]  # line 2 has the label "-"
    assert "multinli.jsonl: 1 rows have the label '-'" in caplog.text
    assert examples[0].columns == {
        "annotator_labels": '["neutral"]',
        "genre": "travel",
        "pairID": "0n",
        "promptID": "0",
    }
    (example,) = readers.read("nli", TINY / "snli.jsonl")
    assert pairs([example]) == [("A man in a café sleeps. ", "A man sleeps", "entailment")]
    assert example.columns["captionID"] == "1.jpg#0"


def test_what_max_instances_left_out_is_said(readers, caplog):
    with caplog.at_level(logging.WARNING):
        examples = readers.read("nli", TINY / "multinli.jsonl", max_instances=2)
    assert [example.id for example in examples] == [1, 3]
    assert "1 rows have the label '-'" in caplog.text


def test_only_parses_are_left_out_of_the_columns(readers):
    path = readers.write("premise\thypothesis\tsparse\tsentence1_parse\na\tb\tx\t(ROOT a)\n")
    (example,) = readers.read("nli", path)
    assert example.columns == {"sparse": "x"} and example.label is None


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress])
def test_compressed(readers, compress):
    suffix = {gzip.compress: ".gz", bz2.compress: ".bz2"}[compress]
    for name in ("pairs.tsv", "multinli.jsonl"):
        path = readers.write(compress((TINY / name).read_bytes()), name + suffix)
        assert readers.read("nli", path) == readers.read("nli", TINY / name)


def test_collapse(readers):
    for name in ("mnli_train.tsv", "pairs.tsv", "hans.txt", "multinli.jsonl"):
        plain = readers.read("nli", TINY / name)
        collapsed = readers.read("nli", TINY / name, collapse_labels=True)
        for before, after in zip(plain, collapsed):
            assert after.label == (
                "entailment" if before.label == "entailment" else "non-entailment"
            )
            assert (after.id, after.text) == (before.id, before.text)


@settings(max_examples=100, **UNHURRIED)
@given(rows=st.lists(st.tuples(CELLS, CELLS, st.sampled_from(LABELS)), min_size=1))
def test_every_pair_of_a_tsv_comes_back_as_it_was_written(readers, rows):
    lines = ["\t".join(row) for row in [("premise", "hypothesis", "label"), *rows]]
    examples = readers.read("nli", readers.write("\n".join(lines) + "\n"))
    assert pairs(examples) == rows
    assert [example.id for example in examples] == list(range(1, len(rows) + 1))


@settings(max_examples=100, **UNHURRIED)
@given(
    rows=st.lists(st.tuples(TEXTS, TEXTS, st.sampled_from(LABELS)), min_size=1),
    ascii=st.booleans(),
)
def test_every_pair_of_json_lines_comes_back_as_it_was_written(readers, rows, ascii):
    objects = [dict(zip(("sentence1", "sentence2", "gold_label"), row)) for row in rows]
    lines = "".join(json.dumps(x, ensure_ascii=ascii) + "\n" for x in objects)
    examples = readers.read("nli", readers.write(lines, "data.jsonl"))
    assert pairs(examples) == rows


PAIR = '{"premise": "a", "hypothesis": "b"'
HEADER = "premise\thypothesis\tlabel\n"
MALFORMED = {
    "too few columns": (HEADER + "a\tneutral\n", 2, ["2 columns", "header has 3"]),
    "too many columns": (HEADER + "a\tb\tc\tneutral\n", 2, ["4 columns", "header has 3"]),
    "unknown label": (HEADER + "a\tb\tmaybe\n", 2, ["'maybe'", *LABELS]),
    "empty premise": (HEADER + "\tb\tneutral\n", 2, ["'premise' is empty"]),
    "empty hypothesis": (HEADER + "a\t \tneutral\n", 2, ["'hypothesis' is empty"]),
    "empty text of an undecided row": (HEADER + "a\t \t-\n", 2, ["'hypothesis' is empty"]),
    "missing column": (
        "premise\tconclusion\na\tb\n",
        1,
        ["'hypothesis' or 'sentence2'", "premise, conclusion"],
    ),
    "two premises": ("premise\tsentence1\thypothesis\na\tb\tc\n", 1, ["expected one of them"]),
    "two labels": (HEADER[:-1] + "\tgold_label\na\tb\tneutral\tneutral\n", 1, ["one of them"]),
    "duplicate column": ("premise\tpremise\thypothesis\na\tb\tc\n", 1, ["twice"]),
    "empty file": ("", 1, ["empty"]),
    "header only": (HEADER, 2, ["expected a row"]),
    "not UTF-8": (HEADER.encode() + b"a\tb\xff\tneutral\n", 2, ["UTF-8", "byte 4"]),
}
MALFORMED_JSON = {
    "not JSON": (PAIR + "}\n" + PAIR + "\n", 2, ["not JSON", "one object a line"]),
    "blank line": (PAIR + "}\n\n" + PAIR + "}\n", 2, ["not JSON"]),
    "a list": ('["a", "b"]\n', 1, ["not a JSON object", "sentence1"]),
    "a number": (PAIR + "}\n7\n", 2, ["not a JSON object"]),
    "a text that is a list": ('{"premise": ["a"], "hypothesis": "b"}\n', 1, ["'premise'", '["a"]']),
    "a label that is a number": (PAIR + ', "label": 0}\n', 1, ["'label' is 0", "expected a text"]),
    "a label that is null": (PAIR + ', "gold_label": null}\n', 1, ["'gold_label' is null"]),
    "a label in some rows": (PAIR + ', "label": "neutral"}\n' + PAIR + "}\n", 2, ["all rows"]),
    "missing key": (PAIR + "}\n" + '{"premise": "a"}\n', 2, ["'hypothesis' or 'sentence2'"]),
    "key twice": (PAIR + ', "premise": "c"}\n', 1, ["twice", "premise"]),
    "unknown label": (PAIR + ', "label": "hidden"}\n', 1, ["'hidden'", *LABELS]),
    "empty file": ("", 1, ["empty"]),
}
CASES = [("data.tsv", name, *case) for name, case in MALFORMED.items()]
CASES += [("data.jsonl", name, *case) for name, case in MALFORMED_JSON.items()]


@pytest.mark.parametrize("file, name, content, line, said", CASES, ids=lambda x: str(x)[:20])
def test_malformed_input_is_named(readers, file, name, content, line, said):
    path = readers.write(content, file)
    with pytest.raises(ConfigurationError) as error:
        readers.read("nli", path)
    assert str(error.value).startswith(f"{path}, line {line}: ")
    assert not [part for part in said if part not in str(error.value)]


def test_collapsing_does_not_hide_an_unknown_label():
    reader = NliReader(tokenizer=WhitespaceTokenizer(), token_indexers={}, collapse_labels=True)
    with pytest.raises(ConfigurationError, match="'contradicts'; expected one of entailment"):
        reader.text_to_instance("a", "b", "contradicts")


# -- real data ------------------------------------------------------------------------------------


def test_mnli_dev(readers, real_file):
    examples = readers.read("nli", real_file("mnli/dev_matched.tsv"))
    labels = Counter(example.label for example in examples)
    assert labels == {"entailment": 3479, "contradiction": 3213, "neutral": 3123}
    assert examples[-1].id == 9815


def test_mnli_train(readers, real_file):
    examples = readers.read("nli", real_file("mnli/train_10k.tsv"))
    labels = Counter(example.label for example in examples)
    assert labels == {"entailment": 3351, "neutral": 3327, "contradiction": 3322}


def test_hans_is_one_pair_a_subcase(readers, real_file):
    examples = readers.read("nli", real_file("hans/small_heuristics_evaluation_set.txt"))
    assert len({example.columns["subcase"] for example in examples}) == len(examples) == 30
    heuristics = Counter(example.columns["heuristic"] for example in examples)
    assert sorted(heuristics.values()) == [10, 10, 10]
    labels = Counter(example.label for example in examples)
    assert labels == {"entailment": 15, "non-entailment": 15}
    # The specification's table, row 20.
    assert examples[19].columns["pairID"] == "ex19409"
    assert examples[19].text == {
        "premise": "The lawyers saw the professor behind the bankers .",
        "hypothesis": "The lawyers saw the professor .",
    }


def test_negated_hans_is_the_entailed_pairs_denied(readers, real_file):
    originals = readers.read("nli", real_file("hans/small_heuristics_evaluation_set.txt"))
    negated = readers.read("nli", real_file("hans/negated_small_heuristics_evaluation_set.txt"))
    entailed = [example for example in originals if example.label == "entailment"]
    assert len(negated) == 15
    for before, after in zip(entailed, negated):
        assert after.label == "non-entailment"
        assert after.text["premise"] == before.text["premise"]
        assert "did not" in after.text["hypothesis"]
