from itertools import islice

import pytest
from allennlp.common.checks import ConfigurationError
from allennlp.data.tokenizers import WhitespaceTokenizer
from hypothesis import given, settings
from hypothesis import strategies as st

from allennlp_influence.data import Sst2Reader
from allennlp_influence.data.tsv import read_tsv
from tests.data.conftest import TINY, UNHURRIED

# Everything but TAB and line feed is text; the surrogates are no characters.
CELLS = st.text(st.characters(exclude_characters="\t\n", exclude_categories=["Cs"]))
TEXTS = CELLS.filter(str.strip)


def test_reads_glue(readers):
    examples = readers.read("sst2", TINY / "sst2_train.tsv")
    assert [example.id for example in examples] == list(range(1, 11))
    assert "".join(example.label for example in examples) == "1010110010"
    assert examples[0].text == {"sentence": "a good film . "}
    assert examples[2].text == {"sentence": 'the " café " film is good '}
    assert examples[4].text == {"sentence": 'a man sometimes sleeps "'}
    assert examples[8].text == {"sentence": "  good , good"}
    assert not any(example.columns for example in examples)


def test_a_file_without_labels_keeps_its_other_columns(readers):
    first, second = readers.read("sst2", TINY / "sst2_test.tsv")
    assert first.label is None and second.label is None
    assert second.text == {"sentence": 'a "film" '} and second.columns == {"index": "1"}


def test_max_instances_are_the_first_rows(readers):
    everything = readers.read("sst2", TINY / "sst2_train.tsv")
    assert readers.read("sst2", TINY / "sst2_train.tsv", max_instances=4) == everything[:4]


@settings(max_examples=200, **UNHURRIED)
@given(rows=st.lists(st.tuples(CELLS, TEXTS, st.sampled_from("01")), min_size=1))
def test_every_text_comes_back_as_it_was_written(readers, rows):
    lines = ["\t".join(row) for row in [("note", "sentence", "label"), *rows]]
    examples = readers.read("sst2", readers.write("\n".join(lines) + "\n"))
    found = [(e.columns["note"], e.text["sentence"], e.label) for e in examples]
    assert found == rows
    assert [example.id for example in examples] == list(range(1, len(rows) + 1))


@pytest.mark.parametrize("separator", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029", "\r"])
def test_line_separators_of_unicode_are_text(readers, separator):
    text = f"a{separator}b{separator}"
    (example,) = readers.read("sst2", readers.write(f"sentence\tlabel\n{text}\t1\n"))
    assert example.text == {"sentence": text}


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfsentence\tlabel\na\t1\nb \t0\n",  # byte order mark
        b"sentence\tlabel\r\na\t1\r\nb \t0\r\n",
        b"sentence\tlabel\na\t1\nb \t0",  # no line feed at the end
        b"label\tsentence\n1\ta\n0\tb \n",
    ],
)
def test_ways_to_write_the_same_file(readers, content):
    first, second = readers.read("sst2", readers.write(content))
    assert (first.text, first.label) == ({"sentence": "a"}, "1")
    assert (second.text, second.label) == ({"sentence": "b "}, "0")


MALFORMED = {
    "too few columns": ("sentence\tlabel\na\t1\nb\n", 3, ["1 columns", "header has 2", "TAB"]),
    "too many columns": ("sentence\tlabel\na\tb\t1\n", 2, ["3 columns", "header has 2"]),
    "blank line": ("sentence\tlabel\na\t1\n\nb\t1\n", 3, ["1 columns", "header has 2"]),
    "blank line at the end": ("sentence\tlabel\na\t1\n\n", 3, ["1 columns", "header has 2"]),
    "unknown label": ("sentence\tlabel\na\t1\nb\t2\n", 3, ["'2'", "0 or 1"]),
    "label with a space": ("sentence\tlabel\na\t1 \n", 2, ["'1 '", "0 or 1"]),
    "empty label": ("sentence\tlabel\na\t\n", 2, ["label ''", "0 or 1"]),
    "empty text": ("sentence\tlabel\n\t1\n", 2, ["'sentence' is empty", "expected a text"]),
    "only spaces": ("sentence\tlabel\na\t1\n \u00a0\t1\n", 3, ["'sentence' is empty"]),
    "missing column": ("text\tlabel\na\t1\n", 1, ["column 'sentence'", "text, label"]),
    "no header": ("a fine film\t1\nbad\t0\n", 1, ["column 'sentence'", "a fine film, 1"]),
    "duplicate column": ("sentence\tsentence\na\tb\n", 1, ["twice", "different names"]),
    "header only": ("sentence\tlabel\n", 2, ["expected a row", "file ends"]),
    "empty file": ("", 1, ["empty", "expected examples"]),
    "not UTF-8": (b"sentence\tlabel\na\t1\ncaf\xe9\t1\n", 3, ["UTF-8", "byte 4"]),
    "UTF-16": ("sentence\tlabel\na\t1\n".encode("utf-16"), 1, ["UTF-8"]),
}


@pytest.mark.parametrize("content, line, said", MALFORMED.values(), ids=MALFORMED)
def test_malformed_input_is_named(readers, content, line, said):
    path = readers.write(content)
    with pytest.raises(ConfigurationError) as error:
        readers.read("sst2", path)
    assert str(error.value).startswith(f"{path}, line {line}: ")
    assert not [part for part in said if part not in str(error.value)]


def test_an_error_far_down_names_its_line_and_comes_after_the_rows_before(readers):
    content = b"sentence\tlabel\n" + b"a\t1\n" * 5000 + b"\xff\t1\n"
    rows = read_tsv(readers.write(content))
    assert len(list(islice(rows, 5000))) == 5000
    with pytest.raises(ConfigurationError, match="line 5002: not UTF-8"):
        next(rows)


def test_missing_and_unreadable_files(readers):
    missing = str(readers.folder / "missing.tsv")
    with pytest.raises(ConfigurationError, match="missing.tsv does not exist"):
        readers.read("sst2", missing)
    with pytest.raises(ConfigurationError, match="cannot be read.*directory"):
        readers.read("sst2", readers.folder)
    for content in (b"no gzip", b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03"):
        with pytest.raises(ConfigurationError, match="broken.tsv.gz cannot be read"):
            readers.read("sst2", readers.write(content, "broken.tsv.gz"))


def test_an_unknown_label_is_no_instance(readers):
    reader = Sst2Reader(tokenizer=WhitespaceTokenizer(), token_indexers={})
    with pytest.raises(ConfigurationError, match="'positive'; expected 0 or 1"):
        reader.text_to_instance("a film", "positive")


# -- real data ------------------------------------------------------------------------------------


def test_sst2_train(real_file):
    rows = list(read_tsv(real_file("sst2/train.tsv")))
    assert [row.number for row in rows] == list(range(1, 67_350))
    assert sum(row.columns["label"] == "1" for row in rows) == 37_569
    assert all(row.columns["sentence"].endswith(" ") for row in rows)


def test_the_papers_training_set(readers, real_file):
    examples = readers.read("sst2", real_file("sst2/train.tsv"), max_instances=10_000)
    assert len(examples) == 10_000 and examples[-1].id == 10_000
    assert sum(example.label == "1" for example in examples) == 5_529


def test_sst2_dev(readers, real_file):
    examples = readers.read("sst2", real_file("sst2/dev.tsv"))
    assert len(examples) == 872
    assert sum(example.label == "1" for example in examples) == 444
    assert sum(example.label == "1" for example in examples[:50]) == 24
    assert examples[6].text["sentence"].split() == "a sometimes tedious film .".split()
